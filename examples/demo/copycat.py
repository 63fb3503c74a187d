"""A validator that cheats: it runs nothing, and commits to what others committed to before it.

It looks for their commitments in the ledger. That shows none to a unit that waits for its verdict,
so it finds one only where a verdict was taken back, and could not show the result behind it; mostly
it finds none, and guesses. For demo and tests only. Takes the arguments of ``swarm``:
``python -m examples.demo.copycat volunteer --validate --tracker URL``.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

import client.work.volunteer
import sandbox.containers
from client.scheduling import moves
from client.work.dispatch import Dispatch, Outgoing
from openswarm.cli import main
from sandbox.containers import DockerSandbox
from sandbox.runner import Ending, Outcome, Program, Task
from workunits import entries
from workunits.ids import UnitId
from workunits.wire.work import Commit, Commits


class IdleCell:
    """Runs nothing: every output is a guess."""

    async def run(self, task: Task, into: Path) -> Outcome:
        """Pretend to have run ``task``."""
        outputs = {name: into / name for name in task.outputs}
        for path in outputs.values():
            path.write_text("a guess\n")
        return Outcome(Ending.EXITED, 0, outputs, (), b"", 0.0, 0.0)

    async def close(self) -> None:
        """There is nothing to close."""


class IdleSandbox(DockerSandbox):
    """A real sandbox that opens no container."""

    async def open(self, program: Program) -> IdleCell:  # type: ignore[override]
        """Open a cell that runs nothing."""
        return IdleCell()


class CopyingDispatch(Dispatch):
    """Replaces its commitments by those of others, as far as the ledger has any."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen: dict[UnitId, bytes] = {}
        self._entries = 0

    async def _send(self, command: Outgoing) -> None:
        if isinstance(command, moves.SendCommits):
            await self._read_ledger()
        await super()._send(command)

    def _commit(self, unit: UnitId, ready: moves.Ready) -> Commit:
        own = super()._commit(unit, ready)
        return replace(own, commitment=self._seen.get(unit, own.commitment))

    async def _read_ledger(self) -> None:
        url = f"{os.environ['SWARM_TRACKER']}/api/v1/ledger"
        async with aiohttp.ClientSession() as http:
            while True:
                query = {"after": str(self._entries), "limit": "1000"}
                async with http.get(url, params=query) as answer:
                    page = (await answer.json())["entries"]
                for item in page:
                    entry = entries.parse(bytes.fromhex(item["entry"]))
                    if isinstance(entry, entries.Commits):
                        for each in Commits(entry.job, entry.packed, entry.signature):
                            self._seen[UnitId(entry.job, each.index)] = each.commitment
                self._entries += len(page)
                if not page:
                    return


if __name__ == "__main__":
    sandbox.containers.DockerSandbox = IdleSandbox  # type: ignore[misc]
    client.work.volunteer.Dispatch = CopyingDispatch  # type: ignore[attr-defined, assignment]
    main()
