"""Links to torrents: ``magnet:`` (BEP 9, 53), our own ``swarm:``, and bare info-hashes.

    magnet:?xt=urn:btih:<v1>&xt=urn:btmh:1220<v2>&dn=<name>&xl=<length>&tr=<tracker>&ws=<web seed>
    swarm:<v2>?v1=<v1>&xl=<length>&dn=<name>&tr=<tracker>&ws=<web seed>

A ``swarm:`` link leads with the hash that decides; without a v2 half it leads with the v1 hash.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from workunits.errors import LimitError, MalformedError
from workunits.ids import HASH_SIZE, BlobRef
from workunits.metainfo import SHA1_SIZE
from workunits.torrents import MAX_NAME, MAX_STREAM

if TYPE_CHECKING:
    from workunits.torrent_files import TorrentDocument

MAX_LINK = 64 * 1024
MAX_URL = 2048
MAX_URLS = 64
TRACKERS = frozenset({"http", "https", "ws", "wss", "udp"})
SEEDS = frozenset({"http", "https"})
MULTIHASH = "1220"
"""Multihash prefix of a SHA-256 hash of 32 bytes."""

_HINT = "A link starts with magnet: or swarm:, or is an info-hash of 40 or 64 hex digits."
_BASE32 = 32  # characters of a v1 hash in the spelling of old clients


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a torrent before anybody was asked: one hash at least."""

    v1: bytes | None
    """SHA-1 info-hash, 20 bytes."""

    v2: bytes | None
    """SHA-256 info-hash, 32 bytes."""

    length: int | None = None
    """Bytes of content, as the link says it."""

    name: str = ""
    """A name to show; nothing depends on it."""

    trackers: tuple[str, ...] = ()
    webseeds: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    """``host:port`` of peers to try (``x.pe``)."""

    known: "TorrentDocument | None" = None
    """All of the metainfo, where it is here already. Not part of a link."""

    def __post_init__(self) -> None:
        """Check the sizes of the hashes. Raises ``MalformedError``."""
        if self.v1 is None and self.v2 is None:
            raise _wrong("has no info-hash")
        if self.v1 is not None and len(self.v1) != SHA1_SIZE:
            raise _wrong(f"has a v1 info-hash of {len(self.v1)} bytes")
        if self.v2 is not None and len(self.v2) != HASH_SIZE:
            raise _wrong(f"has a v2 info-hash of {len(self.v2)} bytes")

    def __str__(self) -> str:
        return f"torrent {(self.v2 or self.v1 or b'').hex()}"

    @property
    def hash20(self) -> bytes:
        """What names the swarm on the wire: the v1 hash, or the start of the v2 hash."""
        return self.v1 or (self.v2 or b"")[:SHA1_SIZE]

    @property
    def ref(self) -> BlobRef | None:
        """The blob that this may be: only its metainfo says whether it is one."""
        if self.v1 is None or self.v2 is None or self.length is None:
            return None
        return BlobRef(self.v2, self.v1, self.length)

    @classmethod
    def of(cls, ref: BlobRef, name: str = "", trackers: Iterable[str] = ()) -> "Target":
        """The torrent of a blob."""
        return cls(ref.v1, ref.v2, ref.length, _shown(name), _urls(trackers, TRACKERS))

    @classmethod
    def of_document(cls, document: "TorrentDocument") -> "Target":
        """The torrent of a ``.torrent`` file."""
        info = document.info
        return cls(
            v1=info.v1,
            v2=info.v2,
            length=info.content,
            name=_shown(info.name),
            trackers=_urls(document.trackers, TRACKERS),
            webseeds=_urls(document.webseeds, SEEDS),
            known=document,
        )


def parse_link(text: str) -> Target:
    """Read a link of any kind. Trackers and seeds that nobody here could use are passed over.

    Raises ``MalformedError`` or ``LimitError``.
    """
    text = text.strip()
    if len(text) > MAX_LINK:
        raise LimitError(f"a link of {len(text)} characters is over the limit of {MAX_LINK}")
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme == "magnet":
        return _parse_magnet(rest.removeprefix("?"))
    if scheme == "swarm":
        return _parse_swarm(rest)
    v1, v2 = _bare(text)
    return Target(v1, v2)


def format_magnet(target: Target) -> str:
    """The magnet link, which every BitTorrent client understands."""
    parts = []
    if target.v1 is not None:
        parts.append(f"xt=urn:btih:{target.v1.hex()}")
    if target.v2 is not None:
        parts.append(f"xt=urn:btmh:{MULTIHASH}{target.v2.hex()}")
    return "magnet:?" + "&".join(parts + _format_rest(target))


