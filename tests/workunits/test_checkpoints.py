"""Signed heads of logs: the published examples, one spelling, and nothing taken on trust."""

import string
from base64 import b64decode, b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.workunits.strategies import hashes
from workunits.checkpoints import (
    MAX_KEY_NAME,
    MAX_NOTE,
    MAX_SIGNATURES,
    MAX_TIME,
    Checkpoint,
    NoteKey,
    NoteKind,
    NoteSignature,
    SignedCheckpoint,
)
from workunits.errors import LimitError, MalformedError, RemoteError, SignatureError
from workunits.ids import PeerKey
from workunits.merkle import EMPTY_ROOT, MAX_SIZE
from workunits.signing import Domain, Identity, verify_note

LOG = Identity.from_seed(b"l" * 32)
WITNESS = Identity.from_seed(b"w" * 32)
ORIGIN = "swarm.example/log"
NAME = "witness.example/w1"
LOG_KEY = NoteKey(ORIGIN, LOG.key)
WITNESS_KEY = NoteKey(NAME, WITNESS.key, NoteKind.COSIGNATURE)
HEAD = Checkpoint(ORIGIN, 7, b"r" * 32)
NOTE = SignedCheckpoint(HEAD).sign(LOG, ORIGIN).cosign(WITNESS, NAME, 1679315147)

GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_NOTE = """go.sum database tree
6476701
mb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=

— sum.golang.org \
Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=
"""
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_TEXT = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.
"""
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM="
)
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_LINE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
    "OBH3mFXmRKuwHjG1Yu72IneyaQM="
)
SPEC_NOTE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 \
jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""

_text = st.characters(codec="utf-8", min_codepoint=32)
lines = st.text(_text, min_size=1, max_size=20)
key_names = st.text(_text, min_size=1, max_size=20).filter(
    lambda name: not any(char.isspace() or char == "+" for char in name)
)
sizes = st.one_of(st.integers(0, 300), st.integers(0, MAX_SIZE))
times = st.one_of(st.integers(0, 2**32), st.integers(0, MAX_TIME))
checkpoints = st.builds(Checkpoint, lines, sizes, hashes, st.lists(lines, max_size=3).map(tuple))
note_keys = st.builds(NoteKey, key_names, hashes.map(PeerKey), st.sampled_from(NoteKind))
signature_lines = st.builds(
    NoteSignature,
    key_names,
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=80),
)
notes = st.builds(
    SignedCheckpoint,
    checkpoints,
    st.lists(signature_lines, min_size=1, max_size=MAX_SIGNATURES).map(tuple),
)


def test_the_go_checksum_database_s_checkpoint_verifies() -> None:
    """The tree head of sum.golang.org under the key in cmd/go (modfetch/key.go), as quoted in
    transparency-dev/formats, log/checkpoint_test.go. Its origin holds spaces."""
    key, note = NoteKey.parse(GO_KEY), SignedCheckpoint.parse(GO_NOTE.encode())
    assert (note.checkpoint.origin, note.checkpoint.size) == ("go.sum database tree", 6476701)
    assert note.verify(key) is None
    assert (key.encode(), note.encode()) == (GO_KEY, GO_NOTE.encode())
    other = GO_NOTE.replace("6476701", "6476702")
    with pytest.raises(SignatureError, match="note signature"):
        SignedCheckpoint.parse(other.encode()).verify(key)


def test_the_reference_note_is_signed_byte_for_byte() -> None:
    """The key pair and note of golang.org/x/mod, sumdb/note/note_test.go: Ed25519 has one
    signature for a message."""
    peter = Identity.from_seed(b64decode(PETER_SECRET)[1:])
    key = NoteKey("PeterNeumann", peter.key)
    assert key.encode() == PETER_KEY
    assert NoteKey.parse(PETER_KEY) == key
    signature = NoteSignature("PeterNeumann", key.id, peter.sign_note(PETER_TEXT.encode()))
    assert signature.encode() == f"{PETER_LINE}\n".encode()


def test_the_specification_s_verifier_key_verifies_its_note() -> None:
    """The example of https://c2sp.org/signed-note, section "Verifier keys"."""
    key, signature = NoteKey.parse(SPEC_KEY), NoteSignature.parse(SPEC_LINE)
    assert (signature.name, signature.key_id) == (key.name, key.id)
    verify_note(key.key, b"This is an example message.\n", signature.blob)


