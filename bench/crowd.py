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

import aiohttp
import uvloop

from bench.tracker import IMAGE, OUTPUT
from workunits.ids import Digest, LeaseToken, UnitId
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result, commitment, seal
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.work import (
    Challenge,
    Commit,
    Commits,
    Failure,
    Hello,
    Leases,
    Offerings,
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
MAX = work.MAX_BATCH


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
        held: dict[LeaseToken, Answer] = {}
        async for frame in socket:
            for reply in self.replies(identity, frame.data, held):
                await socket.send_bytes(reply)

    def replies(
        self, identity: Identity, frame: bytes, held: dict[LeaseToken, Answer]
    ) -> list[bytes]:
        """What a diligent peer answers at once."""
        match work.parse_from_tracker(frame):
            case Leases(job=job, leases=leases):
                commits = []
                for lease in leases:
                    answer = held[lease.token] = self.answers[lease.index]
                    unit = UnitId(job, lease.index)
                    commits.append(
                        Commit(
                            lease.index,
                            lease.token,
                            commitment(unit, answer.digest),
                            seal(identity.key, unit, answer.digest),
                        )
                    )
                return [
                    work.encode(Commits.sign(identity, job, tuple(commits[at : at + MAX])))
                    for at in range(0, len(commits), MAX)
                ]
            case RevealRequest(tokens=tokens):
                reveals = []
                for token in tokens:
                    answer = held.pop(token)
                    reveals.append(Reveal(token, answer.raw, answer.contents))
                return [
                    work.encode(Reveals(tuple(reveals[at : at + MAX])))
                    for at in range(0, len(reveals), MAX)
                ]
            case Revealed(tokens=tokens):
                self.revealed += len(tokens)
            case Failure(message=message):
                self.failures.append(message)
        return []


def say(value: object) -> None:
    """One line to the parent."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    uvloop.run(Crowd(Plan(**json.loads(sys.stdin.readline()))).run())
