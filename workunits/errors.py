"""The error hierarchy. Blame is a type: our fault, or the remote's.

Every error that can reach a person carries a ``hint``: one sentence that says what to do next.
"""

from enum import StrEnum


class Blame(StrEnum):
    """Whose mistake an error is."""

    OURS = "ours"
    THEIRS = "theirs"


class SwarmError(Exception):
    """Base of every error that Open-Swarm raises on purpose.

    ``code`` is stable and machine-readable; it travels in error frames and in ``--json`` output.
    """

    blame: Blame = Blame.OURS
    code: str = "internal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class LocalError(SwarmError):
    """Something on this side is wrong: configuration, disk, engine, a bug."""


class RemoteError(SwarmError):
    """The other side sent something that it should not have sent."""

    blame = Blame.THEIRS
    code = "remote"


class MalformedError(RemoteError):
    """Bytes from outside do not parse. Nothing of them was kept."""

    code = "malformed"


class SignatureError(RemoteError):
    """A signature does not verify under the key that it claims."""

    code = "signature"


class ProofError(RemoteError):
    """A proof about a log does not hold, or none can exist for what was asked."""

    code = "proof"


class AuditError(RemoteError):
    """A ledger is not what it claims to be; the message names the first entry that is wrong."""

    code = "audit"


class LimitError(RemoteError):
    """Well-formed, but larger or more than is allowed."""

    code = "limit"


class RefusedError(RemoteError):
    """Well-formed and signed, but the rules say no (no credit, not the owner, stale lease)."""

    code = "refused"


class UnavailableError(LocalError):
    """A thing this side needs is not there: an engine, an image, a tracker, a blob."""

    code = "unavailable"