def test_the_specification_s_cosigned_checkpoint_is_read() -> None:
    """The example of https://c2sp.org/tlog-cosignature. Its keys are not published (and the log's
    key id is that of sum.golang.org), so only the framing can be checked."""
    note = SignedCheckpoint.parse(SPEC_NOTE.encode())
    assert note.encode() == SPEC_NOTE.encode()
    assert note.checkpoint.origin == "example.com/behind-the-sofa"
    log, witness = note.signatures
    assert (log.key_id.hex(), len(log.blob)) == ("033de0ae", 64)
    assert (witness.key_id.hex(), len(witness.blob)) == ("8d66cf3f", 8 + 64)
    assert int.from_bytes(witness.blob[:8]) == 1679315147


def test_a_witness_signs_the_message_of_the_specification() -> None:
    """Two lines and the note's text: https://c2sp.org/tlog-cosignature, "Ed25519 signed
    message"."""
    head = SignedCheckpoint.parse(SPEC_NOTE.encode()).checkpoint
    (line,) = SignedCheckpoint(head).cosign(WITNESS, NAME, 1679315147).signatures
    message = (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    assert line.blob == (1679315147).to_bytes(8) + WITNESS.sign_note(message)


@given(checkpoints)
def test_a_checkpoint_round_trips(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint


@given(notes)
def test_a_signed_checkpoint_round_trips(note: SignedCheckpoint) -> None:
    assert SignedCheckpoint.parse(note.encode()) == note


@given(note_keys)
def test_a_verifier_key_round_trips(key: NoteKey) -> None:
    assert NoteKey.parse(key.encode()) == key


@given(checkpoints, key_names, key_names, hashes, hashes, times)
def test_what_a_log_and_a_witness_sign_verifies(
    head: Checkpoint, origin: str, name: str, log: bytes, witness: bytes, time: int
) -> None:
    one, other = Identity.from_seed(log), Identity.from_seed(witness)
    note = SignedCheckpoint(head).sign(one, origin).cosign(other, name, time)
    note = SignedCheckpoint.parse(note.encode())
    assert note.verify(NoteKey(origin, one.key)) is None
    assert note.verify(NoteKey(name, other.key, NoteKind.COSIGNATURE)) == time


@pytest.mark.parametrize(
    "key",
    [
        NoteKey(NAME, LOG.key),
        NoteKey(ORIGIN, WITNESS.key),
        NoteKey(ORIGIN, LOG.key, NoteKind.COSIGNATURE),
        NoteKey(NAME, WITNESS.key),
    ],
)
def test_a_signature_is_of_one_name_one_key_and_one_kind(key: NoteKey) -> None:
    with pytest.raises(SignatureError, match="no signature of"):
        NOTE.verify(key)


@given(st.data())
def test_a_note_with_a_changed_byte_is_refused_or_no_longer_verifies(data: st.DataObject) -> None:
    raw = bytearray(NOTE.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        note = SignedCheckpoint.parse(bytes(raw))
        assert note.encode() == bytes(raw)
        note.verify(LOG_KEY)
        note.verify(WITNESS_KEY)
    except RemoteError:
        return
    pytest.fail("a changed note verifies")


@given(st.binary(max_size=100))
def test_an_arbitrary_signature_under_a_known_key_is_refused(blob: bytes) -> None:
    assume(blob)
    for key in (LOG_KEY, WITNESS_KEY):
        note = SignedCheckpoint(HEAD, (NoteSignature(key.name, key.id, blob),))
        with pytest.raises(SignatureError):
            note.verify(key)


def test_a_cosignature_holds_for_its_time_only() -> None:
    (signature,) = SignedCheckpoint(HEAD).cosign(WITNESS, NAME, 100).signatures
    for time in (99, 101, MAX_TIME + 1):
        blob = time.to_bytes(8) + signature.blob[8:]
        note = SignedCheckpoint(HEAD, (NoteSignature(NAME, WITNESS_KEY.id, blob),))
        with pytest.raises(SignatureError):
            note.verify(WITNESS_KEY)
    for time in (-1, MAX_TIME + 1):
        with pytest.raises(ValueError, match="not a time"):
            SignedCheckpoint(HEAD).cosign(WITNESS, NAME, time)


def test_a_cosignature_beyond_the_largest_time_is_refused() -> None:
    time = MAX_TIME + 1
    signed = WITNESS.sign_note(b"cosignature/v1\ntime %d\n" % time + HEAD.encode())
    line = NoteSignature(NAME, WITNESS_KEY.id, time.to_bytes(8) + signed)
    with pytest.raises(SignatureError, match="no cosignature"):
        SignedCheckpoint(HEAD, (line,)).verify(WITNESS_KEY)


def test_of_several_cosignatures_the_latest_counts_and_a_false_one_spoils_all() -> None:
    note = SignedCheckpoint(HEAD).cosign(WITNESS, NAME, 300).cosign(WITNESS, NAME, 200)
    assert note.verify(WITNESS_KEY) == 300
    false = NoteSignature(NAME, WITNESS_KEY.id, b"f" * 72)
    with pytest.raises(SignatureError):
        SignedCheckpoint(HEAD, (*note.signatures, false)).verify(WITNESS_KEY)


def test_signatures_of_unknown_keys_are_not_looked_at() -> None:
    unknown = (
        NoteSignature(ORIGIN, b"\0\0\0\0", b"x"),
        NoteSignature("other.example", LOG_KEY.id, b"x"),
    )
    note = SignedCheckpoint(HEAD, (*unknown, *NOTE.signatures))
    assert note.verify(LOG_KEY) is None
    assert note.verify(WITNESS_KEY) == 1679315147


@pytest.mark.parametrize("domain", Domain)
def test_a_note_and_a_message_with_a_domain_are_never_the_same(domain: Domain) -> None:
    """Notes are signed without a domain, so a log must not be named like one."""
    head = Checkpoint(domain.value.decode().rstrip("\n"), 7, b"r" * 32)
    with pytest.raises(ValueError, match="with a domain"):
        SignedCheckpoint(head).sign(LOG, ORIGIN)
    message = head.encode().removeprefix(domain.value)
    line = NoteSignature(ORIGIN, LOG_KEY.id, LOG.sign(domain, message))
    with pytest.raises(SignatureError, match="is no note"):
        SignedCheckpoint(head, (line,)).verify(LOG_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n1\n",
        "o\n1\n{root}",
        "\n1\n{root}\n",
        "o\n\n{root}\n",
        "o\n01\n{root}\n",
        "o\n+1\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n1 \n{root}\n",
        "o\n1_0\n{root}\n",
        "o\n٣\n{root}\n",
        "o\n²\n{root}\n",
        "o\n9223372036854775808\n{root}\n",
        "o\n99999999999999999999\n{root}\n",
        "o\n1\n{short}\n",
        "o\n1\n\n",
        "o\n1\n {root}\n",
        "o\n1\n{root}=\n",
        "o\n1\n{loose}\n",
        "o\n1\n{unpadded}\n",
        "o\n1\n{urlsafe}\n",
        "o\r\n1\r\n{root}\r\n",
        "o\0\n1\n{root}\n",
        "o\t\n1\n{root}\n",
        "o\n1\n{root}\n\n",
        "o\n1\n{root}\nextension\n\nextension\n",
        "o\n1\n{root}\nextension",
    ],
)
def test_a_checkpoint_with_another_spelling_is_refused(text: str) -> None:
    root = b64encode(b"\xff" * 32).decode()
    spelled = text.format(
        root=root,
        short=b64encode(b"r" * 31).decode(),
        loose=root[:-2] + "9=",
        unpadded=root.rstrip("="),
        urlsafe=root.replace("/", "_"),
    ).encode()
    with pytest.raises(MalformedError):
        Checkpoint.parse(spelled)
    with pytest.raises(MalformedError):
        SignedCheckpoint.parse(spelled + f"\n{PETER_LINE}\n".encode())


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "\n",
        "\n\n",
        f"{PETER_LINE}\n",
        f"\n{PETER_LINE}",
        f"\n{PETER_LINE}\n\n",
        f"\n\n{PETER_LINE}\n",
        f"\n{PETER_LINE}\nrest\n",
        f"\n{PETER_LINE} \n",
        f"\n {PETER_LINE}\n",
        f"\n{PETER_LINE}=\n",
        f"\n{PETER_LINE}\r\n",
        f"\n{PETER_LINE.replace('— ', '- ')}\n",
        f"\n{PETER_LINE.replace('— ', '—')}\n",
        f"\n{PETER_LINE.replace('— ', '—  ')}\n",
        f"\n{PETER_LINE.replace('Peter', 'Peter ')}\n",
        f"\n{PETER_LINE.replace('Peter', 'Peter+')}\n",
        "\n— Peter\u00a0Neumann AAAAAAA=\n",
        "\n— Peter\u2028Neumann AAAAAAA=\n",
        "\n— Peter\u3000Neumann AAAAAAA=\n",
        "\n— Peter\x1bNeumann AAAAAAA=\n",
        "\n— n AAAAAA==\n",
        "\n— n AAAA\n",
        "\n— n \n",
        "\n— n\n",
        "\n— \n",
        "\n— n AAAA AAAA\n",
        "\n— n AAAAAAAAAAB=\n",
    ],
)
def test_a_note_with_other_signature_lines_is_refused(tail: str) -> None:
    with pytest.raises(MalformedError):
        SignedCheckpoint.parse(HEAD.encode() + tail.encode())


