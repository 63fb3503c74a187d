"""The peer's key file: one line of hex, for its owner's eyes only. And the vouch beside it."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from workunits.errors import LocalError, MalformedError, SignatureError
from workunits.ids import PeerKey, parse_hash
from workunits.signing import SEED_SIZE, Identity
from workunits.wire.handshake import Vouch

_PREFIX = "openswarm-key-v1 "
MAX_FILE = 512
"""Bytes of a key file or a vouch."""


class KeyFileError(LocalError):
    """A key or vouch file that cannot be used as it is."""

    code = "key"


def load(path: Path) -> Identity:
    """Read the identity in ``path``.

    Raises ``KeyFileError`` when the file is missing, readable by others, or not a key file.
    """
    text = _read(path, private=True)
    prefix, _, digits = text.removesuffix("\n").rpartition(" ")
    try:
        seed = parse_hash(digits, "the key") if prefix + " " == _PREFIX else b""
    except MalformedError:
        seed = b""
    if len(seed) != SEED_SIZE:
        raise KeyFileError(
            f"{path} is not a key file",
            hint=f"It must be one line: {_PREFIX.strip()} and {2 * SEED_SIZE} hex digits. "
            "Restore it from a backup, or move it away to start with a new key.",
        )
    return Identity.from_seed(seed)


def create(path: Path) -> Identity:
    """Make a new identity and write it to ``path``, which must not exist.

    The file appears whole or not at all. Raises ``KeyFileError``.
    """
    seed = secrets.token_bytes(SEED_SIZE)
    _write(path, f"{_PREFIX}{seed.hex()}\n")
    return Identity.from_seed(seed)


def load_or_create(path: Path) -> Identity:
    """The identity in ``path``; a new one when there is no such file.

    Of two processes that come at the same time one creates it and both use it.
    """
    if not path.is_symlink() and not path.exists():
        with suppress(_ExistsError):
            return create(path)
    return load(path)


def parse_vouch(text: str, peer: PeerKey, what: str) -> Vouch:
    """The vouch for ``peer`` that a line of hex shows; ``what`` names it in errors.

    Raises ``KeyFileError`` when it is not a vouch, or one for another peer.
    """
    try:
        vouch = Vouch.parse_line(text)
        vouch.check(peer)
    except MalformedError:
        raise KeyFileError(
            f"{what} is not a vouch",
            hint=f"Ask the owner for a new one: swarm key vouch {peer.hex()}",
        ) from None
    except SignatureError:
        raise KeyFileError(
            f"{what} vouches for another peer",
            hint=f"Ask the owner for one for this peer: swarm key vouch {peer.hex()}",
        ) from None
    return vouch


def save_vouch(path: Path, vouch: Vouch) -> None:
    """Write an owner's word for a peer to ``path``, which must not exist."""
    _write(path, vouch.line() + "\n")


def load_vouch(path: Path, peer: PeerKey) -> Vouch | None:
    """The vouch in ``path`` for ``peer``; ``None`` when there is no such file.

    Raises ``KeyFileError`` when the file is not a vouch, or one for another peer.
    """
    return parse_vouch(_read(path, private=False), peer, str(path)) if path.exists() else None


class _ExistsError(KeyFileError):
    pass


def _read(path: Path, *, private: bool) -> str:
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is not a regular file", hint="Name a key file.")
            if private and status.st_mode & 0o077:
                raise KeyFileError(
                    f"the key file {path} can be read by other users of this machine",
                    hint=f"Run: chmod 600 {path}",
                )
            return file.read(MAX_FILE + 1).decode("ascii", "replace")
    except OSError as error:
        raise _disk_error("read", path, error) from None


def _write(path: Path, text: str) -> None:
    spare = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(number, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(number)
            os.link(spare, path)  # unlike a rename, fails when there is a file already
        finally:
            spare.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise _ExistsError(
            f"{path} exists already", hint="Move it away first; it is never overwritten."
        ) from None
    except OSError as error:
        raise _disk_error("write", path, error) from None


def _disk_error(verb: str, path: Path, error: OSError) -> KeyFileError:
    return KeyFileError(
        f"cannot {verb} {path}: {error.strerror or error}",
        hint="Check that the folder exists, is yours, and its disk works.",
    )
