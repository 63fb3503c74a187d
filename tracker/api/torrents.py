"""Torrents that people register, members, and how peers reach each other, over REST."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from tracker.announce.admission import Admission, Mode
from tracker.announce.http import pack_address
from tracker.announce.networks import network_of
from tracker.announce.pace import Pace
from tracker.api.views import Json
from tracker.members import Directory
from tracker.reach import Reach, announce_urls
from tracker.registry import Registry
from tracker.rows import Row, TorrentRow
from workunits.errors import MalformedError, RefusedError
from workunits.ids import PeerKey, parse_hash
from workunits.statements import Admit, Passkey, Register, Statement, Unregister

CLAIMS = (Register, Unregister, Admit, Passkey)
RATE = 5.0
BURST = 1_000.0
"""Statements about torrents that a network may make: a second for long, and at once."""

MANY = 10_000
"""Networks of which so much is remembered before the list is gone through."""

_NOT_PRIVATE = (
    "this tracker is for members, but the torrent is not private (BEP 27): its clients look for "
    "peers elsewhere too"
)


@dataclass
class Torrents:
    """``clock`` never goes back and ``wall`` is Unix time; ``udp_port`` is set when it listens."""

    registry: Registry
    members: Directory
    admission: Admission
    operator: PeerKey
    reach: Reach
    clock: Callable[[], float]
    wall: Callable[[], float]
    udp_port: int | None = None

    def __post_init__(self) -> None:
        self._pace = Pace(rate=RATE, burst=BURST)

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        return [
            web.get("/api/v1/torrents", self.registered),
            web.get("/api/v1/reach", self.reachable),
        ]

    async def registered(self, request: web.Request) -> web.Response:
        """The torrents that an account registered; in a tracker for members, for members."""
        self.admission.admit(request.raw_path)
        account = PeerKey(parse_hash(request.query.get("account", ""), "account"))
        rows = self.registry.of(account)
        return web.json_response({"torrents": [_view(row) for row in rows]})

    async def reachable(self, request: web.Request) -> web.Response:
        """STUN, TURN, announce URLs.

        A tracker for members tells others only that it is one, its key, and where to announce.
        """
        signed = any(name in request.query for name in ("member", "until", "sig"))
        inside = signed or self.admission.mode is not Mode.MEMBERS
        if inside:
            self.admission.admit(request.raw_path)
            self._slow(request)
        reach = self.reach
        turn = reach.credentials(secrets.token_hex(8), self.wall()) if inside else None
        base = reach.base(request.headers.get("Host", ""))
        if not base:
            raise MalformedError("the request's Host cannot be part of an address")
        body = {
            "key": self.operator.hex(),
            "stun": list(reach.stun) if inside else [],
            "turn": turn,
            "lan": reach.lan and inside,
            "announce": announce_urls(base, self.udp_port),
            "mode": self.admission.mode.value,
        }
        return web.json_response(body, headers={"Cache-Control": "no-store"})

    def carry_out(self, statement: Statement, request: web.Request) -> tuple[Json, Row]:
        """What a statement of ``CLAIMS`` comes to: the answer, and the row to write."""
        author, claim = statement.author, statement.claim
        match claim:
            case Register() | Unregister():
                self._slow(request)
                if self.admission.mode is Mode.MEMBERS and author not in self.members:
                    raise RefusedError(
                        "only members may register torrents here",
                        hint=f"Ask the operator: swarm tracker member {author.hex()}",
                    )
                if isinstance(claim, Register):
                    row = self.registry.register(author, claim, statement.time)
                    return _view(row) | {"warning": self._warning(claim)}, row
                row = self.registry.unregister(author, claim, statement.time)
                return {"removed": True}, row
            case Admit(account=account, admitted=admitted):
                self._operator_only(author)
                return {"member": admitted}, self.members.admit(account, admitted=admitted)
            case Passkey(account=account, wanted=wanted):
                self._operator_only(author)
                member = self.members.issue(account, wanted=wanted)
                return {"passkey": member.valid, "public": self.reach.public}, member
        raise RefusedError("this statement is about something else")

    def _warning(self, claim: Register) -> str:
        exposed = self.admission.mode is Mode.MEMBERS and not claim.private
        return _NOT_PRIVATE if exposed else ""

    def _operator_only(self, author: PeerKey) -> None:
        if author != self.operator:
            raise RefusedError(
                "only the operator says who is a member",
                hint="Run it with the --data directory of this tracker.",
            )

    def _slow(self, request: web.Request) -> None:
        network = network_of(pack_address(request.remote or "", 0))
        now = self.clock()
        if len(self._pace) > MANY:
            self._pace.prune(now)
        self._pace.take(network, now)


def _view(row: TorrentRow) -> Json:
    return {
        "v1": row.v1.hex() or None,
        "v2": row.v2.hex() or None,
        "length": row.length,
        "name": row.name,
        "private": bool(row.private),
        "time": row.time,
    }
