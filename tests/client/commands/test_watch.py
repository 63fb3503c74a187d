"""Leaving ``swarm watch`` leaves the job alone and the terminal informed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from client.commands.watch import PLAIN_SECONDS, _Lines, summary
from client.json_fields import JsonFields
from client.views import JobView
from tests.client.commands.shell import BARE, Shell

LARGE = BARE + '[inputs]\n"large.bin" = "large.bin"\n'


def view(policy: str = "pair", settings: dict[str, int] | None = None, /, **counts: int) -> JobView:
    return JobView.read(
        JsonFields(
            {
                "id": "ab" * 32,
                "name": "a job",
                "submitter": "cd" * 32,
                "policy": policy,
                "demands": {
                    "settings": settings or {},
                    "same_platform": False,
                    "reputation": 0,
                    "ringers": False,
                },
                "comparator": "exact",
                "price": 1,
                "units": 30,
                "counts": counts,
                "escrow": {},
                "state": "active",
                "created": 1,
            },
            "job",
        )
    )


def test_a_job_that_is_asked_has_no_end_to_come_to(capsys: pytest.CaptureFixture[str]) -> None:
    _Lines().show(replace(view(accepted=3, open=27), asked=True))
    assert capsys.readouterr().err == "a job: 3 (3 accepted)\n"
    over = replace(view(accepted=3, failed=1, cancelled=26), asked=True, state="finished")
    _Lines().show(over)
    assert capsys.readouterr().err == "a job: 4 (3 accepted, 1 failed)\n"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(shell: Shell, log: Path, *words: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "openswarm.cli", *words],
            stderr=file,
            stdout=file,
            env=os.environ | {"SWARM_HOME": str(shell.home), "SWARM_TRACKER": shell.tracker},
        )


def test_ctrl_c_ends_watching_and_says_that_the_job_goes_on(
    rich_shell: Shell, tmp_path: Path
) -> None:
    job = rich_shell.good("submit", rich_shell.job_file(BARE), "--json").json["id"]
    log = tmp_path / "log"
    with start(rich_shell, log, "watch", job) as process:
        wait_for(lambda: "not begun" in log.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert f"swarm watch {job[:12]}" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert rich_shell.good("status", job, "--json").json["state"] == "active"
    rich_shell.good("cancel", job)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_leaving_a_submission_that_seeds_leaves_no_files_behind(
    rich_shell: Shell, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    job_file = rich_shell.job_file(LARGE)
    (job_file.parent / "large.bin").write_bytes(bytes(2 << 20))
    log = tmp_path / "log"
    with start(rich_shell, log, "submit", str(job_file), "--watch") as process:
        wait_for(lambda: "not begun" in log.read_text())
        assert list(rich_shell.home.glob(".swarm-*"))
        process.send_signal(number)
        assert process.wait(20) == status
    assert "Traceback" not in log.read_text()
    assert not list(rich_shell.home.glob(".swarm-*"))
    (job,) = rich_shell.good("jobs", "--mine", "--state", "active", "--json").json
    rich_shell.good("cancel", job["id"])


def test_where_there_is_no_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 100.0
    lines = _Lines(clock=lambda: now)
    lines.show(view(open=30))
    lines.show(view(open=29, computing=1))
    now += PLAIN_SECONDS
    lines.show(view(accepted=10, computing=2))
    assert capsys.readouterr().err.splitlines() == [
        "a job: 0 of 30 (not begun)",
        "a job: 10 of 30 (10 accepted, 2 computing)",
    ]


def test_the_summary_names_only_what_there_is() -> None:
    assert summary(view(accepted=1, failed=1200)) == "1 accepted, 1,200 failed"


@pytest.mark.parametrize(
    ("policy", "settings", "when"),
    [
        ("economy", {}, "final when all are"),
        ("economy", {"batch": 10}, "final in batches of 10"),
        ("economy", {"batch": 30}, "final when all are"),
        ("one of tomorrow", {}, "final in batches of 1"),
    ],
)
def test_settled_units_are_done_and_said_not_to_be_final(
    policy: str, settings: dict[str, int], when: str
) -> None:
    shown = view(policy, settings, settled=12, computing=2)
    assert shown.counts.done == 12
    assert summary(shown) == f"12 settled, 2 computing; {when}"
