"""The open line to process 1 of a container: an upgraded HTTP connection of the engine.

The docker package can open this line only with blocking calls, and a unit every few milliseconds
is no place for threads.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from sandbox.frames import EngineFrames
from workunits.errors import UnavailableError

_HEAD_LIMIT = 16 * 1024
_CHUNK = 256 * 1024
_COMPLAINT = 4 * 1024


class HungUpError(Exception):
    """The container or the engine closed the line."""


Event_co = TypeVar("Event_co", covariant=True)


class Parser(Protocol[Event_co]):
    """Reads what process 1 writes; raises ``MalformedError`` or ``LimitError``."""

    def feed(self, data: bytes) -> Iterable[Event_co]:
        """Take the next bytes; what became complete."""


class Attach(Generic[Event_co]):
    """Sends frames and reads events. Buffers are bounded by the parsers."""

    __slots__ = ("_engine", "_events", "_parser", "_reader", "_writer", "complaint")

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        parser: Parser[Event_co],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._engine = EngineFrames()
        self._parser = parser
        self._events: deque[Event_co] = deque()
        self.complaint = b""
        """End of the standard error of process 1, for people."""

    @classmethod
    async def open(cls, socket: Path, container: str, parser: Parser[Event_co]) -> Self:
        """Attach to a container that was created and is not started yet.

        Raises ``UnavailableError`` when the engine does not answer or refuses.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=_CHUNK)
        except OSError as error:
            raise _unavailable(str(error)) from None
        try:
            writer.write(
                f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
                " HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.transport.abort()
            raise _unavailable(str(error)) from None
        except BaseException:
            writer.transport.abort()
            raise
        status = head.split(b" ", 2)[1:2]
        if len(head) > _HEAD_LIMIT or status not in ([b"101"], [b"200"]):
            writer.transport.abort()
            raise _unavailable(head[:200].decode(errors="replace").splitlines()[0])
        return cls(reader, writer, parser)

    @property
    def is_over(self) -> bool:
        """Whether the other side hung up and nothing of it is left."""
        return not self._events and self._reader.at_eof()

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._writer.write(frame)

    async def next(self) -> Event_co:
        """The next event.

        Raises ``HungUpError`` at the end of the line, ``MalformedError`` or ``LimitError`` when
        what came is not what process 1 may say.
        """
        while not self._events:
            try:
                data = await self._reader.read(_CHUNK)
            except OSError as error:
                raise HungUpError(str(error)) from None
            if not data:
                raise HungUpError("end of stream")
            for stream, piece in self._engine.feed(data):
                if stream == 1:
                    self._events.extend(self._parser.feed(piece))
                else:
                    self.complaint = (self.complaint + piece)[-_COMPLAINT:]
        return self._events.popleft()

    def abort(self) -> None:
        """Cut the line at once. Must come before a kill: an engine that cannot write to a stalled
        reader hangs in kill, wait and remove."""
        self._writer.transport.abort()


def _unavailable(reason: str) -> UnavailableError:
    return UnavailableError(
        f"the Docker engine did not attach to a container: {reason}",
        hint="Check with `swarm doctor` that the engine is running.",
    )
