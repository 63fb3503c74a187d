"""Signed passes: written, read, and nothing else read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.errors import MalformedError, RemoteError, SignatureError
from workunits.passes import SignedPass
from workunits.signing import Domain, Identity, verify

ME = Identity.from_seed(b"m" * 32)
TRACKER, OTHER = (Identity.from_seed(seed * 32).key for seed in (b"t", b"u"))


@given(st.integers(0, 10**15 - 1))
def test_a_pass_is_read_back(until: int) -> None:
    query = SignedPass.query(ME, until, TRACKER)
    for text in (query, f"info_hash=x&{query}&left=0", "&".join(reversed(query.split("&")))):
        assert SignedPass.parse(text, TRACKER) == SignedPass.read(text) == SignedPass(ME.key, until)


def test_the_signature_is_over_the_time_in_digits_and_the_tracker() -> None:
    parts = dict(pair.split("=") for pair in SignedPass.query(ME, 1700000000, TRACKER).split("&"))
    assert parts["member"] == ME.key.hex()
    verify(ME.key, Domain.ANNOUNCE, b"1700000000 " + TRACKER, bytes.fromhex(parts["sig"]))


def test_no_pass_is_none() -> None:
    assert SignedPass.parse("", TRACKER) is None
    assert SignedPass.parse("info_hash=x&membership=1&&=", TRACKER) is None


@pytest.mark.parametrize("missing", ["member", "until", "sig"])
def test_half_a_pass_is_refused(missing: str) -> None:
    pairs = SignedPass.query(ME, 5, TRACKER).split("&")
    with pytest.raises(MalformedError):
        SignedPass.parse("&".join(pair for pair in pairs if not pair.startswith(missing)), TRACKER)
    with pytest.raises(MalformedError, match="twice"):
        SignedPass.parse("&".join([*pairs, f"{missing}=1"]), TRACKER)


@pytest.mark.parametrize("until", ["", "-1", "+5", "5.0", "1" * 16, "\u0665", "0x5", "05", "5\n"])
def test_a_time_is_digits(until: str) -> None:
    with pytest.raises(MalformedError):
        SignedPass.parse(
            SignedPass.query(ME, 5, TRACKER).replace("until=5", f"until={until}"), TRACKER
        )


def test_a_pass_of_another_or_for_another_time_is_forged() -> None:
    query = SignedPass.query(ME, 5, TRACKER)
    other = Identity.from_seed(b"o" * 32).key.hex()
    for forged in (query.replace("until=5", "until=6"), query.replace(ME.key.hex(), other)):
        assert SignedPass.read(forged) is not None
        with pytest.raises(SignatureError):
            SignedPass.parse(forged, TRACKER)


def test_a_pass_for_one_tracker_is_no_pass_for_another() -> None:
    query = SignedPass.query(ME, 5, TRACKER)
    with pytest.raises(SignatureError):
        SignedPass.parse(query, OTHER)
    assert SignedPass.parse(query, TRACKER) is not None


@given(st.text(max_size=100), st.text(max_size=100), st.text(max_size=20))
def test_any_other_values_are_refused(member: str, signature: str, until: str) -> None:
    with pytest.raises(RemoteError):
        SignedPass.parse(f"member={member}&until={until}&sig={signature}", TRACKER)