def format_swarm(target: Target) -> str:
    """The ``swarm:`` link."""
    first = target.v2 or target.v1 or b""
    parts = [f"v1={target.v1.hex()}"] if target.v1 is not None and target.v2 is not None else []
    parts += _format_rest(target)
    return f"swarm:{first.hex()}" + ("?" + "&".join(parts) if parts else "")


def _parse_magnet(query: str) -> Target:
    v1 = v2 = None
    fields = _fields(query)
    for key, value in fields:
        if _plain(key) != "xt":
            continue
        kind, _, name = value.rpartition(":")
        if kind.lower() == "urn:btih":
            v1 = _same(v1, _v1(name))
        elif kind.lower() == "urn:btmh":
            if not name.lower().startswith(MULTIHASH):
                raise _wrong("has a v2 info-hash that is not SHA-256")
            v2 = _same(v2, _hex(name[len(MULTIHASH) :], HASH_SIZE))
    if v1 is None and v2 is None:
        raise _wrong("has no info-hash (xt=urn:btih: or xt=urn:btmh:)")
    return _target(v1, v2, fields)


def _parse_swarm(rest: str) -> Target:
    name, _, query = rest.removeprefix("//").partition("?")
    v1, v2 = _bare(name.rstrip("/"))
    fields = _fields(query)
    for key, value in fields:
        if key == "v1":
            v1 = _same(v1, _hex(value, SHA1_SIZE))
    return _target(v1, v2, fields)


def _target(v1: bytes | None, v2: bytes | None, fields: list[tuple[str, str]]) -> Target:
    def all_of(name: str) -> list[str]:
        return [value for key, value in fields if _plain(key) == name]

    return Target(
        v1=v1,
        v2=v2,
        length=_length(all_of("xl")),
        name=_shown(next(iter(all_of("dn")), "")),
        trackers=_urls(all_of("tr"), TRACKERS),
        webseeds=_urls(all_of("ws"), SEEDS),
        peers=tuple(dict.fromkeys(filter(_is_address, all_of("x.pe"))))[:MAX_URLS],
    )


def _format_rest(target: Target) -> list[str]:
    parts = []
    if target.name:
        parts.append(f"dn={quote(target.name, safe='')}")
    if target.length is not None:
        parts.append(f"xl={target.length}")
    parts += [f"tr={quote(url, safe='')}" for url in target.trackers]
    parts += [f"ws={quote(url, safe='')}" for url in target.webseeds]
    return parts + [f"x.pe={quote(peer, safe='')}" for peer in target.peers]


def _fields(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise _wrong("cannot be read") from None


def _plain(key: str) -> str:
    """``xt.1`` is another ``xt``."""
    name, _, number = key.partition(".")
    return name if number.isdigit() else key


def _bare(text: str) -> tuple[bytes | None, bytes | None]:
    if len(text) == 2 * HASH_SIZE:
        return None, _hex(text, HASH_SIZE)
    return _v1(text), None


def _v1(text: str) -> bytes:
    if len(text) != _BASE32:
        return _hex(text, SHA1_SIZE)
    try:
        return base64.b32decode(text, casefold=True)
    except ValueError:
        raise _wrong("has a v1 info-hash that is not base32") from None


def _hex(text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or len(text) != 2 * size:
        raise _wrong(f"has no info-hash of {2 * size} hex digits")
    return value


def _same(known: bytes | None, value: bytes) -> bytes:
    if known is not None and known != value:
        raise _wrong("has two info-hashes of one kind")
    return value


def _length(values: list[str]) -> int | None:
    for value in values:
        if value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= MAX_STREAM:
            return int(value)
    return None


def _shown(name: str) -> str:
    """``name`` without what a terminal should not be sent, cut to what a file name can be."""
    kept = "".join(filter(str.isprintable, name)).encode(errors="ignore")[:MAX_NAME]
    return kept.decode(errors="ignore")


def _urls(found: Iterable[str], schemes: frozenset[str]) -> tuple[str, ...]:
    urls = dict.fromkeys(url for url in found if _is_url(url, schemes))
    return tuple(urls)[:MAX_URLS]


def _is_url(url: str, schemes: frozenset[str]) -> bool:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return (
        bool(host)
        and len(text) <= MAX_URL
        and text.isascii()
        and text.isprintable()
        and not set(text) & set(" /?#@")
        and port.isdigit()
        and 0 < int(port[:6]) < 65536
        and len(port) < 6
    )


def _wrong(text: str) -> MalformedError:
    return MalformedError(f"the link {text}", hint=_HINT)
