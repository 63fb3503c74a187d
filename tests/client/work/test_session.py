"""The work session against a server that speaks, misspeaks, hangs up and comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from client.work.backoff import Backoff
from client.work.clock import Clock
from client.work.session import Peer, Session
from tests.client.work.tracker import peer_key
from workunits.errors import (
    Blame,
    MalformedError,
    RefusedError,
    SignatureError,
    SwarmError,
    UnavailableError,
)
from workunits.ids import LeaseToken, PeerKey
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.handshake import Challenge, Hello, Offerings, Vouch
from workunits.wire.work import (
    Committed,
    Failure,
    FromTracker,
    Want,
    Welcome,
    encode,
    parse_from_peer,
)

TRACKER = Identity.from_seed(b"t" * 32)
OWNER = Identity.from_seed(b"o" * 32)
CHALLENGE = Challenge(b"n" * 32, TRACKER.key)
WELCOME = Welcome(1_700_000_000, (LeaseToken(1),), (LeaseToken(2),))
Script = Callable[[web.WebSocketResponse], Awaitable[None]]


async def offerings() -> Offerings:
    return Offerings(validator=False, cores=2, memory_bytes=1 << 30, images=(), agent="test")


@dataclass
class Heard:
    """A listener that remembers, and can be waited for."""

    ups: list[tuple[Welcome, PeerKey, float]] = field(default_factory=list)
    messages: list[FromTracker] = field(default_factory=list)
    downs: list[tuple[SwarmError, float, bool]] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    fault: SwarmError | None = None

    def up(self, welcome: Welcome, tracker: PeerKey, skew: float) -> None:
        self.ups.append((welcome, tracker, skew))
        self.happened.set()

    def message(self, message: FromTracker) -> None:
        if self.fault:
            raise self.fault
        self.messages.append(message)
        self.happened.set()

    def down(self, error: SwarmError, retry: float, *, was_up: bool) -> None:
        self.downs.append((error, retry, was_up))
        self.happened.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.happened.clear()
                await self.happened.wait()


@dataclass
class Sleeper:
    """Sleeps in no time, and remembers for how long."""

    slept: list[float] = field(default_factory=list)
    most: int = 10**9

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > self.most:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


@asynccontextmanager
async def server_of(*scripts: Script) -> AsyncIterator[str]:
    """A server whose n-th connection follows the n-th script, and later ones the last."""
    count = 0

    async def serve(request: web.Request) -> web.WebSocketResponse:
        nonlocal count
        script = scripts[min(count, len(scripts) - 1)]
        count += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket)
        return socket

    app = web.Application()
    app.router.add_get("/work", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def greet(socket: web.WebSocketResponse) -> Hello:
    await socket.send_bytes(encode(CHALLENGE))
    hello = parse_from_peer((await socket.receive()).data)
    assert isinstance(hello, Hello)
    hello.check(CHALLENGE)
    return hello


def saying(*frames: bytes | str | FromTracker) -> Script:
    """Welcome the peer, send ``frames``, then listen until it goes."""

    async def script(socket: web.WebSocketResponse) -> None:
        await greet(socket)
        await socket.send_bytes(encode(WELCOME))
        for frame in frames:
            if isinstance(frame, str):
                await socket.send_str(frame)
            else:
                await socket.send_bytes(frame if isinstance(frame, bytes) else encode(frame))
        async for _ in socket:
            pass

    return script


def only(*frames: bytes | FromTracker) -> Script:
    """Send ``frames`` without any manners and hang up."""

    async def script(socket: web.WebSocketResponse) -> None:
        for frame in frames:
            await socket.send_bytes(frame if isinstance(frame, bytes) else encode(frame))
        await socket.close()

    return script


def session_of(
    url: str, heard: Heard, *, clock: Clock | None = None, vouch: Vouch | None = None
) -> Session:
    peer = Peer(peer_key(), offerings, vouch)
    return Session(url, peer, heard, clock=clock or Clock(sleep=Sleeper().sleep), rng=Random(5))


@asynccontextmanager
async def running(session: Session) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(session.run())
        try:
            yield
        finally:
            task.cancel()


async def test_the_peer_proves_its_key_and_hears_what_the_tracker_says() -> None:
    heard = Heard()
    acks = Committed((LeaseToken(4),))
    async with server_of(saying(acks)) as url, running(session_of(url + "/", heard)):
        await heard.until(lambda: bool(heard.messages))
    assert heard.ups[0][:2] == (WELCOME, TRACKER.key)
    assert heard.messages == [acks]
    assert heard.downs == []


async def test_the_peer_shows_its_vouch() -> None:
    hellos: list[Hello] = []

    async def script(socket: web.WebSocketResponse) -> None:
        hellos.append(await greet(socket))
        await socket.send_bytes(encode(WELCOME))
        await socket.receive()

    heard = Heard()
    vouch = Vouch.sign(OWNER, peer_key().key)
    async with server_of(script) as url, running(session_of(url, heard, vouch=vouch)):
        await heard.until(lambda: bool(heard.ups))
    assert hellos[0].owner == OWNER.key


async def test_what_is_sent_arrives_and_nothing_is_sent_without_a_session() -> None:
    got: list[object] = []
    heard = Heard()

    async def script(socket: web.WebSocketResponse) -> None:
        await greet(socket)
        await socket.send_bytes(encode(WELCOME))
        got.append(parse_from_peer((await socket.receive()).data))
        await socket.send_bytes(encode(Committed(())))
        await socket.receive()

    async with server_of(script) as url:
        session = session_of(url, heard)
        assert not await session.send(Want(3))
        async with running(session):
            await heard.until(lambda: bool(heard.ups))
            assert await session.send(Want(3))
            await heard.until(lambda: bool(heard.messages))
        assert not await session.send(Want(3))
    assert got == [Want(3)]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"nonsense",
        b"d1:t4:nonee",
        b"d1:t9:committede",
        b"d6:tokens7:1234567" + b"1:t9:committede",
        encode(Want(1)),
        encode(CHALLENGE),
        encode(WELCOME),
        "text",
        bytes(work.MAX_FRAME + 1),
    ],
)
async def test_a_frame_that_does_not_parse_ends_the_connection_and_starts_another(
    frame: bytes | str,
) -> None:
    heard = Heard()
    async with (
        server_of(saying(frame), saying(Committed(()))) as url,
        running(session_of(url, heard)),
    ):
        await heard.until(lambda: bool(heard.messages))
    ((error, _, was_up),) = heard.downs
    assert error.blame is Blame.THEIRS
    assert was_up
    assert len(heard.ups) == 2


@pytest.mark.parametrize(
    "script",
    [
        only(),
        only(WELCOME),
        only(b"x"),
        only(CHALLENGE),
        only(CHALLENGE, CHALLENGE),
        only(Failure("refused", "not now", "", Blame.OURS)),
        only(CHALLENGE, Failure("internal", "disk full", "Wait.", Blame.OURS)),
    ],
)
async def test_a_handshake_that_goes_wrong_is_tried_again(script: Script) -> None:
    heard = Heard()
    async with server_of(script, saying()) as url, running(session_of(url, heard)):
        await heard.until(lambda: bool(heard.ups))
    assert [was_up for _, _, was_up in heard.downs] == [False]


async def test_an_error_that_the_listener_blames_on_the_tracker_reconnects() -> None:
    heard = Heard(fault=MalformedError("a job that is none"))
    async with (
        server_of(saying(Committed(())), saying()) as url,
        running(session_of(url, heard)),
    ):
        await heard.until(lambda: len(heard.ups) == 2)
    assert heard.downs[0][0] is heard.fault


@pytest.mark.parametrize(
    ("code", "kind"),
    [("signature", SignatureError), ("banned", RefusedError), ("version", RefusedError)],
)
@pytest.mark.parametrize("late", [False, True])
async def test_a_tracker_that_will_never_have_us_ends_the_session(
    code: str, kind: type[SwarmError], late: bool
) -> None:
    failure = Failure(code, "no", "Do this.", Blame.THEIRS)
    script = saying(failure) if late else only(CHALLENGE, failure)
    async with server_of(script) as url:
        with pytest.raises(kind) as caught:
            await session_of(url, Heard()).run()
    assert (caught.value.code, caught.value.hint) == (code, "Do this.")


async def test_a_refusal_at_the_door_is_final_and_one_in_mid_session_is_not() -> None:
    failure = Failure("refused", "no", "", Blame.THEIRS)
    async with server_of(only(CHALLENGE, failure)) as url:
        with pytest.raises(RefusedError):
            await session_of(url, Heard()).run()
    heard = Heard()
    async with server_of(saying(failure)) as url, running(session_of(url, heard)):
        await heard.until(lambda: bool(heard.messages))
    assert heard.messages == [failure]
    assert heard.downs == []


async def test_a_tracker_that_is_away_is_tried_with_growing_jittered_delays() -> None:
    heard, sleeper = Heard(), Sleeper(most=8)
    session = session_of("http://127.0.0.1:1", heard, clock=Clock(sleep=sleeper.sleep))
    async with running(session):
        await heard.until(lambda: len(heard.downs) == 8)
    assert all(isinstance(error, UnavailableError) and error.hint for error, _, _ in heard.downs)
    assert [retry for _, retry, _ in heard.downs] == sleeper.slept[:8]
    for count, slept in enumerate(sleeper.slept[:8]):
        bound = min(60.0, 0.5 * 2**count)
        assert bound / 2 <= slept <= bound


async def test_only_a_connection_that_stood_for_a_while_resets_the_delays() -> None:
    now = 0.0

    async def hang_up(socket: web.WebSocketResponse) -> None:
        await greet(socket)
        await socket.send_bytes(encode(WELCOME))
        await socket.close()

    def monotonic() -> float:
        return now

    heard, sleeper = Heard(), Sleeper(most=6)
    async with server_of(hang_up) as url:
        clock = Clock(monotonic=monotonic, sleep=sleeper.sleep)
        async with running(session_of(url, heard, clock=clock)):
            await heard.until(lambda: len(heard.downs) == 6)
    assert sleeper.slept[5] > 4

    heard, sleeper = Heard(), Sleeper(most=6)

    def later() -> float:
        nonlocal now
        now += 10.0
        return now

    async with server_of(hang_up) as url:
        clock = Clock(monotonic=later, sleep=sleeper.sleep)
        async with running(session_of(url, heard, clock=clock)):
            await heard.until(lambda: len(heard.downs) == 6)
    assert max(sleeper.slept[:6]) <= 0.5


async def test_the_skew_of_the_clocks_is_measured() -> None:
    heard = Heard()
    clock = Clock(wall=lambda: WELCOME.time - 3600.5, sleep=Sleeper().sleep)
    async with server_of(saying()) as url, running(session_of(url, heard, clock=clock)):
        await heard.until(lambda: bool(heard.ups))
    assert heard.ups[0][2] == -3600.5


async def test_renewing_connects_again_with_fresh_offerings() -> None:
    cores = 0
    hellos: list[Hello] = []

    async def more() -> Offerings:
        nonlocal cores
        cores += 1
        return Offerings(validator=True, cores=cores, memory_bytes=0, images=(), agent="")

    async def script(socket: web.WebSocketResponse) -> None:
        hellos.append(await greet(socket))
        await socket.send_bytes(encode(WELCOME))
        async for _ in socket:
            pass

    heard = Heard()
    async with server_of(script) as url:
        peer = Peer(peer_key(), more)
        clock = Clock(sleep=Sleeper().sleep)
        session = Session(url, peer, heard, clock=clock, rng=Random(1))
        await session.renew()  # nothing to renew yet
        async with running(session):
            await heard.until(lambda: len(heard.ups) == 1)
            await session.renew()
            await heard.until(lambda: len(heard.ups) == 2)
    assert [hello.offerings.cores for hello in hellos] == [1, 2]


async def test_a_tracker_that_falls_silent_is_left_and_tried_again() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        socket._autoping = False  # a peer that is there no more answers no ping
        await greet(socket)
        await socket.send_bytes(encode(WELCOME))
        await socket.receive()
        await asyncio.Event().wait()

    heard = Heard()
    async with server_of(script, saying()) as url:
        peer = Peer(peer_key(), offerings)
        clock = Clock(sleep=Sleeper().sleep)
        session = Session(url, peer, heard, clock=clock, rng=Random(1), heartbeat=0.1)
        async with running(session):
            await heard.until(lambda: len(heard.ups) == 2)
    assert heard.downs[0][2]


async def test_an_engine_that_is_away_at_the_hello_is_tried_again() -> None:
    fails = [True, False]

    async def unsure() -> Offerings:
        if fails.pop(0):
            raise UnavailableError("no engine", hint="Start it.")
        return await offerings()

    heard = Heard()
    async with server_of(saying()) as url:
        peer = Peer(peer_key(), unsure)
        clock = Clock(sleep=Sleeper().sleep)
        async with running(Session(url, peer, heard, clock=clock, rng=Random(1))):
            await heard.until(lambda: bool(heard.ups))
    assert heard.downs[0][0].message == "no engine"


@given(
    seed=st.integers(0, 99),
    first=st.floats(0.001, 10),
    most=st.floats(10, 100),
    count=st.integers(1, 200),
)
def test_delays_never_leave_their_bounds(seed: int, first: float, most: float, count: int) -> None:
    backoff = Backoff(Random(seed), first=first, most=most)
    for failures in range(count):
        bound = min(most, first * 2.0 ** min(failures, 30))
        assert bound / 2 <= backoff.next() <= bound
    backoff.reset()
    assert backoff.next() <= first
