"""Who takes part in a run: the same peers, as fast and as honest, whatever the policy."""

from dataclasses import dataclass
from hashlib import sha256
from random import Random

from simulator.attackers import ATTACKS, Behaviour, Honest, Recipe
from simulator.scene import Scene

UNIT_SECONDS = 10.0
"""What a unit takes on a machine of middling speed."""

SPREAD = (0.5, 2.0)
"""The fastest and the slowest machine, as shares of that."""

STALL = 3600.0
"""Seconds without a verdict after which a run is given up, beside the time that ``ROUNDS``
executions of everything take: some policies decide late."""

ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Member:
    """One machine. ``seconds`` is what a unit takes on it."""

    number: int
    honest: bool
    seconds: float
    validator: bool = False
    referee: bool = False


def patience(scene: Scene) -> float:
    """Seconds without a verdict after which a run is given up."""
    return STALL + ROUNDS * UNIT_SECONDS * scene.units / scene.peers


def crew(scene: Scene) -> list[Member]:
    """The machines of a run; the first ones are the attackers'."""
    rng = Random(f"crew {scene.seed}")  # noqa: S311 - chance that can be replayed
    cheats = scene.cheats if scene.attack != "none" else 0
    validators = round(scene.validators * (scene.peers - cheats))
    return [
        Member(
            number,
            honest=number >= cheats,
            seconds=UNIT_SECONDS * rng.uniform(*SPREAD),
            validator=number >= scene.peers - validators,
        )
        for number in range(scene.peers)
    ]


def referees(scene: Scene) -> list[Member]:
    """The operator's own validators, on machines of middling speed."""
    return [
        Member(number, honest=True, seconds=UNIT_SECONDS, validator=True, referee=True)
        for number in range(scene.peers, scene.peers + scene.referees)
    ]


def behaviour(scene: Scene, member: Member, life: int) -> Behaviour:
    """How a machine behaves in its ``life``-th identity."""
    if member.honest:
        return Honest()
    return ATTACKS[scene.attack].make(
        Recipe(
            number=member.number,
            sabotage=scene.sabotage,
            nap=scene.nap,
            rng=Random(f"cheat {scene.seed} {member.number} {life}"),  # noqa: S311
            secret=sha256(f"clique {scene.seed}".encode()).digest(),
        )
    )
