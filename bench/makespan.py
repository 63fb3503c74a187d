"""How close a job comes to its ideal duration: nothing but its units, on slots never idle."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bench.processes import child
from bench.row import Row, Setting
from bench.tracker import tracking
from bench.worker import Job
from workunits.verification import Policy

WHAT = "ideal makespan / makespan, 1 s units"
BUDGET = "0.95"
BUDGET_RATIO = 0.95
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """A job of ``units`` units of ``seconds`` each, on peers of ``slots`` slots each."""

    units: int
    slots: int
    seconds: float
    policy: Policy

    @property
    def ideal(self) -> float:
        """Seconds that a perfect swarm needs. A pair's second half can only begin when a first
        half was committed, so a validator of as many slots is one round behind."""
        rounds = ceil(self.units / self.slots) + (self.policy is Policy.PAIR)
        return rounds * self.seconds


FULL = (Course(40, 4, 1.0, Policy.TRUSTED), Course(40, 4, 1.0, Policy.PAIR))
QUICK = (Course(8, 4, 0.25, Policy.TRUSTED),)


def measure(setting: Setting, courses: tuple[Course, ...] | None = None) -> Row:
    """Every course on a tracker of its own; the first one is what the budget is about."""
    courses = courses or (QUICK if setting.quick else FULL)
    taken = []
    for course in courses:
        setting.say(f"{course.units} units of {course.seconds:g} s, policy {course.policy}")
        folder = setting.folder / course.policy
        folder.mkdir()
        taken.append(run(course, folder))
    ratio = courses[0].ideal / taken[0]
    return Row.of(
        WHAT,
        BUDGET,
        f"{ratio:.3f}",
        ratio / BUDGET_RATIO,
        *(
            f"policy {course.policy}: {course.units} units on {course.slots} slots"
            f"{' and as many to validate' if course.policy is Policy.PAIR else ''}, "
            f"ideal {course.ideal:.2f} s, took {seconds:.2f} s ({course.ideal / seconds:.3f})"
            for course, seconds in zip(courses, taken, strict=True)
        ),
        "a real volunteer, session and tracker; the sandbox sleeps; from submission to acceptance",
        ratio=ratio,
        seconds=taken[0],
    )


def run(course: Course, folder: Path) -> float:
    """Seconds from the submission of a job to the acceptance of its last unit."""
    roles = (False, True) if course.policy is Policy.PAIR else (False,)
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(folder))
        workers = []
        for validator in roles:
            home = folder / f"validator-{validator}"
            home.mkdir()
            worker = stack.enter_context(child("bench.worker", log=home / "worker.log"))
            workers.append(worker)
            worker.tell(Job(tracker.url, str(home), course.slots, course.seconds, validator).line())
        for worker in workers:
            worker.hear()
        began = time.monotonic()
        job = tracker.submit(course.units, course.policy)
        return tracker.finish(job, course.units, PATIENCE, poll=0.02) - began
