"""Entries about peers: who is there, and whose a peer is."""

import pytest

from tests.workunits.ledger.kinds import BRINGS, OWNER, PEER, change, check_limit
from workunits import entries
from workunits.entries import Join
from workunits.errors import MalformedError, SignatureError
from workunits.ledger.roster import NETWORK
from workunits.wire.handshake import Vouch


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("anchor", {"link": bytes(31)}),
        ("anchor", {"link": 0}),
        ("join", {"peer": bytes(31)}),
        ("join", {"owner": bytes(33)}),
        ("join", {"offerings": {}}),
        ("join", {"offerings": BRINGS.value() | {"more": 1}}),
        ("join", {"offerings": BRINGS.value() | {"cores": 0}}),
        ("join", {"offerings": []}),
        ("leave", {"peer": bytes(31)}),
        ("doubt", {"doubted": 2}),
        ("doubt", {"doubted": b""}),
        ("doubt", {"peer": bytes(31)}),
        ("ban", {"peer": bytes(31)}),
    ],
)
def test_what_an_entry_about_peers_may_not_say_is_refused(
    kind: str, changes: dict[str, object]
) -> None:
    with pytest.raises(MalformedError):
        entries.parse(change(kind, changes))


def test_an_owner_who_did_not_vouch_is_refused() -> None:
    with pytest.raises(MalformedError, match="did not vouch"):
        entries.parse(change("join", {"owner": OWNER.key}))


def test_only_the_owners_own_word_for_this_peer_is_a_vouch() -> None:
    good = Vouch.sign(OWNER, PEER).signature
    joined = entries.parse(change("join", {"owner": OWNER.key, "signature": good}))
    assert isinstance(joined, Join)
    assert joined.vouch == Vouch(OWNER.key, good)
    forged = Vouch.sign(OWNER, OWNER.key).signature
    for signature in (forged, bytes(64), good[:-1], b"x"):
        with pytest.raises(SignatureError):
            entries.parse(change("join", {"owner": OWNER.key, "signature": signature}))
    with pytest.raises(SignatureError):
        entries.parse(change("join", {"owner": PEER, "signature": good}))


def test_a_peer_of_its_own_and_a_peer_of_a_network_have_no_vouch() -> None:
    for owner in (PEER, NETWORK + bytes(24)):
        joined = entries.parse(change("join", {"owner": owner}))
        assert isinstance(joined, Join)
        assert joined.owner == owner
        assert joined.vouch is None


def test_a_signature_that_is_longer_than_any_is_over_the_limit() -> None:
    check_limit("join", {"signature": b""}, bytes(65))
