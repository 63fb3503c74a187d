"""Our tracker and our peers as processes of their own, anywhere: also in a network namespace.

``inside`` is a command that runs another one, as ``ip netns exec NAME`` does.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any

from examples.demo.swarm import START_SECONDS, SWARM, stop

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 90.0


@contextmanager
def tracker(
    data: Path, *options: str, listen: str = "127.0.0.1:0", inside: Sequence[str] = ()
) -> Iterator[str]:
    """Run a tracker until the block is left; its base URL."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "log"
    command = [*inside, *SWARM, "tracker", "serve", "--data", str(data), "--listen", listen]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"Listening on (http://\S+)", log.read_text())):
            said = log.read_text()
            assert process.poll() is None, f"the tracker ended:\n{said}"
            assert time.monotonic() < deadline, f"the tracker did not start:\n{said}"
            time.sleep(0.05)
        yield found[1]
    finally:
        stop(process)


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer of ours that runs."""

    process: subprocess.Popen[bytes]

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        assert self.process.stdout
        ready, _, _ = select([self.process.stdout], [], [], ANSWER_SECONDS)
        assert ready, "the peer did not come to an end in time"
        line = self.process.stdout.readline()
        assert line, "the peer ended; see what it wrote"
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def peer(*arguments: str, inside: Sequence[str] = ()) -> Iterator[Peer]:
    """Run ``tests.interop.peer`` until the block is left."""
    command = [*inside, sys.executable, "-m", "tests.interop.peer", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield Peer(process)
        finally:
            stop(process)
