"""How a job wants its results checked: read strictly, written in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import comparators, hashes, settings
from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.verification import (
    HASH_SIZE,
    MAX_ARGUMENT,
    MAX_COMPARE,
    MAX_REPUTATION,
    MAX_SETTING,
    MAX_SETTINGS,
    Comparator,
    Comparison,
    Demands,
    Policy,
    member,
)

demands = st.builds(
    Demands,
    settings,
    st.booleans(),
    st.integers(0, MAX_REPUTATION),
    st.one_of(st.just(b""), hashes),
)
values = st.recursive(
    st.one_of(st.integers(-(2**63) + 1, 2**63 - 1), st.binary(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.binary(max_size=10), inner, max_size=3)
    ),
    max_leaves=5,
)


def fields_of(value: object) -> Fields:
    return canonical.decode_fields(canonical.encode(value), limit=1 << 20, what="part")


# -- comparators ----------------------------------------------------------------------------


@given(comparators())
def test_every_comparator_comes_back_as_it_was(comparator: Comparator) -> None:
    assert Comparator.read(fields_of(comparator.value())) == comparator


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Comparison.EXACT, {"kind": "exact"}),
        (Comparison.NUMERIC, {"kind": "numeric", "atol": "0.5", "rtol": "1e-09"}),
        (Comparison.PROGRAM, {"kind": "program", "command": ["same", "{a}", "{b}"]}),
    ],
)
def test_a_comparator_says_only_what_matters_to_its_kind(
    kind: Comparison, value: dict[str, object]
) -> None:
    assert Comparator(kind, 1e-9, 0.5, ("same", "{a}", "{b}")).value() == value


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"kind": "close"},
        {"kind": "EXACT"},
        {"kind": b"\xff"},
        {"kind": 1},
        {"kind": "exact", "atol": "0"},
        {"kind": "exact", "command": ["same"]},
        {"kind": "numeric"},
        {"kind": "numeric", "atol": "0"},
        {"kind": "numeric", "atol": "0", "rtol": "little"},
        {"kind": "numeric", "atol": "0", "rtol": ""},
        {"kind": "numeric", "atol": 0, "rtol": "0"},
        {"kind": "numeric", "atol": "0", "rtol": "0", "command": []},
        {"kind": "program"},
        {"kind": "program", "command": []},
        {"kind": "program", "command": ["", "x"]},
        {"kind": "program", "command": "same"},
        {"kind": "program", "command": [1]},
        {"kind": "program", "command": [b"\xff"]},
        {"kind": "program", "command": ["a\0b"]},
        {"kind": "program", "command": ["same"], "atol": "0"},
    ],
)
def test_what_a_comparator_may_not_say_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        Comparator.read(fields_of(value))


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "x" * 21},
        {"kind": "numeric", "atol": "0" * 31, "rtol": "0"},
        {"kind": "program", "command": ["x"] * (MAX_COMPARE + 1)},
        {"kind": "program", "command": ["x" * (MAX_ARGUMENT + 1)]},
    ],
)
def test_a_comparator_has_limits(value: dict[str, object]) -> None:
    with pytest.raises(LimitError):
        Comparator.read(fields_of(value))


def test_a_comparator_at_its_limits_is_read() -> None:
    comparator = Comparator(Comparison.PROGRAM, command=("x" * MAX_ARGUMENT,) * MAX_COMPARE)
    assert Comparator.read(fields_of(comparator.value())) == comparator


# -- demands --------------------------------------------------------------------------------


@given(demands)
def test_all_demands_come_back_as_they_were(wanted: Demands) -> None:
    again = Demands.read(fields_of(wanted.value()))
    assert again == wanted
    assert canonical.encode(again.value()) == canonical.encode(wanted.value())


def test_settings_come_sorted_whatever_their_order_was() -> None:
    wanted = Demands((("b", 2), ("a", 1)))
    assert Demands.read(fields_of(wanted.value())).settings == (("a", 1), ("b", 2))


@pytest.mark.parametrize(
    "change",
    [
        {"platform": 2},
        {"platform": -1},
        {"platform": "1"},
        {"reputation": -1},
        {"reputation": MAX_REPUTATION + 1},
        {"reputation": b""},
        {"ringers": b"x"},
        {"ringers": b"x" * (HASH_SIZE - 1)},
        {"ringers": 0},
        {"settings": []},
        {"settings": {"audit": -1}},
        {"settings": {"audit": MAX_SETTING + 1}},
        {"settings": {"audit": "100"}},
        {"settings": {b"\xff": 1}},
        {"settings": {str(at): at for at in range(MAX_SETTINGS + 1)}},
        {"more": 1},
    ],
)
def test_what_may_not_be_demanded_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        Demands.read(fields_of(Demands().value() | change))


def test_a_hash_of_ringers_that_is_too_long_is_over_the_limit() -> None:
    with pytest.raises(LimitError):
        Demands.read(fields_of(Demands().value() | {"ringers": bytes(HASH_SIZE + 1)}))


@pytest.mark.parametrize("missing", sorted(Demands().value()))
def test_demands_are_said_whole(missing: str) -> None:
    value = Demands().value()
    del value[missing]
    with pytest.raises(MalformedError, match=missing):
        Demands.read(fields_of(value))


def test_demands_at_their_limits_are_read() -> None:
    most = tuple((f"s{at:02}", MAX_SETTING) for at in range(MAX_SETTINGS))
    wanted = Demands(most, True, MAX_REPUTATION, bytes(HASH_SIZE))
    assert Demands.read(fields_of(wanted.value())) == wanted


# -- both -----------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "kind",
                "atol",
                "rtol",
                "command",
                "platform",
                "reputation",
                "ringers",
                "settings",
                "more",
            ]
        ),
        st.one_of(values, st.sampled_from(["exact", "numeric", "program", "0.5"])),
    )
)
def test_any_dictionary_is_read_or_refused_as_the_others_mistake(value: dict[str, object]) -> None:
    for read in (Comparator.read, Demands.read):
        try:
            found = read(fields_of(value))
        except RemoteError:
            continue
        assert read(fields_of(found.value())).value() == found.value()


@pytest.mark.parametrize("policy", Policy)
def test_a_policy_is_named_by_its_value(policy: Policy) -> None:
    assert member(Policy, policy.value, "policy") is policy


@pytest.mark.parametrize("text", ["", "Pair", "pair ", "PAIR", "majority"])
def test_an_unknown_policy_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(MalformedError, match=f"unknown policy {text!r}") as refused:
        member(Policy, text, "policy")
    assert all(policy.value in refused.value.hint for policy in Policy)
