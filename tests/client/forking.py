"""A tracker that forks: two servers with one key, whose ledgers are the same only at first."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.tracker.serving import Served, served


@asynccontextmanager
async def forking(
    folder: Path, *, common: int = 3, mine: int = 1, theirs: int = 2
) -> AsyncIterator[tuple[Served, Served]]:
    """Two servers after ``common`` entries and then ``mine`` or ``theirs`` of their own."""
    folder.mkdir()
    async with served(folder / "a") as tracker:
        await more(tracker, common, 1)
    shutil.copytree(folder / "a", folder / "b")
    async with served(folder / "a") as one, served(folder / "b") as other:
        await more(one, mine, 2)
        await more(other, theirs, 3)
        yield one, other


async def more(tracker: Served, entries: int, amount: int = 1) -> None:
    """Let a ledger grow."""
    for _ in range(entries):
        await tracker.grant(amount=amount)
