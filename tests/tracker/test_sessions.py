"""Work sessions over real WebSockets to a real tracker."""

import asyncio
from pathlib import Path

import pytest

from tests.tracker.serving import SECONDS, Served, identity, served
from tests.tracker.work.world import IMAGE, SUBMITTER, manifest
from tracker.work.floor import Patience
from tracker.work.larder import BURST
from validators.reputation import STRIKES
from workunits.errors import Blame
from workunits.ids import JobId
from workunits.statements import Cancel
from workunits.verification import Policy
from workunits.wire import work
from workunits.wire.handshake import Challenge, Hello, Offerings
from workunits.wire.holds import NAME_SIZE, Holds
from workunits.wire.work import (
    Commits,
    Failure,
    Leases,
    Release,
    Revealed,
    RevealRequest,
    Reveals,
    Revoked,
    Want,
)

OFFERINGS = Offerings(False, 1, 1 << 30, (IMAGE,), "test")


async def until_gone(tracker: Served, name: str) -> None:
    """Wait until the tracker has noticed that a peer is gone."""
    peer = tracker.running.sessions.desk.peers[identity(name).key]
    async with asyncio.timeout(SECONDS):
        while peer.connected:
            await tracker.running.sessions.durable()


async def test_a_job_goes_through_two_sessions_and_is_paid(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        worker = await tracker.join("worker")
        checker = await tracker.join("checker", validator=True)
        job = await tracker.submit(manifest(2, price=5))
        await worker.expect(Leases)
        await worker.commit()
        await checker.expect(Leases)
        await checker.commit()
        await worker.reveal()
        await checker.reveal()
        view = await tracker.ask(f"/api/v1/jobs/{job['id']}")
        assert view["state"] == "finished"
        assert view["counts"]["accepted"] == 2
        for remote in (worker, checker):
            account = await tracker.ask(f"/api/v1/accounts/{remote.identity.key.hex()}")
            assert (account["balance"], account["right"]) == (10, 2)


async def test_a_wrong_signature_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.connect("worker")
        other = Challenge(b"?" * 32, remote.challenge.tracker)
        await remote.send(Hello.sign(remote.identity, other, OFFERINGS))
        failure = await remote.expect(Failure)
        assert (failure.code, failure.blame) == ("signature", Blame.THEIRS)
        assert await remote.closed() == 1008
        assert not tracker.running.sessions.desk.peers
        assert len(tracker.running.sessions) == 0


async def test_a_hello_for_another_tracker_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.connect("worker")
        other = Challenge(remote.challenge.nonce, identity("other").key)
        await remote.send(Hello.sign(remote.identity, other, OFFERINGS))
        assert (await remote.expect(Failure)).code == "signature"


async def test_the_first_message_must_be_a_hello(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.connect("worker")
        await remote.send(Want(5))
        assert "must be a hello" in (await remote.expect(Failure)).message
        assert await remote.closed() == 1008
        remote = await tracker.connect("worker")
        await remote.socket.send_str("hello")
        assert await remote.closed() is not None
        remote = await tracker.connect("worker")
        await remote.socket.close()


@pytest.mark.parametrize(
    "frame", [b"", b"nonsense", b"d1:t4:nopee", b"d4:holdi-1e1:t4:wante", b"d3:abci5e-6:"]
)
async def test_a_malformed_frame_is_answered_with_blame_and_ends_the_session(
    tmp_path: Path, frame: bytes
) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.join("worker")
        await remote.socket.send_bytes(frame)
        failure = await remote.expect(Failure)
        assert (failure.code, failure.blame) == ("malformed", Blame.THEIRS)
        assert await remote.closed() is not None
        await until_gone(tracker, "worker")
        assert len(tracker.running.sessions) == 0
        await tracker.join("other")


async def test_a_frame_over_the_limit_ends_the_session(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.join("worker")
        await remote.socket.send_bytes(b"x" * (work.MAX_FRAME + 1))
        assert await remote.closed() is not None
        await until_gone(tracker, "worker")


async def test_a_second_hello_ends_the_session(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.join("worker")
        await remote.send(Hello.sign(remote.identity, remote.challenge, OFFERINGS))
        assert "second hello" in (await remote.expect(Failure)).message
        await remote.closed()


async def test_commits_that_another_signed_end_the_session(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.submit(manifest())
        remote = await tracker.join("worker")
        leases = await remote.expect(Leases)
        remote.identity = identity("thief")
        await remote.send(Commits.sign(remote.identity, leases.job, ()))
        assert (await remote.expect(Failure)).code == "signature"
        await remote.closed()


async def test_what_a_peer_holds_is_heard_until_it_says_so_too_often(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await (await tracker.connect("worker")).greet()
        peer = tracker.running.sessions.desk.peers[remote.identity.key]
        larder = peer.larder
        assert larder is not None
        for at in range(BURST + 1):
            await remote.send(Holds(at, frozenset([bytes([at]) * NAME_SIZE])))
        failure = await remote.expect(Failure)
        assert (failure.code, failure.blame) == ("refused", Blame.THEIRS)
        await remote.closed()
        assert larder.count >= BURST
        await until_gone(tracker, "worker")
        assert peer.larder is None


async def test_a_newer_session_of_a_key_replaces_the_older(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.submit(manifest(2))
        older = await tracker.join("worker")
        leases = await older.expect(Leases)
        newer = await tracker.join("worker")
        assert await older.closed() is not None
        assert newer.welcome is not None
        assert set(newer.welcome.held) == {lease.token for lease in leases.leases}
        assert len(tracker.running.sessions) == 1
        assert tracker.running.sessions.desk.peers[newer.identity.key].connected
        newer.leases = older.leases
        await newer.commit()


async def test_who_does_not_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        for nonce in range(5):
            await tracker.submit(manifest(nonce=nonce))
        monkeypatch.setattr("tracker.sessions.MAX_QUEUED", 3)
        remote = await tracker.join("slow")
        assert await remote.closed() == 1006
        await until_gone(tracker, "slow")
        assert len(tracker.running.sessions) == 0
        monkeypatch.undo()
        again = await tracker.join("slow")
        assert again.welcome is not None
        assert len(again.welcome.held) == 5


async def test_a_proven_cheat_is_told_so_and_not_let_in_again(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        desk = tracker.running.sessions.desk
        cheat = await tracker.join("cheat")
        peer = desk.peers[cheat.identity.key]
        peer.wrong, peer.banned = STRIKES, True
        await cheat.socket.close()
        again = await tracker.connect("cheat")
        await again.send(Hello.sign(again.identity, again.challenge, OFFERINGS))
        failure = await again.expect(Failure)
        assert (failure.code, failure.blame) == ("banned", Blame.THEIRS)
        assert failure.hint
        assert await again.closed() == 1008


async def test_a_tracker_that_restarts_in_the_middle_of_a_job_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = await tracker.submit(manifest(3))
        worker = await tracker.join("worker")
        await worker.expect(Leases)
        first, *rest = sorted(worker.leases)
        await worker.commit([first])
        held, results = dict(worker.leases), dict(worker.results)
    async with served(tmp_path) as tracker:
        worker = await tracker.join("worker", hold=0)
        assert worker.welcome is not None
        assert list(worker.welcome.held) == rest
        assert worker.welcome.committed == (first,)
        worker.leases, worker.results = held, results
        await worker.commit()
        checker = await tracker.join("checker", validator=True)
        while len(checker.leases) < 3:
            await checker.expect(Leases)
        await checker.commit()
        for remote in (worker, checker):
            shown = 0
            while shown < 3:
                asked = await remote.expect(RevealRequest)
                await remote.send(Reveals(tuple(remote.results[each] for each in asked.tokens)))
                shown += len((await remote.expect(Revealed)).tokens)
        view = await tracker.ask(f"/api/v1/jobs/{job['id']}")
        assert (view["state"], view["counts"]["accepted"]) == ("finished", 3)


async def test_a_restart_gives_leases_to_others_when_their_peer_stays_away(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.submit(manifest())
        await (await tracker.join("worker")).expect(Leases)
    async with served(tmp_path, Patience(away=0.0)) as tracker:
        other = await tracker.join("other")
        assert len((await other.expect(Leases)).leases) == 1


async def test_returned_leases_go_to_somebody_else(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.submit(manifest())
        worker = await tracker.join("worker")
        await worker.expect(Leases)
        other = await tracker.join("other")
        await worker.send(Release(tuple(worker.leases), "engine"))
        assert len((await other.expect(Leases)).leases) == 1


async def test_a_cancelled_job_is_revoked_over_the_wire(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = await tracker.submit(manifest(policy=Policy.TRUSTED))
        worker = await tracker.join("worker")
        await worker.expect(Leases)
        await tracker.say(tracker.sign(Cancel(JobId(bytes.fromhex(job["id"]))), SUBMITTER))
        revoked = await worker.expect(Revoked)
        assert set(revoked.tokens) == set(worker.leases)
        assert "cancelled" in revoked.reason


async def test_text_frames_are_ignored(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.submit(manifest())
        worker = await tracker.join("worker", hold=0)
        await worker.socket.send_str("hi")
        await worker.send(Want(1))
        await worker.expect(Leases)


async def test_everybody_is_told_when_the_tracker_goes_away(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        worker = await tracker.join("worker")
        await tracker.running.sessions.close()
        assert await worker.closed() == 1001
