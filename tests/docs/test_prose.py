"""A second implementation, from the prose of ``docs/protocol.md`` alone, gives its vectors.

Nothing of ours is imported but the page itself: this is what somebody else would write.
"""

from base64 import b64encode
from hashlib import sha1, sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.docs.pages import page
from tests.docs.render import parse_vectors

BLOCKS = page("docs/protocol.md").blocks("text")
WANTED = parse_vectors(next(block.text for block in BLOCKS if "peer seed" in block.text))


def wanted(name: str) -> bytes:
    return bytes.fromhex(WANTED[name])


def bencode(value: Any) -> bytes:
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, dict):
        pairs = sorted((key.encode(), item) for key, item in value.items())
        return b"d" + b"".join(bencode(key) + bencode(item) for key, item in pairs) + b"e"
    return b"l" + b"".join(map(bencode, value)) + b"e"


def sign(who: str, message: bytes, domain: str) -> bytes:
    return sign_bare(who, f"openswarm {domain} v1\n".encode() + message)


def sign_bare(who: str, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(wanted(f"{who} seed")).sign(message)


def blob(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Info dictionary, v1, v2."""
    span = 16384
    while span < 4194304 and span * 1024 < len(content):
        span *= 2
    nodes = [sha256(content[at : at + 16384]).digest() for at in range(0, len(content), 16384)]
    nodes += [bytes(32)] * ((1 << max(0, len(nodes) - 1).bit_length()) - len(nodes))
    while len(nodes) > 1:
        nodes = [sha256(nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]
    root = nodes[0] if content else bytes(32)
    leaf: dict[str, Any] = {"length": len(content)}
    if content:
        leaf["pieces root"] = root
    pieces = [sha1(content[at : at + span]).digest() for at in range(0, len(content), span)]
    info = bencode(
        {
            "file tree": {root.hex(): {"": leaf}},
            "length": len(content),
            "meta version": 2,
            "name": root.hex(),
            "piece length": span,
            "pieces": b"".join(pieces),
        }
    )
    return info, sha1(info).digest(), sha256(info).digest()


def named(name: str, content: bytes) -> dict[str, Any]:
    _, v1, v2 = blob(content)
    return {"length": len(content), "name": name, "v1": v1, "v2": v2}


LONG = bytes(at % 251 for at in range(40000))
INDEX = (4).to_bytes(8, "big")


def test_blobs() -> None:
    for name, content in (("empty", b""), ("short", wanted("short content")), ("long", LONG)):
        info, v1, v2 = blob(content)
        assert info == wanted(f"{name} info")
        assert (v1, v2) == (wanted(f"{name} v1"), wanted(f"{name} v2"))


def test_the_manifest_its_signature_and_its_id() -> None:
    manifest = bencode(
        {
            "comparator": {"kind": "exact"},
            "demands": {"platform": 0, "reputation": 0, "ringers": b"", "settings": {}},
            "inputs": [named("data.bin", LONG)],
            "limits": {"cpu": 60, "memory": 64 * 1024 * 1024, "output": 1024, "wall": 180},
            "name": "example",
            "nonce": bytes(16),
            "outputs": ["out.json"],
            "parameters": {
                "axes": [
                    {"count": 3, "name": "n", "start": 3, "step": 1},
                    {"name": "how", "values": ["int", "text"]},
                ],
                "combine": "product",
            },
            "policy": "pair",
            "price": 1,
            "program": {
                "command": ["square", "{n}", "--as", "{how}"],
                "files": [],
                "image": "sha256:" + "ab" * 32,
                "stdout": "out.json",
            },
            "submitter": wanted("peer key"),
            "version": 1,
        }
    )
    assert manifest == wanted("manifest")
    assert sign("peer", manifest, "manifest") == wanted("manifest signature (domain manifest)")
    assert sha256(manifest).digest() == wanted("job id")


def test_a_unit_of_a_product() -> None:
    rest, how = divmod(4, 2)
    number = 3 + (rest % 3)
    assert WANTED["unit 4 parameters"] == f"n={number} how={('int', 'text')[how]}"


def test_results_commits_and_seals() -> None:
    output = named("out.json", wanted("short content"))
    result = bencode({"ending": "exited", "exit": 0, "outputs": [output]})
    digest = sha256(result).digest()
    job = wanted("job id")
    commitment = sha256(b"openswarm commit v1\n" + job + INDEX + digest).digest()
    seal = sha256(b"openswarm seal v1\n" + wanted("peer key") + job + INDEX + digest).digest()
    packed = INDEX + (7).to_bytes(8, "big") + commitment + seal
    signature = sign("peer", job + packed, "commits")
    frame = bencode({"t": "commit", "job": job, "commits": packed, "signature": signature})
    assert (result, digest) == (wanted("result"), wanted("digest"))
    assert (commitment, seal) == (wanted("commitment"), wanted("seal"))
    assert frame == wanted("commit frame")


def test_known_answers() -> None:
    known = bencode({"answers": INDEX + wanted("digest"), "salt": bytes(32)})
    assert known == wanted("ringers (unit 4, salt of zeros)")
    assert sha256(known).digest() == wanted("ringers hash")


def test_a_comparison_and_its_answer() -> None:
    job, contents = wanted("job id"), (wanted("short content"), wanted("other content"))
    shown: list[dict[str, Any]] = []
    for content in contents:
        outputs = [named("out.json", content)]
        result = bencode({"ending": "exited", "exit": 0, "outputs": outputs})
        shown.append({"contents": [content], "result": result})
    digests = [sha256(each["result"]).digest() for each in shown]
    pair = {"a": shown[0], "b": shown[1], "index": 4, "token": 9}
    frame = bencode({"t": "compare", "job": job, "pairs": [pair], "seconds": 60})
    packed = (9).to_bytes(8, "big") + INDEX + b"".join(digests) + b"\x01"
    signature = sign("peer", job + packed, "judgements")
    answer = bencode({"t": "compared", "job": job, "judgements": packed, "signature": signature})
    assert digests == [wanted("digest"), wanted("other digest")]
    assert frame == wanted("compare frame (token 9, 60 s)")
    assert packed == wanted("judgements (packed, different)")
    assert answer == wanted("compared frame")


def test_the_handshake() -> None:
    offerings = {
        "agent": "example/1",
        "cores": 2,
        "images": ["sha256:" + "ab" * 32],
        "memory": 2**30,
        "platform": "",
        "validator": 0,
    }
    key, tracker, nonce = wanted("peer key"), wanted("tracker key"), b"\xaa" * 32
    assert bencode({"t": "challenge", "nonce": nonce, "tracker": tracker}) == wanted(
        "challenge frame"
    )
    body: dict[str, Any] = {"key": key, "offerings": offerings}
    vouch = {"owner": wanted("owner key"), "signature": sign("owner", key, "owner")}
    for fields, name in (
        (body, "hello frame"),
        (body | {"vouch": vouch}, "hello frame with a vouch"),
    ):
        signed = bencode(fields | {"nonce": nonce, "tracker": tracker})
        frame = fields | {"t": "hello", "signature": sign("peer", signed, "session")}
        assert bencode(frame) == wanted(name)


def test_statements() -> None:
    raw = bencode(
        {
            "author": wanted("tracker key"),
            "claim": {"account": wanted("peer key"), "amount": 1000},
            "nonce": bytes(16),
            "t": "grant",
            "time": 1_700_000_000,
        }
    )
    envelope = bencode({"signature": sign("tracker", raw, "statement"), "statement": raw})
    assert envelope == wanted("statement envelope")
    assert sha256(raw).digest() == wanted("statement id")


def test_the_draw() -> None:
    roster = sorted(wanted(f"{who} key") for who in ("peer", "tracker", "owner"))
    seed = b"openswarm draw v1\n" + wanted("draw checkpoint") + wanted("job id") + INDEX

    def drawn(attempt: int, fit: list[bytes]) -> bytes:
        place = 0
        for count in range(32):
            word = sha256(seed + attempt.to_bytes(4, "big") + count.to_bytes(4, "big")).digest()
            place = int.from_bytes(word[:8], "big") % len(roster)
            if roster[place] in fit:
                return roster[place]
        for step in range(1, len(roster)):
            if roster[(place + step) % len(roster)] in fit:
                return roster[(place + step) % len(roster)]
        return b""

    others = [key for key in roster if key != wanted("peer key")]
    assert drawn(1, roster) == wanted("draw attempt 1")
    assert drawn(2, roster) == wanted("draw attempt 2")
    assert drawn(1, others) == wanted("draw attempt 1, peer unfit")
    assert drawn(1, [wanted("owner key")]) == wanted("draw attempt 1, only owner fit")


def test_the_ledger() -> None:
    peer, owner, job = wanted("peer key"), wanted("owner key"), wanted("job id")
    escrow = b"escrow:" + job
    envelope = bencode(
        {"manifest": wanted("manifest"), "signature": sign("peer", wanted("manifest"), "manifest")}
    )

    def batch(who: str, token: int) -> dict[str, Any]:
        sealed = b"openswarm seal v1\n" + wanted(f"{who} key") + job + INDEX + wanted("digest")
        packed = INDEX + token.to_bytes(8, "big") + wanted("commitment") + sha256(sealed).digest()
        signature = sign(who, job + packed, "commits")
        return {"commits": packed, "job": job, "peer": wanted(f"{who} key"), "signature": signature}

    verdict = {
        "cast": [[peer, 7, 0], [owner, 8, 0]],
        "index": 4,
        "job": job,
        "losers": [],
        "results": [wanted("result")],
        "winners": [0, 1],
    }
    grant = wanted("statement envelope")
    entries: list[dict[str, Any]] = [
        {"t": "mint", "moves": [[b"mint", peer, 1000]], "statement": grant},
        {"t": "escrow", "moves": [[peer, escrow, 6 * 1 * 2]], "manifest": envelope},
        {"t": "commits", "moves": []} | batch("peer", 7),
        {"t": "commits", "moves": []} | batch("owner", 8),
        {"t": "verdict", "moves": [[escrow, peer, 1], [escrow, owner, 1]]} | verdict,
        {"t": "refund", "moves": [[escrow, peer, 10]], "job": job, "statement": b""},
    ]
    raw = [bencode(entry) for entry in entries]
    for number, entry in enumerate(entries):
        assert raw[number] == wanted(f"ledger entry {number} ({entry['t']})")
    assert tree_hash(raw) == wanted("ledger root")


def tree_hash(entries: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1."""
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_hash(entries[:split]) + tree_hash(entries[split:])).digest()


def test_the_checkpoint() -> None:
    name = f"openswarm/{wanted('tracker key').hex()}"
    text = f"{name}\n6\n{b64encode(wanted('ledger root')).decode()}\n".encode()
    key = wanted("tracker key")
    key_id = sha256(name.encode() + b"\n\x01" + key).digest()[:4]
    signature = b64encode(key_id + sign_bare("tracker", text)).decode()
    assert text + f"\n\u2014 {name} {signature}\n".encode() == wanted("checkpoint note")
