"""Thresholds from the gaps of honest and dishonest answers, and how sure one can be of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from workunits.verification import MAX_GAP

HONEST = "honest"
"""The kind of answers that should stand. All other kinds should not."""

REJECTED = 0.005
"""The share of honest answers that may be rejected."""

HEADROOM = 1.5
"""How far over the gaps of honest answers thresholds are, where no more lies are accepted for it:
those of the next hundred answers will be a little larger."""

SURE = 1.959964
"""Standard deviations on both sides that hold 95 % of a normal distribution."""

THOUSAND = 1000
_MOST_TRIED = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """A claimed answer as a checker measured it: gaps in logits, infinite where it cannot be one.

    ``kind`` is ``HONEST``, or names what is wrong with it.
    """

    kind: str
    mean: float
    most: float


@dataclass(frozen=True, slots=True)
class Share:
    """``found`` answers of ``of``, all of one ``kind``."""

    kind: str
    found: int
    of: int

    @property
    def share(self) -> float:
        """The share that was seen; NaN without answers."""
        return self.found / self.of if self.of else math.nan

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which shares the true one is, with 95 % confidence."""
        return wilson(self.found, self.of)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds in thousandths of a logit, and what they do to the samples.

    Both are 0 where answers are to be compared exactly. ``rejected`` is of honest answers,
    ``accepted`` of each other kind, by name.
    """

    mean_gap: int
    most_gap: int
    rejected: Share
    accepted: tuple[Share, ...]


def wilson(found: int, of: int, deviations: float = SURE) -> tuple[float, float]:
    """Wilson's score interval of a share (J. Am. Stat. Assoc. 22, 1927). 0 to 1 without samples."""
    if not of:
        return 0.0, 1.0
    share, square = found / of, deviations * deviations
    middle = (share + square / (2 * of)) / (1 + square / of)
    spread = math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    spread *= deviations / (1 + square / of)
    low = 0.0 if found == 0 else max(0.0, middle - spread)
    return low, 1.0 if found == of else min(1.0, middle + spread)


def judge(samples: Iterable[Sample], mean_gap: int, most_gap: int) -> Calibration:
    """What thresholds, in thousandths, do to ``samples``; 0 and 0 accept only what has no gap."""
    counts: dict[str, list[int]] = {HONEST: [0, 0]}
    for sample in samples:
        count = counts.setdefault(sample.kind, [0, 0])
        count[0] += _is_within(sample, mean_gap, most_gap)
        count[1] += 1
    stood, honest = counts.pop(HONEST)
    accepted = tuple(Share(kind, *counts[kind]) for kind in sorted(counts))
    return Calibration(mean_gap, most_gap, Share(HONEST, honest - stood, honest), accepted)


def choose(samples: Sequence[Sample], rejected: float = REJECTED) -> Calibration:
    """The thresholds that accept fewest lies and reject at most a share ``rejected`` of the honest.

    Each other kind of answers weighs the same, however many there are of it. Of thresholds that
    accept as many, the tightest are taken, and widened by ``HEADROOM`` as far as that lets no more
    lies in. They are 0, which means exact, where no honest answer has a gap. Raises ``ValueError``
    without honest samples, and where too many of them have gaps beyond all thresholds.
    """
    honest = [sample for sample in samples if sample.kind == HONEST]
    if not honest:
        raise ValueError("thresholds need the gaps of honest answers")
    if not any(sample.most > 0 or sample.mean > 0 for sample in honest):
        return judge(samples, 0, 0)
    spare = min(int(rejected * len(honest)), _MOST_TRIED)
    means = _largest((sample.mean for sample in honest), spare + 1)
    mosts = _largest((sample.most for sample in honest), spare + 1)
    found = [
        each
        for pair in product(means, mosts)
        if (each := judge(samples, *pair)).rejected.found <= rejected * len(honest)
    ]
    if not found:
        raise ValueError("too many honest answers are farther off than thresholds can be")
    best = min(found, key=lambda each: (_lies(each), each.mean_gap, each.most_gap))
    return _widened(samples, best)


def _widened(samples: Sequence[Sample], best: Calibration) -> Calibration:
    """Thresholds up to ``HEADROOM`` wider that let in as few lies."""
    for percent in range(int(100 * HEADROOM), 100, -5):
        mean, most = (
            min(math.ceil(gap * percent / 100), MAX_GAP) for gap in (best.mean_gap, best.most_gap)
        )
        wider = judge(samples, mean, most)
        if _lies(wider) <= _lies(best):
            return wider
    return best


def _lies(calibration: Calibration) -> float:
    return math.fsum(each.share for each in calibration.accepted)


def _largest(gaps: Iterable[float], count: int) -> list[int]:
    """The ``count`` largest gaps in thousandths, rounded up, as far as they can be thresholds."""
    whole = {
        max(1, math.ceil(gap * THOUSAND)) if gap * THOUSAND <= MAX_GAP else -1
        for gap in sorted(gaps, reverse=True)[:count]
    }
    return sorted(each for each in whole if 0 < each <= MAX_GAP)


def _is_within(sample: Sample, mean_gap: int, most_gap: int) -> bool:
    return 0 <= sample.mean * THOUSAND <= mean_gap and 0 <= sample.most * THOUSAND <= most_gap
