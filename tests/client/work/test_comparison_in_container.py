"""A comparator in a real container: what it may do, and what is made of its end."""

import asyncio
from pathlib import Path

import pytest

from client.scheduling.pace import Tuning
from client.work.volunteer import Capacity, Volunteer
from sandbox.containers import DockerSandbox, DockerSettings
from sandbox.engine import Engine
from tests.client.work.tracker import TrackerDouble, job_of, peer_key, rng, shown, tracking
from tests.client.work.volunteering import MemoryBlobs
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.verification import Comparator, Comparison
from workunits.wire.compare import Opinion, Shown

pytestmark = pytest.mark.engine
COMPARATOR = """
import os, socket, sys, time
a, b = sys.argv[1:]
assert sorted(os.listdir("/in")) == ["a", "b"] and os.listdir("/out") == []
assert sorted(os.listdir("/job")) == ["compare.py"] == os.listdir(".")
for path in (a + "/more", "/in/more", "/job/more", "/more"):
    try:
        open(path, "w")
    except OSError:
        continue
    sys.exit(3)
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError:
    pass
else:
    sys.exit(4)
texts = [open(place + "/out").read() if os.listdir(place) else "" for place in (a, b)]
if "sleep" in texts:
    time.sleep(60)
if "die" in texts:
    os.abort()
try:
    sys.exit(int(float(texts[0]) != float(texts[1])))
except ValueError:
    sys.exit(2)
"""
COMMAND = ("python3", "compare.py", "{a}", "{b}")


async def test_a_real_comparator_gives_real_opinions(
    tmp_path: Path, docker_engine: Engine, runtime_image: str
) -> None:
    blobs = MemoryBlobs(tmp_path / "blobs")
    blobs.folder.mkdir()
    job = job_of(
        files=(NamedBlob("compare.py", blobs.add(COMPARATOR.encode())),),
        comparator=Comparator(Comparison.PROGRAM, command=COMMAND),
        image=runtime_image,
        memory=64 << 20,
        wall=5,
    )
    tracker = TrackerDouble(job, auto_lease=False)
    sandbox = DockerSandbox(DockerSettings(docker_engine.url, tmp_path / "work"))
    one = shown({"out": b"1.0"})
    blob = blobs.add(b"1" + b" " * 5000)
    large = Shown(Result(Ending.EXITED, 0, (NamedBlob("out", blob),)))
    wanted = {
        (one, shown({"out": b"1"})): Opinion.SAME,
        (one, shown({"out": b"2"})): Opinion.DIFFERENT,
        (large, one): Opinion.SAME,
        (one, Shown(Result(Ending.EXITED, 0, ()))): Opinion.FAILED,
        (one, shown({"out": b"no number"})): Opinion.FAILED,
        (one, shown({"out": b"sleep"})): Opinion.FAILED,
        (one, shown({"out": b"die"})): Opinion.FAILED,
        (shown({"out": b"3"}), shown({"out": b"3.00"})): Opinion.SAME,
    }
    async with tracking(tracker), asyncio.timeout(100), asyncio.TaskGroup() as group:
        volunteer = Volunteer(
            tracker.url,
            peer_key(),
            sandbox,
            blobs,
            capacity=Capacity(1, 1 << 30),
            state=tmp_path / "state",
            scratch=tmp_path / "scratch",
            tuning=Tuning(linger=0.5),
            rng=rng(),
        )
        run = group.create_task(volunteer.run())
        await tracker.until(lambda: bool(tracker.wants))
        tokens = await tracker.compare(*wanted)
        await tracker.until(lambda: len(tracker.judged) == len(wanted), patience=90)
        volunteer.drain()
        await run
    await sandbox.close()
    found = {said.token: said.opinion for said in tracker.judged}
    assert [found[token] for token in tokens] == list(wanted.values())
    assert not tracker.released
    assert list((tmp_path / "scratch").rglob("*")) == list((tmp_path / "work").iterdir()) == []
