"""What goes to the tracker, in order: commands in, signed and packed messages out."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeAlias

from client.scheduling import moves
from client.work.session import Session
from client.work.stash import Entry
from workunits.ids import LeaseToken, UnitId
from workunits.manifest import MAX_MANIFEST
from workunits.results import commitment, seal
from workunits.signing import Identity
from workunits.wire.compare import Compared
from workunits.wire.holds import Holds
from workunits.wire.models import Tokens
from workunits.wire.work import (
    MAX_BATCH,
    Commit,
    Commits,
    Release,
    Reveal,
    Reveals,
    Want,
)

_READ_AT_ONCE = 64
_OVERHEAD = 64
"""Bytes around one record or one content in a frame, at most."""

Outgoing: TypeAlias = (
    moves.SendWant
    | moves.SendCommits
    | moves.SendReveals
    | moves.SendJudgement
    | moves.SendRelease
    | moves.Finish
    | Holds
    | Tokens
)


class Dispatch:
    """A queue of commands that end on the wire, and the one task that sends them."""

    def __init__(
        self,
        session: Session,
        identity: Identity,
        read: Callable[[tuple[LeaseToken, ...]], list[Entry]],
        lost: Callable[[tuple[LeaseToken, ...]], None],
        finished: Callable[[], None],
    ) -> None:
        """``read`` gets kept results from disk, in a thread; ``lost`` hears which are not there.

        ``finished`` is called when everything before ``Finish`` was handed to the wire.
        """
        self._session = session
        self._identity = identity
        self._read = read
        self._lost = lost
        self._finished = finished
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue()

    def put(self, command: Outgoing) -> None:
        """Send ``command`` after those before it."""
        self._queue.put_nowait(command)

    def clear(self) -> None:
        """The connection is gone: the scheduler says anew what still matters."""
        kept = []
        while not self._queue.empty():
            command = self._queue.get_nowait()
            if isinstance(command, moves.Finish):
                kept.append(command)
        for command in kept:
            self._queue.put_nowait(command)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._send(await self._queue.get())

    async def _send(self, command: Outgoing) -> None:
        match command:
            case Holds() | Tokens():
                await self._session.send(command)
            case moves.SendWant(hold):
                await self._session.send(Want(hold))
            case moves.SendCommits(job, units):
                commits = tuple(self._commit(UnitId(job, each.index), each) for each in units)
                await self._session.send(Commits.sign(self._identity, job, commits))
            case moves.SendReveals(tokens):
                await self._reveal(tokens)
            case moves.SendJudgement(job, judgement):
                await self._session.send(Compared.sign(self._identity, job, (judgement,)))
            case moves.SendRelease(tokens, reason):
                await self._session.send(Release(tokens, reason))
            case moves.Finish():
                self._finished()

    def _commit(self, unit: UnitId, ready: moves.Ready) -> Commit:
        return Commit(
            unit.index,
            ready.token,
            commitment(unit, ready.digest),
            seal(self._identity.key, unit, ready.digest),
        )

    async def _reveal(self, tokens: tuple[LeaseToken, ...]) -> None:
        for at in range(0, len(tokens), _READ_AT_ONCE):
            part = tokens[at : at + _READ_AT_ONCE]
            entries = await asyncio.to_thread(self._read, part)
            lost = set(part) - {entry.token for entry in entries}
            if lost:
                self._lost(tuple(sorted(lost)))
            for frame in frames(entries):
                await self._session.send(frame)


def frames(entries: list[Entry]) -> Iterator[Reveals]:
    """``entries`` in as few messages as the limits of a frame allow."""
    batch: list[Reveal] = []
    size = 0
    for entry in entries:
        more = len(entry.result) + sum(map(len, entry.contents))
        more += _OVERHEAD * (1 + len(entry.contents))
        if batch and (size + more > MAX_MANIFEST or len(batch) == MAX_BATCH):
            yield Reveals(tuple(batch))
            batch, size = [], 0
        batch.append(Reveal(entry.token, entry.result, entry.contents))
        size += more
    if batch:
        yield Reveals(tuple(batch))
