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
            "policy": "economy",
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


def test_an_image_that_is_shared() -> None:
    contents = (bytes(1024), LONG)
    diffs = [sha256(content).digest() for content in contents]
    text = " ".join(f"sha256:{diff.hex()}" for diff in diffs)
    image = "sha256:" + sha256(text.encode()).hexdigest()
    assert image == WANTED["image of the layers (1,024 zeros, long content)"]
    layers = []
    for content, diff in zip(contents, diffs, strict=True):
        _, v1, v2 = blob(content)
        layers.append({"diff": diff, "length": len(content), "v1": v1, "v2": v2})
    program = {
        "command": ["square", "{n}", "--as", "{how}"],
        "files": [],
        "image": image,
        "layers": layers,
        "stdout": "out.json",
    }
    assert bencode(program) == wanted("program that shares it")


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


OFFERINGS = {
    "agent": "example/1",
    "cores": 2,
    "disk": 2**30,
    "images": ["sha256:" + "ab" * 32],
    "memory": 2**30,
    "platform": "",
    "validator": 0,
}


def test_the_handshake() -> None:
    key, tracker, nonce = wanted("peer key"), wanted("tracker key"), b"\xaa" * 32
    assert bencode({"t": "challenge", "nonce": nonce, "tracker": tracker}) == wanted(
        "challenge frame"
    )
    body: dict[str, Any] = {"key": key, "offerings": OFFERINGS}
    vouch = {"owner": wanted("owner key"), "signature": sign("owner", key, "owner")}
    for fields, name in (
        (body, "hello frame"),
        (body | {"vouch": vouch}, "hello frame with a vouch"),
    ):
        signed = bencode(fields | {"nonce": nonce, "tracker": tracker})
        frame = fields | {"t": "hello", "signature": sign("peer", signed, "session")}
        assert bencode(frame) == wanted(name)


def test_what_a_peer_holds() -> None:
    names = sorted(wanted(f"{name} v2")[:20] for name in ("short", "long"))
    frame = {"added": b"".join(names), "disk": 1_000_000, "removed": b"", "t": "holds"}
    assert bencode(frame) == wanted("holds frame (short and long added, 1,000,000 bytes)")


def credits_for(account: str, amount: int) -> dict[str, Any]:
    return {"account": wanted(f"{account} key"), "amount": amount}


def said(who: str, kind: str, claim: dict[str, Any]) -> bytes:
    return bencode(
        {
            "author": wanted(f"{who} key"),
            "claim": claim,
            "nonce": bytes(16),
            "t": kind,
            "time": 1_700_000_000,
        }
    )


def statement(who: str, kind: str, claim: dict[str, Any]) -> bytes:
    raw = said(who, kind, claim)
    return bencode({"signature": sign(who, raw, "statement"), "statement": raw})


def test_statements() -> None:
    claim = credits_for("peer", 1000)
    assert statement("tracker", "grant", claim) == wanted("statement envelope")
    assert sha256(said("tracker", "grant", claim)).digest() == wanted("statement id")


def number(word: bytes) -> int:
    return int.from_bytes(word[:8], "big")


def test_the_chains_of_links() -> None:
    signature = sign("tracker", b"", "chance")
    secret = sha256(signature).digest()
    assert signature == wanted("chance signature (domain chance)")
    assert secret == wanted("chain secret")
    for chain in (0, 1):
        links = [sha256(b"openswarm beacon v1\n" + chain.to_bytes(8, "big") + secret).digest()]
        for _ in range(4096):
            links.append(sha256(links[-1]).digest())
        assert links[-1] == wanted(f"chain {chain} anchor")
        if chain == 0:
            assert links[0] == wanted("chain 0 seed")
            assert links[-4:-1] == [wanted(f"chain 0 link {at}") for at in (3, 2, 1)]


def test_the_lots() -> None:
    for at in (1, 3):
        link = wanted(f"chain 0 link {at}")
        word = sha256(b"openswarm lot v1\n" + link + wanted("job id") + INDEX).digest()
        assert number(word) % 1000 == int(WANTED[f"lot (link {at})"])


def test_the_kind_of_work() -> None:
    words = ("square", "{n}", "--as", "{how}")
    named_by = "openswarm kind of work v1\nsha256:" + "ab" * 32 + "".join(f"\0{w}" for w in words)
    assert sha256(named_by.encode()).digest() == wanted("kind of work")


def drawn(link: int, roster: list[bytes], fit: list[bytes]) -> bytes:
    seed = b"openswarm draw v2\n" + wanted(f"chain 0 link {link}") + wanted("job id") + INDEX
    for n in range(32):
        place = number(sha256(seed + n.to_bytes(4, "big")).digest()) % len(roster)
        if roster[place] in fit:
            return roster[place]
    left = [key for key in roster if key in fit]
    last = sha256(seed + (31).to_bytes(4, "big")).digest()
    return left[number(last) % len(left)] if left else b""


def test_the_draw() -> None:
    peer, owner, tracker = (wanted(f"{who} key") for who in ("peer", "owner", "tracker"))
    roster = sorted((peer, owner, tracker))
    many = [bytes([at]) * 32 for at in range(256)]
    assert drawn(2, roster, roster) == wanted("draw (link 2)")
    assert drawn(3, roster, roster) == wanted("draw (link 3)")
    assert drawn(2, roster, [peer, owner]) == wanted("draw (link 2), tracker unfit")
    assert drawn(2, roster, [owner]) == wanted("draw (link 2), only owner fit")
    assert drawn(2, many, [many[64], many[192]]) == wanted("draw (link 2), two of 256 fit")


