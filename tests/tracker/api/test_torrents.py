"""Registering torrents and telling peers how to reach each other, over REST."""

import base64
import hmac
import json
import time
from pathlib import Path
from urllib.parse import quote_from_bytes

from tests.tracker.api.uploading import DATA, upload, v2
from tests.tracker.serving import Served, identity, served
from tests.tracker.work.world import SUBMITTER, manifest
from tracker.announce.admission import Mode, passkey_of
from tracker.members import passkey_secret
from tracker.reach import Reach
from tracker.settings import NO_UDP, Settings
from workunits.ids import PeerKey
from workunits.passes import SignedPass
from workunits.statements import Admit, Passkey, Register, Unregister
from workunits.wire.signalling import Announce

TORRENT = Register(b"1" * 20, b"2" * 32, 5, "films")
MEMBERS = Settings(Mode.MEMBERS, Reach(("stun:s:1",), ("turn:t:1",), b"secret", lan=True))


async def announced(tracker: Served, info_hash: bytes, more: str = "") -> bytes:
    query = f"info_hash={quote_from_bytes(info_hash)}&peer_id={'p' * 20}&port=1{more}"
    return await tracker.fetch(f"/announce?{query}")


async def test_only_listed_torrents_are_tracked_by_default(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        assert b"does not track" in await announced(tracker, TORRENT.v1)
        answer = await tracker.say(tracker.sign(TORRENT, SUBMITTER))
        assert answer["result"]["v1"] == TORRENT.v1.hex()
        for value in (TORRENT.v1, TORRENT.v2[:20]):
            assert b"5:peers" in await announced(tracker, value)
    async with served(tmp_path) as tracker:
        assert b"5:peers" in await announced(tracker, TORRENT.v1)
        own = await tracker.ask(f"/api/v1/torrents?account={SUBMITTER.key.hex()}")
        assert [each["name"] for each in own["torrents"]] == ["films"]
        gone = tracker.sign(Unregister(TORRENT.v1, TORRENT.v2), SUBMITTER)
        assert (await tracker.say(gone))["repeated"] is False
        assert (await tracker.say(gone))["repeated"] is True
        assert b"does not track" in await announced(tracker, TORRENT.v1)
    async with served(tmp_path) as tracker:
        assert b"does not track" in await announced(tracker, TORRENT.v1)
        await tracker.ask("/api/v1/torrents?account=x", status=400)


async def test_an_open_tracker_tracks_everything(tmp_path: Path) -> None:
    async with served(tmp_path, settings=Settings(Mode.OPEN)) as tracker:
        assert b"5:peers" in await announced(tracker, b"any" + bytes(17))


async def test_the_blobs_of_a_job_its_results_and_uploads_are_tracked(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await upload(tracker)
        assert b"5:peers" in await announced(tracker, v2()[:20])
        job = manifest(2, nonce=1)
        view = await tracker.run(job)
        units = await tracker.ask(f"/api/v1/jobs/{view}/units")
        outputs = [output for unit in units["units"] for output in unit["result"]["outputs"]]
        assert outputs
        for output in outputs:
            for name in ("v1", "v2"):
                value = bytes.fromhex(output[name])[:20]
                assert b"5:peers" in await announced(tracker, value)
    assert DATA


async def test_only_members_announce_where_only_members_may(tmp_path: Path) -> None:
    async with served(tmp_path, settings=MEMBERS) as tracker:
        answer = await tracker.say(tracker.sign(TORRENT, SUBMITTER), 403)
        assert "only members" in answer["error"]["message"]
        await tracker.grant(SUBMITTER.key, 1)
        answer = await tracker.say(tracker.sign(TORRENT, SUBMITTER))
        assert "BEP 27" in answer["result"]["warning"]
        private = Register(b"3" * 20, b"", 5, "films", private=True)
        assert (await tracker.say(tracker.sign(private, SUBMITTER)))["result"]["warning"] == ""
        assert b"members only" in await announced(tracker, TORRENT.v1)
        until = int(time.time()) + 60
        operator = tracker.running.identity.key
        mine = SignedPass.query(SUBMITTER, until, operator)
        assert b"5:peers" in await announced(tracker, TORRENT.v1, f"&{mine}")
        other = SignedPass.query(identity("other"), until, operator)
        assert b"no member" in await announced(tracker, TORRENT.v1, f"&{other}")
        elsewhere = SignedPass.query(SUBMITTER, until, identity("other").key)
        assert b"signature" in await announced(tracker, TORRENT.v1, f"&{elsewhere}")
        over = SignedPass.query(SUBMITTER, int(time.time()) - 1, operator)
        assert b"is over" in await announced(tracker, TORRENT.v1, f"&{over}")
        path = f"/api/v1/torrents?account={SUBMITTER.key.hex()}"
        await tracker.ask(path, status=403)
        assert len((await tracker.ask(f"{path}&{mine}"))["torrents"]) == 2


async def test_only_the_operator_says_who_is_a_member(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        for claim in (Admit(SUBMITTER.key, True), Passkey(SUBMITTER.key, True)):
            answer = await tracker.say(tracker.sign(claim, SUBMITTER), 403)
            assert "only the operator" in answer["error"]["message"]


async def test_a_tracker_tells_peers_how_to_reach_each_other(tmp_path: Path) -> None:
    settings = Settings(reach=Reach(("stun:s:1",), ("turn:t:1",), b"secret", lan=True))
    async with served(tmp_path, settings=settings) as tracker:
        reach = await tracker.ask("/api/v1/reach")
        host = tracker.url.removeprefix("http://")
        assert reach["stun"] == ["stun:s:1"]
        assert reach["key"] == tracker.running.identity.key.hex()
        assert (reach["lan"], reach["mode"]) == (True, "listed")
        assert reach["announce"]["http"] == f"http://{host}/announce"
        assert reach["announce"]["ws"] == f"ws://{host}/announce"
        port = tracker.running.udp_port
        assert reach["announce"]["udp"] in (f"udp://127.0.0.1:{port}/announce", None)
        turn = reach["turn"]
        expiry = int(turn["username"].partition(":")[0])
        assert time.time() < expiry <= time.time() + 3600
        digest = hmac.digest(b"secret", turn["username"].encode(), "sha1")
        assert base64.b64decode(turn["credential"]) == digest
        again = await tracker.ask("/api/v1/reach")
        assert again["turn"]["username"] != turn["username"]


async def test_a_tracker_without_udp_says_so(tmp_path: Path) -> None:
    async with served(tmp_path, settings=Settings(udp=NO_UDP)) as tracker:
        assert (await tracker.ask("/api/v1/reach"))["announce"]["udp"] is None


async def test_outsiders_learn_only_that_a_tracker_is_for_members(tmp_path: Path) -> None:
    async with served(tmp_path, settings=MEMBERS) as tracker:
        reach = await tracker.ask("/api/v1/reach")
        assert (reach["stun"], reach["turn"], reach["lan"]) == ([], None, False)
        assert reach["mode"] == "members"
        until = int(time.time()) + 60
        key = PeerKey(bytes.fromhex(reach["key"]))
        assert key == tracker.running.identity.key
        operator = SignedPass.query(tracker.running.identity, until, key)
        inside = await tracker.ask(f"/api/v1/reach?{operator}")
        assert inside["stun"] == ["stun:s:1"]
        assert inside["turn"]["urls"] == ["turn:t:1"]
        stranger = SignedPass.query(SUBMITTER, until, key)
        await tracker.ask(f"/api/v1/reach?{stranger}", status=403)


async def test_a_passkey_opens_a_websocket_and_a_scrape_until_it_is_revoked(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, settings=MEMBERS) as tracker:
        await tracker.say(tracker.sign(TORRENT))
        answer = await tracker.say(tracker.sign(Passkey(SUBMITTER.key, True)))
        secret = passkey_secret(tracker.running.identity)
        passkey = passkey_of(secret, SUBMITTER.key, answer["result"]["passkey"]).hex()
        async with tracker.http.ws_connect(f"{tracker.url}/announce/{passkey}") as socket:
            await socket.send_str(Announce(TORRENT.v1, b"p" * 20).encode())
            assert json.loads(await socket.receive_str())["incomplete"] == 1
            hashes = f"info_hash={quote_from_bytes(TORRENT.v1)}"
            assert b"10:incompletei1e" in await tracker.fetch(f"/scrape/{passkey}?{hashes}")
            assert b"members only" in await tracker.fetch(f"/scrape?{hashes}")
            await tracker.say(tracker.sign(Passkey(SUBMITTER.key, False)))
            await socket.send_str(Announce(TORRENT.v1, b"p" * 20).encode())
            assert "revoked" in json.loads(await socket.receive_str())["failure reason"]
