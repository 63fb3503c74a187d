"""Requests and jobs that the desk does not take."""

import pytest

from tests.tracker.work.chat import (
    CONTEXT,
    MOST,
    PRICE,
    Chat,
    Ears,
    a_request,
    chat_manifest,
    truth,
)
from workunits.errors import RefusedError
from workunits.verification import Policy

REQUEST = a_request()
TOKENS = truth(REQUEST).tokens
COST = 7 * PRICE
"""5 tokens of an answer, and a sixteenth of 32 of a prompt."""


def test_a_request_is_refused_that_the_budget_does_not_cover() -> None:
    most = COST + COST // 2
    chat = Chat(budget=2 * most)
    peers = chat.peer("worker"), chat.peer("checker")
    _, one = chat.ask()
    chat.ask()
    with pytest.raises(RefusedError, match="0 credits left"):
        chat.ask()
    chat.finish(*peers)
    assert one.ruling is not None
    assert chat.job.paid == 2 * most
    with pytest.raises(RefusedError, match="0 credits left"):
        chat.ask()
    chat.world.cancel(chat.job)
    assert chat.job.returned == 0
    chat.world.audit()


@pytest.mark.parametrize(
    "request_", [a_request(most=MOST + 1), a_request(prompt=CONTEXT), a_request(prompt=CONTEXT + 1)]
)
def test_a_request_is_refused_that_the_model_cannot_take(request_: object) -> None:
    chat = Chat()
    with pytest.raises(RefusedError, match="more than"):
        chat.ask(request_)  # type: ignore[arg-type]
    assert not chat.job.units


def test_a_job_that_is_not_asked_or_is_over_takes_no_request() -> None:
    chat = Chat()
    other = chat.world.submit(chat_manifest(budget=0, units=2))
    for job in (other, chat.job):
        if job is chat.job:
            chat.world.cancel(job)
        with pytest.raises(RefusedError, match="takes no requests"):
            chat.world.desk.ask(job, REQUEST, Ears(), chat.world.now, stream=False)


def test_a_job_that_is_asked_must_be_final_at_once() -> None:
    chat = Chat()
    with pytest.raises(RefusedError, match="final at once"):
        chat.world.submit(chat_manifest(policy=Policy.ECONOMY, nonce=1))
