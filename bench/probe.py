"""A child that announces at a steady pace over HTTP, and says how long each answer took."""

import asyncio
import itertools
import json
import sys
import time
from asyncio import TaskGroup
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import uvloop

from bench.clients import http_requests

CONNECTIONS = 4
_SEPARATOR = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Pace:
    """Where to announce, how often a second, and for how many seconds."""

    url: str
    rate: float
    seconds: float

    def line(self) -> dict[str, object]:
        """The pace as JSON."""
        return asdict(self)


@dataclass(slots=True)
class Probe:
    """An honest peer that measures. ``took`` is seconds, from when an announce was due."""

    pace: Pace
    took: list[float] = field(default_factory=list)

    async def run(self) -> list[float]:
        """Announce for the time that was asked for."""
        began = time.monotonic()
        async with TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(self._connection(number, began))
        return self.took

    async def _connection(self, number: int, began: float) -> None:
        parts = urlsplit(self.pace.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            requests = itertools.cycle(http_requests(parts.netloc, 500 + number, 20))
            for turn in itertools.count():
                # Counted from when it was due, so that a stall counts for all that it holds up.
                due = began + (turn * CONNECTIONS + number) / self.pace.rate
                if due > began + self.pace.seconds:
                    break
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                writer.write(next(requests))
                head = (await reader.readuntil(_SEPARATOR)).lower()
                at = head.index(_LENGTH) + len(_LENGTH)
                body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
                if b"failure reason" in body:
                    raise RuntimeError(body)
                self.took.append(time.monotonic() - due)
        finally:
            writer.close()


if __name__ == "__main__":
    for text in sys.stdin:
        asked = json.loads(text)
        if not isinstance(asked, dict):
            break
        print(json.dumps(uvloop.run(Probe(Pace(**asked)).run())), flush=True)
