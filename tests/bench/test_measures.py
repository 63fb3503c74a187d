"""Every measurement makes its row, with numbers too small to mean anything."""

from pathlib import Path
from types import ModuleType

import pytest

from bench import (
    announces,
    audit,
    fanout,
    first,
    flood,
    gigabyte,
    makespan,
    memory,
    native,
    signalling,
    startup,
    transfer,
    udp,
    units,
)
from bench.makespan import Course
from bench.row import Row, Setting
from bench.units import Load
from workunits.verification import Policy

SECONDS = 0.2


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, tmp_path / "cache", lambda _: None, quick=True)


def is_measured(row: Row) -> bool:
    return row.verdict != "skipped" and all(value > 0 for _, value in row.facts)


def test_units_are_validated_by_a_crowd_of_two_processes(setting: Setting) -> None:
    row = units.measure(setting, (Load(60, 4, 2, 5), Load(30, 3, 2, 1)))
    assert is_measured(row) and row.score is not None
    assert len(row.notes) == 3


def test_memory_is_projected_to_the_number_in_the_budget(setting: Setting) -> None:
    row = memory.measure(setting, peers=40)
    assert row.score is not None and row.score > 0
    assert "projected from 40" in row.notes[0]


@pytest.mark.parametrize("policy", [Policy.TRUSTED, Policy.PAIR])
def test_makespan_is_that_of_real_volunteers(setting: Setting, policy: Policy) -> None:
    row = makespan.measure(setting, (Course(4, 2, 0.05, policy),))
    assert is_measured(row)
    assert policy.value in row.notes[0]


def test_the_ideal_of_a_pair_is_one_round_longer() -> None:
    assert Course(40, 4, 1.0, Policy.TRUSTED).ideal == 10
    assert Course(41, 4, 1.0, Policy.TRUSTED).ideal == 11
    assert Course(40, 4, 1.0, Policy.PAIR).ideal == 11


def test_the_front_door_is_timed(setting: Setting) -> None:
    assert is_measured(startup.measure(setting, runs=1))


def test_a_ledger_is_written_audited_and_projected(setting: Setting) -> None:
    assert is_measured(audit.measure(setting, units=25))


@pytest.mark.parametrize("bench", [announces, udp, signalling])
def test_answers_of_the_tracker_are_counted(setting: Setting, bench: ModuleType) -> None:
    row = bench.measure(setting, SECONDS)
    assert is_measured(row)
    assert row.budget == bench.BUDGET
    assert any("left out of a quick run" in note for note in row.notes)


def test_a_flood_is_weighed(setting: Setting) -> None:
    row = flood.measure(setting, SECONDS)
    assert is_measured(row) and row.score is not None


def test_a_blob_is_timed_beside_a_bare_channel(setting: Setting) -> None:
    assert is_measured(transfer.measure(setting, size=200_000))


def test_a_blob_is_timed_beside_libtorrent_alone(setting: Setting) -> None:
    assert is_measured(native.measure(setting, size=200_000))


def test_a_seed_is_timed_with_one_peer_and_with_several(setting: Setting) -> None:
    row = fanout.measure(setting, peers=2)
    assert is_measured(row) and len(row.notes) == 2


def test_memory_is_measured_on_both_sides_of_a_blob(setting: Setting) -> None:
    row = gigabyte.measure(setting, size=2_000_000)
    assert row.score is not None and len(row.facts) == 4


def test_a_machine_cannot_be_made_fresh(setting: Setting) -> None:
    assert first.measure(setting).verdict == "skipped"
