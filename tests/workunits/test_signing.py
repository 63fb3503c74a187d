"""Identities: a signature is for one key, one message and one purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import hashes
from workunits.errors import SignatureError
from workunits.ids import PeerKey
from workunits.signing import SEED_SIZE, SIGNATURE_SIZE, Domain, Identity, verify

ME = Identity.from_seed(b"m" * SEED_SIZE)


@given(hashes, st.binary(max_size=50), st.sampled_from(Domain))
def test_what_is_signed_verifies(seed: bytes, message: bytes, domain: Domain) -> None:
    identity = Identity.from_seed(seed)
    signature = identity.sign(domain, message)
    assert len(signature) == SIGNATURE_SIZE
    verify(identity.key, domain, message, signature)


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_arbitrary_signatures_and_keys_are_refused_with_a_signature_error(
    signature: bytes, key: bytes
) -> None:
    for claimed in (ME.key, PeerKey(key)):
        with pytest.raises(SignatureError, match="session signature does not match key"):
            verify(claimed, Domain.SESSION, b"message", signature)


def test_a_signature_holds_for_one_message_one_purpose_and_one_key() -> None:
    signature = ME.sign(Domain.COMMITS, b"message")
    for domain in set(Domain) - {Domain.COMMITS}:
        with pytest.raises(SignatureError):
            verify(ME.key, domain, b"message", signature)
    with pytest.raises(SignatureError):
        verify(ME.key, Domain.COMMITS, b"messagE", signature)
    with pytest.raises(SignatureError):
        verify(Identity.from_seed(b"x" * 32).key, Domain.COMMITS, b"message", signature)


def test_no_purpose_is_the_beginning_of_another() -> None:
    values = [domain.value for domain in Domain]
    assert not [a for a in values for b in values if a != b and b.startswith(a)]


def test_the_seed_comes_back_and_is_never_shown() -> None:
    assert ME.seed() == b"m" * SEED_SIZE
    assert repr(ME) == f"Identity({ME.key.hex()[:12]})"


def test_a_seed_of_another_size_is_no_key() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Identity.from_seed(b"short")
