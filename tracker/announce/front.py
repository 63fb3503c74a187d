"""The first protocol of every connection to the tracker, and the site that listens.

It answers announces and scrapes by itself, because they are nearly all there is to answer, and
opens WebSockets. A connection that asks for anything else, or for the same in an unusual way, is
handed to aiohttp with all that it has sent, and stays there.
"""

import asyncio
from typing import cast

from aiohttp import web

from tracker.announce.handlers import AnnounceService, status_of
from tracker.announce.requests import END, MAX_HEAD, Fields, accept, may_be_ours
from workunits.errors import RemoteError

BACKLOG = 1024
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
_REFUSED = (
    b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


class Front(asyncio.Protocol):
    """One connection, until it is handed on. ``server`` makes aiohttp's protocol for the rest."""

    __slots__ = ("_active", "_host", "_rest", "_server", "_service", "_transport")

    def __init__(self, service: AnnounceService, server: web.Server) -> None:
        self._service = service
        self._server = server
        self._rest = b""
        self._host = ""
        self._active = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where it comes from."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._host = (transport.get_extra_info("peername") or ("",))[0]
        self._service.watch(self)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request in ``data``."""
        self._active = True
        if self._rest:
            data = self._rest + data
        replies: list[bytes] = []
        at = 0
        while (end := data.find(END, at)) >= 0:
            asked = self._service.requests.parse(data[at:end])
            if asked is None or asked[1].upgrading:
                self._write(replies)
                if asked is None:
                    self._hand_on(data[at:])
                else:
                    self._open(*asked, data[end + len(END) :])
                return
            target, fields = asked
            body = self._service.answer(target, self._service.source(self._host, fields.named))
            closing = b"Connection: close\r\n" if fields.last else b""
            replies.append(b"%b%bContent-Length: %d\r\n\r\n%b" % (_OK, closing, len(body), body))
            if fields.last:
                self._write(replies)
                self._transport.close()
                return
            at = end + len(END)
        self._write(replies)
        self._rest = data[at:]
        if self._rest and (len(self._rest) > MAX_HEAD or not may_be_ours(self._rest)):
            self._hand_on(self._rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._service.unwatch(self)

    def pause_writing(self) -> None:
        """Take no more from who does not read what it asked for."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def beat(self) -> None:
        """Close a connection that has asked nothing for the time between two beats."""
        if not self._active:
            self._transport.close()
        self._active = False

    def close(self) -> None:
        """The tracker is stopping."""
        self._transport.close()

    def _write(self, replies: list[bytes]) -> None:
        if replies:
            self._transport.write(replies[0] if len(replies) == 1 else b"".join(replies))

    def _hand_on(self, data: bytes) -> None:
        self._rest = b""
        self._service.unwatch(self)
        protocol = self._server()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def _open(self, target: str, fields: Fields, rest: bytes) -> None:
        source = self._service.source(self._host, fields.named)
        try:
            head = accept(fields.named)
            socket = self._service.open(target, source)
        except RemoteError as error:
            reason = error.message.encode()
            start = b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain\r\n" % status_of(error)
            self._transport.write(
                b"%bConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                % (start, len(reason), reason)
            )
            self._transport.close()
            return
        self._rest = b""
        self._service.unwatch(self)
        self._transport.write(head)
        self._transport.set_protocol(socket)
        socket.connection_made(self._transport)
        if rest:
            socket.data_received(rest)


class AnnounceSite(web.BaseSite):
    """Where the tracker listens: use it in the place of ``web.TCPSite``."""

    __slots__ = ("_host", "_port", "_service")

    def __init__(
        self, runner: web.AppRunner, service: AnnounceService, host: str, port: int
    ) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._service = service
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        """The address as it was asked for."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Begin to listen. Raises ``OSError``."""
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Front(self._service, server),
            self._host,
            self._port,
            backlog=self._backlog,
            reuse_address=True,
        )
