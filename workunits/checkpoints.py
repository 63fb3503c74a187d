"""Signed heads of a log, as others' witnesses and monitors read them.

C2SP tlog-checkpoint inside C2SP signed-note, with the Ed25519 signatures of the log (type 0x01)
and of witnesses (type 0x04, C2SP tlog-cosignature v1). Text here is UTF-8 bytes, and has one
spelling: what would encode to other bytes is refused.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256

from workunits.errors import LimitError, MalformedError, SignatureError
from workunits.ids import PeerKey
from workunits.merkle import HASH_SIZE, MAX_SIZE
from workunits.signing import SIGNATURE_SIZE, Identity, verify_note

MAX_NOTE = 8192
"""Bytes of a checkpoint with all its signatures."""

MAX_SIGNATURES = 16
MAX_KEY_NAME = 255
"""UTF-8 bytes of an origin, or of the name of a key."""

MAX_TIME = 2**63 - 1
KEY_SIZE = 32
KEY_ID_SIZE = 4
_TIME_SIZE = 8
_DASH = "\N{EM DASH} "
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_TEXT = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)", re.DOTALL)


class NoteKind(IntEnum):
    """What a key signs: the byte for it in C2SP signed-note."""

    LOG = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How large a log is, and the root over all of its entries.

    ``origin`` names the log: a URL without schema. ``extensions`` are opaque lines that nobody can
    audit; ours have none. Raises ``MalformedError`` or ``LimitError`` when no note can hold them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            _check_line(line)
        _check_length("origin", self.origin)
        if not 0 <= self.size <= MAX_SIZE:
            raise MalformedError(f"a log cannot have {self.size} entries")
        if len(self.root) != HASH_SIZE:
            raise MalformedError(f"a root has {HASH_SIZE} bytes, not {len(self.root)}")
        _check_limit(len(self.encode()))

    def encode(self) -> bytes:
        """The text that is signed, up to and with its last line feed."""
        lines = (self.origin, str(self.size), _base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Read a checkpoint without signatures. Raises ``MalformedError`` or ``LimitError``."""
        _check_limit(len(text))
        lines = _text(text).split("\n")
        if len(lines) <= 3 or lines.pop():
            raise MalformedError("a checkpoint is at least three whole lines")
        origin, size, root, *extensions = lines
        if not _DECIMAL.fullmatch(size):
            raise MalformedError(f"a checkpoint's size is not a plain number: {size[:80]!r}")
        return cls(origin, int(size), _octets(root), tuple(extensions))


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key, what it signs, and the name that goes with it in a note.

    Raises ``MalformedError`` or ``LimitError`` for what cannot stand in one.
    """

    name: str
    key: PeerKey
    kind: NoteKind = NoteKind.LOG

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key) != KEY_SIZE:
            raise MalformedError(f"a key has {KEY_SIZE} bytes, not {len(self.key)}")

    @property
    def id(self) -> bytes:
        """The 4 bytes by which a signature refers to this key. They are easy to collide."""
        return sha256(self.name.encode() + b"\n" + self._typed()).digest()[:KEY_ID_SIZE]

    def encode(self) -> str:
        """The verifier key (vkey) that people put into their configuration."""
        return f"{self.name}+{self.id.hex()}+{_base64(self._typed())}"

    @classmethod
    def parse(cls, text: str) -> "NoteKey":
        """Read a verifier key. Raises ``MalformedError`` or ``LimitError``."""
        match = _KEY_TEXT.fullmatch(text)
        if not match:
            raise MalformedError(
                f"not a verifier key: {text[:80]!r}", hint="It looks like NAME+ID+KEY."
            )
        typed = _octets(match[3])
        if typed[0] not in list(NoteKind):
            raise MalformedError(f"a verifier key of the unknown type {typed[0]}")
        key = cls(match[1], PeerKey(typed[1:]), NoteKind(typed[0]))
        if key.id.hex() != match[2]:
            raise MalformedError(f"a verifier key of {key.name} has another key's id")
        return key

    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line. ``blob`` means what the kind of the key says, which the line does not."""

    name: str
    key_id: bytes
    blob: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key_id) != KEY_ID_SIZE or not self.blob:
            raise MalformedError(f"a signature is {KEY_ID_SIZE} bytes of key id, and then more")

    def encode(self) -> bytes:
        """The line, with its line feed."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.blob)}\n".encode()

    @classmethod
    def parse(cls, line: str) -> "NoteSignature":
        """Read a line without its line feed. Raises ``MalformedError`` or ``LimitError``."""
        parts = line.removeprefix(_DASH).split(" ")
        if not line.startswith(_DASH) or len(parts) != 2:
            raise MalformedError(f"not a signature line: {line[:80]!r}")
        raw = _octets(parts[1])
        return cls(parts[0], raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and who signed it: the log first, then witnesses.

    Nothing in it is true before ``verify``. Raises ``LimitError`` beyond the limits of a note.
    """

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...] = ()

    def __post_init__(self) -> None:
        if len(self.signatures) > MAX_SIGNATURES:
            raise LimitError(f"a note with over {MAX_SIGNATURES} signatures")
        _check_limit(len(self._bytes()))

    def sign(self, identity: Identity, name: str) -> "SignedCheckpoint":
        """Add the signature of the log itself; ``name`` should be the origin."""
        signature = identity.sign_note(self.checkpoint.encode())
        return self._with(NoteKey(name, identity.key), signature)

    def cosign(self, identity: Identity, name: str, time: int) -> "SignedCheckpoint":
        """Add a witness's signature: it knows no larger log of this origin at ``time`` (Unix s).

        A witness needs a key of its own for each name: what is signed does not hold the name.
        """
        if not 0 <= time <= MAX_TIME:
            raise ValueError(f"not a time: {time}")
        signature = identity.sign_note(_cosigned(self.checkpoint, time))
        key = NoteKey(name, identity.key, NoteKind.COSIGNATURE)
        return self._with(key, time.to_bytes(_TIME_SIZE) + signature)

    def verify(self, key: NoteKey) -> int | None:
        """When ``key`` cosigned (Unix seconds, the latest); ``None`` for a log's key.

        Raises ``SignatureError`` unless it signed, and also if one of several signatures of its
        does not verify. Signatures of other keys are not looked at.
        """
        key_id = key.id
        blobs = [
            each.blob for each in self.signatures if each.name == key.name and each.key_id == key_id
        ]
        if not blobs:
            raise SignatureError(f"the checkpoint has no signature of {key.name}")
        if key.kind is NoteKind.LOG:
            for blob in blobs:
                verify_note(key.key, self.checkpoint.encode(), blob)
            return None
        return max(self._cosigned_at(key, blob) for blob in blobs)

    def encode(self) -> bytes:
        """The whole note. Raises ``MalformedError`` while nobody signed it."""
        if not self.signatures:
            raise MalformedError("a note needs a signature")
        return self._bytes()

    @classmethod
    def parse(cls, raw: bytes) -> "SignedCheckpoint":
        """Read a note. Raises ``MalformedError`` or ``LimitError``; verifies nothing."""
        _check_limit(len(raw))
        # The last empty line ends the text (signed-note); one before it is the checkpoint's fault.
        text, separator, lines = raw.rpartition(b"\n\n")
        signatures = _text(lines).split("\n")
        if not separator or len(signatures) == 1 or signatures.pop():
            raise MalformedError("a note is a text, an empty line, and whole signature lines")
        if len(signatures) > MAX_SIGNATURES:
            raise LimitError(f"a note with over {MAX_SIGNATURES} signatures")
        parsed = tuple(NoteSignature.parse(line) for line in signatures)
        return cls(Checkpoint.parse(text + b"\n"), parsed)

    def _with(self, key: NoteKey, blob: bytes) -> "SignedCheckpoint":
        signature = NoteSignature(key.name, key.id, blob)
        return replace(self, signatures=(*self.signatures, signature))

    def _cosigned_at(self, key: NoteKey, blob: bytes) -> int:
        time = int.from_bytes(blob[:_TIME_SIZE])
        if len(blob) != _TIME_SIZE + SIGNATURE_SIZE or time > MAX_TIME:
            raise SignatureError(f"the signature of {key.name} is no cosignature")
        verify_note(key.key, _cosigned(self.checkpoint, time), blob[_TIME_SIZE:])
        return time

    def _bytes(self) -> bytes:
        lines = b"".join(signature.encode() for signature in self.signatures)
        return self.checkpoint.encode() + b"\n" + lines


def _cosigned(checkpoint: Checkpoint, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time + checkpoint.encode()


def _check_limit(size: int) -> None:
    if size > MAX_NOTE:
        raise LimitError(f"a note of {size} bytes is over the limit of {MAX_NOTE}")


def _check_length(what: str, text: str) -> None:
    if len(text.encode()) > MAX_KEY_NAME:
        raise LimitError(f"{what} {text[:80]!r} is over {MAX_KEY_NAME} bytes")


def _check_line(line: str) -> None:
    if not line or any(char < " " or "\ud800" <= char <= "\udfff" for char in line):
        raise MalformedError(f"empty, or not plain text: {line[:80]!r}")


def _check_name(name: str) -> None:
    _check_line(name)
    if any(char.isspace() or char == "+" for char in name):
        raise MalformedError(
            f"{name[:80]!r} is not the name of a key", hint="Leave out spaces and '+'."
        )
    _check_length("key name", name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedError("a note is not UTF-8") from None


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


def _octets(text: str) -> bytes:
    """Read base64 in its one spelling (RFC 4648 section 4), of at least one byte."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or _base64(raw) != text:
        raise MalformedError(f"not base64: {text[:80]!r}")
    return raw
