"""What libtorrent is told of where else to look for a torrent."""

import libtorrent
import pytest

from client.peers.native_params import extend
from client.peers.network import Network, TcpPolicy
from workunits.links import Target

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
