"""The tasks of a swarm: all end when it is left, and no failure of one ends another."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Whoever's tasks end before all others."""

    @property
    def tasks(self) -> "set[asyncio.Task[None]]":
        """Its tasks, to cancel."""


class Tasks:
    """A task group that contains what its tasks raise; an async context manager."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._running:
            task.cancel()
        # An error of the caller's own is not for the group to wrap.
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    def spawn(
        self,
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: object,
        member: Owner | None = None,
        then: Callable[[], object] | None = None,
    ) -> None:
        """Run ``work(*args)`` until it ends, ``member`` is left, or all end; then ``then``."""
        task = self._group.create_task(_contained(work, args))
        for tasks in (self._running, member.tasks if member is not None else self._running):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if then is not None:
            # Not in a ``finally`` of the work: a task cancelled before its start never gets there.
            task.add_done_callback(lambda _: then())


async def _contained(
    work: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]
) -> None:
    """A bug met by one peer's bytes must not end everybody's connections."""
    try:
        await work(*args)
    except Exception:
        log.exception("a task of the swarm failed")
