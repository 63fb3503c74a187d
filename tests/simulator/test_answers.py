"""Simulated results are what the real code makes."""

import pytest

from simulator.answers import Answers, result
from workunits.ids import JobId, PeerKey, UnitId
from workunits.results import Result, commitment, seal

JOB = JobId(b"j" * 32)
PEER = PeerKey(b"p" * 32)


@pytest.mark.parametrize(("index", "answer"), [(0, 0), (7, 1), (119_999, 1 << 45)])
def test_the_template_gives_what_the_real_code_gives(index: int, answer: int) -> None:
    answers, real = Answers(JOB), result(index, answer)
    unit = UnitId(JOB, index)
    assert answers.raw(index, answer) == real.encode()
    assert Result.parse(answers.raw(index, answer)) == real
    assert answers.commitment(index, answer) == commitment(unit, real.digest)
    assert answers.seal(PEER, index, answer) == seal(PEER, unit, real.digest)


def test_only_the_true_answer_is_true() -> None:
    answers = Answers(JOB)
    assert answers.is_true(3, answers.raw(3, 0))
    assert not answers.is_true(3, answers.raw(3, 1))
    assert not answers.is_true(3, answers.raw(4, 0))
