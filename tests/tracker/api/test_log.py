"""Witnesses at a real tracker: what they cosigned is checked, kept and shown."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tracker.api.schema import problems
from tests.tracker.serving import Served, identity, served
from tracker.api.openapi import document
from validators.witness import Witness, cosigned, witness_name
from workunits.archive import origin
from workunits.checkpoints import MAX_NOTE, Checkpoint, SignedCheckpoint
from workunits.ids import PeerKey
from workunits.statements import MAX_AGE

DOCUMENT = document("1")
COSIGNATURES = "/api/v1/ledger/cosignatures"


async def head(tracker: Served) -> SignedCheckpoint:
    return SignedCheckpoint.parse(await tracker.fetch("/api/v1/ledger/checkpoint"))


async def cosign(
    tracker: Served, name: str, signed: SignedCheckpoint | None = None, ago: int = 0
) -> SignedCheckpoint:
    seen = Witness(tracker.running.identity.key).see(signed or await head(tracker))
    return seen.cosign(identity(name), int(time.time()) - ago)


async def post(tracker: Served, note: bytes, status: int = 200) -> Any:
    return await tracker.ask(COSIGNATURES, "POST", status, data=note)


async def shown(tracker: Served) -> dict[int, set[PeerKey]]:
    answer = await tracker.ask("/api/v1/ledger/witnessed")
    schema = DOCUMENT["components"]["schemas"]["Witnessed"]
    assert problems(DOCUMENT, schema, answer) == []
    notes = [SignedCheckpoint.parse(each.encode()) for each in answer["notes"]]
    return {each.checkpoint.size: set(cosigned(each)) for each in notes}


async def test_what_witnesses_cosigned_is_shown_to_all(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        assert await shown(tracker) == {}
        await tracker.grant(amount=5)
        said = await post(tracker, (await cosign(tracker, "a")).encode())
        schema = DOCUMENT["components"]["schemas"]["Cosignature"]
        assert problems(DOCUMENT, schema, said) == []
        assert (said["witness"], said["size"]) == (identity("a").key.hex(), 1)
        await tracker.grant(amount=6)
        await post(tracker, (await cosign(tracker, "b")).encode())
        assert await shown(tracker) == {2: {identity("b").key}, 1: {identity("a").key}}
        await post(tracker, (await cosign(tracker, "a")).encode())
        assert await shown(tracker) == {2: {identity("a").key, identity("b").key}}


async def test_what_no_witness_of_this_ledger_signed_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        mine = await head(tracker)
        await post(tracker, b"", 400)
        await post(tracker, b"hello", 400)
        await post(tracker, mine.encode(), 400)
        await post(tracker, b"x" * (MAX_NOTE + 1), 413)
        await post(tracker, b"x" * (1 << 20), 413)
        late = await cosign(tracker, "a", ago=MAX_AGE + 60)
        assert "clock" in (await post(tracker, late.encode(), 403))["error"]["hint"]
        forged = SignedCheckpoint(mine.checkpoint).sign(identity("x"), mine.checkpoint.origin)
        name = witness_name(identity("a").key)
        await post(tracker, forged.cosign(identity("a"), name, int(time.time())).encode(), 403)
        assert await shown(tracker) == {}


async def test_a_tracker_says_when_its_key_signed_another_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as tracker:
        operator = tracker.running.identity
        name = origin(operator.key)
        with caplog.at_level(logging.ERROR, "tracker.api.log"):
            await post(tracker, (await cosign(tracker, "a")).encode())
            assert not [each for each in caplog.records if each.name == "tracker.api.log"]
            for size in (0, 9):
                other = SignedCheckpoint(Checkpoint(name, size, bytes(32))).sign(operator, name)
                await post(tracker, (await cosign(tracker, "b", other)).encode())
                assert f"of {size} entries that are not in this ledger" in caplog.text
        assert set(await shown(tracker)) == {0, 9}


async def test_peers_of_the_swarm_are_not_pushed_out_by_strangers(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.join("known", validator=True)
        await post(tracker, (await cosign(tracker, "known")).encode())
        for number in range(70):
            await post(tracker, (await cosign(tracker, f"s{number}")).encode())
        answer = await tracker.ask("/api/v1/ledger/witnessed")
        everyone: set[PeerKey] = set()
        for each in answer["notes"]:
            everyone |= set(cosigned(SignedCheckpoint.parse(each.encode())))
        assert identity("known").key in everyone
        assert len(everyone) == 65
