"""Disputes to test: voters whose results differ, and who is asked about them."""

from collections.abc import Callable

from tests.tracker.work.world import (
    PROGRAM,
    Actor,
    World,
    manifest,
)
from tracker.work.state import Job
from workunits.verification import Policy
from workunits.wire.compare import Opinion, Pair


def same(_: Pair) -> Opinion:
    return Opinion.SAME


def different(_: Pair) -> Opinion:
    return Opinion.DIFFERENT


def failed(_: Pair) -> Opinion:
    return Opinion.FAILED


def disputed(
    world: World,
    *answers: str,
    units: int = 1,
    policy: Policy = Policy.PAIR,
    come: Callable[[], object] = lambda: None,
) -> tuple[Job, list[Actor]]:
    """A job whose voters all gave another answer, and showed it. Others ``come`` before that."""
    voters = [world.actor(f"voter{at}") for at in range(len(answers))]
    job = world.submit(manifest(units, policy=policy, comparator=PROGRAM))
    for _ in answers:
        for actor, answer in zip(voters, answers, strict=True):
            actor.commit(answer)
    come()
    for actor in voters:
        actor.reveal()
    return job, voters


def referee(world: World, name: str = "referee", owner: str = "operator") -> Actor:
    return world.actor(name, owner=owner, validator=True)


def asked(*actors: Actor) -> list[Actor]:
    """Who of ``actors`` has something to compare."""
    return [actor for actor in actors if actor.pairs]
