"""The job manifest: one spelling, every limit, and nothing but remote errors for hostile bytes."""

import dataclasses
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import SUBMITTER, manifests
from workunits.canonical import decode, encode
from workunits.errors import LimitError, MalformedError, RemoteError, SignatureError
from workunits.ids import BlobRef, UnitId
from workunits.images import MAX_LAYERS, Image, Layer
from workunits.manifest import (
    MAX_COMMAND,
    MAX_CPU_SECONDS,
    MAX_FILES,
    MAX_MANIFEST,
    MAX_MEMORY,
    MAX_NUMERIC_OUTPUT,
    MAX_OUTPUT_BYTES,
    MAX_OUTPUTS,
    MAX_PRICE,
    MIN_MEMORY,
    Limits,
    Manifest,
    Program,
    SignedManifest,
)
from workunits.parameters import Files, NamedBlob, Range, Sweep, Values
from workunits.signing import Domain, Identity
from workunits.verification import MAX_ARGUMENT, Comparator, Comparison, Policy

BLOB = NamedBlob("data.csv", BlobRef(b"2" * 32, b"1" * 20, 7))
JOB = Manifest(
    submitter=SUBMITTER.key,
    name="primes",
    program=Program("sha256:" + "a" * 64, ("test", "{p}"), (BLOB,), "out.txt"),
    parameters=Sweep((Range("p", 2, 1, 10),)),
    inputs=(BLOB,),
    outputs=("out.txt", "more.json"),
    limits=Limits(10, 20, 32 << 20, 1000),
    price=3,
    policy=Policy.PAIR,
    comparator=Comparator(),
    nonce=b"n" * 16,
)


def value(**changes: object) -> dict[bytes, Any]:
    """The decoded manifest with fields replaced; ``a__b`` reaches into ``a``."""
    decoded: Any = decode(JOB.encode(), limit=MAX_MANIFEST)
    for path, change in changes.items():
        place = decoded
        *way, last = path.split("__")
        for step in way:
            place = place[step.encode()]
        place[last.encode()] = change
    assert isinstance(decoded, dict)
    return decoded


def parse(**changes: object) -> Manifest:
    return Manifest.parse(encode(value(**changes)))


@given(manifests())
def test_a_valid_manifest_round_trips(manifest: Manifest) -> None:
    signed = SignedManifest.sign(manifest, SUBMITTER)
    again = SignedManifest.parse(signed.encode())
    assert again.manifest == manifest
    assert again.raw == manifest.encode()
    assert again.id == signed.id == sha256(again.raw).digest()


@given(manifests(), st.data())
def test_a_mutated_job_file_is_refused_with_a_remote_error(
    manifest: Manifest, data: st.DataObject
) -> None:
    envelope = bytearray(SignedManifest.sign(manifest, SUBMITTER).encode())
    at = data.draw(st.integers(0, len(envelope) - 1))
    before = envelope[at]
    envelope[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != before))
    with pytest.raises(RemoteError):
        SignedManifest.parse(bytes(envelope))


