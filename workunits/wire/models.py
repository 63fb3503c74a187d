"""What the work session says about units that ask a model.

``Ask`` comes right before the lease of the same token. ``Tokens`` flow back while the answer is
made, and the last of them, with ``finish``, comes before the commit.
"""

import struct
from dataclasses import dataclass
from typing import ClassVar

from workunits.canonical import Fields
from workunits.errors import LimitError, MalformedError
from workunits.ids import LeaseToken
from workunits.models.answer import Finish
from workunits.models.request import MAX_NEW, MAX_REQUEST, Request, pack_ids, read_ids
from workunits.verification import member

MAX_TOP = 20
"""Alternatives that can be told beside each token."""

MAX_CHUNK = 1024
"""Tokens in one message."""

MAX_RATE = 10**9
_LIKELY = struct.Struct(">If")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a leased unit asks, where it is not in the manifest, and what others answered so far.

    ``request`` is empty where the manifest has it. ``given`` are tokens that another execution
    claims, with its ``finish``, or None while it had not ended: who can re-score them checks them
    in one pass and goes on from the first that is wrong, or from the last. ``halt`` is after how
    many tokens the answer ends, 0 if it is not cut. ``stream`` is whether tokens are wanted as they
    come, ``top`` how many alternatives to each are wanted too, plus one; 0 for no probabilities.
    """

    t: ClassVar[str] = "ask"
    token: LeaseToken
    request: Request | None = None
    given: tuple[int, ...] = ()
    finish: Finish | None = None
    halt: int = 0
    stream: bool = False
    top: int = 0

    @property
    def weight(self) -> int:
        """Tokens that whoever takes it has to keep."""
        asked = self.request
        own = len(asked.prompt) + len(asked.form) // 4 if asked else 0
        return len(self.given) + own + 1

    def value(self) -> dict[str, object]:
        return {
            "finish": self.finish.value if self.finish else "",
            "given": pack_ids(self.given),
            "halt": self.halt,
            "request": self.request.encode() if self.request else b"",
            "stream": int(self.stream),
            "token": self.token,
            "top": self.top,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Ask":
        finish = fields.text("finish", limit=10)
        request = fields.octets("request", limit=MAX_REQUEST)
        return cls(
            token=LeaseToken(fields.integer("token")),
            request=Request.parse(request) if request else None,
            given=read_ids(fields.octets("given", limit=4 * MAX_NEW)),
            finish=member(Finish, finish, "finish") if finish else None,
            halt=fields.integer("halt", 0, MAX_NEW),
            stream=fields.flag("stream"),
            top=fields.integer("top", 0, MAX_TOP + 1),
        )


@dataclass(frozen=True, slots=True)
class Halt:
    """The answer under this lease ends after ``after`` tokens, or now if it has more."""

    t: ClassVar[str] = "halt"
    token: LeaseToken
    after: int

    def value(self) -> dict[str, object]:
        return {"after": self.after, "token": self.token}

    @classmethod
    def read(cls, fields: Fields) -> "Halt":
        return cls(LeaseToken(fields.integer("token")), fields.integer("after", 0, MAX_NEW))


@dataclass(frozen=True, slots=True)
class Likely:
    """A token and its log probability (natural, before temperature)."""

    id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of an answer from place ``start`` on; the last message has its ``finish``.

    ``likely`` has for each token itself and its best alternatives, if they were asked for.
    ``rate`` is how fast it was made, in tokens per 1,000 s; 0 until the end, and for a check.
    """

    t: ClassVar[str] = "tokens"
    token: LeaseToken
    start: int
    ids: tuple[int, ...]
    finish: Finish | None = None
    likely: tuple[tuple[Likely, ...], ...] = ()
    rate: int = 0

    def value(self) -> dict[str, object]:
        value: dict[str, object] = {
            "finish": self.finish.value if self.finish else "",
            "ids": pack_ids(self.ids),
            "rate": self.rate,
            "start": self.start,
            "token": self.token,
        }
        if self.likely:
            value["likely"] = [
                b"".join(_LIKELY.pack(each.id, each.logprob) for each in some)
                for some in self.likely
            ]
        return value

    @classmethod
    def read(cls, fields: Fields) -> "Tokens":
        finish = fields.text("finish", limit=10)
        ids = read_ids(fields.octets("ids", limit=4 * MAX_CHUNK))
        likely: tuple[tuple[Likely, ...], ...] = ()
        if fields.has("likely"):
            blocks = fields.blocks("likely", MAX_CHUNK, _LIKELY.size * (MAX_TOP + 1))
            likely = tuple(map(_likely, blocks))
            if len(likely) != len(ids) or not ids:
                raise MalformedError("tokens: each of them has probabilities, or none has")
        tokens = cls(
            token=LeaseToken(fields.integer("token")),
            start=fields.integer("start", 0, MAX_NEW),
            ids=ids,
            finish=member(Finish, finish, "finish") if finish else None,
            likely=likely,
            rate=fields.integer("rate", 0, MAX_RATE),
        )
        if tokens.start + len(ids) > MAX_NEW:
            raise LimitError(f"tokens: an answer has at most {MAX_NEW:,}")
        return tokens


def _likely(block: bytes) -> tuple[Likely, ...]:
    if len(block) % _LIKELY.size or not block:
        raise MalformedError("tokens: probabilities are cut off")
    found = tuple(Likely(*each) for each in _LIKELY.iter_unpack(block))
    if not all(each.logprob <= 1e-3 for each in found):  # NaN is not either
        raise MalformedError("tokens: a log probability is over 0")
    return found
