"""Answers of models: when a claimed one stands, and how a claim is altered to try a checker."""

import hashlib
from collections.abc import Iterator, Sequence

from workunits.verification import Comparator, Comparison

THOUSAND = 1000
CHANCE_SIZE = 32
_DOMAIN = b"openswarm altered hint v1\n"


def stands(comparator: Comparator, mean: float, most: float) -> bool:
    """Whether an answer whose tokens are so far below the best ones is accepted.

    ``mean`` and ``most`` are the mean and the largest gap, in logits, as a checker of another build
    measured them. Negative ones and NaN are no gaps: nothing stands by them. Raises ``ValueError``
    for a job without margins, where answers are the same or not.
    """
    if comparator.kind is not Comparison.TEXT_MODEL or not comparator.by_margin:
        raise ValueError("a job without margins has no use for gaps")
    return (
        0 <= mean * THOUSAND <= comparator.mean_gap and 0 <= most * THOUSAND <= comparator.most_gap
    )


def altered(
    tokens: Sequence[int], chance: bytes, *, others: Sequence[int] = (), count: int = 1
) -> tuple[int, ...]:
    """``tokens`` with ``count`` of them changed (fewer where there are no more to change).

    A checker who can tell such an answer from a true one at a glance is not tried by it. So another
    token of the answer comes in, or one of ``others`` (those of the prompt, say) where all are
    equal, and neither length nor last token change, which must go with the finish; only a single
    token is itself changed. ``chance`` is 32 secret bytes, which decide everything. The result
    always differs. Raises ``ValueError`` for no tokens.
    """
    if not tokens or count < 1 or len(chance) != CHANCE_SIZE:
        raise ValueError("there is nothing to alter, or nothing to alter it by")
    numbers = _numbers(chance)
    places = list(range(max(1, len(tokens) - 1)))
    known, spare = list(dict.fromkeys(tokens)), list(dict.fromkeys(others))
    found = list(tokens)
    for _ in range(min(count, len(places))):
        place = places.pop(next(numbers) % len(places))
        token = tokens[place]
        fitting = (
            [each for each in known if each != token]
            or [each for each in spare if each != token]
            or [token - 1 if token else 1]  # there is such a token, if there is more than one
        )
        found[place] = fitting[next(numbers) % len(fitting)]
    return tuple(found)


def _numbers(chance: bytes) -> Iterator[int]:
    count = 0
    while True:
        word = hashlib.sha256(_DOMAIN + chance + count.to_bytes(8, "big")).digest()
        yield int.from_bytes(word[:8], "big")
        count += 1
