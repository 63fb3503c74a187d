"""Which candidates of a session description are followed and shown."""

from hypothesis import given
from hypothesis import strategies as st

from client.peers.addresses import Reachable, Zone, zone_of
from client.peers.candidates import candidates, relayed, welcome

HEAD = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
TAIL = "a=ice-ufrag:abcd\r\na=setup:active\r\n"
HERE, LAN, FAR = Reachable(Zone.HOST), Reachable(Zone.LAN), Reachable(Zone.GLOBAL)
TOLD = Reachable(Zone.GLOBAL, lan=True)


def sdp(*hosts: str, kind: str = "host") -> str:
    lines = [f"a=candidate:1 1 udp 2130706431 {host} 5000 typ {kind}\r\n" for host in hosts]
    return HEAD + "".join(lines) + TAIL


def left(text: str) -> list[str]:
    return [host for host, _ in candidates(text)]


PRIVATE = (
    *("10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "169.254.1.1"),
    *("fd00::1", "fe80::1", "::ffff:10.0.0.1"),
)
NOWHERE = ("64:ff9b::a00:1", "2002:7f00:1::1", "::ffff:0.0.0.0", "224.0.0.1", "router.example")
GLOBAL = ("8.8.8.8", "2001:4860:4860::8888")
NAME = "5f0b1cba-8d1b-4b2c-9d3e-1f5f4c3b2a1d.local"


def test_private_candidates_are_followed_in_local_swarms_only() -> None:
    text = sdp(*PRIVATE, *NOWHERE, *GLOBAL, "127.0.0.1", "::1", NAME)
    assert left(welcome(text, FAR)) == [*GLOBAL]
    assert left(welcome(text, LAN)) == left(welcome(text, TOLD)) == [*PRIVATE, *GLOBAL, NAME]
    assert left(welcome(text, HERE)) == [*PRIVATE, *GLOBAL, "127.0.0.1", "::1", NAME]


def test_the_rest_of_a_description_is_kept() -> None:
    text = sdp("10.0.0.1", "8.8.8.8")
    assert welcome(text, FAR) == sdp("8.8.8.8")
    assert welcome(text, LAN) == text


def test_a_relay_is_all_that_is_shown_where_nothing_else_may_be() -> None:
    text = sdp("10.0.0.1") + sdp("8.8.8.8", kind="srflx") + sdp("8.8.4.4", kind="relay")
    assert candidates(relayed(text)) == [("8.8.4.4", "relay")]


def test_no_strange_end_of_line_hides_a_candidate() -> None:
    for end in ("\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"):
        text = HEAD + f"a=x:1{end}a=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\n"
        assert left(text) == ["10.0.0.1"]
        assert "10.0.0.1" not in welcome(text, FAR)


@given(st.text())
def test_any_text_can_be_filtered(text: str) -> None:
    assert welcome(text, FAR).splitlines() == text.splitlines()


@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=20), max_size=8))
def test_what_is_kept_is_of_the_internet(hosts: list[str]) -> None:
    kept = left(welcome(sdp(*hosts), FAR))
    assert all(zone_of(host) is Zone.GLOBAL for host in kept)
