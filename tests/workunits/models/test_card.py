"""Cards of models: made of a file's own words, one spelling, nothing but sense."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.models import ggufs, recorder
from tests.workunits.models.cards import IMAGE, card_of
from workunits import canonical
from workunits.errors import LimitError, MalformedError
from workunits.models.card import SLACK, ModelCard
from workunits.models.gguf import Kind
from workunits.models.program import Engine

REFUSED = (MalformedError, LimitError)


@cache
def raw() -> bytes:
    return card_of(price=7, gaps=(10, 1000)).encode()


def test_a_card_says_what_the_header_says() -> None:
    card = card_of()
    assert (card.architecture, card.quantisation, card.licence) == ("llama", "Q8_0", "apache-2.0")
    assert (card.name, card.context, card.price) == ("tiny-q8_0", 512, 1)
    assert card.parameters == 32 * len(ggufs.vocabulary()) + 32 + 32 * 64
    assert card.template == ggufs.TEMPLATE
    assert card.named == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    cache_bytes = 2 * 512 * 4 * 16
    logits = 4 * 512 * len(ggufs.vocabulary())
    assert card.memory_bytes == card.file.length + cache_bytes + logits + SLACK


def test_names_and_quantisations_are_found_where_they_are_not_said() -> None:
    card = card_of(
        {
            "general.file_type": None,
            "general.license": None,
            "general.basename": (Kind.STRING, "Smol LM/2!"),
            "general.size_label": (Kind.STRING, "135M"),
        }
    )
    assert (card.name, card.quantisation, card.licence) == (
        "smol-lm-2-135m-q8_0",
        "Q8_0",
        "unknown",
    )


def test_a_licence_is_one_short_line() -> None:
    card = card_of({"general.license": (Kind.STRING, "a\nb\x1b[31m" + "ü" * 300)})
    assert card.licence.isprintable()
    assert len(card.licence.encode()) <= 200


@pytest.mark.parametrize("changes", [None, recorder.pieces(True), recorder.bpe("qwen2")])
def test_a_card_that_was_written_is_read(changes: dict[str, object] | None) -> None:
    card = card_of(changes, price=7, engine=Engine.CTRANSFORMERS)
    again = ModelCard.parse(card.encode())
    assert again == card
    assert again.tokenizer.encode("hello") == card.tokenizer.encode("hello")


def test_a_context_is_within_what_the_model_was_trained_for() -> None:
    assert card_of(context=100).context == 100
    for context in (-1, 513, 2**40):
        with pytest.raises(LimitError):
            card_of(context=context)


@pytest.mark.parametrize(
    "words",
    [
        {"name": "no name"},
        {"name": "-x"},
        {"name": "x" * 101},
        {"gaps": (10, 0)},
        {"template": "{% if %}"},
        {"template": "a" * 70_000},
        {"image": replace(IMAGE, name="sha256:" + "0" * 64)},
    ],
)
def test_cards_that_make_no_sense_are_not_made(words: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        card_of(**words)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"context", 0),
        (b"engine", b"other"),
        (b"price", -1),
        (b"memory", 0),
        (b"parameters", 0),
        (b"name", b"\xff"),
        (b"name", b"a b"),
        (b"licence", b"a\x1b"),
        (b"most_gap", 0),
        (b"template", b"{{ 9 ** 9 "),
        (b"more", 1),
        (b"file", {b"length": 0, b"v1": b"a" * 20, b"v2": b"a" * 32}),
        (b"image", {b"layers": [], b"name": IMAGE.name.encode()}),
        (b"vocabulary", {}),
    ],
)
def test_cards_that_make_no_sense_are_not_read(key: bytes, value: canonical.Value) -> None:
    fields = canonical.decode(raw(), limit=1 << 24)
    assert isinstance(fields, dict)
    with pytest.raises(REFUSED):
        ModelCard.parse(canonical.encode({**fields, key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"bos", 10_000),
        (b"eos", -1),
        (b"eos", 5),
        (b"ends", [2, 0]),
        (b"ends", [2, 2]),
        (b"ends", []),
        (b"ends", [b"2"]),
        (b"model", b"bert"),
        (b"merges", []),
        (b"scores", b"abc"),
        (b"tokens", [b"a", b"a"]),
        (b"tokens", [b"\xff"]),
        (b"tokens", [b"a" * 9_000]),
        (b"types", b""),
        (b"types", b"\x09" * len(ggufs.vocabulary())),
    ],
)
def test_vocabularies_that_make_no_sense_are_not_read(key: bytes, value: canonical.Value) -> None:
    fields = canonical.decode(raw(), limit=1 << 24)
    assert isinstance(fields, dict)
    vocabulary = fields[b"vocabulary"]
    assert isinstance(vocabulary, dict)
    fields[b"vocabulary"] = {**vocabulary, key: value}
    with pytest.raises(REFUSED):
        ModelCard.parse(canonical.encode(fields))


@given(st.binary(max_size=200))
def test_random_bytes_are_no_card(noise: bytes) -> None:
    with pytest.raises(REFUSED):
        ModelCard.parse(noise)


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=6))
def test_a_mutated_card_is_read_as_itself_or_refused(at: int, data: bytes) -> None:
    mutated = raw()[:at] + data + raw()[at + len(data) :]
    try:
        card = ModelCard.parse(mutated)
    except REFUSED:
        return
    assert card.encode() == mutated
