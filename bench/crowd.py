"""A child that plays many peers at once: real keys, sessions, commits, signatures and reveals.

Only the computing is left out: the results of all units are made before anything is measured.
"""

import asyncio
import json
import os
import sys
from asyncio import TaskGroup
from dataclasses import asdict, dataclass, field
from io import BytesIO
from math import inf

import aiohttp
import uvloop

from bench.tracker import IMAGE, OUTPUT
from client.scheduling.batches import Batches
from client.scheduling.pace import Tuning
from workunits.ids import Digest, LeaseToken, UnitId
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result, commitment, seal
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.handshake import Challenge, Hello, Offerings
from workunits.wire.work import (
    Commit,
    Commits,
    Committed,
    Failure,
    Leases,
    Reveal,
    Revealed,
    RevealRequest,
    Reveals,
    Want,
    Welcome,
)

AT_ONCE = 64
"""Handshakes under way at the same time."""

COUNT = '"count"'
BATCH = Tuning().batch
"""Most commits in one message, as the client does it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a crowd is told on its standard input. ``hold`` is leases a peer."""

    url: str
    volunteers: int
    validators: int
    hold: int
    units: int

    def line(self) -> dict[str, object]:
        """The plan as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one unit, as it is committed and as it is revealed."""

    digest: Digest
    raw: bytes
    contents: tuple[bytes, ...]

    @classmethod
    def to(cls, index: int) -> "Answer":
        """What the unit ``index`` computes: a few bytes of text."""
        data = f"the result of unit {index}\n".encode()
        blob = NamedBlob(OUTPUT, hash_stream(BytesIO(data), len(data)).info.ref)
        result = Result(Ending.EXITED, 0, (blob,))
        return cls(result.digest, result.encode(), (data,))


@dataclass(slots=True)
class Crowd:
    """The peers of one child. ``failures`` is what the tracker complained about."""

    plan: Plan
    answers: list[Answer] = field(default_factory=list)
    connected: int = 0
    revealed: int = 0
    everybody: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Connect everybody, say so, and work until told to end; count when asked to."""
        plan = self.plan
        self.answers = [Answer.to(index) for index in range(plan.units)]
        roles = [False] * plan.volunteers + [True] * plan.validators
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, TaskGroup() as group:
            peers = [group.create_task(self.peer(http, role)) for role in roles]
            await self.everybody.wait()
            say({"connected": self.connected})
            while (await asyncio.to_thread(sys.stdin.readline)).strip() == COUNT:
                say({"revealed": self.revealed, "failures": self.failures[:1]})
            for peer in peers:
                peer.cancel()

    async def peer(self, http: aiohttp.ClientSession, validator: bool) -> None:
        """One peer, for as long as its session lasts."""
        identity = Identity.from_seed(os.urandom(32))
        async with self.gate:
            socket = await http.ws_connect(
                f"{self.plan.url}/work", max_msg_size=work.MAX_FRAME, autoping=True
            )
            challenge = work.parse_from_tracker(await socket.receive_bytes())
            assert isinstance(challenge, Challenge)
            offerings = Offerings(validator, 4, 1 << 34, (IMAGE,), "bench")
            await socket.send_bytes(work.encode(Hello.sign(identity, challenge, offerings)))
            assert isinstance(work.parse_from_tracker(await socket.receive_bytes()), Welcome)
            await socket.send_bytes(work.encode(Want(self.plan.hold)))
        self.connected += 1
        if self.connected == self.plan.volunteers + self.plan.validators:
            self.everybody.set()
        peer = Peer(self, identity)
        async for frame in socket:
            for reply in peer.replies(frame.data):
                await socket.send_bytes(work.encode(reply))


@dataclass(slots=True)
class Peer:
    """What one peer of the crowd remembers. Like the real client it commits at once when no
    commit is under way, and gathers the next batch while one is."""

    crowd: Crowd
    identity: Identity
    held: dict[LeaseToken, tuple[UnitId, Answer]] = field(default_factory=dict)
    under_way: int = 0
    batches: Batches = field(default_factory=lambda: Batches(BATCH, inf))

    def replies(self, frame: bytes) -> list[Commits | Reveals]:
        """What a diligent peer answers."""
        match work.parse_from_tracker(frame):
            case Leases(job=job, leases=leases):
                for lease in leases:
                    answer = self.crowd.answers[lease.index]
                    self.held[lease.token] = UnitId(job, lease.index), answer
                    self.batches.add(job, lease.token, 0.0)
            case Committed():
                self.under_way -= 1
            case RevealRequest(tokens=tokens):
                shown = [(token, self.held.pop(token)[1]) for token in tokens]
                reveals = [Reveal(token, answer.raw, answer.contents) for token, answer in shown]
                return [
                    Reveals(tuple(reveals[at : at + BATCH])) for at in range(0, len(reveals), BATCH)
                ]
            case Revealed(tokens=tokens):
                self.crowd.revealed += len(tokens)
            case Failure(message=message):
                self.crowd.failures.append(message)
        ready = self.batches.take(0.0, idle=not self.under_way)
        self.under_way += len(ready)
        return [
            Commits.sign(self.identity, job, tuple(map(self.commit, tokens)))
            for job, tokens in ready
        ]

    def commit(self, token: LeaseToken) -> Commit:
        """The commitment and the seal of one unit."""
        unit, answer = self.held[token]
        return Commit(
            unit.index,
            token,
            commitment(unit, answer.digest),
            seal(self.identity.key, unit, answer.digest),
        )


def say(value: object) -> None:
    """One line to the parent."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    uvloop.run(Crowd(Plan(**json.loads(sys.stdin.readline()))).run())
