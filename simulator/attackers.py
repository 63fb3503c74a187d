"""How peers behave: one method says what a peer does with a unit that it was leased.

An answer is a number: 0 is the true one, every other number is another wrong one. Peers that give
the same number for the same unit agree.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from typing import Protocol

TRUE = 0
SHARED = 1
"""The wrong answer that a clique agreed on."""

_OWN = 2
_GARBAGE = 1 << 40
_INSTANT = 0.1
"""Effort of who computes nothing: ten times as fast as the honest, so that it does not stand out
even more."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a peer does with one unit."""

    answer: int = TRUE
    effort: float = 1.0
    """Share of the unit's computing time that it spends."""

    commits: bool = True
    """Otherwise the lease runs out."""

    reveals: bool = True
    copies: bool = False
    """It replays another's commitment, if it can get hold of one."""

    repeats: bool = False
    """It sends everything twice, and claims leases that are not its own."""

    recants: bool = False
    """It gives a result up when it is not asked for at once: then somebody checks it."""

    @property
    def earns(self) -> bool:
        """Whether it deserves the price: the true answer, computed."""
        return self.answer == TRUE and self.effort >= 1


HONEST = Deed()
_COLLUDE = Deed(SHARED)
_EXPIRE = Deed(effort=_INSTANT, commits=False)
_HIDE = Deed(effort=_INSTANT, reveals=False)
_COPY = Deed(copies=True)
_REPEAT = Deed(repeats=True)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a behaviour is made of. ``secret`` is what a clique shares."""

    number: int
    sabotage: float
    nap: int
    rng: Random
    secret: bytes


class Behaviour(Protocol):
    """How one identity behaves."""

    validator: bool
    """It joins as a validator, which is drawn before volunteers."""

    returns: bool
    """When it is banned it comes back with a new key."""

    def meet(self, index: int) -> Deed:
        """What it does with unit ``index``."""
        ...


class Honest:
    """Computes everything, reveals everything."""

    validator = False
    returns = False

    def meet(self, index: int) -> Deed:
        return HONEST


class Saboteur(Honest):
    """Gives its own wrong answer to a share s of its units, by chance (Sarmenta 2002, sec. 2)."""

    def __init__(self, recipe: Recipe) -> None:
        self._rng, self._sabotage = recipe.rng, recipe.sabotage
        self._wrong = Deed(_OWN + recipe.number)

    def meet(self, index: int) -> Deed:
        return self._wrong if self._rng.random() < self._sabotage else HONEST


class Colluder(Honest):
    """One of a clique, which gives the same wrong answer to the same share s of all units.

    The worst case: its members need not talk, the units follow from a secret.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._secret, self._below = recipe.secret, int(recipe.sabotage * (1 << 64))

    def meet(self, index: int) -> Deed:
        word = sha256(self._secret + index.to_bytes(8, "big")).digest()[:8]
        return _COLLUDE if int.from_bytes(word, "big") < self._below else HONEST


class Recanter(Saboteur):
    """A saboteur that takes a lie back when it notices that the unit is checked."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._wrong = replace(self._wrong, recants=True)


class Sleeper(Honest):
    """Honest for its first units, then as ``inner``."""

    def __init__(self, inner: Behaviour, nap: int) -> None:
        self._inner, self._left = inner, nap

    def meet(self, index: int) -> Deed:
        if self._left > 0:
            self._left -= 1
            return HONEST
        return self._inner.meet(index)


class Whitewasher(Honest):
    """As ``inner``; when it is banned it comes back with a new key."""

    returns = True

    def __init__(self, inner: Behaviour) -> None:
        self._inner = inner

    def meet(self, index: int) -> Deed:
        return self._inner.meet(index)


class Freeloader(Honest):
    """Computes nothing and commits to garbage that nobody else has."""

    def __init__(self, recipe: Recipe) -> None:
        self._number, self._count = recipe.number, 0

    def meet(self, index: int) -> Deed:
        self._count += 1
        garbage = _GARBAGE + (self._number << 40) + self._count
        return Deed(garbage, effort=_INSTANT)


class Copycat(Honest):
    """Commits what others committed.

    The worst case: the world hands it the first commitment to the unit with its seal, and when it
    is asked to reveal the result too, as if everything had leaked. Where nobody committed yet it
    replays the latest commitment to any unit. It takes its time, so that there is more to copy, and
    comes back with a new key when it is banned.
    """

    returns = True

    def meet(self, index: int) -> Deed:
        return _COPY


class LazyValidator(Freeloader):
    """A freeloader that joined to check others."""

    validator = True


class Withholder(Honest):
    """Takes leases; half of them it lets run out, the others it commits to and never reveals."""

    def __init__(self, recipe: Recipe) -> None:
        self._rng = recipe.rng

    def meet(self, index: int) -> Deed:
        return _HIDE if self._rng.random() < 0.5 else _EXPIRE


class Inflator(Honest):
    """Computes, and tries to be paid twice: repeats commits and reveals, claims others' leases."""

    def meet(self, index: int) -> Deed:
        return _REPEAT


LYING = "lying-tracker"
"""The attack whose saboteurs are the operator's friends: see ``simulator.liar``."""


@dataclass(frozen=True, slots=True)
class Attack:
    """How the attackers of a run are made; ``sabotages`` says whether s matters to them."""

    make: Callable[[Recipe], Behaviour]
    sabotages: bool = False


ATTACKS = {
    "none": Attack(lambda _: Honest()),
    "saboteur": Attack(Saboteur, sabotages=True),
    "clique": Attack(Colluder, sabotages=True),
    "sleeper": Attack(lambda each: Sleeper(Saboteur(each), each.nap), sabotages=True),
    "sleeping-clique": Attack(lambda each: Sleeper(Colluder(each), each.nap), sabotages=True),
    "recanter": Attack(lambda each: Sleeper(Recanter(each), each.nap), sabotages=True),
    "whitewasher": Attack(lambda each: Whitewasher(Saboteur(each)), sabotages=True),
    "whitewashing-clique": Attack(lambda each: Whitewasher(Colluder(each)), sabotages=True),
    "copycat": Attack(lambda _: Copycat()),
    "freeloader": Attack(Freeloader),
    "lazy-validator": Attack(LazyValidator),
    "withholder": Attack(Withholder),
    "inflator": Attack(lambda _: Inflator()),
    LYING: Attack(Saboteur, sabotages=True),
}
