"""When blobs are announced, and a socket that always comes back."""

import asyncio
from random import Random

import aiohttp
import pytest
from aiohttp import web

from client.peers.signalling import (
    BACKOFF,
    HUNGRY_INTERVAL,
    OFFERS,
    REFUSED_INTERVALS,
    TARGET_PEERS,
    Backoff,
    Plan,
    Schedule,
    TrackerSocket,
)
from tests.client.peers.conftest import Tracker, until
from workunits.wire.signalling import (
    Announce,
    AnnounceReply,
    Event,
    Failure,
    FromTracker,
)

HASH, PEER = b"h" * 20, b"p" * 20


def reply(complete: int, incomplete: int, interval: int = 120) -> AnnounceReply:
    return AnnounceReply(HASH, interval, complete, incomplete)


def due(schedule: Schedule, now: float, *, seeding: bool = False, peers: int = 0) -> Plan | None:
    return schedule.due(now, seeding=seeding, peers=peers, pending=0)


def test_a_download_makes_offers_only_when_there_is_somebody_to_take_them() -> None:
    schedule = Schedule(Random(1))
    assert due(schedule, 0.0) == Plan(Event.STARTED, 0)
    assert due(schedule, 0.1) is None
    schedule.replied(reply(0, 1), 0.1, peers=0, pending=0)
    assert due(schedule, HUNGRY_INTERVAL[0] - 1) is None
    assert due(schedule, HUNGRY_INTERVAL[1] + 1) == Plan(Event.NONE, 0)
    schedule.replied(reply(2, 1), 20.0, peers=0, pending=0)
    assert due(schedule, 20.0) == Plan(Event.NONE, 2)
    schedule.replied(reply(2, 1), 20.1, peers=0, pending=2)
    assert due(schedule, 20.2) is None
    schedule.replied(reply(3, 1), 20.3, peers=0, pending=2)
    assert due(schedule, 20.4) is None
    assert due(schedule, 22.4) == Plan(Event.NONE, 3)


def test_peers_that_bring_nothing_are_not_those_that_a_download_looks_for() -> None:
    for idle, offers in ((0, 0), (2, 2), (TARGET_PEERS, OFFERS)):
        schedule = Schedule(Random(1))
        due(schedule, 0.0, peers=TARGET_PEERS)
        schedule.replied(reply(20, 20), 0.0, peers=TARGET_PEERS, pending=0, idle=idle)
        plan = schedule.due(9.0, seeding=False, peers=TARGET_PEERS, pending=0, idle=idle)
        assert (plan.offers if plan is not None else 0) == offers


def test_a_download_that_lost_a_peer_looks_for_another_soon() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    schedule.replied(reply(1, 1), 0.0, peers=0, pending=0)
    assert due(schedule, 0.0) == Plan(Event.NONE, 1)
    schedule.replied(reply(1, 1), 0.0, peers=1, pending=0)
    assert due(schedule, 3.0, peers=1) is None
    schedule.lost(3.0)
    assert due(schedule, 3.5) is None
    assert due(schedule, 5.0) == Plan(Event.NONE, 1)


def test_offers_that_nobody_takes_are_made_ever_less_often_until_something_changes() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    schedule.replied(reply(1, 1), 0.0, peers=0, pending=0)
    now, waits = 0.0, []
    for _ in range(6):
        assert due(schedule, now) == Plan(Event.NONE, 1)
        schedule.replied(reply(1, 1), now, peers=0, pending=0)
        begun = now
        while now < schedule._next:
            now += 0.1
        waits.append(now - begun)
    assert waits[0] < 2.2 and waits[1] > 1.9 and 15.0 < waits[-1] < 33.0
    assert due(schedule, now) is not None
    schedule.replied(reply(2, 1), now, peers=0, pending=0)
    assert schedule._next <= now + 2.0


def test_peers_that_are_dialled_are_no_reason_for_offers() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    schedule.addressed(1)
    # One other, that announces in both ways as we do.
    schedule.replied(reply(2, 2), 0.0, peers=0, pending=0)
    assert due(schedule, 0.1) == Plan(Event.NONE, 3)
    schedule.replied(reply(2, 2), 0.2, peers=1, pending=0)
    assert due(schedule, 20.0, peers=1) == Plan(Event.NONE, 0)
    schedule.replied(reply(3, 2), 20.0, peers=1, pending=0)
    assert due(schedule, 20.1, peers=1) == Plan(Event.NONE, 1)


def test_who_announces_in_two_ways_is_still_alone() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    schedule.replied(reply(0, 2), 0.0, peers=0, pending=0)
    assert not schedule.alone
    schedule.addressed(0)
    assert schedule.alone


def test_alone_is_who_was_told_that_nobody_else_is_there() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    seen = [schedule.alone]
    for now, (complete, incomplete) in enumerate([(0, 1), (0, 2), (1, 1), (0, 1)]):
        schedule.replied(reply(complete, incomplete), now, peers=0, pending=0)
        seen.append(schedule.alone)
    schedule.reset()
    seen.append(schedule.alone)
    assert seen == [False, True, False, False, True, False]


