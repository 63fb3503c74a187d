"""The work session's messages: each survives the wire, and nothing else comes through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import SUBMITTER, hashes, keys, manifests, signatures, texts
from tests.workunits.wire.mutation import check_spelling, mutated
from tests.workunits.wire.test_compare import compareds, compares
from tests.workunits.wire.test_models import asks, halts, token_messages
from workunits.canonical import encode as bencode
from workunits.errors import Blame, LimitError, MalformedError, RemoteError, SignatureError
from workunits.ids import JobId, LeaseToken
from workunits.manifest import Manifest, SignedManifest
from workunits.signing import Identity
from workunits.wire import work
from workunits.wire.handshake import MAX_DISK, Challenge, Hello, Offerings, Vouch
from workunits.wire.holds import NAME_SIZE, Holds
from workunits.wire.work import (
    MAX_BATCH,
    MAX_FRAME,
    MAX_HOLD,
    Commit,
    Commits,
    Committed,
    Failure,
    FromPeer,
    FromTracker,
    JobOffer,
    Lease,
    Leases,
    Release,
    Reveal,
    Revealed,
    RevealRequest,
    Reveals,
    Revoked,
    Want,
    Welcome,
)

PEER = Identity.from_seed(b"p" * 32)
words = st.integers(0, 2**64 - 1)
tokens = words.map(LeaseToken)
packed = st.lists(tokens, max_size=5).map(tuple)
jobs = hashes.map(JobId)
seconds = st.integers(1, 2**40)
offerings = st.builds(
    Offerings,
    st.booleans(),
    st.integers(1, 4096),
    st.integers(0, 2**50),
    st.lists(texts, max_size=3).map(tuple),
    texts,
    texts.filter(lambda text: len(text.encode()) <= 40),  # a platform
    st.integers(0, MAX_DISK),
    st.booleans(),
)
vouches = st.none() | st.builds(Vouch, keys, signatures)
commits = st.lists(st.builds(Commit, words, tokens, hashes, hashes), max_size=5).map(tuple)
reveals = st.builds(
    Reveal,
    st.integers(0, 2**63 - 1).map(LeaseToken),
    st.binary(max_size=50),
    st.lists(st.binary(max_size=20), max_size=3).map(tuple),
)


def changes_of(added: frozenset[bytes], removed: frozenset[bytes], disk: int) -> Holds:
    return Holds(disk, added, removed - added)


from_tracker: st.SearchStrategy[FromTracker] = st.one_of(
    st.builds(Challenge, hashes, keys),
    st.builds(Welcome, st.integers(0, 2**40), packed, packed),
    st.builds(JobOffer, st.binary(max_size=50), signatures),
    st.builds(Leases, jobs, seconds, st.lists(st.builds(Lease, words, tokens)).map(tuple)),
    st.builds(Committed, packed),
    st.builds(RevealRequest, seconds, packed),
    st.builds(Revealed, packed),
    st.builds(Revoked, texts, packed),
    compares,
    asks,
    halts,
    st.builds(Failure, st.text("abc", max_size=9), texts, texts, st.sampled_from(Blame)),
)
from_peer: st.SearchStrategy[FromPeer] = st.one_of(
    st.builds(Hello, keys, offerings, vouches, signatures),
    st.builds(
        changes_of,
        st.frozensets(st.binary(min_size=NAME_SIZE, max_size=NAME_SIZE), max_size=5),
        st.frozensets(st.binary(min_size=NAME_SIZE, max_size=NAME_SIZE), max_size=5),
        st.integers(0, MAX_DISK),
    ),
    st.builds(Want, st.integers(0, MAX_HOLD)),
    st.builds(Commits.sign, st.just(PEER), jobs, commits),
    st.builds(Reveals, st.lists(reveals, max_size=4).map(tuple)),
    st.builds(Release, packed, texts),
    compareds,
    token_messages,
)


@given(from_tracker)
def test_every_message_of_a_tracker_survives_the_wire(message: FromTracker) -> None:
    assert work.parse_from_tracker(work.encode(message)) == message


@given(from_peer)
def test_every_message_of_a_peer_survives_the_wire(message: FromPeer) -> None:
    assert work.parse_from_peer(work.encode(message)) == message


def test_the_strategies_leave_no_message_out() -> None:
    assert set(work._TRACKER_TYPES) == {
        *("challenge", "welcome", "job", "leases", "committed"),
        *("reveal", "revealed", "revoked", "compare", "failure", "ask", "halt"),
    }
    assert set(work._PEER_TYPES) == {
        *("hello", "holds", "want", "commit", "results", "release", "compared", "tokens"),
    }


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_remote_error(frame: bytes) -> None:
    for parse in (work.parse_from_peer, work.parse_from_tracker):
        with pytest.raises(RemoteError):
            parse(frame)


@given(mutated(from_peer | from_tracker))
def test_a_mutated_frame_is_another_message_or_a_remote_error(frame: bytes) -> None:
    check_spelling(frame)


@given(
    st.dictionaries(
        st.sampled_from(["t", "hold", "job", "commits", "tokens", "results", "reason", "key"]),
        st.sampled_from(["want", "commit", "results", "release", "hello"])
        | st.integers(-5, 5)
        | st.lists(st.integers(0, 3), max_size=2)
        | st.dictionaries(st.text("ab", max_size=1), st.integers(0, 1), max_size=1),
        max_size=5,
    )
)
def test_well_formed_nonsense_is_a_remote_error(value: dict[str, object]) -> None:
    frame = bencode(value)
    try:
        assert work.encode(work.parse_from_peer(frame)) == frame
    except RemoteError as error:
        assert error.blame is Blame.THEIRS


def test_each_side_says_only_what_is_its_to_say() -> None:
    with pytest.raises(MalformedError, match="a tracker sends no message of type 'want'"):
        work.parse_from_tracker(work.encode(Want(1)))
    with pytest.raises(MalformedError, match="a peer sends no message of type 'revealed'"):
        work.parse_from_peer(work.encode(Revealed(())))


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(MalformedError, match="unknown fields"):
        work.parse_from_peer(bencode({"t": "want", "hold": 1, "x": 1}))


def test_batches_and_frames_have_limits() -> None:
    many = tuple(LeaseToken(at) for at in range(MAX_HOLD + 1))
    big = tuple(Commit(0, LeaseToken(at), b"c" * 32, b"s" * 32) for at in range(MAX_BATCH + 1))
    reveal = Reveal(LeaseToken(1), b"")
    for message in (
        Release(many, ""),
        Commits.sign(PEER, JobId(b"j" * 32), big),
        Reveals((reveal,) * (MAX_BATCH + 1)),
    ):
        with pytest.raises(LimitError):
            work.parse_from_peer(work.encode(message))
    for answer in (RevealRequest(1, many), Revoked("", many)):
        with pytest.raises(LimitError):
            work.parse_from_tracker(work.encode(answer))
    with pytest.raises(LimitError):
        work.parse_from_peer(b"d" * (MAX_FRAME + 1))
    with pytest.raises(MalformedError, match="hold must be"):
        work.parse_from_peer(bencode({"t": "want", "hold": MAX_HOLD + 1}))


def test_packed_records_come_whole() -> None:
    with pytest.raises(MalformedError, match="multiple of 8"):
        work.parse_from_peer(bencode({"t": "release", "reason": "", "tokens": b"1234567"}))


def hello(challenge: Challenge, vouch: Vouch | None = None) -> Hello:
    return Hello.sign(PEER, challenge, Offerings(False, 2, 1 << 30, ("image",), "test"), vouch)


def test_a_hello_answers_one_challenge_of_one_tracker() -> None:
    challenge = Challenge(b"n" * 32, SUBMITTER.key)
    answer = work.parse_from_peer(work.encode(hello(challenge)))
    assert isinstance(answer, Hello)
    answer.check(challenge)
    for other in (Challenge(b"m" * 32, SUBMITTER.key), Challenge(b"n" * 32, PEER.key)):
        with pytest.raises(SignatureError):
            answer.check(other)


def test_a_hello_cannot_be_changed_on_the_way() -> None:
    challenge = Challenge(b"n" * 32, SUBMITTER.key)
    answer = hello(challenge)
    better = Offerings(True, 2, 1 << 30, ("image",), "test")
    with pytest.raises(SignatureError):
        Hello(answer.key, better, None, answer.signature).check(challenge)


def test_a_peer_belongs_to_whom_vouches_for_it_or_to_itself() -> None:
    challenge, owner = Challenge(b"n" * 32, SUBMITTER.key), Identity.from_seed(b"o" * 32)
    assert hello(challenge).owner == PEER.key
    vouched = hello(challenge, Vouch.sign(owner, PEER.key))
    vouched.check(challenge)
    assert vouched.owner == owner.key


def test_a_vouch_is_for_one_peer() -> None:
    challenge, owner = Challenge(b"n" * 32, SUBMITTER.key), Identity.from_seed(b"o" * 32)
    stolen = Vouch.sign(owner, SUBMITTER.key)
    with pytest.raises(SignatureError):
        hello(challenge, stolen).check(challenge)


@given(st.builds(Vouch, keys, signatures))
def test_a_vouch_survives_as_a_line_of_hex(vouch: Vouch) -> None:
    assert Vouch.parse_line(vouch.line()) == vouch
    assert Vouch.parse_line(f" {vouch.line()}\n") == vouch


@given(st.text(max_size=300) | st.binary(max_size=300).map(bytes.hex))
def test_any_line_is_a_vouch_or_malformed(line: str) -> None:
    try:
        assert Vouch.parse_line(line).line() == line.strip().lower()
    except MalformedError as error:
        assert "vouch" in error.message


@given(commits)
def test_a_batch_of_commits_keeps_its_order_and_its_signature(batch: tuple[Commit, ...]) -> None:
    message = Commits.sign(PEER, JobId(b"j" * 32), batch)
    assert tuple(message) == batch
    message.check(PEER.key)
    with pytest.raises(SignatureError):
        message.check(SUBMITTER.key)
    with pytest.raises(SignatureError):
        Commits(JobId(b"k" * 32), message.packed, message.signature).check(PEER.key)


@given(manifests())
def test_a_job_offer_opens_to_the_manifest_that_was_signed(manifest: Manifest) -> None:
    signed = SignedManifest.sign(manifest, SUBMITTER)
    assert JobOffer(signed.raw, signed.signature).open() == signed
    with pytest.raises(RemoteError):
        JobOffer(signed.raw, b"\0" * 64).open()
