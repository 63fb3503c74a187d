"""Draw a token from logits, the same one on every machine that has the same logits.

This file is copied into the engine images, so it stands alone: standard library and numpy. Whoever
checks an answer recomputes every draw, so what decides is built from comparisons, integers and
IEEE additions, multiplications and divisions of doubles, each rounded once and in a fixed order.
``exp`` and ``log`` of a C library or of numpy, and sums of arrays, depend on the processor.

Tokens are drawn by the Gumbel-max trick: each candidate's logit over the temperature plus its own
noise, largest first. The noise depends on seed, place and token id only, so a machine whose logits
are a little different draws the same token unless two candidates are about as close as those
differences, and ``Sampler.gap`` says how close (as Token-DiFR does, arXiv:2511.20621).
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Logits: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ids: TypeAlias = NDArray[np.int64]
Allowed: TypeAlias = Callable[[int], bool]

MAX_CANDIDATES = 256
"""Most candidates that a token is drawn from (``workunits.models.request.MAX_CANDIDATES``)."""

WINDOW = 64
"""How many of the last tokens, prompt and answer together, the repetition penalty counts: those of
llama.cpp and ctransformers by default."""

THOUSAND = 1000
LEAST = -9999.0
"""A log probability that stands for minus infinity, as in OpenAI's API."""

_MANY = 4096
_DOMAIN = b"openswarm token v1\n"
_SMALL = -45.0
"""Exponents below this count as nothing: beside 1, even 256 of them are less than a rounding."""


