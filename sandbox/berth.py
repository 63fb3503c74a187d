"""Where a cell keeps its container: one at a time, with an open line to process 1."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sandbox.attach import Attach, Parser
from sandbox.calls import Calls
from workunits.errors import SwarmError

START_SECONDS = 60.0
"""How long a container may take to become ready."""
GRACE_SECONDS = 1.0
"""The harness ends a unit at its wall limit; the host does so this much later, whatever happens."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of ours. ``retire_at`` is on the monotonic clock, in seconds."""

    id: str
    name: str
    retire_at: float


class Maker(Protocol):
    """Makes containers for cells; knows image, profile, names and labels."""

    async def create(self, folder: Path) -> Container:
        """Create a container (not started) that shows ``folder``."""

    async def remove(self, container: Container) -> None:
        """Kill and remove it; quiet when the engine is gone, the reaper comes later."""


Event = TypeVar("Event")


class Berth(Generic[Event]):
    """Empty, or one container that shows ``folder``; ``line`` is the line to it."""

    def __init__(
        self, calls: Calls, maker: Maker, folder: Path, clock: Callable[[], float]
    ) -> None:
        self._calls = calls
        self._maker = maker
        self._folder = folder
        self._clock = clock
        self._container: Container | None = None
        self.line: Attach[Event] | None = None

    async def occupy(self, parser: Parser[Event]) -> Attach[Event]:
        """Start a container in an empty berth. Raises what ``Calls`` raises: then, as whenever
        the container is in doubt, the berth is to be cleared."""
        assert self._container is None
        self._container = await self._maker.create(self._folder)
        self.line = await Attach.open(self._calls.socket, self._container.id, parser)
        await self._calls.start(self._container.id)
        return self.line

    def warm(self, wall_seconds: float) -> Attach[Event] | None:
        """The line, if the container did not hang up and may take one more unit of so long."""
        if self._container is None or self.line is None or self.line.is_over:
            return None
        retires = self._clock() + wall_seconds + GRACE_SECONDS > self._container.retire_at
        return None if retires else self.line

    @property
    def complaint(self) -> str:
        """The end of what process 1 wrote to its standard error, for people."""
        return self.line.complaint.decode(errors="replace").strip() if self.line else ""

    async def ran_out_of_memory(self) -> bool:
        """Whether that is why the container hung up, as far as the engine can say."""
        if self._container is not None:
            with contextlib.suppress(SwarmError):
                return (await self._calls.death(self._container.id)).out_of_memory
        return False

    async def clear(self) -> None:
        """Cut the line first, then kill: never the other way round. Quiet in an empty berth."""
        line, self.line = self.line, None
        container, self._container = self._container, None
        if line is not None:
            line.abort()
        if container is not None:
            await self._maker.remove(container)
