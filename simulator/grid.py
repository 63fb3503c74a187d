"""The cells of a table: every policy under every attack, for all shares and rates and seeds."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice, product
from multiprocessing import get_context

from simulator import baselines, liar
from simulator.attackers import ATTACKS, LYING
from simulator.scene import Scene, Tally
from simulator.table import Row, summary
from simulator.world import Tell, World
from tracker.garbage import collect_rarely
from workunits.verification import Policy

POLICIES = (*(each.value for each in Policy), *baselines.BASELINES)


def simulate(scene: Scene, tell: Tell = lambda _: None) -> Tally:
    """Run one scene; ``tell`` hears how many units have a verdict, now and then."""
    if scene.policy in baselines.BASELINES:
        return baselines.run(scene)
    if scene.attack == LYING:
        return liar.run(scene, tell)
    return World(scene, tell).run()


def cells(
    basis: Scene,
    policies: Sequence[str],
    attacks: Sequence[str],
    attackers: Sequence[float],
    sabotages: Sequence[float],
) -> list[Scene]:
    """One scene for each cell. A rate that does not matter to an attack makes no cells, nor does a
    lying tracker whose policy has no ledger; its runs are small."""
    return [
        replace(basis, policy=policy, attack=attack, attackers=f, sabotage=s, units=units)
        for policy, attack in product(policies, attacks)
        if attack != LYING or policy not in baselines.BASELINES
        for units in (min(basis.units, liar.MAX_UNITS) if attack == LYING else basis.units,)
        for f in (attackers if attack != "none" else (0.0,))
        for s in (sabotages if ATTACKS[attack].sabotages else (0.0,))
    ]


def rows(
    scenes: Sequence[Scene], seeds: int, jobs: int = 1, tell: Tell = lambda _: None
) -> Iterator[Row]:
    """Run each scene with each seed, ``jobs`` runs at a time; rows come in the scenes' order.

    ``tell`` hears how many units have a verdict, over all runs.
    """
    runs = [replace(scene, seed=seed) for scene in scenes for seed in range(seeds)]
    tallies = _one_by_one(runs, tell) if jobs == 1 else _side_by_side(runs, jobs, tell)
    for scene in scenes:
        some = list(islice(tallies, seeds))
        yield summary(scene, some, sabotages=ATTACKS[scene.attack].sabotages)


def _one_by_one(runs: Sequence[Scene], tell: Tell) -> Iterator[Tally]:
    done = 0
    for scene in runs:
        before = done

        def report(settled: int, before: int = before) -> None:
            tell(before + settled)

        tally = simulate(scene, report)
        done += scene.units
        tell(done)
        yield tally


def _side_by_side(runs: Sequence[Scene], jobs: int, tell: Tell) -> Iterator[Tally]:
    done = 0
    with ProcessPoolExecutor(jobs, get_context("spawn"), collect_rarely) as pool:
        try:
            for scene, tally in zip(runs, pool.map(simulate, runs), strict=True):
                done += scene.units
                tell(done)
                yield tally
        finally:
            pool.shutdown(cancel_futures=True)
