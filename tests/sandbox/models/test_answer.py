"""How an answer is made from logits: claims save work and change nothing."""

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given as fuzz
from hypothesis import strategies as st
from numpy.typing import NDArray

from sandbox.models.worker import serve
from sandbox.models.worker.answer import (
    HALTED,
    LENGTH,
    NONE,
    STOP,
    Ask,
    End,
    LeftError,
    Likely,
    Turn,
)

WORDS = 12
PROMPT = [3, 1, 4]


@dataclass
class Stub:
    """An engine whose logits depend on all tokens that it was fed, and that counts its passes."""

    batch: int = 8
    rows: int = 8
    context: int = 40
    vocabulary: int = WORDS
    ends: frozenset[int] = frozenset({0})
    fed: list[int] = field(default_factory=list)
    passes: int = 0

    def pieces(self) -> Sequence[bytes]:
        return [b"", *(bytes((byte,)) for byte in b'{}":,ab 12'), b"true"]

    def start(self) -> None:
        self.fed = []

    def feed(self, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
        assert 0 < len(tokens) <= self.batch
        assert 0 <= rows <= min(self.rows, len(tokens))
        assert len(self.fed) + len(tokens) <= self.context
        self.passes += 1
        found = []
        for token in tokens:
            self.fed.append(token)
            seed = struct.pack(f">{len(self.fed)}I", *self.fed)
            found.append(np.random.default_rng(list(seed)).normal(size=self.vocabulary))
        kept = found[len(found) - rows :]
        return np.array(kept, np.float32).reshape(rows, self.vocabulary)

    def keep(self, count: int) -> None:
        assert count <= len(self.fed)
        del self.fed[count:]


@dataclass
class Ear:
    """Who asked: keeps what is said, and halts when told."""

    halts: list[int] = field(default_factory=list)
    leave_after: int | None = None
    tokens: list[int] = field(default_factory=list)
    likely: list[Likely] = field(default_factory=list)

    def speak(self, start: int, tokens: list[int], likely: list[Likely]) -> None:
        assert start == len(self.tokens)
        assert 0 < len(tokens) <= 1024
        self.tokens.extend(tokens)
        self.likely.extend(likely)

    def halt(self) -> int:
        if self.leave_after is not None and len(self.tokens) >= self.leave_after:
            raise LeftError
        return self.halts[0] if self.halts else 0


def ask(most: int = 20, **words: Any) -> Ask:
    return Ask(PROMPT, most, 5, words.pop("sampling", (0, 1000, 0, 1000)), **words)


def answer(question: Ask, engine: Stub | None = None, ear: Ear | None = None) -> tuple[Ear, End]:
    ear = ear or Ear()
    return ear, Turn(engine or Stub(), question, ear).run()


@fuzz(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(0, 25),
    st.lists(st.integers(0, WORDS + 2), max_size=12),
    st.sampled_from([0, 800]),
    st.sampled_from([1000, 1300]),
)
def test_an_answer_depends_on_no_claim_and_no_batch(
    batch: int,
    rows: int,
    most: int,
    right: int,
    wrong: list[int],
    temperature: int,
    repetition: int,
) -> None:
    sampling = (temperature, 900, 0, repetition)
    plain, end = answer(ask(most, sampling=sampling), Stub(1, 1))
    claim = plain.tokens[:right] + wrong
    checked, other = answer(ask(most, sampling=sampling, given=claim), Stub(batch, rows))
    assert checked.tokens == plain.tokens
    assert (other.finish, other.count) == (end.finish, len(plain.tokens))
    common = 0
    while common < min(len(claim), len(plain.tokens)) and claim[common] == plain.tokens[common]:
        common += 1
    assert other.agreed == common


def test_a_claim_that_is_right_takes_few_passes() -> None:
    plain, end = answer(ask())
    engine = Stub(100, 100)
    _, checked = answer(ask(given=plain.tokens, finish=end.finish), engine)
    assert checked.agreed == len(plain.tokens) > 4
    assert engine.passes == 1


def test_an_end_of_text_is_the_last_token_of_an_answer() -> None:
    for seed in range(40):
        prompt = [seed % WORDS, seed // WORDS, 7]
        ear = Ear()
        end = Turn(Stub(), Ask(prompt, 60, 1, (0, 1000, 0, 1000)), ear).run()
        assert 0 not in ear.tokens[:-1]
        assert end.finish == (STOP if ear.tokens[-1] == 0 else LENGTH)
        assert len(ear.tokens) <= 37


def test_the_better_reason_for_an_end_counts() -> None:
    plain, _ = answer(ask(6))
    assert 0 not in plain.tokens
    assert answer(ask(6, halt=6))[1].finish == LENGTH
    ear, end = answer(ask(6, halt=3))
    assert (end.finish, ear.tokens) == (HALTED, plain.tokens[:3])


def test_who_asked_may_halt_in_the_middle_but_not_before_the_first_token() -> None:
    plain, _ = answer(ask(6))
    ear, end = answer(ask(6), ear=Ear(halts=[1]))
    assert (end.finish, ear.tokens) == (HALTED, plain.tokens[:1])


@pytest.mark.parametrize("margins", [False, True])
def test_an_answer_that_nobody_waits_for_is_left(margins: bool) -> None:
    given = answer(ask())[0].tokens if margins else []
    ear, end = answer(ask(margins=margins, given=given), ear=Ear(leave_after=0))
    assert end.finish == HALTED
    assert end.count == (len(given) if margins else 0)
    assert not ear.tokens


def test_gaps_are_of_the_claim_and_in_the_claim_s_own_text() -> None:
    plain, end = answer(ask(12))
    _, right = answer(ask(12, given=plain.tokens, finish=end.finish, margins=True))
    assert (right.mean, right.largest, right.agreed) == (0, 0, end.count)
    claim = [*plain.tokens[:4], 1 + plain.tokens[4] % (WORDS - 1), *plain.tokens[5:]]
    _, wrong = answer(ask(12, given=claim, finish=end.finish, margins=True), Stub(3, 2))
    engine = Stub()
    logits = engine.feed([*PROMPT, *plain.tokens[:4]], 1)[0]
    assert wrong.agreed == 4
    assert wrong.largest >= logits.max() - logits[claim[4]] > 0
    assert 0 < wrong.mean < wrong.largest < math.inf


def test_a_form_holds_for_claims_too() -> None:
    plain, end = answer(ask(30, form="json"))
    text = b"".join(Stub().pieces()[token] for token in plain.tokens)
    assert text.lstrip().startswith(b"{")
    _, checked = answer(ask(30, form="json", given=plain.tokens))
    assert checked.agreed == len(plain.tokens)
    bad = [plain.tokens[0], 2 if plain.tokens[1] != 2 else 3]
    _, gaps = answer(ask(2, form="json", given=[7, 7], finish=LENGTH, margins=True))
    assert math.isinf(gaps.largest)
    assert answer(ask(30, form="json", given=bad))[0].tokens == plain.tokens
    assert end.finish in (STOP, LENGTH)


def test_probabilities_are_of_each_token() -> None:
    ear, _ = answer(ask(5, top=3))
    assert [some[0][0] for some in ear.likely] == ear.tokens
    assert all(len(some) == 3 for some in ear.likely)


def test_logits_that_are_no_numbers_end_the_engine() -> None:
    class Broken(Stub):
        def feed(self, tokens: Sequence[int], rows: int) -> NDArray[np.float32]:
            return np.full_like(super().feed(tokens, rows), math.nan)

    with pytest.raises(ValueError, match="not a number"):
        answer(ask(), Broken())


def test_frames_come_through_a_pipe_and_late_halts_are_forgotten() -> None:
    source, host = os.pipe()
    line = serve.Line(source, host)

    def frame(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">cI", kind, len(payload)) + payload

    os.write(host, frame(b"H", struct.pack(">I", 9)) + frame(b"Q", b"first"))
    assert line.question() == b"first"
    assert line.halt() == 0
    os.write(host, frame(b"H", struct.pack(">I", 9)) + frame(b"H", struct.pack(">I", 4))[:6])
    assert line.halt() == 9
    os.write(host, struct.pack(">I", 4)[1:])
    assert line.halt() == 4
    os.write(host, frame(b"H", bytes(4)))
    with pytest.raises(LeftError):
        line.halt()
    os.write(host, frame(b"Q", b"second"))
    assert line.question() == b"second"
    assert line.halt() == NONE
    os.close(source)
    os.close(host)


def test_a_question_whose_counts_do_not_match_is_refused() -> None:
    with pytest.raises((ValueError, struct.error)):
        serve.read_question(bytes(serve._question.size) + b"rest")
