"""What a submitter sends: a signed manifest, and the known answers that it names."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import SUBMITTER, manifests, ringers
from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.ids import Digest
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.parameters import Combine, Range, Sweep
from workunits.ringers import Ringers
from workunits.submission import MAX_SUBMISSION, Submission
from workunits.verification import Comparator, Comparison, Demands, Policy

JOB = Manifest(
    submitter=SUBMITTER.key,
    name="squares",
    program=Program("sha256:" + "0" * 64, ("square", "{x}")),
    parameters=Sweep((Range("x", 0, 1, 5),), Combine.PRODUCT),
    inputs=(),
    outputs=("out",),
    limits=Limits(1, 1, 1 << 24, 100),
    price=1,
    policy=Policy.ECONOMY,
    comparator=Comparator(),
    nonce=bytes(16),
)
KNOWN = Ringers(b"s" * 32, ((1, Digest(b"a" * 32)), (4, Digest(b"b" * 32))))


def submission(known: Ringers | None, named: bytes, job: Manifest = JOB) -> Submission:
    job = dataclasses.replace(job, demands=Demands(ringers=named))
    return Submission(SignedManifest.sign(job, SUBMITTER), known)


@given(manifests())
def test_a_job_file_is_a_submission(manifest: Manifest) -> None:
    signed = SignedManifest.sign(manifest, SUBMITTER)
    assert Submission.parse(signed.encode()) == Submission(signed)
    assert Submission(signed).encode() == signed.encode()


@given(ringers(JOB.units))
def test_a_submission_with_ringers_round_trips(known: Ringers) -> None:
    sent = submission(known, known.hash)
    assert Submission.parse(sent.encode()) == sent


@given(ringers(JOB.units), st.data())
def test_a_mutated_submission_is_refused_with_a_remote_error(
    known: Ringers, data: st.DataObject
) -> None:
    raw = bytearray(submission(known, known.hash).encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteError):
        Submission.parse(bytes(raw))


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_submission(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Submission.parse(raw)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (submission(None, KNOWN.hash), "do not come with it"),
        (submission(KNOWN, b""), "not the ones that the manifest names"),
        (submission(KNOWN, b"h" * 32), "not the ones that the manifest names"),
        (
            submission(beyond := Ringers(b"s" * 32, ((5, Digest(b"a" * 32)),)), beyond.hash),
            "ringers name unit 5, and the job has 5",
        ),
        (
            submission(
                KNOWN,
                KNOWN.hash,
                dataclasses.replace(JOB, comparator=Comparator(Comparison.NUMERIC)),
            ),
            "exact comparison",
        ),
    ],
)
def test_ringers_that_do_not_fit_the_manifest_are_refused(sent: Submission, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        Submission.parse(sent.encode())


def test_a_job_file_of_a_job_with_ringers_is_still_read() -> None:
    signed = submission(KNOWN, KNOWN.hash).signed
    assert SignedManifest.parse(signed.encode()) == signed


def test_unknown_fields_and_sizes_over_the_limit_are_refused() -> None:
    value = {"manifest": JOB.encode(), "signature": bytes(64)}
    with pytest.raises(MalformedError, match="unknown fields"):
        Submission.parse(encode(value | {"zeal": 1}))
    with pytest.raises(LimitError):
        Submission.parse(bytes(MAX_SUBMISSION + 1))
    with pytest.raises(MalformedError, match="ringers must be a byte string"):
        Submission.parse(encode(value | {"ringers": 0}))
