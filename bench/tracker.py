"""A real tracker, ``swarm tracker serve``, in a process of its own, and jobs for it."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Child, child, free_port, until
from tracker.address import ADDRESS_FILE, operator_identity
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.parameters import Range, Sweep
from workunits.signing import Identity
from workunits.statements import Grant, Statement
from workunits.verification import Comparator, Policy

IMAGE = "sha256:" + "0" * 64
OUTPUT = "out"
CREDITS = 10**9
POLL = 0.05
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Tracker:
    """A tracker that serves, and a submitter who is rich enough."""

    child: Child
    url: str
    submitter: Identity

    def submit(self, units: int, policy: Policy) -> str:
        """Publish a job of ``units`` trivial units; returns its id."""
        manifest = Manifest(
            submitter=self.submitter.key,
            name="bench",
            program=Program(IMAGE, ("unit", "{index}")),
            parameters=Sweep((Range("index", 0, 1, units),)),
            inputs=(),
            outputs=(OUTPUT,),
            limits=Limits(60, 60, 32 << 20, 4096),
            price=1,
            policy=policy,
            comparator=Comparator(),
            nonce=os.urandom(16),
        )
        return str(self._ask("jobs", SignedManifest.sign(manifest, self.submitter).encode())["id"])

    def accepted(self, job: str) -> int:
        """How many units of ``job`` were validated and paid for."""
        return int(self._ask(f"jobs/{job}")["counts"]["accepted"])

    def finish(self, job: str, units: int, seconds: float, *, poll: float = POLL) -> float:
        """Wait until every unit of ``job`` was accepted; returns the moment (monotonic)."""
        deadline = time.monotonic() + seconds
        while (done := self.accepted(job)) < units:
            if time.monotonic() > deadline:
                raise BenchError(f"only {done} of {units} units were accepted in {seconds:.0f} s")
            time.sleep(poll)
        return time.monotonic()

    def grant(self, operator: Identity) -> None:
        """Mint credits for the submitter."""
        grant = Grant(self.submitter.key, CREDITS)
        statement = Statement.sign(operator, grant, time=int(time.time()), nonce=os.urandom(16))
        self._ask("statements", statement.encode())

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", body)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            return json.load(response)


@contextmanager
def tracking(folder: Path, *options: str) -> Iterator[Tracker]:
    """Run a tracker with its database under ``folder`` for the length of the block."""
    data = folder / "tracker"
    listen = ("--data", str(data), "--listen", f"127.0.0.1:{free_port()}")
    arguments = ("tracker", "serve", *listen, *options)
    with child("openswarm.cli", *arguments, log=folder / "tracker.log") as process:
        url = until(data / ADDRESS_FILE, process)
        tracker = Tracker(process, url, Identity.from_seed(os.urandom(32)))
        tracker.grant(operator_identity(data))
        yield tracker
