"""Bringing the results of a job home: from the tracker's store, else from peers; all checked."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from client.config import Config
from client.jobs.quantities import plural
from client.jobs.result_folder import ResultFolder
from client.jobs.seeding import swarming
from client.peers.engine import Engine
from client.tracker_api import TrackerApi, TrackerError
from client.views import UnitView
from workunits.errors import MalformedError, UnavailableError
from workunits.manifest import SignedManifest
from workunits.parameters import NamedBlob

Piece: TypeAlias = tuple[int, NamedBlob]
"""An output of a unit, by index."""

AT_ONCE = 8
PEER_PATIENCE = 60.0
"""Seconds that a blob may make no progress among peers before it counts as not to be had."""


@dataclass
class Harvest:
    """One download of a job's results: from the tracker's store, else from peers."""

    tracker: TrackerApi
    signed: SignedManifest
    folder: ResultFolder
    config: Config
    say: Callable[[str], None] = lambda _: None
    accepted: int = 0
    failed: int = 0
    present: int = 0
    missing: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    _elsewhere: list[Piece] = field(default_factory=list)

    async def run(self, advance: Callable[[], None]) -> None:
        """Fetch everything that is not here, then write the table.

        What nobody has now is in ``missing``. Raises ``MalformedError`` when the tracker or a
        peer gives what the signed manifest or a hash does not allow, ``ForeignFileError`` when
        something is in the way, and what ``TrackerApi`` raises.
        """
        try:
            await self._ask_tracker(advance)
            if self._elsewhere:
                await self._ask_peers()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        self.folder.write_table(self.rows)

    async def _ask_tracker(self, advance: Callable[[], None]) -> None:
        work: asyncio.Queue[Piece | None] = asyncio.Queue(4 * AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work(work))
            async for unit in self._units():
                self.rows.append(self._row(unit))
                for output in unit.result.outputs if unit.result else ():
                    await work.put((unit.index, output))
                advance()
            for _ in range(AT_ONCE):
                await work.put(None)

    async def _units(self) -> AsyncIterator[UnitView]:
        last = -1
        async for unit in self.tracker.units(self.signed.id):
            if not last < unit.index < self.signed.manifest.units:
                raise MalformedError(f"the tracker lists unit {unit.index} after unit {last}")
            last = unit.index
            self._check(unit)
            if unit.state == "accepted":
                self.accepted += 1
                yield unit
            elif unit.state == "failed":
                self.failed += 1
                yield unit

    def _check(self, unit: UnitView) -> None:
        """Refuse a result that the signed manifest does not allow."""
        outputs = unit.result.outputs if unit.result else ()
        names = [output.name for output in outputs]
        size = sum(output.ref.length for output in outputs)
        declared = self.signed.manifest.outputs
        if len(set(names)) < len(names) or not set(names) <= set(declared):
            raise MalformedError(f"unit {unit.index} has outputs that the job does not declare")
        if size > self.signed.manifest.limits.output_bytes:
            raise MalformedError(f"unit {unit.index} has more output than the job allows")

    def _row(self, unit: UnitView) -> dict[str, Any]:
        # The signed manifest says what the parameters are; the tracker need not be believed.
        derived = self.signed.manifest.unit(self.signed.id, unit.index)
        row: dict[str, Any] = {
            "index": unit.index,
            "state": unit.state,
            "parameters": derived.parameters,
        }
        if unit.result:
            row["exit"] = unit.result.exit_status
            row["outputs"] = {
                output.name: {
                    "path": f"{unit.index}/{output.name}",
                    "length": output.ref.length,
                    "v2": output.ref.v2.hex(),
                }
                for output in unit.result.outputs
            }
        if unit.reason:
            row["reason"] = unit.reason
        row["peers"] = [peer.hex() for peer in unit.winners]
        return row

    async def _work(self, work: "asyncio.Queue[Piece | None]") -> None:
        while (piece := await work.get()) is not None:
            try:
                if not await asyncio.to_thread(self.folder.has, *piece):
                    await self._fetch(piece)
                self.present += 1
            except TrackerError as error:
                if error.status != 404:
                    raise
                self._elsewhere.append(piece)

    async def _fetch(self, piece: Piece) -> None:
        with self.folder.part(*piece).open("wb") as file:
            async for chunk in self.tracker.blob(piece[1].ref):
                file.write(chunk)
        await asyncio.to_thread(self.folder.keep, *piece)

    async def _ask_peers(self) -> None:
        """Fetch from peers what the tracker does not have."""
        self.say(f"fetching {plural(len(self._elsewhere), 'output')} from peers")
        turns = asyncio.Semaphore(AT_ONCE)
        async with (
            swarming(self.config, self.folder.path, patience=PEER_PATIENCE) as swarm,
            asyncio.TaskGroup() as group,
        ):
            for piece in self._elsewhere:
                await turns.acquire()
                task = group.create_task(self._fetch_from(swarm, piece))
                task.add_done_callback(lambda _: turns.release())

    async def _fetch_from(self, swarm: Engine, piece: Piece) -> None:
        index, output = piece
        try:
            path = await swarm.fetch(output.ref)
        except UnavailableError as error:
            self.missing.append(f"{index}/{output.name}: {error.message}")
            return
        await asyncio.to_thread(shutil.copyfile, path, self.folder.part(*piece))
        await asyncio.to_thread(self.folder.keep, *piece)
        self.present += 1


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