def test_a_note_that_is_no_utf_8_is_refused() -> None:
    for raw in (NOTE.encode().replace(b"witness", b"\xff"), b"\xff" + NOTE.encode()):
        with pytest.raises(MalformedError, match="UTF-8"):
            SignedCheckpoint.parse(raw)


def mangled(key: str) -> list[str]:
    parts = [key[at:end] for at in range(len(key)) for end in range(at, len(key) + 1)]
    raised = [key[:at] + chr(ord(key[at]) + 1) + key[at + 1 :] for at in range(len(key))]
    return [each for each in parts + raised if each != key]


@pytest.mark.parametrize("key", [PETER_KEY, SPEC_KEY, WITNESS_KEY.encode()])
def test_a_mangled_verifier_key_is_refused(key: str) -> None:
    """The manglings of golang.org/x/mod, sumdb/note/note_test.go: every part of a key, and every
    character raised by one."""
    for text in mangled(key):
        with pytest.raises(MalformedError):
            NoteKey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER_KEY.replace("c74f20a3", "C74F20A3"),
        PETER_KEY.replace("c74f20a3", "c7 4f 20"),
        PETER_KEY + "\n",
        " " + PETER_KEY,
        "\ud800" + PETER_KEY,
        PETER_KEY.replace("Peter", "Peter "),
    ],
)
def test_a_verifier_key_with_another_spelling_is_refused(text: str) -> None:
    """The first two are from golang.org/x/mod, sumdb/note/note_test.go: a key of another length,
    and an unknown type."""
    with pytest.raises(MalformedError):
        NoteKey.parse(text)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_one_spelling_or_a_remote_error(raw: bytes) -> None:
    for kind in (Checkpoint, SignedCheckpoint):
        try:
            parsed = kind.parse(raw)
        except RemoteError:
            continue
        assert parsed.encode() == raw


