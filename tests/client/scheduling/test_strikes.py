"""Jobs that fail here rest, longer each time; what will not get better is refused."""

from random import Random

import pytest

from client.scheduling.book import Book, JobRecord
from client.scheduling.pace import Tuning
from client.scheduling.strikes import Strikes
from tests.client.scheduling.machine import ASKED, HUGE, PLAIN
from workunits.manifest import SignedManifest

TUNING = Tuning(backoff=1.0, backoff_most=10.0, strikes=3)


def struck(
    reason: str, count: int, *, lasting: bool = True, of: SignedManifest = PLAIN
) -> tuple[Strikes, JobRecord]:
    """A job after so many failures at time 0."""
    strikes, job = Strikes(TUNING, Random(1), Book(TUNING)), JobRecord.of(of)
    for _ in range(count):
        strikes.strike(job, reason, 0.0, lasting=lasting)
    return strikes, job


def test_a_job_rests_about_twice_as_long_each_time_up_to_a_limit() -> None:
    rests = [struck("engine", count)[1].blocked for count in range(1, 9)]
    for before, rest in enumerate(rests):
        assert 0.75 <= rest / min(2.0**before, 10.0) <= 1.25
    assert rests == sorted(rests)


@pytest.mark.parametrize(
    ("reason", "count", "lasting", "refused"),
    [
        ("engine", 2, True, ""),
        ("engine", 3, True, "engine"),
        ("memory", 1, True, "memory"),
        ("memory", 2, False, ""),
        ("memory", 3, False, "memory"),
    ],
)
def test_a_lasting_reason_or_three_failures_refuse_a_job_until_it_rested(
    reason: str, count: int, lasting: bool, refused: str
) -> None:
    strikes, job = struck(reason, count, lasting=lasting)
    assert strikes.refusal(job, 60.0, job.blocked / 2) == refused
    assert strikes.sulks(job.blocked / 2) == bool(refused)
    assert strikes.refusal(job, 60.0, job.blocked) == ""
    assert not strikes.sulks(job.blocked)


def test_who_refuses_an_asked_model_still_wants_others() -> None:
    strikes, job = struck("model", 1, of=ASKED)
    assert strikes.refusal(job, 60.0, 0.0) == "model"
    assert not strikes.sulks(0.0)


def test_a_new_session_ends_the_sulking_and_no_rest() -> None:
    strikes, job = struck("image", 1)
    strikes.calm()
    assert not strikes.sulks(0.0)
    assert strikes.refusal(job, 60.0, 0.0) == "image"


def test_what_can_never_run_here_is_refused_at_once_and_what_is_slow_gets_another_chance() -> None:
    strikes, huge = struck("", 0, of=HUGE)
    assert strikes.refusal(huge, 60.0, 0.0) == "memory"
    _, slow = struck("", 0)
    slow.seconds = 61.0
    assert strikes.refusal(slow, 60.0, 0.0) == "slow"
    assert strikes.refusal(slow, 60.0, slow.blocked) == ""
