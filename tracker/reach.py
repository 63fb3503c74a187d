"""How peers reach each other, as the operator says it: STUN, TURN, whether they are on one LAN.

TURN credentials are made for one hour with the secret that coturn shares (``use-auth-secret``):
the username is the Unix time of their end and a name, the credential an HMAC of it. So no password
lies about, and the tracker tells coturn nothing.
"""

import base64
import hmac
import re
from dataclasses import dataclass
from typing import Any

TURN_SECONDS = 3600
MAX_SERVERS = 8
_STUN = re.compile(r"stun:[A-Za-z0-9._-]{1,253}(:\d{1,5})?", re.ASCII)
_TURN = re.compile(r"turns?:[A-Za-z0-9._-]{1,253}(:\d{1,5})?(\?transport=(udp|tcp))?", re.ASCII)
_HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?", re.ASCII)
_PUBLIC = re.compile(rf"https?://{_HOST.pattern}(/[A-Za-z0-9._~/-]{{0,200}})?", re.ASCII)


def is_stun(url: str) -> bool:
    """Whether ``url`` names a STUN server (RFC 7064)."""
    return _STUN.fullmatch(url) is not None


def is_turn(url: str) -> bool:
    """Whether ``url`` names a TURN server (RFC 7065)."""
    return _TURN.fullmatch(url) is not None


def is_public(url: str) -> bool:
    """Whether ``url`` can be the address by which peers reach a tracker."""
    return _PUBLIC.fullmatch(url) is not None


@dataclass(frozen=True, slots=True)
class Reach:
    """What the operator configured. ``secret`` is the one that coturn has; ``public`` is the
    tracker's address where it is not the one that a request names, as behind a proxy."""

    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    secret: bytes = b""
    lan: bool = False
    public: str = ""

    def credentials(self, name: str, wall: float) -> dict[str, Any] | None:
        """Credentials for the TURN servers, if there are any; ``wall`` is Unix time."""
        if not self.turn:
            return None
        username = f"{int(wall) + TURN_SECONDS}:{name}"
        digest = hmac.digest(self.secret, username.encode(), "sha1")
        return {
            "urls": list(self.turn),
            "username": username,
            "credential": base64.b64encode(digest).decode(),
            "seconds": TURN_SECONDS,
        }

    def base(self, host: str) -> str:
        """The tracker's address, for a request that called it ``host``; empty if it cannot be
        told."""
        if self.public:
            return self.public.rstrip("/")
        return f"http://{host}" if _HOST.fullmatch(host) else ""


def announce_urls(base: str, udp: int | None) -> dict[str, str | None]:
    """The announce URLs of a tracker at ``base``; ``udp`` is its port, if it has one."""
    scheme, _, rest = base.partition("://")
    host = rest.partition("/")[0]
    name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
    return {
        "http": f"{base}/announce",
        "ws": f"{'wss' if scheme == 'https' else 'ws'}://{rest}/announce",
        "udp": f"udp://{name}:{udp}/announce" if udp else None,
    }
