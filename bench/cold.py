"""What our cold container costs beside the barest one that the engine can run."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import docker

from bench.cell import LIMITS, TASK, TRIVIAL, Place, place
from bench.processes import BenchError
from bench.row import Row, Setting, spread
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.owner import name_self
from sandbox.profile import DEADLINE_LABEL, LABEL, OWNER_LABEL
from sandbox.runner import Ending

WHAT = "cold container: start, one unit, removal"
BUDGET = "floor + 10 %"
BUDGET_RATIO = 1.1
RUNS = 12
QUICK = 2
LIFE = 600


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one run: the engine's own, ours in all, and ours up to being ready."""

    floor: float
    whole: float
    ready: float


def measure(setting: Setting, runs: int | None = None) -> Row:
    """Median of ours over the engine's floor, measured in turns."""
    runs = runs or (QUICK if setting.quick else RUNS)
    with place(setting) as found:
        setting.say(f"starting {2 * runs} containers")
        times = asyncio.run(_measure(setting, found, runs))
    floor = spread(each.floor for each in times)[1]
    whole = spread(each.whole for each in times)[1]
    ready = spread(each.ready for each in times)[1]
    ratio = whole / floor
    return Row.of(
        WHAT,
        BUDGET,
        f"floor {'+' if ratio >= 1 else '-'} {100 * abs(ratio - 1):.0f} %",
        BUDGET_RATIO / ratio,
        f"ours {whole:.3f} s (ready to run after {ready:.3f} s), floor {floor:.3f} s, "
        f"medians of {runs}, in turns",
        f"floor: create + start + wait + remove of `{' '.join(TRIVIAL)}` with the docker package, "
        "same image, no network, no log, no hardening",
        f"ours: hardened, with the harness of Docker {found.version} cells, "
        f"{LIMITS.memory_bytes >> 20} MiB",
        ratio=ratio,
        seconds=whole,
        seconds_floor=floor,
        seconds_ready=ready,
    )


async def _measure(setting: Setting, found: Place, runs: int) -> list[Times]:
    sandbox = DockerSandbox(DockerSettings(found.url, setting.folder / "work"))
    into = setting.folder / "into"
    into.mkdir(exist_ok=True)
    identity = found.identity()
    times: list[Times] = []
    try:
        with docker.APIClient(base_url=found.url, version="auto", timeout=60) as api:
            for _ in range(runs + 1):
                floor = await asyncio.to_thread(bare, api, identity)
                began = time.perf_counter()
                cell = await sandbox.open(found.program)
                ready = time.perf_counter() - began
                outcome = await cell.run(TASK, into)
                await cell.close()
                times.append(Times(floor, time.perf_counter() - began, ready))
                if outcome.ending is not Ending.EXITED or outcome.exit_status:
                    raise BenchError(f"a unit ended with {outcome.ending} {outcome.exit_status}")
    finally:
        await sandbox.close()
    return times[1:]  # the first of each kind warms caches of the engine


def bare(api: docker.APIClient, identity: str) -> float:
    """Seconds for the whole life of the simplest container."""
    # Labelled as ours: should we die in between, the reaper of the next sandbox removes it.
    labels = {LABEL: "1", OWNER_LABEL: name_self(), DEADLINE_LABEL: str(int(time.time()) + LIFE)}
    body: dict[str, Any] = {
        "Image": identity,
        "Cmd": list(TRIVIAL),
        "NetworkDisabled": True,
        "Labels": labels,
        "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none", "Config": {}}},
    }
    began = time.perf_counter()
    made = api.create_container_from_config(body)  # type: ignore[no-untyped-call]
    try:
        api.start(made["Id"])
        status = api.wait(made["Id"])["StatusCode"]
    finally:
        api.remove_container(made["Id"], force=True)
    seconds = time.perf_counter() - began
    if status:
        raise BenchError(f"the bare container ended with status {status}")
    return seconds
