"""The table ``[verification]``: every key, and what is said of a wrong one."""

from pathlib import Path

import pytest

from client.jobs.jobfile import Draft, load
from client.jobs.table import JobFileError, Mistake
from client.jobs.verification import describe
from client.views import DemandsView
from validators.settings import BOUNDS, RATES
from workunits.verification import Comparator, Comparison, Demands, Policy

JOB = """\
name = "small"
[program]
image = "sha256:abababababababababababababababababababababababababababababababab"
command = ["run", "{x}"]
stdout = "out.json"
[parameters]
x = [1, 2, 3]
[verification]
"""
LINE = JOB.count("\n") + 1


def read(folder: Path, text: str) -> Draft:
    file = folder / "JOB.toml"
    file.write_text(JOB + text)
    return load(file, lambda: "")


def mistake(folder: Path, text: str) -> Mistake:
    with pytest.raises(JobFileError) as caught:
        read(folder, text)
    (found,) = caught.value.mistakes
    return found


@pytest.mark.parametrize("policy", list(Policy))
def test_every_policy_can_be_chosen(tmp_path: Path, policy: Policy) -> None:
    assert read(tmp_path, f'policy = "{policy}"').body.policy is policy


def test_economy_and_exact_are_the_defaults(tmp_path: Path) -> None:
    body = read(tmp_path, "").body
    assert (body.policy, body.comparator, body.demands) == (
        Policy.ECONOMY,
        Comparator(),
        Demands(),
    )


def test_demands_are_read(tmp_path: Path) -> None:
    text = "same-platform = true\nreputation = 20\n[verification.settings]\nlead = 3\naudit = 0.15"
    demands = Demands((("audit", 150), ("lead", 3)), same_platform=True, reputation=20)
    assert read(tmp_path, text).body.demands == demands


@pytest.mark.parametrize(
    "command", ['["python3", "same.py", "{a}", "--to={b}"]', '"python3 same.py {a} --to={b}"']
)
def test_a_program_that_compares_is_read(tmp_path: Path, command: str) -> None:
    body = read(tmp_path, f'comparator = "program"\ncommand = {command}').body
    words = ("python3", "same.py", "{a}", "--to={b}")
    assert body.comparator == Comparator(Comparison.PROGRAM, command=words)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_every_setting_can_be_at_its_bounds_and_not_beyond(tmp_path: Path, name: str) -> None:
    low, high = BOUNDS[name]
    unit = 1000 if name in RATES else 1
    for value in (low, high):
        spelled = value / unit if name in RATES else value
        body = read(tmp_path, f"settings = {{ {name} = {spelled} }}").body
        assert body.demands.settings == ((name, value),)
    for value in (low - 1, high + 1):
        spelled = value / unit if name in RATES else value
        found = mistake(tmp_path, f"settings = {{ {name} = {spelled} }}")
        assert found.line == LINE
        assert f"verification.settings.{name} must be" in found.message
        if name in RATES:
            assert f"from {low / 1000:g} to {high / 1000:g}" in found.message


def test_a_whole_number_is_a_share_too(tmp_path: Path) -> None:
    assert read(tmp_path, "settings.audit = 1").body.demands.settings == (("audit", 1000),)


def test_a_duration_is_read_as_in_the_limits(tmp_path: Path) -> None:
    body = read(tmp_path, 'settings.final_after = "2d"').body
    assert body.demands.settings == (("final_after", 2 * 86400),)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('policy = "economi"', "'economi'", "Did you mean 'economy'?"),
        ('policy = "x"', '"economy", "strict", "pair" or "trusted"', ""),
        ('comparator = "numerics"', "'numerics'", "Did you mean 'numeric'?"),
        ("polisy = 1", "unknown key verification.polisy", "'policy'"),
        ("audit = 0.1", "unknown key verification.audit", "[verification.settings]"),
        ("rtol = 0.1", 'rtol is for comparator = "numeric"', ""),
        ('comparator = "numeric"\nrtol = -1', "finite number", ""),
        (f'comparator = "numeric"\nrtol = 1{"0" * 400}', "too large", ""),
        ('command = ["a"]', 'command is for comparator = "program"', "[program]"),
        ('comparator = "program"', "verification.command is missing", "{a}"),
        ('comparator = "program"\ncommand = []', "is empty", ""),
        ('comparator = "program"\ncommand = ["same", "{a}"]', "does not use {b}", "{a} and {b}"),
        ('comparator = "program"\ncommand = ["same"]', "does not use {a} and {b}", ""),
        (
            'comparator = "program"\ncommand = ["{a}", "{b}", "{x}"]',
            "{x}, which is not a parameter",
            "{a} and {b}",
        ),
        ('comparator = "program"\ncommand = ["{a}", "{b}", "{"]', "unbalanced brace", "{{"),
        ('comparator = "program"\ncommand = ["{a}", "{b}", 1]', "strings only", ""),
        (f'comparator = "program"\ncommand = {["{a}{b}"] * 17}', "17 words, more than 16", ""),
        ("same-platform = 1", "same-platform must be true or false", ""),
        ("same_platform = true", "unknown key verification.same_platform", "'same-platform'"),
        ("reputation = -1", "must be from 0 to 10,000, and is -1", ""),
        ("reputation = true", "must be a whole number", ""),
        ("settings = 1", "must be a table", ""),
        ("settings.audit = true", "must be a number", ""),
        ("settings.audit = nan", "share from 0.05 to 1", ""),
        ("settings.audit = 150", "share from 0.05 to 1, and is 150", ""),
        ("settings.audit = 0.0505", "steps of 0.001, and is 0.0505", ""),
        ("settings.lead = 1.5", "must be a whole number", ""),
        ("settings.lead = 9", "must be from 1 to 3, and is 9", ""),
        ('settings.final_after = "2 moons"', "final_after: '2 moons'", ""),
        ("settings.lad = 1", "unknown key verification.settings.lad", "'lead'"),
        ("settings.zzzz = 1", "unknown key verification.settings.zzzz", "Known: "),
        ("ringers = 5", "must be the path of a folder", ""),
        ('ringers = ""', "must be the path of a folder", ""),
        (
            'ringers = "known"\ncomparator = "numeric"',
            "ringers are compared exactly",
            'comparator = "exact"',
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    found = mistake(tmp_path, text)
    assert message in found.message
    assert hint in found.hint
    assert found.line in (LINE - 1, LINE, LINE + 1)


def test_a_mistake_in_the_table_of_settings_has_its_own_line(tmp_path: Path) -> None:
    found = mistake(tmp_path, "[verification.settings]\nlead = 2\naudit = 2\n")
    assert found.line == LINE + 2


def test_a_key_of_this_table_at_the_top_is_sent_here(tmp_path: Path) -> None:
    (tmp_path / "JOB.toml").write_text('ringers = "known"\n' + JOB)
    with pytest.raises(JobFileError) as caught:
        load(tmp_path, lambda: "")
    assert "[verification]" in caught.value.mistakes[0].hint


def test_people_read_settings_as_they_write_them() -> None:
    demands = DemandsView({"audit": 150, "final_after": 7200, "batch": 1000}, True, 20, True)
    assert describe("economy", "exact", demands) == (
        "economy, exact, audit 0.15, final_after 2 h 0 min, batch 1,000, "
        "same platform, reputation 20, known answers"
    )
    assert describe("pair", "exact", DemandsView.of(Demands())) == "pair, exact"
