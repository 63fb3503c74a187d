"""Which addresses a session description (SDP, RFC 8839) may show us, and show of us. Pure text.

A candidate is an address to which a stranger wants us to send packets. Those inside of networks
are followed only in a swarm that is local itself: elsewhere they would be machines next to us that
the stranger cannot reach.
"""

from collections.abc import Callable

from client.peers.addresses import Reachable, Zone, zone_of

RELAYED = "relay"
_CANDIDATE = "a=candidate:"
_MDNS = ".local"
_FIELDS = 8
"""foundation, component, transport, priority, address, port, "typ", type."""


def welcome(sdp: str, reach: Reachable) -> str:
    """The description of a peer without the candidates that we will not try.

    In a local swarm the names that browsers give instead of addresses are kept: mDNS resolves
    them, and leads nowhere but into the local network.
    """

    def wanted(host: str, _: str) -> bool:
        if host.lower().endswith(_MDNS):
            return reach.local
        match zone_of(host):
            case Zone.GLOBAL:
                return True
            case Zone.HOST:
                return reach.tracker is Zone.HOST
            case Zone.NOWHERE:
                return False
        return reach.local

    return _filtered(sdp, wanted)


def relayed(sdp: str) -> str:
    """The description with relayed candidates only."""
    return _filtered(sdp, lambda _, kind: kind == RELAYED)


def candidates(sdp: str) -> list[tuple[str, str]]:
    """Address and type of all candidates that can be read."""
    parsed = map(_parse, sdp.splitlines())
    return [each for each in parsed if each is not None]


def _filtered(sdp: str, wanted: Callable[[str, str], bool]) -> str:
    # Lines end for us where they end for aiortc, or one could hide inside of another.
    kept = []
    for line in sdp.splitlines():
        parsed = _parse(line)
        if parsed is None or wanted(*parsed):
            kept.append(line)
    return "".join(f"{line}\r\n" for line in kept)


def _parse(line: str) -> tuple[str, str] | None:
    """Address and type; ``None`` for other lines, and for what aiortc will not parse either."""
    if not line.startswith(_CANDIDATE):
        return None
    fields = line.removeprefix(_CANDIDATE).split()
    return (fields[4], fields[7]) if len(fields) >= _FIELDS else None
