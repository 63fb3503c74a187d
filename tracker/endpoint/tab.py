"""A tab: the job of the tracker's operator under which one published model is asked, and its money.

Each model has one job at a time, whose budget is working capital: verified answers are paid from
it, and API keys are charged the same. When little is left of it, the next job begins.
"""

from dataclasses import dataclass, replace

from tracker.endpoint.catalogue import Published
from tracker.work.state import Job
from workunits.ids import PeerKey
from workunits.manifest import (
    MAX_CPU_SECONDS,
    MAX_MEMORY,
    MIN_MEMORY,
    NONCE_SIZE,
    Limits,
    Manifest,
    Program,
)
from workunits.models.answer import MODEL_FILE, OUTPUT, meter, most_metered
from workunits.models.program import COMMAND, MAX_BUDGET, ModelProgram
from workunits.models.request import MAX_NEW, Request
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.verification import Comparator, Comparison, Demands, Policy

REQUESTS = 10_000_000
"""Units of one job."""

CAPITAL = 100
"""A job's budget, in requests that cost as much as one can."""

SPARE = 4
"""Such requests that must still be covered, or else the next job begins."""

WALL_SECONDS = 120
THREADS = 4
"""Seconds of CPU that a second of a unit may take: an engine may run as many threads."""


@dataclass(slots=True, eq=False)
class Tab:
    """The job of the model ``name``."""

    name: str
    job: Job

    @property
    def left(self) -> int:
        """Credits that were not paid, and that no request under way may need."""
        return self.job.manifest.escrow - self.job.paid - self.job.reserved

    @property
    def used_up(self) -> bool:
        """Whether the next job should begin."""
        return self.left < SPARE * dearest(self.job.manifest) or not self.job.fresh

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way, so that it can end."""
        return not (self.job.units or self.job.settled)


def manifest_of(
    published: Published, operator: PeerKey, policy: Policy, nonce: bytes = bytes(NONCE_SIZE)
) -> Manifest:
    """The job under which a model is asked. Raises ``MalformedError`` if there cannot be one."""
    card = published.card
    most = min(card.context, MAX_NEW)
    wall = min(WALL_SECONDS + most, MAX_CPU_SECONDS)
    exact = not (card.mean_gap or card.most_gap)
    model = ModelProgram(card.engine, card.context, most, asked=True, budget=1)
    manifest = Manifest(
        submitter=operator,
        name=published.name,
        program=Program(
            card.image.name,
            COMMAND,
            (NamedBlob(MODEL_FILE, card.file),),
            layers=card.image.layers,
            model=model,
        ),
        parameters=Sweep((Range("request", 0, 1, REQUESTS),)),
        inputs=(),
        outputs=(OUTPUT,),
        limits=Limits(
            cpu_seconds=min(THREADS * wall, MAX_CPU_SECONDS),
            wall_seconds=wall,
            memory_bytes=min(max(card.memory_bytes, MIN_MEMORY), MAX_MEMORY),
            output_bytes=4 * most + 256,
        ),
        price=card.price,
        policy=policy,
        comparator=Comparator(
            Comparison.TEXT_MODEL, mean_gap=card.mean_gap, most_gap=card.most_gap
        ),
        nonce=nonce,
        demands=Demands(same_platform=exact),
    )
    budget = max(1, min(MAX_BUDGET, CAPITAL * dearest(manifest)))
    program = replace(manifest.program, model=replace(model, budget=budget))
    manifest = replace(manifest, program=program)
    manifest.check()
    return manifest


def dearest(manifest: Manifest) -> int:
    """The most that any request can cost, in credits."""
    model = manifest.program.model
    assert model is not None
    return _worth(manifest, most_metered(model.most, model.context))


def cost(manifest: Manifest, request: Request, generated: int | None = None) -> int:
    """What an answer of ``generated`` tokens costs, or else the most that any answer can."""
    model = manifest.program.model
    assert model is not None
    most = min(request.most, model.most)
    return _worth(manifest, meter(request, most if generated is None else generated))


def _worth(manifest: Manifest, metered: int) -> int:
    return sum(manifest.award(metered, place) for place in range(manifest.executions))


def is_same(job: Manifest, other: Manifest) -> bool:
    """Whether two jobs ask one model in one way."""
    return replace(job, nonce=other.nonce) == other
