"""Entries about work: what was committed to, who was drawn to check it, what was decided."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from workunits.beacon import LINK_SIZE
from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import JobId, LeaseToken, PeerKey
from workunits.ledger.moves import Moves
from workunits.results import MAX_RESULT
from workunits.wire.packing import pack_tokens, read_tokens

MAX_CAST = 64
"""Executions that one verdict may be about."""

MAX_PACKED = 1 << 17
MAX_DRAWS = 1000
MAX_RINGERS = 1 << 20
_PLACE = struct.Struct(">H")
_DRAW = struct.Struct(">QB32s")
_CAST = struct.Struct(">32sQB")


@dataclass(frozen=True, slots=True)
class Commits:
    """A batch of commitments as its peer signed it (``wire.work.Commits``).

    ``link`` is the beacon's next one: it came after the batch, and the units' lots follow from it.
    ``void`` are the places in the batch of what counts for nothing: leases that were over.
    """

    t: ClassVar[str] = "commits"
    moves: Moves
    job: JobId
    peer: PeerKey
    packed: bytes
    signature: bytes
    link: bytes
    void: tuple[int, ...] = ()

    def value(self) -> dict[str, object]:
        return {
            "commits": self.packed,
            "job": self.job,
            "link": self.link,
            "peer": self.peer,
            "signature": self.signature,
            "void": b"".join(map(_PLACE.pack, self.void)),
        }

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Commits":
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            PeerKey(fields.octets("peer", length=32)),
            fields.octets("commits", limit=MAX_PACKED),
            fields.octets("signature", length=64),
            fields.octets("link", length=LINK_SIZE),
            _void(fields.octets("void", limit=MAX_DRAWS * _PLACE.size)),
        )


class Draw(NamedTuple):
    """Who was drawn for one more execution of a unit; ``referee`` is what was asked for."""

    unit: int
    referee: int
    peer: PeerKey


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws for units of one job, by one link of the beacon, each over the roster as it is here."""

    t: ClassVar[str] = "draws"
    moves: Moves
    job: JobId
    link: bytes
    draws: tuple[Draw, ...]

    def value(self) -> dict[str, object]:
        return {
            "draws": b"".join(_DRAW.pack(*each) for each in self.draws),
            "job": self.job,
            "link": self.link,
        }

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Draws":
        packed = fields.octets("draws", limit=MAX_DRAWS * _DRAW.size)
        if len(packed) % _DRAW.size:
            raise MalformedError("ledger entry: draws are cut off")
        draws = tuple(
            Draw(unit, referee, PeerKey(peer)) for unit, referee, peer in _DRAW.iter_unpack(packed)
        )
        if any(each.referee > 1 for each in draws):
            raise MalformedError("ledger entry: a draw is for a peer or for a referee")
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.octets("link", length=LINK_SIZE),
            draws,
        )


class Cast(NamedTuple):
    """One execution in a verdict; ``result`` is a place among the verdict's results."""

    peer: PeerKey
    token: LeaseToken
    result: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A unit was decided: who gave which result, who was right, who was wrong.

    ``right`` and ``wrong`` are places in ``cast``, which is in the order of the commits. With
    ``known`` an answer decided that the submitter knew (``Known``); then perhaps nobody is right.
    ``silent`` are leases whose results were withheld and, by their commitments, were other ones.
    """

    t: ClassVar[str] = "verdict"
    moves: Moves
    job: JobId
    index: int
    cast: tuple[Cast, ...]
    results: tuple[bytes, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    silent: tuple[LeaseToken, ...] = ()
    known: bool = False

    def value(self) -> dict[str, object]:
        value: dict[str, object] = {
            "cast": b"".join(_CAST.pack(*each) for each in self.cast),
            "index": self.index,
            "job": self.job,
            "results": self.results,
        }
        if len(self.right) < len(self.cast):
            value["right"] = bytes(self.right)
        if self.wrong:
            value["wrong"] = bytes(self.wrong)
        if self.silent:
            value["silent"] = pack_tokens(self.silent)
        if self.known:
            value["known"] = 1
        return value

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Verdict":
        results = fields.blocks("results", MAX_CAST, MAX_RESULT)
        packed = fields.octets("cast", limit=MAX_CAST * _CAST.size)
        if len(packed) % _CAST.size:
            raise MalformedError("ledger entry: the executions are cut off")
        cast = tuple(
            Cast(PeerKey(peer), LeaseToken(token), result)
            for peer, token, result in _CAST.iter_unpack(packed)
        )
        if {each.result for each in cast} != set(range(len(set(results)))) or not cast:
            raise MalformedError("ledger entry: every execution has a result, every result one")
        right = tuple(range(len(cast)))
        wrong: tuple[int, ...] = ()
        silent: tuple[LeaseToken, ...] = ()
        known = False
        said = True
        if fields.has("right"):
            right = _places(fields.octets("right", limit=MAX_CAST), len(cast))
            said = len(right) < len(cast)
        if fields.has("wrong"):
            wrong = _places(fields.octets("wrong", limit=MAX_CAST), len(cast))
            said = said and bool(wrong)
        if fields.has("silent"):
            silent = read_tokens(fields, "silent", MAX_CAST)
            said = said and bool(silent) and list(silent) == sorted(set(silent))
        if fields.has("known"):
            known = said = fields.flag("known") and said
        if not said:
            raise MalformedError("ledger entry: a verdict says what goes without saying")
        if not set(right).isdisjoint(wrong):
            raise MalformedError("ledger entry: an execution is both right and wrong")
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.integer("index"),
            cast,
            results,
            right,
            wrong,
            silent,
            known,
        )


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit ends without a result: too few agreed, or too many executions were lost."""

    t: ClassVar[str] = "failed"
    moves: Moves
    job: JobId
    index: int
    reason: str

    def value(self) -> dict[str, object]:
        return {"index": self.index, "job": self.job, "reason": self.reason}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Failed":
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.integer("index"),
            fields.text("reason", limit=200),
        )


@dataclass(frozen=True, slots=True)
class Known:
    """A job is over, and the answers that its submitter knew may be seen (``ringers``)."""

    t: ClassVar[str] = "known"
    moves: Moves
    job: JobId
    ringers: bytes

    def value(self) -> dict[str, object]:
        return {"job": self.job, "ringers": self.ringers}

    @classmethod
    def read(cls, moves: Moves, fields: Fields) -> "Known":
        return cls(
            moves,
            JobId(fields.octets("job", length=32)),
            fields.octets("ringers", limit=MAX_RINGERS),
        )


def _void(packed: bytes) -> tuple[int, ...]:
    if len(packed) % _PLACE.size:
        raise MalformedError("ledger entry: places are cut off")
    return _sorted(place for (place,) in _PLACE.iter_unpack(packed))


def _places(packed: Iterable[int], count: int) -> tuple[int, ...]:
    places = _sorted(packed)
    if places and places[-1] >= count:
        raise MalformedError("ledger entry: an execution that was not cast")
    return places


def _sorted(found: Iterable[int]) -> tuple[int, ...]:
    places = tuple(found)
    if list(places) != sorted(set(places)):
        raise MalformedError("ledger entry: places come in order, each once")
    return places