@given(st.text(st.sampled_from("—\n 0123+=o/" + string.ascii_letters), max_size=120))
def test_arbitrary_text_is_one_spelling_or_a_remote_error(text: str) -> None:
    root = b64encode(EMPTY_ROOT).decode()
    for raw in (text, f"o\n{text}", f"o\n0\n{root}\n{text}", f"{HEAD.encode().decode()}\n{text}"):
        for kind in (Checkpoint, SignedCheckpoint):
            try:
                parsed = kind.parse(raw.encode())
            except RemoteError:
                continue
            assert parsed.encode() == raw.encode()


@given(st.one_of(st.text(max_size=80), st.from_regex(r"n\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")))
def test_an_arbitrary_verifier_key_is_one_spelling_or_a_remote_error(text: str) -> None:
    try:
        parsed = NoteKey.parse(text)
    except RemoteError:
        return
    assert parsed.encode() == text


def test_limits_are_kept() -> None:
    with pytest.raises(LimitError, match="over the limit"):
        SignedCheckpoint.parse(b"x" * (MAX_NOTE + 1))
    with pytest.raises(LimitError, match="over the limit"):
        Checkpoint.parse(b"x" * (MAX_NOTE + 1))
    with pytest.raises(LimitError, match="over the limit"):
        Checkpoint(ORIGIN, 1, b"r" * 32, ("x" * MAX_NOTE,))
    line = NoteSignature(NAME, b"1234", b"x")
    full = SignedCheckpoint(HEAD, (line,) * MAX_SIGNATURES)
    assert SignedCheckpoint.parse(full.encode()) == full
    with pytest.raises(LimitError, match="signatures"):
        SignedCheckpoint.parse(full.encode() + line.encode())
    with pytest.raises(LimitError, match="signatures"):
        full.sign(LOG, ORIGIN)
    with pytest.raises(LimitError, match="over the limit"):
        SignedCheckpoint(HEAD, (NoteSignature(NAME, b"1234", b"x" * MAX_NOTE),))
    widest = "\N{EM DASH}" * (MAX_KEY_NAME // 3)
    assert NoteKey.parse(NoteKey(widest, LOG.key).encode()).name == widest
    for build in (
        lambda: NoteKey(widest + "x", LOG.key),
        lambda: NoteSignature(widest + "x", b"1234", b"x"),
        lambda: Checkpoint(widest + "x", 1, b"r" * 32),
    ):
        with pytest.raises(LimitError, match="over 255 bytes"):
            build()


@pytest.mark.parametrize("line", ["", "a\nb", "a\rb", "\x1f", "\ud800"])
def test_what_cannot_stand_in_a_note_does_not_come_to_be(line: str) -> None:
    for build in (
        lambda: Checkpoint(line, 1, b"r" * 32),
        lambda: Checkpoint(ORIGIN, 1, b"r" * 32, (line,)),
        lambda: NoteKey(line, LOG.key),
        lambda: NoteSignature(line, b"1234", b"x"),
    ):
        with pytest.raises(MalformedError):
            build()
    for size, root in ((-1, b"r" * 32), (MAX_SIZE + 1, b"r" * 32), (1, b"r" * 31)):
        with pytest.raises(MalformedError):
            Checkpoint(ORIGIN, size, root)
    with pytest.raises(MalformedError):
        NoteKey(NAME, PeerKey(b"short"))


def test_a_checkpoint_that_nobody_signed_is_no_note() -> None:
    with pytest.raises(MalformedError, match="needs a signature"):
        SignedCheckpoint(HEAD).encode()
