"""Two peers behind two NATs: by hole punching, and through TURN where a firewall is in the way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.members import torrent_of
from tests.interop.network import SERVER, Internet, internet
from tests.interop.peer import spell
from tests.interop.processes import SECRET, STUN_PORT, coturn, peer, program, tracker

URL = f"http://{SERVER}:8400"
STUN = f"stun:{SERVER}:{STUN_PORT}"
TURN = f"turn:{SERVER}:{STUN_PORT}"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Internet]:
    """The internet, with two homes, and coturn on its server."""
    with internet() as made, coturn(*(tmp_path / "coturn", SERVER), inside=made.public.inside):
        yield made


@contextmanager
def serving(net: Internet, folder: Path, *, stun: bool, turn: Sequence[str] = ()) -> Iterator[None]:
    """A tracker on the server that says so much of coturn."""
    secret = folder / "secret"
    secret.write_text(SECRET + "\n")
    options = ["--mode", "open", *(("--stun", STUN) if stun else ())]
    for url in turn:
        options += ["--turn", url]
    if turn:
        options += ["--turn-secret-file", str(secret)]
    with tracker(folder / "tracker", *options, listen=f"{SERVER}:8400", inside=net.public.inside):
        yield


def exchange(net: Internet, folder: Path, content: bytes, *options: str) -> None:
    """One home's peer seeds a blob, the other's fetches it."""
    ref = torrent_of(content, "")[0].info.ref
    for name in "seeder", "leecher":
        (folder / name).mkdir()
    (folder / "seeder" / "content").write_bytes(content)
    one, two = (home.machine.inside for home in net.homes)
    with peer(URL, str(folder / "seeder"), *options, inside=one) as seeder:
        seeder.hear()
        with peer(URL, str(folder / "leecher"), spell(ref), *options, inside=two) as leecher:
            assert leecher.hear()["from_peers"] == len(content)
            assert (folder / "leecher" / "content").read_bytes() == content


def test_peers_behind_two_nats_meet_by_hole_punching(
    net: Internet, content: bytes, tmp_path: Path
) -> None:
    with serving(net, tmp_path, stun=True):
        exchange(net, tmp_path, content)
        assert net.forwarded() > len(content), "it went from home to home"


def test_peers_meet_through_turn_where_udp_between_them_is_blocked(
    net: Internet, content: bytes, tmp_path: Path
) -> None:
    net.block_udp(but=STUN_PORT)
    with serving(net, tmp_path, stun=True, turn=[TURN]):
        exchange(net, tmp_path, content)


def test_peers_meet_through_turn_over_tcp_where_all_udp_is_blocked(
    net: Internet, content: bytes, tmp_path: Path
) -> None:
    net.block_udp()
    with serving(net, tmp_path, stun=True, turn=[f"{TURN}?transport=tcp"]):
        exchange(net, tmp_path, content)


def test_peers_that_only_relay_show_nobody_where_they_are(
    net: Internet, content: bytes, tmp_path: Path
) -> None:
    info_hash = torrent_of(content, "")[0].info.ref.v1.hex()
    looking = ("tests.interop.onlooker", URL, info_hash)
    with (
        serving(net, tmp_path, stun=True, turn=[TURN]),
        program(*looking, inside=net.public.inside) as onlooker,
    ):
        onlooker.hear()
        exchange(net, tmp_path, content, "--relay-only")
        assert net.forwarded() == 0, "nothing went from home to home, nor tried to"
        shown: dict[str, str] = {}
        while not {"offer", "answer"} <= shown.keys():
            said = onlooker.hear()
            if said["kind"] == "peers":
                assert b"5:peers0:" in bytes.fromhex(said["body"]), "nobody is there over HTTP"
            else:
                shown[said["kind"]] = said["sdp"]
    for sdp in shown.values():
        lines = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
        assert lines
        assert all(f" {SERVER} " in line and " typ relay" in line for line in lines)
        for home in net.homes:
            assert home.private not in sdp
            assert home.public not in sdp