@given(manifests(), st.data())
def test_a_mutated_manifest_is_another_valid_one_or_a_remote_error(
    manifest: Manifest, data: st.DataObject
) -> None:
    raw = bytearray(manifest.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        parsed = Manifest.parse(bytes(raw))
    except RemoteError:
        return
    assert parsed.encode() == bytes(raw)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_job(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        SignedManifest.parse(raw)


def test_a_wrong_signature_is_refused() -> None:
    signed = SignedManifest.sign(JOB, SUBMITTER)
    other = Identity.from_seed(b"x" * 32).sign(Domain.MANIFEST, signed.raw)
    for signature in (other, b"\0" * 64, SUBMITTER.sign(Domain.STATEMENT, signed.raw)):
        with pytest.raises(SignatureError, match="manifest signature does not match"):
            SignedManifest.of(signed.raw, signature)


def test_who_is_not_the_submitter_cannot_sign() -> None:
    with pytest.raises(ValueError, match="another submitter"):
        SignedManifest.sign(JOB, Identity.from_seed(b"x" * 32))


def test_unsorted_keys_are_refused() -> None:
    raw = JOB.encode()
    first, rest = b"10:comparatord4:kind5:exacte", b"4:name6:primes"
    assert first in raw
    assert rest in raw
    swapped = raw.replace(first, b"?").replace(rest, first).replace(b"?", rest)
    assert len(swapped) == len(raw)
    with pytest.raises(MalformedError, match="unsorted"):
        Manifest.parse(swapped)


def test_a_second_spelling_of_a_tolerance_is_refused() -> None:
    comparator = {"kind": "numeric", "atol": "0.0", "rtol": "1e-09"}
    assert parse(comparator=comparator).comparator.rtol == 1e-9
    for spelling in ("1e-9", "0.000000001", "1E-09", " 1e-09", "1_0e-10"):
        with pytest.raises(MalformedError, match="second spelling"):
            parse(comparator=comparator | {"rtol": spelling})


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1.0", "1e301", "x", ""])
def test_a_tolerance_is_a_finite_number_of_zero_or_more(tolerance: str) -> None:
    with pytest.raises(MalformedError, match=r"rtol must be a"):
        parse(comparator={"kind": "numeric", "atol": "0.0", "rtol": tolerance})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": -1}, "price must be an integer from 0 to"),
        ({"price": MAX_PRICE + 1}, "price must be"),
        ({"version": 2}, "version must be"),
        ({"name": ""}, "printable name"),
        ({"name": "a\nb"}, "printable name"),
        ({"name": "x" * 101}, "is over 100"),
        ({"submitter": b"x" * 31}, "32 bytes"),
        ({"nonce": b"x"}, "16 bytes"),
        ({"policy": "hope"}, "unknown policy 'hope'"),
        ({"comparator": {"kind": "taste"}}, "unknown comparator 'taste'"),
        ({"comparator": {"kind": "exact", "rtol": "0.0"}}, "unknown fields"),
        ({"surprise": 1}, "unknown fields: 'surprise'"),
        ({"limits__surprise": 1}, "unknown fields"),
        ({"program__surprise": 1}, "unknown fields"),
        ({"outputs": ["../out"]}, "'../out' is not a plain file name"),
        ({"outputs": ["a", "a"]}, "appears twice"),
        ({"outputs": [], "program__stdout": ""}, "declares no output"),
        ({"outputs": [f"x{at}" for at in range(MAX_OUTPUTS + 1)]}, "entries, more than"),
        ({"outputs": ["more.json"]}, "'out.txt' is not a declared output"),
        ({"inputs": [BLOB.value(), BLOB.value()]}, "the input name 'data.csv' appears twice"),
        ({"inputs": [BLOB.value() | {"name": "a/b"}]}, "not a plain file name"),
        ({"inputs": [BLOB.value() | {"length": -1}]}, "length must be"),
        ({"inputs": [BLOB.value()] * (MAX_FILES + 1)}, "entries, more than"),
        ({"program__files": [BLOB.value()] * 2}, "program file name 'data.csv' appears twice"),
        ({"program__command": []}, "command is empty"),
        ({"program__command": [""]}, "command is empty"),
        ({"program__command": ["x"] * (MAX_COMMAND + 1)}, "entries, more than"),
        ({"program__command": ["x" * (MAX_ARGUMENT + 1)]}, "is over 4096"),
        ({"program__command": ["a\0b"]}, "control characters"),
        ({"program__command": ["{q}"]}, "uses {q}, which is not a parameter"),
        ({"program__command": ["{"]}, "unbalanced brace"),
        ({"program__image": "debian:latest"}, "must be a content hash"),
        ({"program__image": "sha256:" + "A" * 64}, "must be a content hash"),
        ({"limits__cpu": 0}, "cpu must be"),
        ({"limits__cpu": MAX_CPU_SECONDS + 1}, "cpu must be"),
        ({"limits__wall": 0}, "wall must be"),
        ({"limits__wall": MAX_CPU_SECONDS + 1}, "wall must be"),
        ({"limits__memory": MIN_MEMORY - 1}, "memory must be"),
        ({"limits__memory": MAX_MEMORY + 1}, "memory must be"),
        ({"limits__output": 0}, "output must be"),
        ({"limits__output": MAX_OUTPUT_BYTES + 1}, "output must be"),
        (
            {"parameters": Sweep((Range("p", 0, 1, 10**9),)).value()},
            "1,000,000,000 units are more than",
        ),
        (
            {
                "comparator": {"kind": "numeric", "atol": "0.0", "rtol": "0.0"},
                "limits__output": MAX_NUMERIC_OUTPUT + 1,
            },
            "numeric comparison allows at most",
        ),
        (
            {"parameters": Sweep((Files("p", (BLOB,)),)).value()},
            "'data.csv' is an input of every unit and a file of p",
        ),
        (
            {
                "inputs": [],
                "parameters": Sweep((Files("p", (BLOB,)), Files("q", (BLOB,)))).value(),
            },
            "'data.csv' is a file of p and a file of q",
        ),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((MalformedError, LimitError)) as caught:
        parse(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("field", sorted(field.decode() for field in value()))
def test_no_field_may_be_missing(field: str) -> None:
    decoded = value()
    del decoded[field.encode()]
    with pytest.raises(MalformedError, match=f"lacks the field '{field}'"):
        Manifest.parse(encode(decoded))


def test_a_manifest_over_a_mebibyte_is_not_looked_at() -> None:
    with pytest.raises(LimitError):
        Manifest.parse(b"d" * (MAX_MANIFEST + 1))
    sweep = Sweep((Values("p", ("x" * 1000,) * 1100),))
    with pytest.raises(LimitError):
        Manifest.parse(encode(value(parameters=sweep.value())))


def test_every_mistake_is_found_at_once() -> None:
    broken = dataclasses.replace(
        JOB, outputs=("..",), program=Program("latest", ("{q}", "{r}"), (), "x")
    )
    assert len(broken.problems()) == 5


def test_a_unit_follows_from_the_manifest_and_its_index() -> None:
    job = SignedManifest.sign(JOB, SUBMITTER).id
    unit = JOB.unit(job, 9)
    assert unit.id == UnitId(job, 9)
    assert unit.command == ("test", "11")
    assert unit.inputs == (BLOB,)
    assert JOB.blobs == (BLOB, BLOB)


def test_layers_are_listed_only_where_there_are_some() -> None:
    diff = bytes.fromhex("a" * 64)
    layer = Layer(diff, BlobRef(b"4" * 32, b"3" * 20, 10240))
    shared = dataclasses.replace(JOB, program=dataclasses.replace(JOB.program, layers=(layer,)))
    assert Manifest.parse(shared.encode()) == shared
    assert shared.program.shared == Image(JOB.program.image, (layer,))
    assert shared.refs == (layer.ref, BLOB.ref)
    assert JOB.program.shared is None
    assert b"layers" not in JOB.encode()
    with pytest.raises(MalformedError, match="second spelling"):
        parse(program__layers=[])
    with pytest.raises(MalformedError, match="not those of the image"):
        parse(program__layers=[layer.value() | {"diff": bytes(32)}])
    with pytest.raises(LimitError):
        parse(program__layers=[layer.value()] * (MAX_LAYERS + 1))


def test_the_escrow_pays_for_the_verification_too() -> None:
    assert JOB.escrow == 10 * 3 * 2
    assert dataclasses.replace(JOB, policy=Policy.TRUSTED).escrow == 10 * 3
    assert dataclasses.replace(JOB, price=0).escrow == 0


def test_a_numeric_comparator_keeps_its_tolerances() -> None:
    settings = Comparator(Comparison.NUMERIC, 1e-9, 5e-324)
    assert Manifest.parse(dataclasses.replace(JOB, comparator=settings).encode()).comparator == (
        settings
    )
