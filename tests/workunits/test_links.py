"""Links: what is written is read back, what others write is read, garbage is refused."""

import base64
import io

import libtorrent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import refs
from workunits.errors import LimitError, MalformedError, SwarmError
from workunits.ids import BlobRef
from workunits.links import (
    MAX_LINK,
    MAX_URLS,
    Target,
    format_magnet,
    format_swarm,
    parse_link,
)
from workunits.metainfo import hash_stream
from workunits.torrent_files import TorrentDocument
from workunits.torrents import MAX_NAME, MAX_STREAM, of_blob

V1, V2 = bytes(range(20)), bytes(range(32))
HEX1, HEX2 = V1.hex(), V2.hex()

urls = st.builds(
    "{}://{}/{}".format,
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z0-9]{1,20}(\.[a-z]{2,5})?(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
lists = st.lists(urls, max_size=4, unique=True).map(tuple)
names = st.text(max_size=30).filter(str.isprintable)
targets = st.builds(
    Target,
    v1=st.none() | st.binary(min_size=20, max_size=20),
    v2=st.binary(min_size=32, max_size=32),
    length=st.none() | st.integers(0, MAX_STREAM),
    name=names,
    trackers=lists,
    webseeds=lists,
    peers=st.lists(
        st.from_regex(r"[a-z0-9.]{1,20}:[1-9][0-9]{0,3}", fullmatch=True), max_size=3, unique=True
    ).map(tuple),
)


@given(targets)
def test_what_is_written_is_read_back(target: Target) -> None:
    assert parse_link(format_magnet(target)) == target
    assert parse_link(format_swarm(target)) == target


@given(refs, names)
def test_a_blob_has_a_link(ref: BlobRef, name: str) -> None:
    target = Target.of(ref, name, ["http://tracker:8400/announce"])
    assert (target.v1, target.v2, target.length, target.name) == (ref.v1, ref.v2, ref.length, name)
    assert parse_link(format_swarm(target)) == target
    assert target.hash20 == ref.v1 and target.ref == ref
    assert parse_link(ref.v1.hex()).ref is None


def test_the_spellings_of_others_are_read() -> None:
    base32 = base64.b32encode(V1).decode()
    for text, v1, v2 in [
        (HEX1, V1, None),
        (HEX1.upper(), V1, None),
        (HEX2, None, V2),
        (base32, V1, None),
        (f" swarm:{HEX2}\n", None, V2),
        (f"swarm://{HEX2}/?v1={HEX1}", V1, V2),
        (f"swarm:{HEX1}", V1, None),
        (f"magnet:?xt=urn:btih:{base32}", V1, None),
        (f"magnet:?xt=urn:btih:{base32.lower()}", V1, None),
        (f"MAGNET:?xt.1=urn:btih:{HEX1}&xt.2=urn:btmh:1220{HEX2}", V1, V2),
        (f"magnet:?xt=urn:sha1:ABC&xt=urn:btmh:1220{HEX2}", None, V2),
    ]:
        target = parse_link(text)
        assert (target.v1, target.v2) == (v1, v2), text
    assert parse_link(HEX2).hash20 == V2[:20]


def test_what_nobody_could_use_is_passed_over() -> None:
    many = "".join(f"&tr=udp://t{at}:1" for at in range(MAX_URLS + 5))
    target = parse_link(
        f"magnet:?xt=urn:btih:{HEX1}&dn=a+b%0Ac%1B[2J&xl=x&xl=5&tr=dht://x&tr=http://&tr=http://a b"
        f"&tr=http://%5B::&ws=udp://a:1&x.pe=nowhere&x.pe=:1&x.pe=a:99999&x.pe=[::1]:8&so=1{many}"
    )
    assert target.name == "a bc[2J"
    assert target.length == 5
    assert len(target.trackers) == MAX_URLS and target.trackers[0] == "udp://t0:1"
    assert target.webseeds == ()
    assert target.peers == ("[::1]:8",)
    long = parse_link(f"swarm:{HEX2}?dn={'%C3%A9' * MAX_NAME}")
    assert len(long.name.encode()) <= MAX_NAME and long.name[0] == "é"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "magnet:",
        "magnet:?dn=x",
        "http://example.org/",
        "swarm:",
        f"swarm:{HEX2[:-1]}",
        f"swarm:{HEX2}?v1={HEX1[:-1]}",
        f"swarm:{HEX1}?v1={HEX2[:40][::-1]}",
        f"magnet:?xt=urn:btih:{HEX1[:-2]}xx",
        f"magnet:?xt=urn:btih:{'1' * 32}",
        f"magnet:?xt=urn:btih:{HEX1}&xt=urn:btih:{HEX1[::-1]}",
        f"magnet:?xt=urn:btmh:1114{HEX1}",
        f"magnet:?xt=urn:btih:{HEX1}&dn=%ff",
        f"magnet:?xt=urn:btih:{HEX1}" + "&a=b" * 1000,
        HEX1[:-1] + " ",
    ],
)
def test_links_to_nothing_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_link(text)
    assert caught.value.hint


def test_a_link_has_a_limit() -> None:
    with pytest.raises(LimitError):
        parse_link("magnet:?" + "x" * MAX_LINK)


def test_a_target_has_hashes_of_the_right_size() -> None:
    for v1, v2 in ((None, None), (b"", None), (V2, V2), (V1, V1)):
        with pytest.raises(MalformedError):
            Target(v1, v2)


def test_libtorrent_reads_our_magnet_and_we_read_its() -> None:
    meta = hash_stream(io.BytesIO(bytes(100_000)), 100_000).info
    document = TorrentDocument(of_blob(meta), {}, ("udp://a:1", "http://b/x?y=1&z=%20"), ())
    ours = Target.of_document(document)
    assert ours.known is document and ours.length == 100_000
    theirs = libtorrent.parse_magnet_uri(format_magnet(ours))
    assert theirs.info_hashes.v1.to_bytes() == meta.ref.v1
    assert theirs.info_hashes.v2.to_bytes() == meta.ref.v2
    assert theirs.trackers == list(ours.trackers)
    again = parse_link(libtorrent.make_magnet_uri(theirs))
    assert (again.v1, again.v2, again.trackers) == (ours.v1, ours.v2, ours.trackers)


@given(st.text(max_size=200))
def test_garbage_raises_nothing_but_our_errors(text: str) -> None:
    for prefix in ("", "magnet:?", "swarm:", f"swarm:{HEX2}?", f"magnet:?xt=urn:btih:{HEX1}&"):
        try:
            target = parse_link(prefix + text)
        except SwarmError:
            continue
        assert parse_link(format_magnet(target)) == target
