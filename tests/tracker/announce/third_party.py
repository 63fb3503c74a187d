"""Downloads with libtorrent from one session to another, over one tracker and nothing else.

Run as a program with libtorrent on its path: ``third_party.py ANNOUNCE_URL DIRECTORY SECONDS``.
"""

import sys
import time
from pathlib import Path
from typing import Any

import libtorrent

CONTENT = bytes(range(256)) * 1024


def session(webrtc: bool) -> Any:
    # Over WebRTC, TCP and uTP are off, so that nothing else can have carried the bytes.
    return libtorrent.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_tcp": not webrtc,
            "enable_outgoing_tcp": not webrtc,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "webtorrent_stun_server": "",
            "allow_multiple_connections_per_ip": True,
            "user_agent": "swarm-test",
        }
    )


def main() -> int:
    announce, directory, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    source, target = directory / "source", directory / "target"
    source.mkdir()
    target.mkdir()
    (source / "content").write_bytes(CONTENT)
    files = libtorrent.file_storage()
    files.add_file("content", len(CONTENT))
    made = libtorrent.create_torrent(files, 16384)
    libtorrent.set_piece_hashes(made, str(source))
    made.add_tracker(announce)
    info = libtorrent.torrent_info(libtorrent.bencode(made.generate()))
    webrtc = announce.startswith("ws")
    seeder, leecher = session(webrtc), session(webrtc)
    handles = [
        peer.add_torrent({"ti": info, "save_path": str(place)})
        for peer, place in ((seeder, source), (leecher, target))
    ]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not handles[1].status().is_seeding:
        time.sleep(0.1)
    done = (target / "content").exists() and (target / "content").read_bytes() == CONTENT
    for peer, handle in zip((seeder, leecher), handles, strict=True):
        for entry in handle.trackers():
            print(entry["url"], entry.get("message", ""), file=sys.stderr)
        peer.remove_torrent(handle)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
