"""Members: whom the operator admitted, who has an account, and whose passkey is valid."""

from tracker.announce.admission import passkey_of
from tracker.members import Directory
from tracker.rows import MemberRow
from workunits.ids import PeerKey

OPERATOR, ACCOUNT, OTHER = (PeerKey(bytes([n]) * 32) for n in (1, 2, 3))
SECRET = b"s" * 32


def directory(*rows: MemberRow) -> Directory:
    return Directory(SECRET, rows, operator=OPERATOR, accounted=ACCOUNT.__eq__)


def test_the_operator_and_accounts_are_members_and_others_are_not() -> None:
    members = directory()
    assert OPERATOR in members
    assert ACCOUNT in members
    assert OTHER not in members


def test_the_operators_word_counts_more_than_an_account() -> None:
    members = directory()
    rows = [members.admit(OTHER, admitted=True), members.admit(ACCOUNT, admitted=False)]
    for each in (members, directory(*rows)):
        assert OTHER in each
        assert ACCOUNT not in each
    members.admit(OTHER, admitted=False)
    assert OTHER not in members


def test_a_passkey_makes_a_member_until_it_is_revoked() -> None:
    members = directory()
    row = members.issue(OTHER, wanted=True)
    passkey = passkey_of(SECRET, OTHER, members.epoch(OTHER))
    for each in (members, directory(row)):
        assert OTHER in each
        assert each.holder(passkey) == OTHER
    members.issue(OTHER, wanted=False)
    assert OTHER not in members
    assert members.holder(passkey) is None
    assert members.epoch(OTHER) == 0


def test_a_new_passkey_ends_the_old_one_and_no_number_comes_twice() -> None:
    members = directory()
    seen = set()
    for wanted in (True, True, False, True):
        row = members.issue(OTHER, wanted=wanted)
        if wanted:
            seen.add(passkey_of(SECRET, OTHER, row.valid))
    assert len(seen) == 3
    assert sum(members.holder(each) is not None for each in seen) == 1


def test_who_was_turned_out_is_out_with_a_passkey_too() -> None:
    members = directory()
    members.issue(OTHER, wanted=True)
    members.admit(OTHER, admitted=False)
    assert OTHER not in members


def test_passkeys_of_other_secrets_members_and_sizes_are_nobodys() -> None:
    members = directory()
    members.issue(OTHER, wanted=True)
    for wrong in (
        b"",
        b"x" * 20,
        passkey_of(b"t" * 32, OTHER, 1),
        passkey_of(SECRET, ACCOUNT, 1),
        passkey_of(SECRET, OTHER, 2),
        passkey_of(SECRET, OTHER, 1)[:19],
    ):
        assert members.holder(wrong) is None
