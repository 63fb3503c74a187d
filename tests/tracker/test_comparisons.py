"""Comparisons over real WebSockets: what is asked, what is taken, and what ends a session."""

from pathlib import Path

from tests.tracker.serving import Remote, Served, served
from tests.tracker.work.world import IMAGE, PROGRAM, manifest
from workunits.signing import Identity
from workunits.wire.compare import Compare, Compared, Opinion
from workunits.wire.handshake import Hello, Offerings, Vouch
from workunits.wire.work import Failure, JobOffer, Leases, Release, Welcome


async def disputed(tracker: Served) -> str:
    """A job whose two results differ; its id."""
    await tracker.grant()
    voters = [await tracker.join(name) for name in ("one", "two")]
    job = await tracker.submit(manifest(comparator=PROGRAM))
    for voter, answer in zip(voters, ("1.0", "1.00"), strict=True):
        await voter.expect(Leases)
        await voter.commit(answer=answer)
    for voter in voters:
        await voter.reveal()
    found: str = job["id"]
    return found


async def referee(tracker: Served) -> Remote:
    """The operator's validator, which was greeted."""
    remote = await tracker.connect("referee")
    vouch = Vouch.sign(tracker.running.identity, remote.identity.key)
    offerings = Offerings(True, 1, 1 << 30, (IMAGE,), "test")
    await remote.send(Hello.sign(remote.identity, remote.challenge, offerings, vouch))
    remote.welcome = await remote.expect(Welcome)
    return remote


def answer(by: Identity, compare: Compare) -> Compared:
    said = [pair.judged(Opinion.SAME) for pair in compare.pairs]
    return Compared.sign(by, compare.job, said)


async def until_accepted(tracker: Served, job: str) -> None:
    while (await tracker.ask(f"/api/v1/jobs/{job}"))["counts"]["accepted"] < 1:
        await tracker.running.sessions.durable()


async def test_the_job_comes_first_then_the_results_and_an_opinion_decides(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        job = await disputed(tracker)
        judge = await referee(tracker)
        assert isinstance(await judge.receive(), JobOffer)
        compare = await judge.receive()
        assert isinstance(compare, Compare)
        (pair,) = compare.pairs
        assert {pair.a.contents, pair.b.contents} == {(b"secret 1.0",), (b"secret 1.00",)}
        await judge.send(answer(judge.identity, compare))
        await until_accepted(tracker, job)


async def test_an_opinion_with_a_wrong_signature_ends_the_session(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await disputed(tracker)
        judge = await referee(tracker)
        compare = await judge.expect(Compare)
        await judge.send(answer(Identity.from_seed(b"!" * 32), compare))
        assert (await judge.expect(Failure)).code == "signature"
        assert await judge.closed() is not None


async def test_a_welcome_leaves_comparisons_out_and_they_are_asked_for_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        job = await disputed(tracker)
        first = await (await referee(tracker)).expect(Compare)
        judge = await referee(tracker)
        assert judge.welcome
        assert judge.welcome.held == judge.welcome.committed == ()
        second = await judge.expect(Compare)
        assert first.pairs[0].token != second.pairs[0].token
        await judge.send(answer(judge.identity, first))
        await judge.send(Release((first.pairs[0].token,), "late"))
        await judge.send(answer(judge.identity, second))
        await until_accepted(tracker, job)


async def test_a_tracker_that_restarts_asks_again(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        job = await disputed(tracker)
        await (await referee(tracker)).expect(Compare)
    async with served(tmp_path) as tracker:
        judge = await referee(tracker)
        await judge.send(answer(judge.identity, await judge.expect(Compare)))
        await until_accepted(tracker, job)
