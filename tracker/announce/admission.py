"""Who may announce what: open to all, for listed torrents only, or for members only.

One object for HTTP, WebSocket and UDP. It is asked twice: ``admit`` says who is behind an address
(the path and query that a client was given), once for a request or a socket; ``tracked`` says
whether an info-hash is welcome, and is what ``Swarms`` asks. A message that answers another peer's
offer needs neither: it goes only to who made the offer.
"""

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from workunits.errors import MalformedError, RefusedError
from workunits.ids import PeerKey, short
from workunits.passes import MAX_AHEAD, SignedPass

MAX_TARGET = 32 * 1024
PASSKEY_SIZE = 20
SKEW = 600
"""Seconds by which a member's clock may be ahead of the tracker's."""

_REMEMBERED = 16_384
_PASSKEY_DOMAIN = b"openswarm passkey v1\n"


class Mode(StrEnum):
    """For whom the tracker is."""

    OPEN = "open"
    LISTED = "listed"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Pass:
    """Who announces, and until when that holds (Unix seconds)."""

    member: PeerKey | None = None
    until: float = math.inf
    epoch: int = 0
    """Which passkey of the member it came with; 0 if it came with a signature."""


ANYONE = Pass()


class Members(Protocol):
    """Who belongs to a tracker."""

    def __contains__(self, key: PeerKey) -> bool:
        """Whether ``key`` is a member now."""

    def epoch(self, key: PeerKey) -> int:
        """The number of the passkey of ``key`` that is valid; 0 for none."""

    def holder(self, passkey: bytes) -> PeerKey | None:
        """Whose valid passkey this is."""


class Nobody:
    """The members of a tracker that has none."""

    def __contains__(self, key: PeerKey) -> bool:
        """No."""
        return False

    def epoch(self, key: PeerKey) -> int:
        """None."""
        return 0

    def holder(self, passkey: bytes) -> PeerKey | None:
        """Nobody."""
        return None


def everything(_: bytes) -> bool:
    """The list of an open tracker."""
    return True


def passkey_of(secret: bytes, member: PeerKey, epoch: int) -> bytes:
    """Passkey number ``epoch`` of ``member``, 20 bytes. ``secret`` is the tracker's."""
    message = _PASSKEY_DOMAIN + member + epoch.to_bytes(8, "big")
    return hmac.digest(secret, message, "sha256")[:PASSKEY_SIZE]


class Admission:
    """The rules of one tracker. ``wall`` is a clock of Unix seconds; ``listed`` says which
    20-byte info-hashes belong to jobs or were registered."""

    def __init__(
        self,
        mode: Mode = Mode.OPEN,
        *,
        listed: Callable[[bytes], bool] = everything,
        members: Members | None = None,
        tracker: PeerKey | None = None,
        wall: Callable[[], float],
    ) -> None:
        """``tracker`` is the key that passes are for; without one only passkeys let in."""
        self.mode = mode
        self.tracked = everything if mode is Mode.OPEN else listed
        self._members = members or Nobody()
        self._tracker = tracker
        self._wall = wall
        self._known: dict[str, Pass] = {}

    def admit(self, target: str) -> Pass:
        """Who comes with ``target``: raw path and query (HTTP), or the URL data of BEP 41.

        Unless the tracker is for members this costs nothing and lets everybody in. Raises
        ``RefusedError``, ``SignatureError`` or ``MalformedError`` for who may not announce.
        """
        if self.mode is not Mode.MEMBERS:
            return ANYONE
        if len(target) > MAX_TARGET:
            raise MalformedError(f"an address of {len(target)} bytes is too long")
        path, _, query = target.partition("?")
        passkey = _passkey_in(path)
        admitted = self._by_passkey(passkey) if passkey else self._by_signature(query)
        self.confirm(admitted)
        return admitted

    def confirm(self, admitted: Pass) -> None:
        """Raise ``RefusedError`` if what ``admit`` returned holds no longer.

        For sockets: ask before every announce and scrape, and not for answers.
        """
        if admitted.member is None:
            if self.mode is Mode.MEMBERS:
                raise _outsider()
            return
        if admitted.until <= self._wall():
            raise RefusedError("the pass is over", hint="announce with a new one")
        if admitted.epoch and self._members.epoch(admitted.member) != admitted.epoch:
            raise RefusedError("the passkey was revoked", hint="ask the operator for a new one")
        if admitted.member not in self._members:
            raise RefusedError(
                f"{short(admitted.member)} is no member of this tracker",
                hint=f"ask its operator: swarm tracker member {admitted.member.hex()}",
            )

    def warning(self, admitted: Pass, interval: float) -> str:
        """What to tell who announces again in ``interval`` seconds; empty for nothing."""
        if admitted.until < self._wall() + interval:
            return "the pass ends before the next announce; announce with a new one then"
        return ""

    def _by_passkey(self, passkey: bytes) -> Pass:
        member = self._members.holder(passkey)
        if member is None:
            raise RefusedError(
                "the passkey is not valid", hint="ask the operator for one: swarm tracker passkey"
            )
        return Pass(member, math.inf, self._members.epoch(member))

    def _by_signature(self, query: str) -> Pass:
        text = _signed_part(query)
        known = self._known.get(text)
        if known is not None:
            return known
        signed = SignedPass.read(text)
        if signed is None or self._tracker is None:
            raise _outsider()
        if signed.until > self._wall() + MAX_AHEAD + SKEW:
            raise RefusedError(
                f"the pass is for more than {MAX_AHEAD // 3600} hours",
                hint="make one out for less time",
            )
        made = Pass(signed.member, signed.until)
        # A signature takes as long as ten announces: whoever is no member is not worth it.
        self.confirm(made)
        signed.check(self._tracker)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[text] = made
        return made


def _outsider() -> RefusedError:
    return RefusedError(
        "this tracker is for members only",
        hint="announce at an address with a passkey or a signature; its operator admits members",
    )


def _signed_part(query: str) -> str:
    return "&".join(
        pair for pair in query.split("&") if pair.startswith(("member=", "until=", "sig="))
    )


def _passkey_in(path: str) -> bytes:
    last = path.rpartition("/")[2]
    if len(last) != 2 * PASSKEY_SIZE:
        return b""
    try:
        return bytes.fromhex(last)
    except ValueError:
        return b""
