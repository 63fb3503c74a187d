"""Peers that answer a model over real WebSockets, without one: they repeat the prompt's letters."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from tests.tracker.endpoint.tiny import END, card
from tests.tracker.serving import Remote, Served
from workunits.ids import LeaseToken, UnitId
from workunits.metainfo import hash_stream
from workunits.models.answer import OUTPUT, Answer, Finish, meter
from workunits.models.request import Request
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result, commitment, seal
from workunits.wire.handshake import Hello, Offerings
from workunits.wire.holds import Holds, name_of
from workunits.wire.models import Ask, Halt, Tokens
from workunits.wire.work import (
    Commit,
    Commits,
    Leases,
    Reveal,
    RevealRequest,
    Reveals,
    Want,
    Welcome,
)

DISK = 1 << 30
Speech = Callable[[Request], tuple[int, ...]]


def parrot(request: Request) -> tuple[int, ...]:
    """The last letters of the prompt, and an end."""
    letters = [id_ for id_ in request.prompt if id_ < END - 1]
    return (*letters[-16:], END)[: request.most]


@dataclass(eq=False)
class Speaker:
    """One peer. ``speech`` is what it answers; it says ``first`` tokens, then waits for ``go``."""

    remote: Remote
    speech: Speech = parrot
    first: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asks: dict[LeaseToken, Ask] = field(default_factory=dict)
    shown: dict[LeaseToken, Reveal] = field(default_factory=dict)
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def join(cls, tracker: Served, name: str, **settings: object) -> "Speaker":
        """Connect, with the model and its image."""
        remote, made = await tracker.connect(name), card()
        brings = Offerings(False, 2, 1 << 30, (made.image.name,), "test", "", DISK)
        await remote.send(Hello.sign(remote.identity, remote.challenge, brings))
        await remote.expect(Welcome)
        await remote.send(Holds(DISK, frozenset({name_of(made.file)})))
        await remote.send(Want(2))
        return cls(remote, **settings)  # type: ignore[arg-type]

    async def run(self) -> None:
        """Answer whatever is asked, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                match await self.remote.receive():
                    case Ask() as ask:
                        self.asks[ask.token] = ask
                    case Leases(job=job, leases=leases):
                        for lease in leases:
                            unit = UnitId(job, lease.index)
                            group.create_task(self._answer(unit, lease.token))
                    case RevealRequest(tokens=tokens):
                        await self.remote.send(Reveals(tuple(self.shown[each] for each in tokens)))
                    case Halt():
                        self.halted.set()

    async def _answer(self, unit: UnitId, token: LeaseToken) -> None:
        request = self.asks[token].request
        assert request is not None
        ids = self.speech(request)
        finish = Finish.STOP if ids[-1] == END else Finish.LENGTH
        if self.first:
            await self.remote.send(Tokens(token, 0, ids[: self.first]))
            await self.go.wait()
        await self.remote.send(Tokens(token, self.first, ids[self.first :], finish, rate=50_000))
        raw = Answer(ids, finish, request.nonce).encode()
        ref = hash_stream(BytesIO(raw), len(raw)).info.ref
        metered = meter(request, len(ids))
        result = Result(Ending.EXITED, 0, (NamedBlob(OUTPUT, ref),), metered).encode()
        self.shown[token] = Reveal(token, result, (raw,))
        digest, key = Result.digest_of(result), self.remote.identity.key
        made = Commit(unit.index, token, commitment(unit, digest), seal(key, unit, digest))
        await self.remote.send(Commits.sign(self.remote.identity, unit.job, (made,)))
        self.answered.set()
