"""What a cheat may claim instead of an honest answer. Pure: the randomness is passed in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from workunits.models.answer import Finish
from workunits.models.request import Request


@dataclass(frozen=True, slots=True)
class Claim:
    """Tokens and how they end. ``second`` is the next best token at each place, where it is
    known, and by how much less likely it is (difference of log probabilities)."""

    tokens: tuple[int, ...]
    finish: Finish
    second: tuple[tuple[int, float], ...] = ()

    @property
    def bare(self) -> tuple[tuple[int, ...], Finish]:
        """What is compared."""
        return self.tokens, self.finish


@dataclass(frozen=True, slots=True)
class Case:
    """An honest answer among others: what a lie is made of."""

    request: Request
    honest: Claim
    other: Claim
    vocabulary: int
    ends: frozenset[int]


Lie = Callable[[Case, Random], Claim | None]
"""Makes a false claim of a case, or None where that lie is not possible."""


def cut_off(case: Case, rng: Random) -> Claim | None:
    """The first part, as if it were long enough."""
    if len(case.honest.tokens) < 2:
        return None
    length = rng.randrange(1, len(case.honest.tokens))
    return Claim(case.honest.tokens[:length], Finish.LENGTH)


def ended_early(case: Case, rng: Random) -> Claim | None:
    """The first part, and an end of text."""
    if len(case.honest.tokens) < 2:
        return None
    length = rng.randrange(1, len(case.honest.tokens))
    return Claim((*case.honest.tokens[: length - 1], min(case.ends)), Finish.STOP)


def edited(case: Case, rng: Random) -> Claim | None:
    """One token is another, drawn from the whole vocabulary."""
    place = _place(case, rng)
    if place is None:
        return None
    token = case.honest.tokens[place]
    while token == case.honest.tokens[place] or token in case.ends:
        token = rng.randrange(case.vocabulary)
    return _with(case.honest, place, token)


def swapped(case: Case, rng: Random) -> Claim | None:
    """One token is the next best in its place: a plausible text."""
    place = _place(case, rng)
    if place is None or not case.honest.second:
        return None
    token = case.honest.second[place][0]
    return None if token in case.ends else _with(case.honest, place, token)


def steered(case: Case, rng: Random) -> Claim | None:
    """One token is the next best where that costs least: the most that one edit can hide."""
    if not case.honest.second:
        return None
    open_places = [
        (below, place)
        for place, (token, below) in enumerate(case.honest.second)
        if token not in case.ends and case.honest.tokens[place] not in case.ends
    ]
    if not open_places:
        return None
    place = min(open_places)[1]
    return _with(case.honest, place, case.honest.second[place][0])


def of_another(case: Case, rng: Random) -> Claim | None:
    """An honest answer to another prompt."""
    return None if case.other.bare == case.honest.bare else case.other


def random_ids(case: Case, rng: Random) -> Claim | None:
    """As many tokens as may be, all drawn from the vocabulary."""
    words = [each for each in range(case.vocabulary) if each not in case.ends]
    return Claim(tuple(rng.choices(words, k=case.request.most)), Finish.LENGTH)


LIES: Mapping[str, Lie] = {
    "cut off": cut_off,
    "ended early": ended_early,
    "one token edited": edited,
    "one plausible token": swapped,
    "of another prompt": of_another,
    "random tokens": random_ids,
    "one token steered": steered,
}
"""By the name under which they are reported."""

NEAR = frozenset({"one token steered"})
"""Those that differ from honest answers no more than two honest machines may: only exact checks
are meant to find them."""


def cases(
    requests: Sequence[Request],
    honest: Sequence[Claim],
    vocabulary: int,
    ends: frozenset[int],
) -> list[Case]:
    """Each answer beside the one of the next request."""
    others = (*honest[1:], *honest[:1])
    return [
        Case(request, claim, other, vocabulary, ends)
        for request, claim, other in zip(requests, honest, others, strict=True)
    ]


def _place(case: Case, rng: Random) -> int | None:
    """A place that has no end of text."""
    places = [at for at, token in enumerate(case.honest.tokens) if token not in case.ends]
    return rng.choice(places) if places else None


def _with(claim: Claim, place: int, token: int) -> Claim:
    return Claim((*claim.tokens[:place], token, *claim.tokens[place + 1 :]), claim.finish)
