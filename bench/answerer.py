"""A child that is a real volunteer, whose model sleeps for each token."""

import asyncio
import json
import os
import sys
from asyncio import TaskGroup
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from client.blobs import BlobStore
from client.peers.swarm import BlobSwarm
from client.work.notices import Notice, Online
from client.work.supply import SwarmBlobs
from client.work.volunteer import Capacity, Volunteer
from sandbox.fake import FakeSandbox, sleeping
from sandbox.models.fake import FakeModels
from workunits.signing import Identity

QUOTA = 1 << 32


@dataclass(frozen=True, slots=True)
class Job:
    """What it is told on its standard input; ``image`` is what it claims to have."""

    url: str
    folder: str
    image: str
    token_seconds: float
    tokens: int

    def line(self) -> dict[str, object]:
        """The job as JSON."""
        return asdict(self)


async def work(job: Job) -> None:
    """Be a volunteer with one slot until told to end; say so when the tracker welcomed us."""
    folder = Path(job.folder)

    def notify(notice: Notice) -> None:
        if isinstance(notice, Online):
            print(json.dumps({"online": True}), flush=True)

    models = FakeModels(token_seconds=job.token_seconds, length=job.tokens + 1)
    sandbox = FakeSandbox(sleeping(0), available=frozenset({job.image}), models=models)
    with BlobStore(folder / "blobs", quota=QUOTA) as store:
        async with BlobSwarm(store, job.url) as swarm, TaskGroup() as group:
            volunteer = Volunteer(
                job.url,
                Identity.from_seed(os.urandom(32)),
                sandbox,
                SwarmBlobs(store, swarm),
                capacity=Capacity(1, 1 << 34),
                state=folder / "state",
                scratch=folder / "scratch",
                notify=notify,
            )
            running = group.create_task(volunteer.run())
            await asyncio.to_thread(sys.stdin.readline)
            running.cancel()


if __name__ == "__main__":
    uvloop.run(work(Job(**json.loads(sys.stdin.readline()))))