def test_offers_are_bounded_and_stop_when_there_are_enough_peers() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    schedule.replied(reply(1000, 1000), 0.0, peers=0, pending=0)
    assert due(schedule, 0.0) == Plan(Event.NONE, OFFERS)
    assert due(schedule, 100.0, peers=TARGET_PEERS - 1) == Plan(Event.NONE, 1)
    assert due(schedule, 200.0, peers=TARGET_PEERS) == Plan(Event.NONE, 0)
    schedule.replied(reply(1000, 1000), 200.0, peers=TARGET_PEERS, pending=0)
    assert due(schedule, 300.0, peers=TARGET_PEERS) is None


def test_a_seed_offers_to_those_who_wait_and_is_quiet_otherwise() -> None:
    schedule = Schedule(Random(1))
    assert due(schedule, 0.0, seeding=True) == Plan(Event.STARTED, 0)
    schedule.replied(reply(1, 2), 0.0, peers=0, pending=0)
    assert due(schedule, 0.0, seeding=True) == Plan(Event.NONE, 2)
    schedule.replied(reply(1, 0), 1.0, peers=0, pending=0)
    assert due(schedule, 100.0, seeding=True) is None
    assert due(schedule, 122.0, seeding=True) == Plan(Event.NONE, 0)


def test_finishing_is_announced_at_once() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    assert due(schedule, 0.5, seeding=True) == Plan(Event.COMPLETED, 0)
    assert due(schedule, 0.6, seeding=True) is None


def test_a_new_connection_starts_over() -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0)
    schedule.replied(reply(5, 5), 0.0, peers=0, pending=0)
    schedule.reset()
    assert due(schedule, 0.1) == Plan(Event.STARTED, 0)


def test_refusals_are_retried_ever_more_slowly() -> None:
    schedule = Schedule(Random(1))
    now, waits = 0.0, []
    for _ in range(8):
        assert due(schedule, now) == Plan(Event.STARTED, 0)
        schedule.refused(now)
        begun = now
        while due(schedule, now) is None:
            now += 1.0
        schedule.refused(now)
        waits.append(now - begun)
        now += 1000.0
    assert waits[0] <= REFUSED_INTERVALS[0] + 1 < waits[-1] <= REFUSED_INTERVALS[1] + 1


@pytest.mark.parametrize("interval", [1, 10**9])
def test_an_absurd_interval_is_not_obeyed(interval: int) -> None:
    schedule = Schedule(Random(1))
    due(schedule, 0.0, seeding=True)
    schedule.replied(reply(1, 0, interval), 0.0, peers=0, pending=0)
    assert due(schedule, 20.0, seeding=True) is None
    assert due(schedule, 1000.0, seeding=True) is not None


def test_waits_between_attempts_grow_are_jittered_and_bounded() -> None:
    backoff = Backoff(Random(1))
    waits = [backoff.next() for _ in range(30)]
    assert waits[0] <= BACKOFF[0] and BACKOFF[1] / 2 <= waits[-1] <= BACKOFF[1]
    assert len(set(waits)) == 30
    backoff.reset()
    assert backoff.next() <= BACKOFF[0]


class Listener:
    """A tracker socket in a task of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.connects = 0
        self.messages: list[FromTracker] = []
        self.socket = TrackerSocket(
            session, url, rng=Random(1), connected=self.count, received=self.messages.append
        )

    def count(self) -> None:
        self.connects += 1


async def test_the_socket_comes_back_after_the_tracker_was_away(tracker: Tracker) -> None:
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        at = Listener(session, f"{tracker.url}/announce")
        task = group.create_task(at.socket.run())
        await until(lambda: at.connects == 1)
        assert at.socket.send(Announce(HASH, PEER, left=0).encode())
        await until(lambda: at.messages)
        assert isinstance(at.messages[0], AnnounceReply)
        await tracker.stop()
        await until(lambda: not at.socket.online)
        assert not at.socket.send("lost")
        await tracker.start()
        await until(lambda: at.connects == 2)
        task.cancel()


async def test_nonsense_from_a_tracker_is_ignored_and_refusals_are_told(
    unused_tcp_port: int,
) -> None:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for text in ["nonsense", "[]", "{}", '{"action":"announce","info_hash":"x"}']:
            await socket.send_str(text)
        await socket.send_bytes(b"\xff\xfe")
        await socket.send_str(Failure("no", "announce", HASH).encode())
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.add_routes([web.get("/announce", serve)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        at = Listener(session, f"http://127.0.0.1:{unused_tcp_port}/announce")
        task = group.create_task(at.socket.run())
        await until(lambda: at.messages)
        assert at.messages == [Failure("no", "announce", HASH)]
        task.cancel()
    await runner.cleanup()


def test_what_was_refused_is_announced_at_once_when_it_may_be_wanted_now() -> None:
    schedule, now = Schedule(Random(0)), 100.0
    for _ in range(6):
        schedule.refused(now)
    assert schedule.due(now, seeding=True, peers=0, pending=0) is None
    schedule.again()
    plan = schedule.due(now, seeding=True, peers=0, pending=0)
    assert plan is not None
    assert plan.event is Event.STARTED
    schedule.again()
    assert schedule.due(now, seeding=True, peers=0, pending=0) is None
