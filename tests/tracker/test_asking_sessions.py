"""Units that somebody waits for, over real WebSockets to a real tracker."""

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.tracker.serving import SECONDS, Remote, Served, served
from tests.tracker.work.chat import Ears, a_request, answered, chat_manifest, truth
from tests.tracker.work.world import IMAGE
from tracker.work.query import Cause, Ruling
from tracker.work.state import Job
from workunits.ids import JobId, LeaseToken
from workunits.models.request import Request
from workunits.results import Result, commitment, seal
from workunits.wire.handshake import Hello, Offerings
from workunits.wire.models import Ask, Halt, Tokens
from workunits.wire.work import Commit, Commits, Committed, Failure, Leases, Want, Welcome

REQUEST = a_request()
TRUTH = truth(REQUEST)


class Waiting(Ears):
    """Ears that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.word = asyncio.Event()
        self.end = asyncio.Event()

    def tokens(self, ids: tuple[int, ...], likely: object) -> None:
        super().tokens(ids, ())
        self.word.set()

    def settled(self, ruling: Ruling) -> None:
        super().settled(ruling)
        self.end.set()

    def failed(self, cause: Cause) -> None:
        super().failed(cause)
        self.end.set()


async def join(tracker: Served, name: str) -> Remote:
    """A peer that has room for the model."""
    remote = await tracker.connect(name)
    offerings = Offerings(False, 1, 1 << 30, (IMAGE,), "test", "", 1 << 30)
    await remote.send(Hello.sign(remote.identity, remote.challenge, offerings))
    await remote.expect(Welcome)
    await remote.send(Want(1))
    return remote


async def asked(remote: Remote) -> LeaseToken:
    """Wait for a question, and for its lease right after it."""
    ask = await remote.expect(Ask)
    assert ask.request == REQUEST
    lease = await remote.receive()
    assert isinstance(lease, Leases)
    assert [each.token for each in lease.leases] == [ask.token]
    return ask.token


async def commit(remote: Remote, token: LeaseToken) -> None:
    """Commit to the right answer."""
    unit = remote.leases.pop(token)
    shown = remote.results[token] = replace(answered(REQUEST, TRUTH), token=token)
    digest = Result.digest_of(shown.result)
    made = Commit(
        unit.index, token, commitment(unit, digest), seal(remote.identity.key, unit, digest)
    )
    await remote.send(Commits.sign(remote.identity, unit.job, (made,)))
    await remote.expect(Committed)


async def publish(tracker: Served) -> Job:
    """A job that is asked."""
    await tracker.grant()
    made = await tracker.submit(chat_manifest())
    return tracker.running.sessions.desk.jobs[JobId(bytes.fromhex(made["id"]))]


def ask(tracker: Served, job: Job, request: Request = REQUEST) -> Waiting:
    """Ask the job."""
    ears, sessions = Waiting(), tracker.running.sessions
    sessions.desk.ask(job, request, ears, sessions.clock(), stream=True)
    sessions.apply()
    return ears


async def test_an_answer_is_streamed_checked_and_paid(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker, asyncio.timeout(SECONDS):
        job = await publish(tracker)
        worker = await join(tracker, "worker")
        ears = ask(tracker, job)
        token = await asked(worker)
        await worker.send(Tokens(token, 0, TRUTH.tokens[:2]))
        await ears.word.wait()
        assert ears.heard == list(TRUTH.tokens[:2])
        await worker.send(Tokens(token, 2, TRUTH.tokens[2:], TRUTH.finish, rate=50_000))
        await commit(worker, token)
        checker = await join(tracker, "checker")
        await commit(checker, await asked(checker))
        await worker.reveal()
        await checker.reveal()
        await ears.end.wait()
        assert ears.ruling is not None
        assert ears.ruling.answer == TRUTH
        assert ears.heard == list(TRUTH.tokens)
        account = await tracker.ask(f"/api/v1/accounts/{worker.identity.key.hex()}")
        assert account["balance"] == 70


async def test_a_halt_reaches_the_peer(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker, asyncio.timeout(SECONDS):
        job = await publish(tracker)
        worker = await join(tracker, "worker")
        ask(tracker, job)
        token = await asked(worker)
        sessions = tracker.running.sessions
        (unit,) = job.units.values()
        sessions.desk.halt(unit, 3, sessions.clock())
        sessions.apply()
        assert await worker.expect(Halt) == Halt(token, 3)


async def test_a_peer_that_says_tokens_out_of_order_is_cut_off_and_replaced(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker, asyncio.timeout(SECONDS):
        job = await publish(tracker)
        worker, heir = await join(tracker, "worker"), await join(tracker, "heir")
        ears = ask(tracker, job)
        (unit,) = job.units.values()
        if unit.leased[0].peer.key == heir.identity.key:
            worker, heir = heir, worker
        token = await asked(worker)
        await worker.send(Tokens(token, 0, TRUTH.tokens[:2]))
        await worker.send(Tokens(token, 4, TRUTH.tokens[4:]))
        assert "2 are the next" in (await worker.expect(Failure)).message
        again = await heir.expect(Ask)
        assert again.given == TRUTH.tokens[:2]
        assert ears.heard == list(TRUTH.tokens[:2])
