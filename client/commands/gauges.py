"""What people see while content moves: bytes, rate and peers, on a terminal or in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from client import terminal
from client.commands.invocation import Invocation
from client.jobs.quantities import format_size, plural

if TYPE_CHECKING:
    from rich.text import Text

    from client.peers.stats import SwarmStats

PLAIN_SECONDS = 10.0
"""Seconds between two lines where there is no terminal."""

WINDOW = 10.0
"""Seconds over which a rate is measured."""

Clock = Callable[[], float]
Show = Callable[[int, int, str], None]
"""Takes bytes done, bytes in all (0 while nobody knows), and a few words."""


@dataclass(slots=True)
class Pace:
    """Bytes per second, from a counter that is read now and then."""

    clock: Clock = time.monotonic
    _seen: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, count: int) -> float:
        """Take the counter's value; the rate over the last ``WINDOW`` seconds."""
        now = self.clock()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            del self._seen[0]
        since, before = self._seen[0]
        return (count - before) / (now - since) if now > since else 0.0


@contextmanager
def gauge(call: Invocation, what: str, clock: Clock = time.monotonic) -> Iterator[Show]:
    """A bar for ``what``; a line now and then where there is no terminal; nothing for scripts."""
    if call.json:
        yield lambda done, total, words: None
        return
    pace = Pace(clock)
    console = terminal.console()
    if not console.is_terminal:
        due = clock() + PLAIN_SECONDS

        def line(done: int, total: int, words: str) -> None:
            nonlocal due
            rate = pace.rate(done)
            if clock() < due:
                return
            due = clock() + PLAIN_SECONDS
            share = f"{100 * done // total} % of {format_size(total)}" if total else "waiting"
            parts = (f"{what}: {share}", f"{format_size(round(rate))}/s", words)
            terminal.note(", ".join(part for part in parts if part))

        yield line
        return
    with _bar(console) as bar:
        task = bar.add_task(what, total=None, size="", words="")

        def show(done: int, total: int, words: str) -> None:
            rate = pace.rate(done)
            size = f"{format_size(done)} of {format_size(total)}" if total else ""
            speed = f"{format_size(round(rate))}/s" if done or total else ""
            words = ", ".join(part for part in (speed, words) if part)
            bar.update(task, completed=done, total=total or None, size=size, words=words)

        yield show


@contextmanager
def lamp(
    call: Invocation, clock: Clock = time.monotonic
) -> "Iterator[Callable[[SwarmStats], None]]":
    """A line of what is given to peers, kept up to date; only on a terminal."""
    console = terminal.console()
    if call.json or not console.is_terminal:
        yield lambda stats: None
        return
    pace = Pace(clock)
    with console.status("") as status:

        def show(stats: "SwarmStats") -> None:
            rate = format_size(round(pace.rate(stats.sent)))
            words = f"{plural(stats.peers, 'peer')}, {format_size(stats.sent)} sent, {rate}/s"
            online = "" if stats.tracker_online else "; the tracker is away, waiting for it"
            status.update(f"serving: {words}{online}")

        yield show


@contextmanager
def hourglass(
    call: Invocation, what: str, clock: Clock = time.monotonic
) -> Iterator[Callable[[], None]]:
    """A line of ``what`` and its seconds, which goes when told to; only on a terminal."""
    console = terminal.console()
    if call.json or not console.is_terminal:
        yield lambda: None
        return
    with console.status(_Seconds(what, clock)) as status:
        yield status.stop


class _Seconds:
    """Text that counts seconds whenever it is drawn."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._since = clock()

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text(f"{self._what} ... {self._clock() - self._since:.0f} s")


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[size]}", markup=False),
        TextColumn("{task.fields[words]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
