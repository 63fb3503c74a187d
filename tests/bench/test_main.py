"""The command line: names, quick mode, JSON, and a machine that lacks something."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from bench.__main__ import NAMES, main


def test_every_benchmark_is_a_module_with_a_measure() -> None:
    for name in NAMES:
        bench = import_module(f"bench.{name}")
        assert bench.WHAT and bench.BUDGET and callable(bench.measure)


def test_a_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["first", "startup", "--quick", "--cache", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "see make demo" in out and "0.15 s" in out
    assert list(tmp_path.iterdir()) == []


def test_without_an_engine_the_rows_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert main(["warm", "cold", "--quick", "--json", "--cache", str(tmp_path / "cache")]) == 0
    warm, cold = json.loads(capsys.readouterr().out)
    for row in (warm, cold):
        assert row["verdict"] == "skipped"
        assert "no Docker engine answers" in row["notes"][0]
    assert warm["budget"] == "2 ms"


def test_an_interrupt_shows_what_was_measured_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.startup.measure", interrupted)
    assert main(["first", "startup", "--cache", str(tmp_path)]) == 130
    assert "see make demo" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
