"""The cells of a table: every policy under every attack, for all shares and rates and seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from simulator import baselines
from simulator.attackers import ATTACKS
from simulator.scene import Scene, Tally
from simulator.table import Row, summary
from simulator.world import World
from workunits.verification import Policy

POLICIES = (*(each.value for each in Policy), *baselines.BASELINES)

Tell = Callable[[int], None]


def simulate(scene: Scene, tell: Tell = lambda _: None) -> Tally:
    """Run one scene; ``tell`` hears how many units have a verdict, now and then."""
    if scene.policy in baselines.BASELINES:
        return baselines.run(scene)
    return World(scene, tell).run()


def cells(
    basis: Scene,
    policies: Sequence[str],
    attacks: Sequence[str],
    attackers: Sequence[float],
    sabotages: Sequence[float],
) -> list[Scene]:
    """One scene for each cell. A rate that does not matter to an attack makes no cells."""
    return [
        replace(basis, policy=policy, attack=attack, attackers=f, sabotage=s)
        for policy, attack in product(policies, attacks)
        for f in (attackers if attack != "none" else (0.0,))
        for s in (sabotages if ATTACKS[attack].sabotages else (0.0,))
    ]


def rows(scenes: Sequence[Scene], seeds: int, tell: Tell = lambda _: None) -> Iterator[Row]:
    """Run each scene with each seed. ``tell`` hears of units, over all runs, as they are done."""
    done = 0
    for scene in scenes:
        tallies = []
        for seed in range(seeds):
            before = done

            def report(settled: int, before: int = before) -> None:
                tell(before + settled)

            tallies.append(simulate(replace(scene, seed=seed), report))
            done += scene.units
            tell(done)
        yield summary(scene, tallies, sabotages=ATTACKS[scene.attack].sabotages)
