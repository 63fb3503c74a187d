"""Asking a peer whether two results are the same (``docs/protocol.md``, "Comparisons").

Only jobs with a comparator of their own need it, and only results that differ. The tracker shows
both results, the peer runs the job's comparator over them and signs what it said.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import ClassVar

from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import Digest, JobId, LeaseToken, PeerKey
from workunits.manifest import MAX_OUTPUTS
from workunits.metainfo import hash_stream
from workunits.results import INLINE_LIMIT, MAX_RESULT, Result, check_inline
from workunits.signing import SIGNATURE_SIZE, Domain, Identity, verify
from workunits.wire.packing import read_packed

MAX_PAIRS = 32
"""Most comparisons in one message. So many of the largest fit into one frame."""

_JUDGEMENT = struct.Struct(">QQ32s32sB")
JUDGEMENT_SIZE = _JUDGEMENT.size


class Opinion(IntEnum):
    """What a comparator said of two results, by its exit status."""

    SAME = 0
    DIFFERENT = 1
    FAILED = 2
    """It ended in any other way, or broke a limit of the job."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A result and its outputs, if they travel inline; else they are blobs of the swarm."""

    result: Result
    contents: tuple[bytes, ...] = ()

    def value(self) -> dict[str, object]:
        return {"contents": list(self.contents), "result": self.result.encode()}

    @classmethod
    def read(cls, fields: Fields) -> "Shown":
        result = Result.parse(fields.octets("result", limit=MAX_RESULT))
        contents = fields.blocks("contents", MAX_OUTPUTS, INLINE_LIMIT)
        fields.end()
        if contents:
            check_inline(result, contents, INLINE_LIMIT)
            for output, content in zip(result.outputs, contents, strict=True):
                if hash_stream(BytesIO(content), len(content)).info.ref != output.ref:
                    raise MalformedError(f"compare: {output.name} is not what its result names")
        return cls(result, contents)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One peer's opinion of two results of a unit, by their digests."""

    token: LeaseToken
    index: int
    a: Digest
    b: Digest
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class Pair:
    """Two results of one unit. ``token`` names the comparison, as it names a lease."""

    token: LeaseToken
    index: int
    a: Shown
    b: Shown

    def judged(self, opinion: Opinion) -> Judgement:
        """What is answered."""
        return Judgement(
            self.token, self.index, self.a.result.digest, self.b.result.digest, opinion
        )

    def value(self) -> dict[str, object]:
        return {
            "a": self.a.value(),
            "b": self.b.value(),
            "index": self.index,
            "token": self.token,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Pair":
        pair = cls(
            token=LeaseToken(fields.integer("token")),
            index=fields.integer("index"),
            a=Shown.read(fields.group("a")),
            b=Shown.read(fields.group("b")),
        )
        fields.end()
        return pair


@dataclass(frozen=True, slots=True)
class Compare:
    """From the tracker: say within ``seconds`` whether these results of a job are the same."""

    t: ClassVar[str] = "compare"
    job: JobId
    seconds: int
    pairs: tuple[Pair, ...]

    def value(self) -> dict[str, object]:
        return {
            "job": self.job,
            "pairs": [pair.value() for pair in self.pairs],
            "seconds": self.seconds,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Compare":
        return cls(
            job=JobId(fields.octets("job", length=32)),
            seconds=fields.integer("seconds", 1),
            pairs=tuple(Pair.read(group) for group in fields.groups("pairs", MAX_PAIRS)),
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """From the peer: a signed batch of judgements for one job."""

    t: ClassVar[str] = "compared"
    job: JobId
    packed: bytes
    signature: bytes

    @classmethod
    def sign(cls, identity: Identity, job: JobId, judgements: Iterable[Judgement]) -> "Compared":
        """Pack and sign ``judgements``."""
        packed = b"".join(
            _JUDGEMENT.pack(each.token, each.index, each.a, each.b, each.opinion)
            for each in judgements
        )
        return cls(job, packed, identity.sign(Domain.JUDGEMENTS, job + packed))

    def check(self, peer: PeerKey) -> None:
        """Raise ``SignatureError`` unless ``peer`` signed this batch."""
        verify(peer, Domain.JUDGEMENTS, self.job + self.packed, self.signature)

    def __iter__(self) -> Iterator[Judgement]:
        for token, index, a, b, opinion in _JUDGEMENT.iter_unpack(self.packed):
            yield Judgement(LeaseToken(token), index, Digest(a), Digest(b), Opinion(opinion))

    def value(self) -> dict[str, object]:
        return {"job": self.job, "judgements": self.packed, "signature": self.signature}

    @classmethod
    def read(cls, fields: Fields) -> "Compared":
        batch = cls(
            job=JobId(fields.octets("job", length=32)),
            packed=read_packed(fields, "judgements", JUDGEMENT_SIZE, MAX_PAIRS),
            signature=fields.octets("signature", length=SIGNATURE_SIZE),
        )
        if any(said > max(Opinion) for said in batch.packed[JUDGEMENT_SIZE - 1 :: JUDGEMENT_SIZE]):
            raise MalformedError("compared: an unknown opinion")
        return batch