def test_the_ledger() -> None:
    peer, owner, job = wanted("peer key"), wanted("owner key"), wanted("job id")
    escrow = b"escrow:" + job
    manifest = wanted("manifest")
    envelope = bencode({"manifest": manifest, "signature": sign("peer", manifest, "manifest")})

    def join(who: str) -> dict[str, Any]:
        key = wanted(f"{who} key")
        return {"offerings": OFFERINGS, "owner": key, "peer": key, "signature": b""}

    def batch(who: str, token: int, link: int) -> dict[str, Any]:
        sealed = b"openswarm seal v1\n" + wanted(f"{who} key") + job + INDEX + wanted("digest")
        packed = INDEX + token.to_bytes(8, "big") + wanted("commitment") + sha256(sealed).digest()
        return {
            "commits": packed,
            "job": job,
            "link": wanted(f"chain 0 link {link}"),
            "peer": wanted(f"{who} key"),
            "signature": sign(who, job + packed, "commits"),
            "void": b"",
        }

    assert drawn(2, sorted((peer, owner)), [owner]) == owner
    verdict = {
        "cast": b"".join(
            key + token.to_bytes(8, "big") + b"\0" for key, token in ((peer, 7), (owner, 8))
        ),
        "index": 4,
        "job": job,
        "results": [wanted("result")],
    }
    entries: list[dict[str, Any]] = [
        {
            "t": "mint",
            "moves": [[b"mint", peer, 1000]],
            "statement": statement("tracker", "grant", credits_for("peer", 1000)),
        },
        {
            "t": "transfer",
            "moves": [[peer, owner, 5]],
            "statement": statement("peer", "pay", credits_for("owner", 5)),
        },
        {"t": "restart"},
        {"t": "anchor", "link": wanted("chain 0 anchor")},
        {"t": "join"} | join("peer"),
        {"t": "join"} | join("owner"),
        {"t": "escrow", "moves": [[peer, escrow, 6 * 1 * 2]], "manifest": envelope},
        {"t": "commits"} | batch("peer", 7, 1),
        {
            "t": "draws",
            "draws": INDEX + b"\0" + owner,
            "job": job,
            "link": wanted("chain 0 link 2"),
        },
        {"t": "commits"} | batch("owner", 8, 3),
        {"t": "verdict"} | verdict,
        {"t": "leave", "peer": owner},
        {
            "t": "final",
            "job": job,
            "moves": [[escrow, peer, 1], [escrow, owner, 1]],
            "units": INDEX + (1).to_bytes(8, "big"),
        },
        {
            "t": "refund",
            "moves": [[escrow, peer, 10]],
            "job": job,
            "statement": statement("peer", "cancel", {"job": job}),
        },
    ]
    raw = [bencode(entry) for entry in entries]
    for at, entry in enumerate(entries):
        assert raw[at] == wanted(f"ledger entry {at} ({entry['t']})")
    assert tree_hash(raw) == wanted("ledger root")


def test_entries_that_the_example_does_not_need() -> None:
    peer, owner = wanted("peer key"), wanted("owner key")
    vouched = {"offerings": OFFERINGS, "owner": owner, "peer": peer, "t": "join"}
    vouched["signature"] = sign("owner", peer, "owner")
    known = wanted("ringers (unit 4, salt of zeros)")
    others = bencode(
        {"ending": "exited", "exit": 0, "outputs": [named("out.json", wanted("other content"))]}
    )
    seven, eight, nine = (token.to_bytes(8, "big") for token in (7, 8, 9))
    verdict = {
        "cast": peer + seven + b"\0" + owner + eight + b"\1",
        "index": 4,
        "job": wanted("job id"),
        "known": 1,
        "results": [wanted("result"), others],
        "right": b"\0",
        "silent": nine,
        "t": "verdict",
        "wrong": b"\1",
    }
    failed = {"index": 5, "job": wanted("job id"), "reason": "no two agree", "t": "failed"}
    for name, entry in (
        ("join with a vouch", vouched),
        ("verdict that says all", verdict),
        ("failed", failed),
        ("known", {"job": wanted("job id"), "ringers": known, "t": "known"}),
        ("doubt", {"doubted": 1, "peer": peer, "t": "doubt"}),
        ("ban", {"peer": peer, "t": "ban"}),
    ):
        assert bencode(entry) == wanted(f"entry ({name})")


def tree_hash(entries: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1."""
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_hash(entries[:split]) + tree_hash(entries[split:])).digest()


def test_the_checkpoint() -> None:
    name = f"openswarm/{wanted('tracker key').hex()}"
    text = f"{name}\n14\n{b64encode(wanted('ledger root')).decode()}\n".encode()
    key = wanted("tracker key")
    key_id = sha256(name.encode() + b"\n\x01" + key).digest()[:4]
    signature = b64encode(key_id + sign_bare("tracker", text)).decode()
    assert text + f"\n\u2014 {name} {signature}\n".encode() == wanted("checkpoint note")
