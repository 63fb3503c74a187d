"""The layers of an image as files: taken out of an engine, looked over, and put into another one.

A layer is an uncompressed tar file. The engine unpacks it as root on the host's disk, so what it
would write is known before it gets to see it: every header is read here, strictly.
"""

import hashlib
import io
import json
import platform
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from workunits.errors import LimitError, LocalError, MalformedError
from workunits.images import MAX_IMAGE

BLOCK = 512
MAX_FILES = 500_000
"""Most files in one layer: each takes an inode of the host."""

MAX_RECORDS = 1 << 20
"""Most bytes of the extended headers of one file."""

REPOSITORY = "openswarm/shared"
"""Where images are tagged that came through the swarm."""

_READ = 1 << 20
_GZIP = b"\x1f\x8b"
_REGULAR, _LINKS, _DEVICES, _PLAIN = b"0\0", b"12", b"34", b"56"
_BASE_256 = 0x80
_LONG_NAMES, _RECORDS = b"LK", b"x"


# -- looking over -------------------------------------------------------------------------------


def check(path: Path) -> None:
    """Refuse a layer that is not a plain tar file, or would become more on disk than it is.

    That means compression, sparse files and device nodes, ``trusted`` attributes (overlayfs reads
    them), more than ``MAX_FILES`` files, and whatever two readers could read differently. Raises
    ``MalformedError`` or ``LimitError``, and ``LocalError`` when it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            _check(stream, path.stat().st_size)
    except OSError as error:
        raise LocalError(
            f"cannot read the layer {path}: {error.strerror}", hint="Check the disk."
        ) from None


def _check(stream: IO[bytes], size: int) -> None:
    at = files = 0
    override: int | None = None
    while at + BLOCK <= size:
        header = stream.read(BLOCK)
        at += BLOCK
        if not header.strip(b"\0"):
            _check_rest(stream)
            return
        kind, length = header[156:157], _header_size(header)
        if kind in _LONG_NAMES or kind in _RECORDS:
            if length > MAX_RECORDS:
                raise LimitError("a layer has a file with extended headers of more than 1 MiB")
            body = stream.read(_padded(length))
            if kind in _RECORDS:
                override = _records(body[:length])
            at += len(body)
            continue
        files += 1
        if files > MAX_FILES:
            raise LimitError(f"a layer has more than {MAX_FILES:,} files")
        if override is not None:
            length, override = override, None
        if kind in _REGULAR:
            at += _padded(length)
            stream.seek(at)
        elif kind not in _LINKS + _PLAIN or length:
            raise MalformedError(
                f"a layer has an entry of type {kind!r}, which images of the swarm must not have",
                hint="Make the image without device nodes and sparse files.",
            )
    raise MalformedError("a layer is cut off, or is no tar file")


def _check_rest(stream: IO[bytes]) -> None:
    while rest := stream.read(_READ):
        if rest.strip(b"\0"):
            raise MalformedError("a layer has something after its end")


def _header_size(header: bytes) -> int:
    """The size in a header whose checksum is right (POSIX ustar, GNU base 256)."""
    plain = header[:148] + b" " * 8 + header[156:]
    if _octal(header[148:156]) != sum(plain):
        raise MalformedError("a layer is no tar file, or is compressed")
    field = header[124:136]
    size = int.from_bytes(field[1:], "big") if field[0] == _BASE_256 else _octal(field)
    if size > MAX_IMAGE:
        raise LimitError("a layer has a file that is larger than any image")
    return size


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not all(byte in b"01234567" for byte in digits):
        raise MalformedError("a layer has a header with a broken number")
    return int(digits or b"0", 8)


def _records(body: bytes) -> int | None:
    """The size that the records of an extended header give, if any (POSIX pax)."""
    at, size = 0, None
    while at < len(body):
        space = body.find(b" ", at, at + 10)
        digits = body[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        record = body[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(body) or not equals or not record.endswith(b"\n"):
            raise MalformedError("a layer has a broken extended header")
        if key.startswith(b"GNU.sparse"):
            raise MalformedError(
                "a layer has a sparse file", hint="Make the image without sparse files."
            )
        if key.startswith(b"SCHILY.xattr.trusted."):
            raise MalformedError("a layer has attributes that speak to the host's file system")
        if key == b"size":
            if not value[:-1].isdigit() or int(value) > MAX_IMAGE:
                raise MalformedError("a layer has a broken extended header")
            size = int(value)
        at = end
    return size


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


# -- into an engine -----------------------------------------------------------------------------


def archive(image: str, layers: Sequence[tuple[bytes, Path]]) -> Iterator[bytes]:
    """The archive that ``docker load`` takes, piece by piece: ``layers`` (diff id and file, lowest
    first) under a configuration that says nothing but which they are.

    Raises ``LocalError`` when a file cannot be read.
    """
    names = [f"{diff.hex()}.tar" for diff, _ in layers]
    config = _json(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                platform.machine(), platform.machine()
            ),
            "config": {},
            "created": "1970-01-01T00:00:00Z",
            "os": "linux",
            "rootfs": {
                "diff_ids": [f"sha256:{diff.hex()}" for diff, _ in layers],
                "type": "layers",
            },
        }
    )
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "Layers": names, "RepoTags": [tag(image)]}]
    yield from _member(config_name, config)
    for name, (_, path) in dict(zip(names, layers, strict=True)).items():
        yield from _file(name, path)
    yield from _member("manifest.json", _json(manifest))
    yield bytes(2 * BLOCK)


def tag(image: str) -> str:
    """The tag of an image that came through the swarm."""
    return f"{REPOSITORY}:{image.removeprefix('sha256:')}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _member(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data)) + data + bytes(-len(data) % BLOCK)


def _file(name: str, path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            size = left = path.stat().st_size
            yield _header(name, size)
            while left and (data := stream.read(min(_READ, left))):
                left -= len(data)
                yield data
    except OSError as error:
        raise LocalError(
            f"cannot read the layer {path}: {error.strerror}", hint="Check the disk."
        ) from None
    if left:
        raise LocalError(f"the layer {path} became shorter", hint="Check the disk.")
    yield bytes(-size % BLOCK)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


# -- out of an engine ---------------------------------------------------------------------------


def split(saved: Iterable[bytes], wanted: Sequence[bytes], folder: Path) -> list[Path]:
    """Write the layers of an image into ``folder``, from what ``docker save`` gives; returns their
    files, one for each of the diff ids that are ``wanted``.

    A file is named by its diff id; one that is there is taken as it is. Layers are unpacked if
    they are compressed. Raises ``MalformedError`` when a layer is not there, and ``LocalError``
    when the disk fails.
    """
    paths = {diff: folder / f"{diff.hex()}.tar" for diff in wanted}
    missing = {diff for diff, path in paths.items() if not path.is_file()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if missing:
            with tarfile.open(fileobj=_Stream(saved), mode="r|") as tar:
                for member in tar:
                    source = tar.extractfile(member) if member.isreg() else None
                    if source is not None:
                        missing -= _keep(source, paths, missing, folder)
    except tarfile.TarError as error:
        raise MalformedError(f"the engine gave a broken image: {error}") from None
    except OSError as error:
        raise LocalError(
            f"cannot write layers to {folder}: {error.strerror or error}",
            hint="Free disk space, or set SWARM_CACHE to a folder on another disk.",
        ) from None
    if missing:
        raise MalformedError(
            f"the engine did not give {len(missing)} layers of the image",
            hint="Load the image into a Docker engine that keeps layers as tar or gzip files.",
        )
    return [paths[diff] for diff in wanted]


def _keep(
    source: IO[bytes], paths: dict[bytes, Path], missing: set[bytes], folder: Path
) -> set[bytes]:
    """Write one file of an image, and keep it if it is a layer that is missing."""
    head = source.read(BLOCK)
    if not head.startswith(_GZIP) and head[257:262] != b"ustar" and head[:4] != bytes(4):
        return set()  # a configuration or an index
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".layer-", delete=False) as target:
        try:
            hasher = hashlib.sha256()
            for data in _unpacked(head, source):
                hasher.update(data)
                target.write(data)
            diff = hasher.digest()
            if diff not in missing:
                return set()
            target.flush()
            Path(target.name).replace(paths[diff])
            return {diff}
        finally:
            with suppress(FileNotFoundError):
                Path(target.name).unlink()


def _unpacked(head: bytes, source: IO[bytes]) -> Iterator[bytes]:
    if not head.startswith(_GZIP):
        while head:
            yield head
            head = source.read(_READ)
        return
    inflate, total = zlib.decompressobj(zlib.MAX_WBITS | 16), 0
    while head:
        try:
            data = inflate.decompress(head, _READ)
        except zlib.error as error:
            raise MalformedError(f"the engine gave a broken layer: {error}") from None
        total += len(data)
        if total > MAX_IMAGE:
            raise LimitError("a layer is larger than any image may be")
        yield data
        head = inflate.unconsumed_tail or source.read(_READ)
    yield inflate.flush()


class _Stream(io.RawIOBase):
    """What an iterator gives, as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        end = len(whole) if size < 0 else size
        self._rest = whole[end:]
        return whole[:end]
