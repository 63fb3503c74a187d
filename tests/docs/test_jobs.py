"""The page about job files: its examples are accepted, and it names every setting."""

from pathlib import Path

import pytest

from client.jobs import jobfile
from tests.docs.pages import page
from validators.settings import BOUNDS

PAGE = page("docs/jobs.md")
CHECKS = [block.text for block in PAGE.blocks("toml") if block.text.startswith("[verification")]
JOB = """\
name = "example"
outputs = ["out"]
[program]
command = "run {x}"
[parameters]
x = { range = [0, 100] }
"""


@pytest.mark.parametrize("checks", CHECKS)
def test_an_example_of_checking_is_a_correct_one(tmp_path: Path, checks: str) -> None:
    answer = tmp_path / "known" / "7" / "out"
    answer.parent.mkdir(parents=True)
    answer.write_text("49")
    (tmp_path / "JOB.toml").write_text(JOB + checks, encoding="utf-8")
    draft = jobfile.load(tmp_path, lambda: jobfile.NO_IMAGE)
    assert bool(draft.answers) == ("ringers" in checks)


def test_every_setting_is_explained() -> None:
    assert CHECKS
    for name in BOUNDS:
        assert f"\n| `{name}` | " in PAGE.text.partition("<!-- rendered settings -->")[0]
