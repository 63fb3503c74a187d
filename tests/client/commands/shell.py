"""A user's shell in tests: runs ``swarm`` in this process, with a home of its own."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openswarm.cli import main

IMAGE = "sha256:" + "0" * 64
SQUARES = f"""\
name = "squares"
outputs = ["out"]
[program]
image = "{IMAGE}"
command = ["square", "{{x}}"]
files = ["square.py"]
[parameters]
x = [2, 3, 4]
[verification]
policy = "trusted"
"""
BARE = SQUARES.replace('files = ["square.py"]\n', "")
"""The same without files, which a volunteer would have to fetch first."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command line came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """One user: a home folder, a tracker, an environment."""

    home: Path
    tracker: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *words: str | Path) -> Said:
        """Run ``swarm WORDS...``."""
        environment = {
            "SWARM_HOME": str(self.home),
            "SWARM_CACHE": str(self.home / "cache"),
            "SWARM_TRACKER": self.tracker,
            "HOME": str(self.home),
            "COLUMNS": "100",
        }
        out, err = StringIO(), StringIO()
        with (
            patch.dict("os.environ", {**environment, **self.environment}),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main([str(word) for word in words])
            except SystemExit as end:
                return Said(int(end.code or 0), out.getvalue(), err.getvalue())
        raise AssertionError("main returned")

    def good(self, *words: str | Path) -> Said:
        """Run a command that must succeed."""
        said = self.run(*words)
        assert said.status == 0, said
        return said

    async def arun(self, *words: str | Path) -> Said:
        """Run a command while this test's loop goes on."""
        return await asyncio.to_thread(self.run, *words)

    def key(self) -> str:
        """This user's public key."""
        return self.good("key", "show").out.strip()

    def job_file(self, text: str = SQUARES) -> Path:
        """A folder with a job file."""
        folder = self.home / "job"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "square.py").write_text("print(1)\n")
        (folder / "JOB.toml").write_text(text)
        return folder / "JOB.toml"
