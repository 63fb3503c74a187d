"""The numbers of the policies, and what a job file may replace of them."""

from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validators.cases import manifest
from validators.settings import BOUNDS, RATES, SETTINGS, Settings, settings_of
from workunits.errors import RefusedError
from workunits.verification import MAX_SETTING, MAX_SETTINGS, Demands, Policy

policies = st.sampled_from(Policy)
overrides = st.fixed_dictionaries(
    {}, optional={name: st.integers(low, high) for name, (low, high) in BOUNDS.items()}
)


def settings_with(policy: Policy, changes: dict[str, int]) -> Settings:
    demands = Demands(tuple(sorted(changes.items())))
    return settings_of(replace(manifest(policy), demands=demands))


def test_every_policy_has_numbers_that_can_be_met() -> None:
    assert set(SETTINGS) == set(Policy)
    for settings in SETTINGS.values():
        assert 1 <= settings.copies <= settings.executions
        assert settings.lead >= 1
        assert settings.batch >= 1


@pytest.mark.parametrize("policy", Policy)
def test_a_job_without_settings_of_its_own_has_those_of_its_policy(policy: Policy) -> None:
    assert settings_of(manifest(policy)) == SETTINGS[policy]


@given(policies, overrides)
def test_what_is_within_bounds_replaces_the_number_and_nothing_else(
    policy: Policy, changes: dict[str, int]
) -> None:
    assert asdict(settings_with(policy, changes)) == asdict(SETTINGS[policy]) | changes


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_themselves_are_allowed(policy: Policy, name: str) -> None:
    for value in BOUNDS[name]:
        assert getattr(settings_with(policy, {name: value}), name) == value


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("name", BOUNDS)
def test_what_is_out_of_bounds_is_refused_with_the_bounds(policy: Policy, name: str) -> None:
    low, high = BOUNDS[name]
    for value in (low - 1, high + 1, MAX_SETTING):
        with pytest.raises(RefusedError) as refused:
            settings_with(policy, {name: value})
        message = refused.value.message
        assert f" {name} must be from {low:,} to {high:,}, and is {value:,}" in message
        assert "[verification.settings]" in refused.value.hint


@pytest.mark.parametrize("name", ["copies", "quorum", "", "Audit", "__class__"])
def test_a_setting_that_there_is_not_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(RefusedError, match=repr(name)) as refused:
        settings_with(Policy.ECONOMY, {name: 100})
    assert all(known in refused.value.hint for known in BOUNDS)


def test_one_setting_out_of_bounds_is_refused_among_others_within() -> None:
    with pytest.raises(RefusedError, match="audit"):
        settings_with(Policy.ECONOMY, {"lead": 1, "audit": 0, "referee": 10})


def test_nobody_can_turn_the_audit_down_to_less_than_half() -> None:
    floor, _ = BOUNDS["audit"]
    for settings in SETTINGS.values():
        assert not settings.audit or 0 < settings.audit / 2 <= floor <= settings.audit
    with pytest.raises(RefusedError, match="from 50 to 1,000, and is 49"):
        settings_with(Policy.ECONOMY, {"audit": 49})


def test_nobody_can_be_believed_at_once() -> None:
    assert BOUNDS["probation"][0] > 0


def test_what_may_be_replaced_is_a_setting_and_what_is_a_rate_may_be_replaced() -> None:
    assert set(BOUNDS) == {field.name for field in fields(Settings)} - {"copies"}
    assert set(BOUNDS) >= RATES
    assert all(BOUNDS[name][1] == 1000 for name in RATES)
    assert len(BOUNDS) <= MAX_SETTINGS
    assert all(0 <= low < high <= MAX_SETTING for low, high in BOUNDS.values())


@pytest.mark.parametrize("policy", Policy)
def test_what_a_policy_uses_is_within_the_bounds(policy: Policy) -> None:
    """A policy goes outside only to switch off what it does not use."""
    settings = SETTINGS[policy]
    for name, (low, high) in BOUNDS.items():
        value = getattr(settings, name)
        assert low <= value <= high or value == 0 or policy is Policy.TRUSTED