class Sampler:
    """How tokens of one answer are drawn.

    ``temperature``, ``top_p`` and ``repetition`` are per mille; temperature 0 takes the best.
    ``top_k`` 0 means ``MAX_CANDIDATES``. ``seed`` is from 0 to 2**64 - 1.

    The penalty is CTRL's (arXiv:1909.05858): the logit of every token among the last ``WINDOW`` is
    divided by ``repetition`` if it is positive, else multiplied by it. Then come the best ``top_k``
    by logit (of equal ones, the lowest ids), those of them that are allowed, the temperature, and
    the fewest that have ``top_p`` of the probability.
    """

    def __init__(
        self, temperature: int, top_p: int, top_k: int, repetition: int, seed: int
    ) -> None:
        if temperature < 0 or not 0 < top_p <= THOUSAND or repetition < 1:
            raise ValueError("a setting of the sampler is out of range")
        self._temperature = temperature
        self._top_p = top_p
        self._count = min(top_k, MAX_CANDIDATES) if top_k > 0 else MAX_CANDIDATES
        self._penalty = repetition / THOUSAND
        self._seed = _DOMAIN + seed.to_bytes(8, "big")

    def pick(
        self, logits: Logits, place: int, history: Sequence[int], allowed: Allowed | None = None
    ) -> int:
        """The token at ``place`` of the answer, after ``history`` (prompt and answer so far).

        With ``allowed`` only tokens for which it is true count. It is asked in order of logit: for
        all candidates when one is drawn, up to the first that is true otherwise; if none of the
        candidates is allowed, the best token that is allowed is taken. Raises ``ValueError`` for
        logits that are no numbers, and when no token is allowed.
        """
        best = _check(logits)
        if self._temperature == 0:
            return self._greedy(logits, best, history, allowed)
        ids, values = self._candidates(logits, history, self._count)
        ids, values = _allow(ids, values, allowed)
        if not len(ids):
            return self._first(logits, history, allowed, self._count)
        kept = self._kept(values)
        return int(ids[np.argmax(self._scores(ids[:kept], values[:kept], place))])

    def gap(
        self,
        logits: Logits,
        claimed: int,
        place: int,
        history: Sequence[int],
        allowed: Allowed | None = None,
    ) -> float:
        """By how much the logit of ``claimed`` would have to be larger for it to be drawn.

        0 if it is drawn, infinity if it is not allowed. For temperature 0 it is the best logit
        minus that of ``claimed``. Raises ``ValueError`` as ``pick`` does.
        """
        picked = self.pick(logits, place, history, allowed)
        if picked == claimed:
            return 0.0
        if not 0 <= claimed < len(logits) or (allowed is not None and not allowed(claimed)):
            return math.inf
        pair = np.array([picked, claimed])
        values = logits[pair].astype(np.float64)
        values = np.where(np.isin(pair, history[-WINDOW:]), self._penalised(values), values)
        below = float(values[0] - values[1])
        if self._temperature == 0:
            return below
        _, kept = _allow(*self._candidates(logits, history, self._count), allowed)
        if len(kept):
            scores = self._scores(pair, values, place)
            below = float(scores[0] - scores[1]) * self._temperature / THOUSAND
            below = max(below, float(kept[self._kept(kept) - 1] - values[1]))
        return max(below, 0.0)

    def _greedy(
        self, logits: Logits, best: int, history: Sequence[int], allowed: Allowed | None
    ) -> int:
        if self._penalty != 1.0:
            best = int(self._candidates(logits, history, 1)[0][0])
        if allowed is None or allowed(best):
            return best
        return self._first(logits, history, allowed, 1)

    def _first(
        self, logits: Logits, history: Sequence[int], allowed: Allowed | None, asked: int
    ) -> int:
        """The best token that is allowed, of all beyond the first ``asked``."""
        for count in (MAX_CANDIDATES, _MANY, len(logits)):  # to sort all of them takes long
            ids, _ = self._candidates(logits, history, count)
            for each in ids[asked:].tolist():
                if allowed is None or allowed(each):
                    return int(each)
            asked = len(ids)
        raise ValueError("no token is allowed here")

    def _penalised(self, values: Doubles) -> Doubles:
        return np.where(values > 0, values / self._penalty, values * self._penalty)

    def _candidates(
        self, logits: Logits, history: Sequence[int], count: int
    ) -> tuple[Ids, Doubles]:
        """The best ``count`` tokens and their logits after the penalty, in order."""
        if self._penalty == 1.0 or not history:
            return _best(logits, count)
        seen = np.array(sorted(set(history[-WINDOW:])), np.int64)
        if not 0 <= seen[0] <= seen[-1] < len(logits):
            raise ValueError("there is a token in the history that has no logit")
        others = logits.copy()
        others[seen] = -np.inf
        ids, values = _best(others, count)
        ids = np.concatenate((ids, seen))
        values = np.concatenate((values, self._penalised(logits[seen].astype(np.float64))))
        order = np.lexsort((ids, -values))[:count]
        order = order[values[order] > -np.inf]
        return ids[order], values[order]

    def _scaled(self, values: Doubles) -> Doubles:
        scaled: Doubles = (values - values[0]) * float(THOUSAND) / float(self._temperature)
        return scaled

    def _kept(self, values: Doubles) -> int:
        """How many of the sorted ``values`` have ``top_p`` of the probability."""
        if self._top_p == THOUSAND:
            return len(values)
        weights = exponentials(self._scaled(values)).tolist()
        total = 0.0
        for weight in weights:  # neither sum() nor numpy adds in a fixed order
            total += weight
        mass = 0.0
        for index, weight in enumerate(weights):
            mass += weight
            if mass * THOUSAND >= total * self._top_p:
                return index + 1
        return len(weights)

    def _scores(self, ids: Ids, values: Doubles, place: int) -> Doubles:
        uniform = uniforms(self._seed + place.to_bytes(8, "big"), ids)
        return self._scaled(values) - logarithms(-logarithms(uniform))


