"""Peers tell each other what they saw of the ledger while they share a blob."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from client.peers.transport import MemoryConnector
from client.tracker_api import TrackerApi
from client.work.clock import Clock
from client.work.witness import LedgerWitness
from tests.client.forking import forking
from tests.client.peers.conftest import Peers, until
from tests.tracker.serving import identity
from validators.witness import ForkError
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.signing import Identity

DATA = os.urandom(300_000)
LOG = Identity.from_seed(b"l" * 32)


def note(size: int) -> SignedCheckpoint:
    return SignedCheckpoint(Checkpoint("log.example", size, bytes(32))).sign(LOG, "log.example")


@dataclass
class Ear:
    """Somebody who knows one checkpoint, or none, and listens."""

    mine: SignedCheckpoint | None = None
    heard: list[SignedCheckpoint] = field(default_factory=list)

    def head(self) -> SignedCheckpoint | None:
        return self.mine

    def hear(self, signed: SignedCheckpoint) -> None:
        self.heard.append(signed)


async def test_both_sides_of_a_connection_tell_what_they_saw(peers: Peers) -> None:
    network = MemoryConnector()
    one, other = Ear(note(1)), Ear(note(2))
    async with peers:
        first, store = await peers.add(connector=network, gossip=one)
        ref = store.add(DATA)
        first.seed(ref)
        second, _ = await peers.add(connector=network, gossip=other)
        await second.fetch(ref)
        await until(lambda: one.heard and other.heard)
    assert set(one.heard) == {note(2)}
    assert set(other.heard) == {note(1)}


async def test_who_saw_nothing_listens_and_who_does_not_care_shares_on(peers: Peers) -> None:
    network = MemoryConnector()
    one, other = Ear(note(1)), Ear()
    async with peers:
        first, store = await peers.add(connector=network, gossip=one)
        ref = store.add(DATA)
        first.seed(ref)
        second, _ = await peers.add(connector=network, gossip=other)
        await second.fetch(ref)
        await until(lambda: other.heard)
        third, _ = await peers.add(connector=network)
        assert (await third.fetch(ref)).read_bytes() == DATA
    assert set(other.heard) == {note(1)}
    assert one.heard == []


async def test_a_fork_shown_to_two_witnesses_is_caught_when_they_share_a_blob(
    peers: Peers, tmp_path: Path
) -> None:
    network = MemoryConnector()
    async with forking(tmp_path / "forking") as (one, other), peers:
        witnesses = [
            LedgerWitness(
                tracker.url, identity(name), tmp_path / name, clock=Clock(), rng=Random(1)
            )
            for name, tracker in (("a", one), ("b", other))
        ]
        async with TrackerApi.connect(one.url) as a, TrackerApi.connect(other.url) as b:
            for witness, tracker in zip(witnesses, (a, b), strict=True):
                await witness.look(tracker)
            first, store = await peers.add(connector=network, gossip=witnesses[0])
            ref = store.add(DATA)
            first.seed(ref)
            second, _ = await peers.add(connector=network, gossip=witnesses[1])
            await second.fetch(ref)
            for witness, tracker in zip(witnesses, (a, b), strict=True):
                async with asyncio.timeout(20):
                    with pytest.raises(ForkError):
                        while True:
                            await witness.look(tracker)
