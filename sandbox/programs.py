"""Running the system's own programs, so that an interrupt of ours leaves nothing of theirs."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Event
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TIDY_SECONDS = 2.0
LOOK_SECONDS = 0.2
"""How often it is looked whether work in a thread is to stop."""

_HALT: ContextVar[Event | None] = ContextVar("halt", default=None)


class HaltedError(Exception):
    """What runs here was told to stop, and nobody waits for it any more.

    Neither an ``OSError`` nor a ``SwarmError``: whoever handles those could take it for a failure
    of the disk or the network, tell people so, or go on.
    """


@contextmanager
def halting(halt: Event) -> Iterator[None]:
    """Let ``halt`` stop what is run meanwhile, also in threads of ``asyncio.to_thread``: Ctrl-C
    reaches the main thread only."""
    token = _HALT.set(halt)
    try:
        yield
    finally:
        _HALT.reset(token)


async def in_thread(work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
    """``work`` in a thread, told to stop when this is cancelled; else Ctrl-C would wait for it."""
    halt = Event()
    with halting(halt):
        try:
            return await asyncio.to_thread(work, *args, **words)
        finally:
            halt.set()


def heed() -> None:
    """Raise ``HaltedError`` if what runs here is to stop."""
    halt = _HALT.get()
    if halt and halt.is_set():
        raise HaltedError("stopped")


def pause() -> None:
    """Wait for ``LOOK_SECONDS``. Raises ``HaltedError`` as soon as this is to stop."""
    halt = _HALT.get()
    if halt is None:
        time.sleep(LOOK_SECONDS)
    else:
        halt.wait(LOOK_SECONDS)
        heed()


def run(
    command: Sequence[str], environment: Mapping[str, str], *, finish: bool = False
) -> "subprocess.CompletedProcess[bytes]":
    """Run ``command`` to its end, out of reach of a terminal's Ctrl-C.

    When this process is interrupted, or is to stop (``halting``), the program and all that it
    started are told to end, and get ``TIDY_SECONDS`` to tidy up. With ``finish`` it is waited for,
    because half of what it does would be worse than all of it. Raises ``HaltedError``, and
    ``OSError`` when there is no such program.
    """
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, errors = _wait(process, heeds=not finish)
        except BaseException:
            if not finish:
                _end(process)
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _wait(process: "subprocess.Popen[bytes]", *, heeds: bool) -> tuple[bytes, bytes]:
    if _HALT.get() is None or not heeds:
        return process.communicate()
    while True:
        heed()
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=LOOK_SECONDS)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _session(process.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=TIDY_SECONDS)
            return


def _session(leader: int) -> list[int]:
    """All processes of a session: some, as ninja, give their children groups of their own."""
    found = [leader]
    folder = Path("/proc")
    for entry in folder.iterdir() if folder.is_dir() else ():
        with suppress(ValueError, ProcessLookupError, PermissionError):
            if os.getsid(pid := int(entry.name)) == leader and pid != leader:
                found.append(pid)
    return found
