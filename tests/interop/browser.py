"""Headless Chromium with WebTorrent in it, as a peer that a test can tell what to do."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop import programs

HERE = Path(__file__).parent
SECONDS = 60.0
"""How long one command may take."""


@dataclass(slots=True)
class Browser:
    """A page with a WebTorrent client; files pass through ``folder``."""

    process: Process
    folder: Path
    version: str = ""

    async def do(self, command: str, **options: object) -> dict[str, Any]:
        """Run a command of ``page.js`` to its end; its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, options]).encode() + b"\n")
        answer = await self.answer()
        assert "error" not in answer, answer
        return answer

    async def answer(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            line = await self.process.stdout.readline()
        assert line, "the browser ended; see what it wrote"
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Start a browser whose files are in ``folder``; it ends with the block."""
    bundles = await asyncio.to_thread(programs.bundles)
    await asyncio.to_thread(programs.need, "chromium")
    folder.mkdir(exist_ok=True)
    arguments = [str(bundles), str(shutil.which("chromium")), str(folder)]
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "browser.mjs"), *arguments, stdin=PIPE, stdout=PIPE
    )
    try:
        started = Browser(process, folder)
        started.version = (await started.answer())["version"]
        yield started
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
