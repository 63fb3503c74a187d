"""A child that is a real volunteer, whose sandbox only lets the time of each unit or token pass."""

import asyncio
import json
import os
import sys
from asyncio import TaskGroup
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from bench.tracker import IMAGE
from client.blobs import BlobStore
from client.peers.swarm import BlobSwarm
from client.work.notices import Notice, Online
from client.work.supply import SwarmBlobs
from client.work.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox, sleeping
from sandbox.models.fake import FakeModels
from workunits.signing import Identity

QUOTA = 1 << 28


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told on its standard input: where, how many slots, seconds a unit, or a
    token of a model's answer of ``tokens``; ``image`` is what it claims to have."""

    url: str
    folder: str
    slots: int
    seconds: float
    validator: bool = False
    image: str = IMAGE
    tokens: int = 0

    def line(self) -> dict[str, object]:
        """The job as JSON."""
        return asdict(self)


async def work(job: Job) -> None:
    """Be a volunteer until told to end; say so when the tracker welcomed us."""
    folder = Path(job.folder)

    def notify(notice: Notice) -> None:
        if isinstance(notice, Online):
            print(json.dumps({"online": True}), flush=True)

    models = FakeModels(token_seconds=job.seconds, length=job.tokens + 1)
    sandbox = FakeSandbox(sleeping(job.seconds), available=frozenset({job.image}), models=models)
    with BlobStore(folder / "blobs", quota=QUOTA) as store:
        async with BlobSwarm(store, job.url) as swarm, TaskGroup() as group:
            volunteer = Volunteer(
                job.url,
                Identity.from_seed(os.urandom(32)),
                sandbox,
                SwarmBlobs(store, swarm),
                capacity=Capacity(job.slots, 1 << 34),
                state=folder / "state",
                scratch=folder / "scratch",
                validator=job.validator,
                notify=notify,
            )
            running = group.create_task(volunteer.run())
            await asyncio.to_thread(sys.stdin.readline)
            running.cancel()


if __name__ == "__main__":
    uvloop.run(work(Job(**json.loads(sys.stdin.readline()))))
