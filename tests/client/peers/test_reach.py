"""What a tracker says of how peers reach each other."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.peers import reach
from client.peers.addresses import Zone
from client.peers.reach import UNKNOWN, Beacon, Reach, Turn, parse_reach
from tests.client.peers.conftest import TRACKER, Tracker, until
from workunits.errors import LimitError, RemoteError
from workunits.ids import PeerKey
from workunits.passes import SignedPass
from workunits.signing import Identity

FULL = {
    "stun": ["stun:stun.example:3478"],
    "turn": {
        "urls": ["turn:turn.example:3478?transport=udp", "turns:turn.example"],
        "username": "1700000000:peer",
        "credential": "c2VjcmV0",
        "seconds": 3600,
    },
    "lan": True,
    "announce": {"http": "http://t/announce", "ws": "ws://t/announce", "udp": None},
    "mode": "members",
    "key": TRACKER.hex(),
}
PARSED = Reach(
    stun=("stun:stun.example:3478",),
    turn=Turn(
        ("turn:turn.example:3478?transport=udp", "turns:turn.example"),
        "1700000000:peer",
        "c2VjcmV0",
        3600,
    ),
    lan=True,
    http="http://t/announce",
    ws="ws://t/announce",
    mode="members",
    key=TRACKER,
)


def encoded(**changes: object) -> bytes:
    return json.dumps(FULL | changes).encode()


def test_everything_that_a_tracker_says_is_read() -> None:
    assert parse_reach(encoded()) == PARSED
    assert parse_reach(b"{}") == UNKNOWN
    assert parse_reach(encoded(stun=None, turn=None, lan=None, announce=None)) == Reach(
        mode="members", key=TRACKER
    )


def test_servers_that_cannot_be_used_are_left_out() -> None:
    stun = [
        "stuns:a",
        "turn:a",
        "stun:[::1]:1",
        "stun:a?transport=udp",
        "stun:a b",
        "stun:",
        "stun:b",
    ]
    assert parse_reach(encoded(stun=stun)).stun == ("stun:b",)
    turn = FULL["turn"] | {"urls": ["stun:a", "http://a", "turn:a?transport=sctp"]}  # type: ignore[operator]
    assert parse_reach(encoded(turn=turn)).turn is None


@pytest.mark.parametrize(
    "changes",
    [
        {"stun": "stun:a"},
        {"stun": [5]},
        {"stun": ["stun:a"] * 9},
        {"turn": []},
        {"turn": {"urls": ["turn:a"], "username": "a", "credential": "b"}},
        {"turn": {"urls": ["turn:a"], "username": "a", "credential": "b", "seconds": 1}},
        {"turn": {"urls": ["turn:a"], "username": "a" * 999, "credential": "b", "seconds": 99}},
        {"lan": 1},
        {"announce": 5},
        {"mode": {}},
        {"key": "aa"},
        {"key": 5},
    ],
)
def test_what_has_another_shape_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RemoteError):
        parse_reach(encoded(**changes))


def test_an_answer_has_a_limit() -> None:
    with pytest.raises(LimitError):
        parse_reach(encoded(more="x" * reach.MAX_REACH))


@given(st.binary(max_size=100))
def test_bytes_parse_or_are_the_tracker_s_fault(raw: bytes) -> None:
    with suppress(RemoteError):
        parse_reach(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries(dict.fromkeys(FULL, _JSON)))
def test_any_json_parses_or_is_the_tracker_s_fault(value: dict[str, object]) -> None:
    with suppress(RemoteError):
        parse_reach(json.dumps(value).encode())


# -- asking ---------------------------------------------------------------------------------------


@asynccontextmanager
async def asking(url: str, identity: Identity | None = None) -> AsyncIterator[Beacon]:
    def sign(tracker: PeerKey) -> str:
        assert identity is not None
        return SignedPass.query(identity, 10**9, tracker)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        beacon = Beacon(session, url, rng=Random(1), sign=sign if identity else None)
        task = group.create_task(beacon.run())
        await beacon.settled.wait()
        yield beacon
        task.cancel()


async def test_a_tracker_is_asked_and_located(tracker: Tracker) -> None:
    tracker.reach = FULL
    async with asking(tracker.url) as beacon:
        assert beacon.reach == PARSED and beacon.zone is Zone.HOST


async def test_a_tracker_for_members_tells_them_more(tracker: Tracker) -> None:
    inside, outside = (Identity.from_seed(bytes([at]) * 32) for at in (1, 2))
    tracker.reach = {"mode": "members", "key": TRACKER.hex()}
    tracker.told_members = FULL
    tracker.members.add(inside.key)
    async with asking(tracker.url, inside) as beacon:
        assert beacon.reach == PARSED
    for other in (outside, None):
        async with asking(tracker.url, other) as beacon:
            assert beacon.reach == Reach(mode="members", key=TRACKER)


async def test_without_the_key_of_the_tracker_there_is_no_pass(tracker: Tracker) -> None:
    member = Identity.from_seed(b"m" * 32)
    tracker.reach, tracker.told_members = {"mode": "members"}, FULL
    tracker.members.add(member.key)
    async with asking(tracker.url, member) as beacon:
        assert beacon.reach == Reach(mode="members")
    assert tracker.reach_requests == 1


async def test_an_old_tracker_says_nothing(tracker: Tracker) -> None:
    async with asking(tracker.url) as beacon:
        assert beacon.reach == UNKNOWN and beacon.zone is Zone.HOST


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://name.invalid", "http://[::1", "http://a:b"]
)
async def test_a_tracker_that_is_away_holds_nobody_up(url: str) -> None:
    async with asking(url) as beacon:
        assert beacon.reach == UNKNOWN


async def test_credentials_are_fetched_again_before_they_are_over(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "MARGIN", 0.0)
    tracker.reach = FULL
    async with asking(tracker.url) as beacon:
        tracker.reach = FULL | {"lan": False}
        await until(lambda: not beacon.reach.lan)


async def test_nonsense_does_not_replace_what_is_known(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "MARGIN", 0.0)
    tracker.reach = FULL
    async with asking(tracker.url) as beacon:
        tracker.reach = {"stun": 5}
        asked = tracker.reach_requests
        await until(lambda: tracker.reach_requests > asked + 1)
        assert beacon.reach == PARSED
