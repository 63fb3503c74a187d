"""Killed trackers, killed volunteers, wrong clocks, missing credits and images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.demo.swarm import Peer, Swarm
from sandbox.engine import Engine
from tests.acceptance.conftest import (
    WriteJob,
    assert_books_balance,
    containers,
    finish,
    publish,
)

SLOW_SQUARE = """
import sys, time
time.sleep(0.3)
open("/out/out.txt", "w").write(str(int(sys.argv[1]) ** 2))
"""
AN_HOUR_AHEAD = """
import time
real = time.time
time.time = lambda: real() + 3600
"""


def accepted(count: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a job has at least ``count`` accepted units."""
    return lambda view: bool(view["counts"]["accepted"] >= count)


def test_a_tracker_that_is_killed_and_started_again_loses_nothing(
    swarm: Swarm, submitter: Peer, write_job: WriteJob
) -> None:
    swarm.volunteer(swarm.peer("volunteer"))
    swarm.volunteer(swarm.peer("validator"), "--validate")
    job = publish(
        swarm, submitter, write_job(SLOW_SQUARE, "n = { range = [0, 30] }", arguments="{n}")
    )
    for done in (3, 12):
        before = swarm.until(job, accepted(done))
        swarm.kill("tracker")
        swarm.start_tracker(listen=swarm.url.removeprefix("http://"))
        after = swarm.get(f"jobs/{job}")
        assert after["counts"]["accepted"] >= before["counts"]["accepted"]
    view = finish(swarm, submitter, job)
    assert view["counts"]["accepted"] == 30
    assert view["escrow"] == {"held": 0, "paid": 60, "returned": 0}
    assert_books_balance(swarm)


def test_a_volunteer_that_is_killed_in_mid_unit_costs_only_time(
    swarm: Swarm, submitter: Peer, write_job: WriteJob, docker_engine: Engine
) -> None:
    victim, heir, validator = (swarm.peer(name) for name in ("victim", "heir", "validator"))
    swarm.volunteer(victim)
    swarm.volunteer(validator, "--validate")
    job = publish(
        swarm, submitter, write_job(SLOW_SQUARE, "n = { range = [0, 10] }", arguments="{n}")
    )
    swarm.until(job, accepted(1))
    swarm.kill("victim")
    swarm.volunteer(heir)
    view = finish(swarm, submitter, job)
    assert view["counts"]["accepted"] == 10
    assert_books_balance(swarm)
    swarm.stop_all()
    assert containers(docker_engine, swarm.folder) == [], "the heir removes what the victim left"


def test_a_clock_that_is_an_hour_off_does_no_harm_and_is_named(
    swarm: Swarm, submitter: Peer, write_job: WriteJob, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(AN_HOUR_AHEAD)
    wrong = {"PYTHONPATH": str(tmp_path)}
    volunteer = swarm.peer("volunteer")
    swarm.volunteer(volunteer, extra=wrong)
    swarm.volunteer(swarm.peer("validator"), "--validate")
    job_file = write_job(SLOW_SQUARE, "n = [2, 3]", arguments="{n}")
    job = publish(swarm, submitter, job_file)
    assert finish(swarm, submitter, job)["counts"]["accepted"] == 2
    assert "clock" in volunteer.log.read_text()
    refused = swarm.ask(submitter, "cancel", job, extra=wrong)
    assert refused.returncode == 3
    assert "clock" in refused.stderr
    doctor = swarm.ask(submitter, "doctor", extra=wrong)
    assert doctor.returncode == 1
    assert "clock" in doctor.stdout + doctor.stderr


def test_a_job_that_the_account_cannot_pay_is_refused_with_what_to_do(
    swarm: Swarm, write_job: WriteJob
) -> None:
    poor = swarm.peer("poor")
    job_file = write_job(SLOW_SQUARE, "n = [2, 3]", arguments="{n}")
    refused = swarm.ask(poor, "submit", str(job_file), "--json")
    assert refused.returncode == 3
    error = json.loads(refused.stderr)["error"]
    assert "costs 4 credits" in error["message"]
    assert f"swarm tracker grant {poor.key}" in error["hint"]
    assert swarm.get("jobs")["jobs"] == []


def test_a_job_whose_image_nobody_has_says_so_and_can_be_cancelled(
    swarm: Swarm, submitter: Peer, write_job: WriteJob
) -> None:
    swarm.volunteer(swarm.peer("volunteer"))
    job_file = write_job(SLOW_SQUARE, "n = [2]", arguments="{n}", image=f"sha256:{'0' * 64}")
    job = publish(swarm, submitter, job_file)
    view = swarm.until(job, lambda view: "has the image" in view["reason"])
    assert view["counts"]["open"] == 1
    swarm.run(submitter, "cancel", job)
    assert swarm.get(f"jobs/{job}")["escrow"] == {"held": 0, "paid": 0, "returned": 2}
    assert_books_balance(swarm)
