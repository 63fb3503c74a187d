"""Who is there, and what the books say at a glance."""

from pathlib import Path

from tests.tracker.serving import identity, served
from tests.tracker.work.world import manifest
from workunits.merkle import EMPTY_ROOT
from workunits.wire.handshake import Vouch


async def test_the_status_says_who_and_how_much(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        status = await tracker.ask("/api/v1/status")
        assert status["tracker"] == tracker.running.identity.key.hex()
        assert status["peers"] == {"connected": 0, "validators": 0, "volunteers": 0}
        books = {"entries": 0, "head": EMPTY_ROOT.hex(), "minted": 0, "total": 0}
        assert status["ledger"] == books
        await tracker.grant(amount=100)
        await tracker.submit(manifest(2))
        await tracker.join("worker")
        await tracker.join("checker", validator=True)
        status = await tracker.ask("/api/v1/status")
        assert status["peers"] == {"connected": 2, "validators": 1, "volunteers": 1}
        assert status["jobs"] == {"active": 1}
        assert (status["ledger"]["minted"], status["ledger"]["total"]) == (100, 0)


async def test_a_validator_of_the_operators_is_a_referee(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.connect("judge")
        remote.vouch = Vouch.sign(tracker.running.identity, remote.identity.key)
        await remote.greet(validator=True)
        await tracker.join("other", validator=True)
        peers = (await tracker.ask("/api/v1/peers"))["peers"]
        assert {each["key"]: each["role"] for each in peers} == {
            remote.identity.key.hex(): "referee",
            identity("other").key.hex(): "validator",
        }
