"""Modes, passes and passkeys: who is let in, and for how long."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce.admission import (
    ANYONE,
    MAX_TARGET,
    SKEW,
    Admission,
    Mode,
    Pass,
    passkey_of,
)
from tracker.members import Directory
from workunits.errors import MalformedError, RefusedError, RemoteError, SignatureError
from workunits.ids import PeerKey
from workunits.passes import MAX_AHEAD, SignedPass
from workunits.signing import Identity

OPERATOR, MEMBER, OTHER = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
SECRET = b"s" * 32
LISTED = b"l" * 20


@dataclass
class Gate:
    """An admission, its members and its clock."""

    mode: Mode = Mode.MEMBERS
    now: float = 1000.0
    members: Directory = field(
        default_factory=lambda: Directory(
            SECRET, (), operator=OPERATOR.key, accounted=MEMBER.key.__eq__
        )
    )

    def __post_init__(self) -> None:
        self.rules = Admission(
            self.mode,
            listed=LISTED.__eq__,
            members=self.members,
            tracker=OPERATOR.key,
            wall=lambda: self.now,
        )

    def passkey(self, key: PeerKey = OTHER.key) -> str:
        row = self.members.issue(key, wanted=True)
        return passkey_of(SECRET, key, row.valid).hex()


@pytest.mark.parametrize(
    ("mode", "listed", "other"),
    [(Mode.OPEN, True, True), (Mode.LISTED, True, False), (Mode.MEMBERS, True, False)],
)
def test_each_mode_tracks_what_it_should(mode: Mode, listed: bool, other: bool) -> None:
    rules = Gate(mode).rules
    assert rules.tracked(LISTED) is listed
    assert rules.tracked(b"o" * 20) is other


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.LISTED])
def test_whoever_comes_is_let_in_where_nobody_has_to_be_a_member(mode: Mode) -> None:
    rules = Gate(mode).rules
    for target in ("/announce", "", "/announce?member=x", "/announce/" + "0" * 40):
        assert rules.admit(target) is ANYONE
    rules.confirm(ANYONE)
    assert not rules.warning(ANYONE, 900)


def test_a_member_comes_with_a_signature_until_its_pass_is_over() -> None:
    gate = Gate()
    target = f"/announce?info_hash=x&{SignedPass.query(MEMBER, 2000, OPERATOR.key)}&port=1"
    admitted = gate.rules.admit(target)
    assert admitted == Pass(MEMBER.key, 2000)
    assert gate.rules.admit(target) == admitted
    assert not gate.rules.warning(admitted, 900)
    assert gate.rules.warning(admitted, 1100)
    gate.now = 2000.0
    with pytest.raises(RefusedError, match="over"):
        gate.rules.confirm(admitted)
    with pytest.raises(RefusedError, match="over"):
        gate.rules.admit(target)


def test_who_was_turned_out_is_turned_out_of_open_sockets_too() -> None:
    gate = Gate()
    admitted = gate.rules.admit(f"/announce?{SignedPass.query(MEMBER, 2000, OPERATOR.key)}")
    gate.members.admit(MEMBER.key, admitted=False)
    with pytest.raises(RefusedError, match="no member") as caught:
        gate.rules.confirm(admitted)
    assert MEMBER.key.hex() in caught.value.hint


def test_a_passkey_admits_until_it_is_revoked_or_another_is_made() -> None:
    gate = Gate()
    target = f"/announce/{gate.passkey()}?info_hash=x"
    admitted = gate.rules.admit(target)
    assert admitted.member == OTHER.key
    gate.now = 1e12
    gate.rules.confirm(admitted)
    gate.passkey()
    with pytest.raises(RefusedError, match="revoked"):
        gate.rules.confirm(admitted)
    with pytest.raises(RefusedError, match="not valid"):
        gate.rules.admit(target)


@pytest.mark.parametrize("path", ["/announce/{}", "/scrape/{}", "/x/y/announce/{}", "{}"])
def test_a_passkey_is_the_last_part_of_any_path(path: str) -> None:
    gate = Gate()
    assert gate.rules.admit(path.format(gate.passkey())).member == OTHER.key


@pytest.mark.parametrize(
    "target",
    [
        "/announce",
        "",
        "/announce?info_hash=x&passkey=" + "0" * 40,
        "/announce/" + "0" * 40,
        f"/announce?{SignedPass.query(OTHER, 2000, OPERATOR.key)}",
        f"/announce?{SignedPass.query(MEMBER, 1000, OPERATOR.key)}",
        f"/announce?{SignedPass.query(MEMBER, 1000 + MAX_AHEAD + SKEW + 1, OPERATOR.key)}",
    ],
)
def test_outsiders_are_refused(target: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Gate().rules.admit(target)
    assert caught.value.hint


def test_a_pass_of_another_or_for_another_time_is_forged() -> None:
    rules = Gate().rules
    signed = SignedPass.query(MEMBER, 2000, OPERATOR.key)
    with pytest.raises(SignatureError):
        rules.admit("/announce?" + signed.replace("until=2000", "until=2001"))
    with pytest.raises(SignatureError):
        rules.admit("/announce?" + signed.replace(MEMBER.key.hex(), OPERATOR.key.hex()))


def test_a_pass_for_one_tracker_is_no_pass_for_another() -> None:
    gate = Gate()
    with pytest.raises(SignatureError):
        gate.rules.admit("/announce?" + SignedPass.query(MEMBER, 2000, OTHER.key))
    keyless = Admission(Mode.MEMBERS, members=gate.members, wall=lambda: gate.now)
    with pytest.raises(RefusedError, match="members only"):
        keyless.admit("/announce?" + SignedPass.query(MEMBER, 2000, OPERATOR.key))
    assert keyless.admit(f"/announce/{gate.passkey()}").member == OTHER.key


def test_the_signature_of_who_is_no_member_is_not_even_looked_at(monkeypatch: Any) -> None:
    monkeypatch.setattr(SignedPass, "check", lambda *_: pytest.fail("it was"))
    with pytest.raises(RefusedError, match="no member"):
        Gate().rules.admit(f"/announce?{SignedPass.query(OTHER, 2000, OPERATOR.key)}")


def test_an_endless_address_is_refused() -> None:
    with pytest.raises(MalformedError):
        Gate().rules.admit("/announce?" + "x" * MAX_TARGET)


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            ["member=", "until=", "sig=", "&", "/", "?", "ab", "0" * 40, "é", "=", "٣"]
        ),
        max_size=12,
    ).map("".join)
)
def test_any_other_address_is_refused_as_the_remotes_fault(target: str) -> None:
    with pytest.raises(RemoteError):
        Gate().rules.admit(target)


def test_signatures_are_remembered_up_to_a_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr("tracker.announce.admission._REMEMBERED", 3)
    rules = Gate().rules
    for until in range(2000, 2010):
        rules.admit("/announce?" + SignedPass.query(MEMBER, until, OPERATOR.key))
    assert len(rules._known) <= 3
