"""The operator's servers, and URLs made of them."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.reach import Reach, announce_urls, is_public, is_stun, is_turn


@pytest.mark.parametrize("url", ["stun:host", "stun:host.example:3478", "stun:192.0.2.1:1"])
def test_stun_servers(url: str) -> None:
    assert is_stun(url)
    assert not is_turn(url)


@pytest.mark.parametrize("url", ["turn:host", "turns:host:1?transport=tcp", "turn:h?transport=udp"])
def test_turn_servers(url: str) -> None:
    assert is_turn(url)
    assert not is_stun(url)


@given(st.text(max_size=40))
def test_any_other_text_is_no_server(text: str) -> None:
    for accepts, prefix in ((is_stun, "stun:"), (is_turn, "turn")):
        if accepts(text):
            assert text.startswith(prefix)
            assert text.isascii()
            assert not set(text) & set(" \n\"'<>")


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://tracker.example", True),
        ("http://[::1]:8400", True),
        ("https://tracker.example/swarm", True),
        ("ftp://x", False),
        ("https://", False),
        ("https://x y", False),
        ("https://x?a=b", False),
    ],
)
def test_public_addresses(url: str, good: bool) -> None:
    assert is_public(url) is good


@pytest.mark.parametrize(
    ("base", "ws", "udp"),
    [
        ("http://h:80", "ws://h:80/announce", "udp://h:9/announce"),
        ("https://h", "wss://h/announce", "udp://h:9/announce"),
        ("http://[::1]:80", "ws://[::1]:80/announce", "udp://[::1]:9/announce"),
        ("http://[::1]", "ws://[::1]/announce", "udp://[::1]:9/announce"),
        ("https://h/x", "wss://h/x/announce", "udp://h:9/announce"),
    ],
)
def test_announce_urls_follow_from_the_address(base: str, ws: str, udp: str) -> None:
    assert announce_urls(base, 9) == {"http": f"{base}/announce", "ws": ws, "udp": udp}
    assert announce_urls(base, None)["udp"] is None


def test_the_public_address_counts_more_than_what_a_request_says() -> None:
    assert Reach(public="https://t.example/").base("evil") == "https://t.example"
    assert Reach().base("127.0.0.1:80") == "http://127.0.0.1:80"


@given(st.text(max_size=30))
def test_a_host_that_is_none_gives_no_address(host: str) -> None:
    base = Reach().base(host)
    assert base in ("", f"http://{host}")
    assert not set(base) & set(" \n\"'<>@?#")


def test_credentials_hold_for_an_hour_and_are_those_of_coturn() -> None:
    assert Reach().credentials("n", 0.0) is None
    made = Reach(turn=("turn:t",), secret=b"k").credentials("name", 1000.9)
    assert made is not None
    assert made["username"] == "4600:name"
    expected = hmac.digest(b"k", b"4600:name", "sha1")
    assert base64.b64decode(made["credential"]) == expected
    assert made["seconds"] == 3600