def log_probabilities(logits: Logits, token: int, top: int) -> list[tuple[int, float]]:
    """Natural log probabilities, before any setting: of ``token``, then of the best others, in
    order, ``top`` in all. For people to read: it decides nothing, and differs between machines."""
    if top < 1:
        return []
    largest = logits.max()
    total = float(largest) + math.log(np.exp(logits - largest).sum(dtype=np.float64))
    best = [int(each) for each in _best(logits, top)[0] if each != token]
    return [
        (each, min(max(float(logits[each]) - total, LEAST), 0.0))
        for each in (token, *best[: top - 1])
    ]


def uniforms(key: bytes, ids: Ids) -> Doubles:
    """A number above 0 and below 1 for each id: SplitMix64 from the first bytes of SHA-256."""
    start = np.uint64(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))
    mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + start
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    # 52 bits and a half: all 53 fit into a double, and neither 0 nor 1 comes out.
    return ((mixed >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


_LN2_HIGH = 0.6931471803691238
_LN2_LOW = 1.9082149292705877e-10
_LOG2_E = 1.4426950408889634
_EXP = tuple(1.0 / math.factorial(power) for power in range(13, -1, -1))
_LOG = tuple(2.0 / power for power in range(21, 0, -2))


def exponentials(values: Doubles) -> Doubles:
    """e to each of ``values``, which are 0 or less; 0 below -45. Correct to 1e-15 of it.

    x = k ln 2 + r with |r| <= ln 2 / 2, and Taylor's series for r; ln 2 in two parts, so that the
    product of the first with k is exact (Cody and Waite).
    """
    bounded = np.maximum(values, _SMALL)
    whole = np.rint(bounded * _LOG2_E)
    rest = (bounded - whole * _LN2_HIGH) - whole * _LN2_LOW
    result = np.full_like(rest, _EXP[0])
    for factor in _EXP[1:]:
        result = result * rest + factor
    result = np.ldexp(result, whole.astype(np.int32))
    result[values < _SMALL] = 0.0
    return result


def logarithms(values: Doubles) -> Doubles:
    """Natural logarithms of ``values``, which are positive. Correct to 1e-15 of them.

    x = 2^k m with m near 1, and ln m = 2 artanh((m - 1) / (m + 1)) by its series.
    """
    parts, powers = np.frexp(values)
    low = parts < 0.7071067811865476
    parts = np.where(low, parts * 2.0, parts)
    whole = (powers - low).astype(np.float64)
    slope = (parts - 1.0) / (parts + 1.0)
    square = slope * slope
    series = np.full_like(slope, _LOG[0])
    for factor in _LOG[1:]:
        series = series * square + factor
    return (whole * _LN2_LOW + slope * series) + whole * _LN2_HIGH


def _check(logits: Logits) -> int:
    """The best token; of equal ones the lowest. Raises ``ValueError`` where there is none."""
    if logits.dtype != np.float32 or logits.ndim != 1 or not len(logits):
        raise ValueError("logits are one row of 32-bit floats")
    best = int(np.argmax(logits))  # that of a NaN, if there is one
    if not math.isfinite(logits[best]):
        raise ValueError("there is a logit that is not a number")
    return best


def _best(logits: Logits, count: int) -> tuple[Ids, Doubles]:
    """The best ``count`` tokens and their logits, best first, of equal ones the lowest id first.

    Which of equal logits a partition puts where depends on the processor: only the value at the
    border is taken from it.
    """
    if count == 1:
        ids = np.array([np.argmax(logits)])
    elif count < len(logits):
        border = np.partition(logits, len(logits) - count)[len(logits) - count]
        above = np.flatnonzero(logits > border)
        level = np.flatnonzero(logits == border)[: count - len(above)]
        ids = np.concatenate((above, level))
    else:
        ids = np.arange(len(logits))
    values = logits[ids].astype(np.float64)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > -np.inf]
    return ids[order], values[order]


def _allow(ids: Ids, values: Doubles, allowed: Allowed | None) -> tuple[Ids, Doubles]:
    if allowed is None:
        return ids, values
    kept = [index for index, each in enumerate(ids.tolist()) if allowed(each)]
    return ids[kept], values[kept]
