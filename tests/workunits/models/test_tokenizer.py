"""Tokenizers: the same ids as llama.cpp, no control tokens from people, characters kept whole."""

import json
from functools import cache
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.models import ggufs, recorder
from workunits.errors import LimitError, MalformedError
from workunits.models.gguf import Kind, MetaValue, parse_header
from workunits.models.pieces import MAX_WORD
from workunits.models.tokenizer import MAX_TEXT, Decoder, Tokenizer
from workunits.models.vocabulary import Vocabulary

VECTORS: dict[str, Any] = json.loads(recorder.VECTORS.read_text())
NAMES = sorted(VECTORS)
UNLIKE = {
    # The models' own patterns keep combining marks with their letters, llama.cpp's do not.
    name: [text for text in recorder.TEXTS if "M" in {category(char)[0] for char in text}]
    for name in ("gpt-4o", "tekken")
}


@cache
def tokenizer_of(name: str) -> Tokenizer:
    prefix = recorder.PREFIXES.get(name)
    return made_of(recorder.bpe(name) if prefix is None else recorder.pieces(prefix))


def made_of(changes: dict[str, tuple[Kind, MetaValue] | None]) -> Tokenizer:
    return Tokenizer(Vocabulary.of(parse_header(*ggufs.head(changes))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("special", [False, True])
def test_ids_are_those_of_llama_cpp(name: str, special: bool) -> None:
    tokenizer = tokenizer_of(name)
    wanted = VECTORS[name]["special" if special else "plain"]
    found = [list(tokenizer.encode(text, special=special)) for text in recorder.TEXTS]
    pairs = zip(recorder.TEXTS, found, wanted, strict=True)
    assert [text for text, ours, theirs in pairs if ours != theirs] == UNLIKE.get(name, [])


@pytest.mark.parametrize("name", NAMES)
def test_pieces_ends_and_beginnings_are_those_of_llama_cpp(name: str) -> None:
    tokenizer, wanted = tokenizer_of(name), VECTORS[name]
    count = len(tokenizer.vocabulary)
    assert [tokenizer.piece(at).hex() for at in range(0, count, 7)] == wanted["pieces"]
    assert sorted(tokenizer.ends) == wanted["ends"]
    assert tokenizer.vocabulary.add_bos == wanted["add_bos"]


def test_each_split_gives_other_ids_than_the_others() -> None:
    ids = [json.dumps(VECTORS[name]["plain"]) for name in NAMES]
    assert len(set(ids)) >= len(NAMES) - 1  # llama-bpe and dbrx differ in whole words only


@pytest.mark.parametrize("name", NAMES)
def test_text_that_was_encoded_is_decoded_to_itself(name: str) -> None:
    tokenizer = tokenizer_of(name)
    start = " " if name == "llama" else ""
    for text in recorder.TEXTS:
        if not start or OWN not in text:
            assert tokenizer.text(tokenizer.encode(text)) == (start + text if text else "")


OWN = recorder.OWN
_PARTS = st.one_of(
    st.text(max_size=12), st.sampled_from([*recorder.CONTROL, "<s>", "</s>", "<unk>", "<0x41>"])
)


@pytest.mark.parametrize("name", ["smollm", "llama-bpe", "llama"])
@given(parts=st.lists(_PARTS, max_size=6))
def test_no_text_of_a_person_makes_a_control_token(name: str, parts: list[str]) -> None:
    tokenizer = tokenizer_of(name)
    ids = tokenizer.encode("".join(parts))
    assert not tokenizer.vocabulary.control.intersection(ids)
    assert all(0 <= token < len(tokenizer.vocabulary) for token in ids)


def test_a_control_token_that_is_one_word_is_not_made_of_that_word_either() -> None:
    tokens = (*ggufs.vocabulary(), "hello!")
    types = (3,) * len(ggufs.SPECIAL) + (1,) * (len(tokens) - len(ggufs.SPECIAL) - 1) + (3,)
    tokenizer = made_of(
        {
            "tokenizer.ggml.pre": (Kind.STRING, "llama-bpe"),
            "tokenizer.ggml.tokens": (Kind.STRING, tokens),
            "tokenizer.ggml.token_type": (Kind.INT32, types),
        }
    )
    assert len(tokens) - 1 not in tokenizer.encode("hello!")
    assert tokenizer.encode("hello!", special=True) == (len(tokens) - 1,)


def test_a_control_token_that_merges_would_make_is_not_made() -> None:
    tokens = ggufs.vocabulary()
    hell = tokens.index("hell")
    types = [1] * len(tokens)
    types[hell] = 3
    tokenizer = made_of({"tokenizer.ggml.token_type": (Kind.INT32, tuple(types))})
    assert tokenizer.encode("hell", special=True) == (hell,)
    assert tokenizer.encode("hello") == tuple(map(tokens.index, ("he", "ll", "o")))


@given(st.text(max_size=30), st.integers(1, 5))
def test_a_decoder_says_the_same_however_the_tokens_come(text: str, step: int) -> None:
    tokenizer = tokenizer_of("smollm")
    ids = tokenizer.encode(text)
    decoder = Decoder(tokenizer)
    parts = [decoder.feed(ids[at : at + step]) for at in range(0, len(ids), step)]
    assert "".join([*parts, decoder.end()]) == tokenizer.text(ids)


def test_a_decoder_holds_a_character_back_until_it_is_whole() -> None:
    tokenizer = tokenizer_of("smollm")
    first, *others = tokenizer.encode("😃")
    assert others
    decoder = Decoder(tokenizer)
    assert decoder.feed([first]) == ""
    assert decoder.feed(others) == "😃"
    assert decoder.feed([first]) == ""
    assert decoder.end() == "\ufffd"


def test_ids_that_there_are_not_say_nothing() -> None:
    tokenizer = tokenizer_of("smollm")
    assert tokenizer.decode([-1, len(tokenizer.vocabulary), 2**24]) == b""
    assert tokenizer.decode(tokenizer.encode("<|im_end|>", special=True)) == b""


def test_half_a_surrogate_pair_is_a_question_mark() -> None:
    tokenizer = tokenizer_of("smollm")
    assert tokenizer.text(tokenizer.encode("a\ud800b")) == "a?b"


def test_an_endless_text_is_refused() -> None:
    with pytest.raises(LimitError, match="limit"):
        tokenizer_of("smollm").encode("a" * (MAX_TEXT + 1))
    with pytest.raises(LimitError, match="word"):
        tokenizer_of("llama").encode("a" * (MAX_WORD + 1))


@pytest.mark.parametrize("pre", ["", "default", "my-own"])
def test_an_unknown_split_is_refused_and_not_guessed(pre: str) -> None:
    with pytest.raises(MalformedError, match="pre-tokenizer") as failure:
        made_of({"tokenizer.ggml.pre": (Kind.STRING, pre)})
    assert "smollm" in failure.value.hint


def test_merges_of_tokens_that_there_are_not_are_refused() -> None:
    for merge in ("h q", "hq", "zz zz", ""):
        with pytest.raises(MalformedError):
            made_of({"tokenizer.ggml.merges": (Kind.STRING, (merge,))})


@pytest.mark.parametrize("kind", ["bert", "t5", "rwkv", ""])
def test_other_kinds_of_vocabularies_are_refused(kind: str) -> None:
    with pytest.raises(MalformedError, match="not supported"):
        made_of({"tokenizer.ggml.model": (Kind.STRING, kind)})


def test_a_vocabulary_that_names_no_end_of_text_is_refused() -> None:
    with pytest.raises(MalformedError, match="ends a text"):
        made_of({"tokenizer.ggml.eos_token_id": None})


def test_ends_are_found_by_name_and_by_number() -> None:
    tokens = (*ggufs.vocabulary(), "<|eot_id|>", "<|file_sep|>", "stop")
    count = len(tokens)
    tokenizer = made_of(
        {
            "tokenizer.ggml.tokens": (Kind.STRING, tokens),
            "tokenizer.ggml.token_type": (Kind.INT32, (1,) * count),
            "tokenizer.ggml.eot_token_id": (Kind.UINT32, count - 1),
        }
    )
    assert tokenizer.ends == {0, 2, count - 1, count - 2, count - 3}
    assert tokenizer.vocabulary.control >= {0, 2, count - 2, count - 3}
