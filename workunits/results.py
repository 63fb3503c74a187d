"""A unit's result, its digest, and the commitment to it.

Commit and reveal: a peer first sends ``commit`` and ``seal``; the result follows only when nothing
more can be committed. Equal results have equal commits, so agreement is known before anything is
shown. The seal binds the peer: who copies another's commit cannot make the seal for it.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from workunits import canonical
from workunits.errors import LimitError, MalformedError
from workunits.ids import Digest, PeerKey, UnitId
from workunits.manifest import MAX_OUTPUTS
from workunits.parameters import NamedBlob

INLINE_LIMIT = 4096
"""Bytes of output, over all files, up to which a result travels inside its reveal."""

MAX_RESULT = 8192
MAX_METER = 2**20
_COMMIT = b"openswarm commit v1\n"
_SEAL = b"openswarm seal v1\n"


class Ending(StrEnum):
    """How a unit's program ended. All but ``exited`` name the limit that it broke."""

    EXITED = "exited"
    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"
    OUTPUT = "output"


@dataclass(frozen=True)
class Result:
    """What an execution gave: the same program on the same unit gives the same bytes.

    ``meter`` is what a model's unit counts, in tokens, and 0 for any other.
    """

    ending: Ending
    exit_status: int
    outputs: tuple[NamedBlob, ...]
    meter: int = 0

    def encode(self) -> bytes:
        """The canonical result manifest."""
        return self._raw

    @cached_property
    def _raw(self) -> bytes:
        value: dict[str, object] = {
            "ending": self.ending.value,
            "exit": self.exit_status,
            "outputs": [output.value() for output in self.outputs],
        }
        if self.meter:
            value["meter"] = self.meter
        return canonical.encode(value)

    @classmethod
    def parse(cls, raw: bytes) -> "Result":
        """Read a result manifest strictly."""
        fields = canonical.decode_fields(raw, limit=MAX_RESULT, what="result")
        ending = fields.text("ending", limit=20)
        if ending not in list(Ending):
            raise MalformedError(f"result: unknown ending {ending!r}")
        result = cls(
            Ending(ending),
            fields.integer("exit", 0, 255),
            tuple(
                NamedBlob.parse(group, "output") for group in fields.groups("outputs", MAX_OUTPUTS)
            ),
            fields.integer("meter", 1, MAX_METER) if fields.has("meter") else 0,
        )
        fields.end()
        names = [output.name for output in result.outputs]
        if names != sorted(set(names)):
            raise MalformedError("result: outputs are not sorted by name, each once")
        result.__dict__["_raw"] = raw  # strict reading admits one spelling, so this is it
        return result

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 of the canonical result manifest."""
        return self.digest_of(self.encode())

    @staticmethod
    def digest_of(raw: bytes) -> Digest:
        """The digest of an encoded result manifest."""
        return Digest(hashlib.sha256(raw).digest())

    @property
    def size(self) -> int:
        """Bytes of all outputs together."""
        return sum(output.ref.length for output in self.outputs)

    def failure(self, declared: tuple[str, ...]) -> str:
        """Why the unit did not give what the job declares; empty when it did."""
        if self.ending is not Ending.EXITED:
            return f"over its {self.ending.value} limit"
        if self.exit_status:
            return f"exit status {self.exit_status}"
        missing = set(declared) - {output.name for output in self.outputs}
        return f"output missing: {', '.join(sorted(missing))}" if missing else ""


def commitment(unit: UnitId, digest: Digest) -> bytes:
    """H(job, index, digest): equal for equal results."""
    return hashlib.sha256(_COMMIT + unit.job + unit.index.to_bytes(8, "big") + digest).digest()


def seal(peer: PeerKey, unit: UnitId, digest: Digest) -> bytes:
    """H(peer, job, index, digest): only who knows the digest can make its own."""
    return hashlib.sha256(_SEAL + peer + unit.job + unit.index.to_bytes(8, "big") + digest).digest()


def check_inline(result: Result, contents: tuple[bytes, ...], limit: int) -> None:
    """Raise unless ``contents`` are as long as ``result`` says and at most ``limit`` in all."""
    if sum(map(len, contents)) > limit:
        raise LimitError(f"inline outputs are over {limit} bytes")
    if tuple(map(len, contents)) != tuple(output.ref.length for output in result.outputs):
        raise MalformedError("inline outputs do not match the result's lengths")
