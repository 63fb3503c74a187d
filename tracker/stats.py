"""What the announce service has and has done, as numbers: no info-hash, no address, no peer."""

from dataclasses import asdict
from typing import Any

from tracker.announce.handlers import AnnounceService
from tracker.registry import Registry

_TRANSPORTS = ("http", "udp", "websocket")


def statistics(service: AnnounceService, registry: Registry, uptime: float) -> dict[str, Any]:
    """The numbers by theme; ``uptime`` is seconds."""
    swarms, counts = service.swarms, asdict(service.counters())
    announces = {name: counts.get(f"{name}_announces", 0) for name in _TRANSPORTS[:2]}
    scrapes = {name: counts.get(f"{name}_scrapes", 0) for name in _TRANSPORTS[:2]}
    return {
        "mode": service.admission.mode.value,
        "uptime": int(uptime),
        "peers": {
            "all": swarms.peer_count,
            "seeders": swarms.seeder_count,
            "leechers": swarms.peer_count - swarms.seeder_count,
            "networks": swarms.network_count,
            "expired": counts["peers_expired"],
        },
        "swarms": swarms.swarm_count,
        "torrents": {"registered": registry.registered, "named": registry.named},
        "announces": announces,
        "scrapes": scrapes,
        "websockets": {
            "open": counts["sockets"],
            "opened": counts["sockets_opened"],
            "messages": counts["socket_messages"],
            "offers": counts["relayed_offers"],
            "answers": counts["relayed_answers"],
            "unanswered": counts["outstanding_offers"],
            "expired": counts["offers_expired"],
        },
        "errors": counts["refused"],
        "limits": asdict(swarms.tally)
        | {
            "hurried": swarms.pace.hurried,
            "slow_sockets": counts["slow_dropped"],
            "udp_dropped": counts.get("udp_dropped", 0),
        },
    }


WORDS = {
    "peers": "Peers",
    "networks": "Networks (/24, /48)",
    "expired": "Expired",
    "torrents": "Torrents that are tracked",
    "registered": "Registered",
    "named": "Info-hashes named by jobs",
    "announces": "Announces",
    "scrapes": "Scrapes",
    "http": "HTTP",
    "udp": "UDP",
    "websockets": "WebSockets",
    "open": "Open",
    "opened": "Opened",
    "messages": "Messages taken",
    "offers": "Offers relayed",
    "answers": "Answers relayed",
    "unanswered": "Offers that wait",
    "errors": "Refused",
    "limits": "Limits that were hit",
    "early": "Announced too early, got no peers",
    "hurried": "Sent away: network too fast",
    "network_full": "Replaced: network has its share",
    "address_full": "Replaced: address has its share",
    "swarm_full": "Replaced: swarm full",
    "evicted": "Peers that made room",
    "turned_away": "Not kept: tracker full",
    "slow_sockets": "Sockets cut: did not read",
    "udp_dropped": "Datagrams dropped",
}
"""What people are shown for a name."""
