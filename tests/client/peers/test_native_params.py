"""What libtorrent is told of a torrent."""

from io import BytesIO
from pathlib import Path
from typing import Any

import libtorrent
import pytest

from client.peers.native_params import extend, params_of_blob
from client.peers.network import Network, TcpPolicy
from workunits.links import Target
from workunits.metainfo import hash_stream

FAR = "http://9.9.9.9:80/announce"
FAR_UDP = "udp://tracker.example:80/announce"
NEAR = "http://192.168.1.7:8400/announce"
SOCKET = "ws://tracker.example:8400/announce"


@pytest.mark.parametrize(
    ("network", "asked"),
    [
        (Network(), [NEAR, SOCKET]),
        (Network(tcp=TcpPolicy.ALWAYS), [FAR, FAR_UDP, NEAR, SOCKET]),
        (Network(tcp=TcpPolicy.NEVER), [SOCKET]),
    ],
)
def test_trackers_that_tell_others_where_to_dial_us_are_asked_only_where_tcp_may_be_used(
    network: Network, asked: list[str]
) -> None:
    params = libtorrent.add_torrent_params()
    extend(params, Target(bytes(20), None, trackers=(FAR, FAR_UDP, NEAR, SOCKET)), network)
    assert params.trackers == asked


@pytest.mark.parametrize("size", [16_385, 300_000, 17_000_000])
def test_a_blob_comes_with_the_digests_of_its_pieces(size: int, tmp_path: Path) -> None:
    hashed = hash_stream(BytesIO(bytes(size)), size)
    info = hashed.info
    params = params_of_blob(info.ref, tmp_path, [], info, digests=hashed.layer)
    written: Any = libtorrent.write_torrent_file(params)
    assert written[b"piece layers"] == {info.root: hashed.layer}


def test_a_blob_of_one_piece_has_no_layer(tmp_path: Path) -> None:
    info = hash_stream(BytesIO(b"x"), 1).info
    assert params_of_blob(info.ref, tmp_path, [], info, digests=info.root).ti.num_pieces() == 1
