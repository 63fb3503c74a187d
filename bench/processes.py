"""Child processes of a benchmark: started, talked to in lines of JSON, metered, and ended."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
STOP_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A benchmark cannot go on; the text says why."""


@dataclass(slots=True, eq=False)
class Child:
    """A running child; its standard input and output carry one JSON value a line."""

    process: subprocess.Popen[bytes]
    log: Path

    def tell(self, value: object) -> None:
        """Send ``value``."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(value).encode() + b"\n")
        except BrokenPipeError:
            raise BenchError(self.last_words()) from None

    def hear(self, seconds: float = PATIENCE) -> Any:
        """Wait for the next value. Raises ``BenchError`` when none comes in time."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            raise BenchError(f"{self.log.stem} said nothing for {seconds:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(self.last_words())
        return json.loads(line)

    def cpu(self) -> float:
        """CPU seconds that it has used, all threads, in user and kernel mode (proc(5))."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> int:
        """Bytes of memory that it has resident."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BenchError(f"{self.log.stem} has ended")

    def last_words(self) -> str:
        """Why it ended, as far as its log knows."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"{self.log.stem} ended: {lines[-1][:200] if lines else 'without a word'}"


@contextmanager
def child(module: str, *arguments: str, log: Path) -> Iterator[Child]:
    """Run ``python -m module`` for the length of the block."""
    with program([sys.executable, "-m", module, *arguments], log=log) as process:
        yield process


@contextmanager
def program(command: Sequence[str], *, log: Path) -> Iterator[Child]:
    """Run ``command`` for the length of the block, in a session of its own, so that Ctrl-C
    reaches us first and we end it."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            start_new_session=True,
        )
    try:
        yield Child(process, log)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def free_port() -> int:
    """A port that nothing uses, neither for TCP nor for UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(path: Path, process: Child) -> str:
    """The text of ``path``, once there is some."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.process.poll() is not None:
            raise BenchError(process.last_words())
        if path.exists() and (text := path.read_text().strip()):
            return text
        time.sleep(0.01)
    raise BenchError(f"{path.name} did not appear for {PATIENCE:.0f} s")
