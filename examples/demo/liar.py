"""A volunteer that cheats: it runs every unit, then changes the answer. For demo and tests only.

Two of them are a clique: they give the same wrong answer to the same unit, so where one checks the
other they agree. Takes the arguments of ``swarm``:
``python -m examples.demo.liar volunteer --tracker URL``.
"""

from pathlib import Path

import sandbox.containers
from openswarm.cli import main
from sandbox.containers import DockerSandbox
from sandbox.runner import Cell, Outcome, Program, Task


class LyingCell:
    """Runs units in an honest cell and falsifies what they leave."""

    def __init__(self, honest: Cell) -> None:
        self._honest = honest

    async def run(self, task: Task, into: Path) -> Outcome:
        """Run ``task``, then add one to the last digit of every output."""
        outcome = await self._honest.run(task, into)
        for path in outcome.outputs.values():
            content = bytearray(path.read_bytes())
            places = [at for at, byte in enumerate(content) if chr(byte).isdecimal()]
            if places:
                content[places[-1]] = ord("0") + (content[places[-1]] - ord("0") + 1) % 10
            path.write_bytes(content or b"0")
        return outcome

    async def close(self) -> None:
        """Close the honest cell."""
        await self._honest.close()


class LyingSandbox(DockerSandbox):
    """A real sandbox whose cells lie."""

    async def open(self, program: Program) -> LyingCell:  # type: ignore[override]
        """Open a cell that lies."""
        return LyingCell(await super().open(program))


if __name__ == "__main__":
    sandbox.containers.DockerSandbox = LyingSandbox  # type: ignore[misc]
    main()
