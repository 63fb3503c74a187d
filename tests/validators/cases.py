"""Manifests and findings as short as the tests of the decisions need them."""

from hashlib import sha256

from validators.comparators import Finding
from workunits.ids import BlobRef, Digest, PeerKey
from workunits.manifest import Limits, Manifest, Program
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.results import Ending, Result
from workunits.verification import Comparator, Comparison, Policy

NUMERIC = Comparator(Comparison.NUMERIC, 1e-6, 1e-9)


def manifest(policy: Policy = Policy.PAIR, comparator: Comparator | None = None) -> Manifest:
    """A job of ten units."""
    return Manifest(
        submitter=PeerKey(b"s" * 32),
        name="job",
        program=Program("sha256:" + "a" * 64, ("run", "{p}")),
        parameters=Sweep((Range("p", 0, 1, 10),)),
        inputs=(),
        outputs=("out.txt",),
        limits=Limits(10, 10, 32 << 20, 1000),
        price=1,
        policy=policy,
        comparator=comparator or Comparator(),
        nonce=b"n" * 16,
    )


def finding(
    content: bytes, *, name: str = "out.txt", exit_status: int = 0, ending: Ending = Ending.EXITED
) -> Finding:
    """A result with one output; its hashes stand for the content's."""
    digest = sha256(content).digest()
    output = NamedBlob(name, BlobRef(digest, digest[:20], len(content)))
    return Finding(Result(ending, exit_status, (output,)), (content,))


def commitment(content: bytes) -> Digest:
    """Something that is equal for equal contents."""
    return Digest(sha256(content).digest())
