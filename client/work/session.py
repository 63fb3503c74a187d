"""The shell around the work session: connect, prove who we are, come back when it breaks.

The protocol is ``workunits.wire.work``. What a tracker sends is parsed here, once and strictly; a
frame that does not parse is its fault, ends the connection and starts another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeAlias

import aiohttp

from client.work.backoff import Backoff
from client.work.clock import Clock
from workunits.errors import (
    Blame,
    LocalError,
    MalformedError,
    RefusedError,
    RemoteError,
    SignatureError,
    SwarmError,
    UnavailableError,
)
from workunits.ids import PeerKey
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.handshake import Challenge, Hello, Offerings, Vouch
from workunits.wire.work import Failure, FromPeer, FromTracker, Welcome, encode, parse_from_tracker

PATH = "/work"
HEARTBEAT = 20.0
HANDSHAKE = 20.0
"""Seconds that connecting and the handshake may take."""
STEADY = 5.0
"""Seconds after which a connection counts as a good one."""
SKEW = 60.0
"""Seconds by which clocks may differ before a person is told."""
FINAL = frozenset({"signature", "banned", "version"})
"""Failure codes after which trying again is pointless, when the blame is ours."""
FINAL_AT_HELLO = FINAL | {"refused"}


Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who we are to a tracker. ``offerings`` is asked anew for every connection."""

    identity: Identity
    offerings: Callable[[], Awaitable[Offerings]]
    vouch: Vouch | None = None


class Listener(Protocol):
    """Who is told what happens. Errors of the remote that it raises end the connection."""

    def up(self, welcome: Welcome, tracker: PeerKey, skew: float) -> None:
        """A session stands. ``skew`` is our clock minus the tracker's, in seconds."""

    def message(self, message: FromTracker) -> None:
        """The tracker says something (never a challenge or a welcome)."""

    def down(self, error: SwarmError, retry: float, *, was_up: bool) -> None:
        """The connection is gone, or was not made; the next try is in ``retry`` seconds."""


class Session:
    """One work session that survives its connections."""

    def __init__(
        self,
        tracker: str,
        peer: Peer,
        listener: Listener,
        *,
        clock: Clock | None = None,
        rng: Random,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """``tracker`` is the tracker's base URL, ``http://`` or ``https://``."""
        self._url = tracker.rstrip("/") + PATH
        self._peer = peer
        self._listener = listener
        self._clock = clock or Clock()
        self._backoff = Backoff(rng)
        self._heartbeat = heartbeat
        self._socket: Socket | None = None

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises ``RefusedError`` when the tracker says that it will never have us.
        """
        async with aiohttp.ClientSession() as http:
            while True:
                began = self._clock.monotonic()
                was_up = False
                try:
                    async with self._connect(http) as socket:
                        await self._greet(socket)
                        was_up = True
                        began = self._clock.monotonic()
                        self._socket = socket
                        await self._listen(socket)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    failure: SwarmError = _unreachable(self._url, error)
                except _RejectedError as error:
                    raise error.reason from None
                except (RemoteError, UnavailableError) as error:
                    failure = error
                finally:
                    self._socket = None
                if was_up and self._clock.monotonic() - began >= STEADY:
                    self._backoff.reset()
                retry = self._backoff.next()
                self._listener.down(failure, retry, was_up=was_up)
                await self._clock.sleep(retry)

    async def send(self, message: FromPeer) -> bool:
        """Send ``message`` if a session stands; waits while the wire is full.

        Whether it was handed to the wire. It may be lost still: only an acknowledgement counts.
        """
        socket = self._socket
        if socket is None:
            return False
        try:
            await socket.send_bytes(encode(message))
        except (aiohttp.ClientError, OSError):
            return False
        return True

    async def renew(self) -> None:
        """Connect anew, with what the peer offers now. Nothing that is held is lost by it."""
        if self._socket is not None:
            await self._socket.close()

    def _connect(self, http: aiohttp.ClientSession) -> "aiohttp.client._WSRequestContextManager":
        return http.ws_connect(
            self._url,
            max_msg_size=work.MAX_FRAME,
            heartbeat=self._heartbeat,
            timeout=aiohttp.ClientWSTimeout(ws_close=5.0),
        )

    async def _greet(self, socket: Socket) -> None:
        async with asyncio.timeout(HANDSHAKE):
            challenge = _accepted(await self._receive(socket), FINAL_AT_HELLO)
            if not isinstance(challenge, Challenge):
                raise MalformedError("the tracker did not begin with a challenge")
            offerings = await self._peer.offerings()
            hello = Hello.sign(self._peer.identity, challenge, offerings, self._peer.vouch)
            await socket.send_bytes(encode(hello))
            welcome = _accepted(await self._receive(socket), FINAL_AT_HELLO)
        if isinstance(welcome, Failure):
            raise RefusedError(f"the tracker said: {welcome.message}", hint=welcome.hint)
        if not isinstance(welcome, Welcome):
            raise MalformedError("the tracker did not answer the hello with a welcome")
        self._listener.up(welcome, challenge.tracker, self._clock.wall() - welcome.time)

    async def _listen(self, socket: Socket) -> None:
        while True:
            message = _accepted(await self._receive(socket), FINAL)
            if isinstance(message, Challenge | Welcome):
                raise MalformedError(f"the tracker sent a {message.t} in mid-session")
            self._listener.message(message)

    async def _receive(self, socket: Socket) -> FromTracker:
        frame = await socket.receive()
        if frame.type is aiohttp.WSMsgType.BINARY:
            return parse_from_tracker(frame.data)
        if frame.type is aiohttp.WSMsgType.TEXT:
            raise MalformedError("the tracker sent a text frame")
        if frame.type is aiohttp.WSMsgType.ERROR:
            raise MalformedError(f"the WebSocket to the tracker broke: {frame.data}")
        raise ClosedError(socket.close_code)


class ClosedError(RemoteError):
    """The tracker closed the connection."""

    code = "closed"

    def __init__(self, close_code: int | None) -> None:
        super().__init__(
            f"the tracker closed the connection ({close_code or 'no code'})",
            hint="It is probably restarting; the volunteer reconnects by itself.",
        )


class _RejectedError(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        kind = SignatureError if failure.code == "signature" else RefusedError
        self.reason = kind(failure.message, hint=failure.hint)
        self.reason.code = failure.code


def _accepted(message: FromTracker, final: frozenset[str]) -> FromTracker:
    """``message``, unless it says that this tracker will never have us."""
    if isinstance(message, Failure) and message.blame is Blame.THEIRS and message.code in final:
        raise _RejectedError(message)
    return message


def _unreachable(url: str, error: Exception) -> LocalError:
    said = str(error) or type(error).__name__
    return UnavailableError(
        f"cannot reach the tracker at {url}: {said}",
        hint="Check the address and that the tracker runs; the volunteer keeps trying.",
    )
