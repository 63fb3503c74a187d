"""The README's example is a whole job that works, and the pages keep their promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import openswarm
from client.jobs import jobfile
from tests.docs.pages import ROOT, page

README = page("README.md")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The example of the README, written to files."""
    (toml,) = README.blocks("toml")
    program = README.blocks("python")[0]
    (tmp_path / "pi.py").write_text(program.text, encoding="utf-8")
    file = tmp_path / "JOB.toml"
    file.write_text(toml.text, encoding="utf-8")
    return file


def test_the_example_job_is_correct(job: Path) -> None:
    draft = jobfile.load(job, lambda: jobfile.NO_IMAGE)
    assert draft.body.units == 100
    assert draft.body.escrow == 200


def test_the_example_program_gives_the_same_bytes_twice(job: Path) -> None:
    command = [sys.executable, "pi.py", "7", "1000"]
    one, two = (
        subprocess.run(command, cwd=job.parent, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert one == two
    assert 3 < json.loads(one)["pi"] < 3.3


def test_the_python_example_uses_names_that_are_there() -> None:
    text = README.blocks("python")[1].text
    for name in ("submit", "wait", "results"):
        assert f"openswarm.{name}(" in text
        assert name in openswarm.__all__


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "license = Apache-2.0" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
