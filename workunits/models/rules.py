"""Rules that a JSON text can be built by: what a schema is turned into, what a grammar follows.

This file is copied into the engine images: it imports the standard library only, nothing of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

MAX_DEPTH = 64
"""How deep objects and arrays may be in each other, in a schema and in an answer."""

NEVER = MAX_DEPTH + 1
"""The height of a value that has no end."""


@dataclass(frozen=True, slots=True)
class Literals:
    """One of these JSON texts. ``texts`` are sorted, and each is there once."""

    texts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A string of ``least`` to ``most`` code points; ``most`` -1 is any number of them."""

    least: int = 0
    most: int = -1


@dataclass(frozen=True, slots=True)
class Number:
    """A number; with ``whole`` an integer, without point or exponent."""

    whole: bool = False


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an object: ``names`` are its name as JSON texts, ``value`` is a rule."""

    names: tuple[bytes, ...]
    value: int
    required: bool


@dataclass(frozen=True, slots=True)
class Object:
    """An object with some of these properties, in this order, all required ones among them."""

    properties: tuple[Property, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """An object with any names; all values follow one rule."""

    value: int


@dataclass(frozen=True, slots=True)
class Array:
    """An array: first the values of ``prefix``, then any of the rule ``item``."""

    prefix: tuple[int, ...]
    item: int
    least: int = 0
    most: int = -1


@dataclass(frozen=True, slots=True)
class Choice:
    """Any of these rules."""

    options: tuple[int, ...]


Rule: TypeAlias = Literals | Text | Number | Object | Map | Array | Choice


@dataclass(frozen=True, slots=True)
class Form:
    """Rules that name each other by index. ``heights`` are how deep the flattest value of each
    nests; options of a choice are no choices, and no option is ``NEVER`` high."""

    rules: tuple[Rule, ...]
    heights: tuple[int, ...]
    root: int


def heights_of(rules: Sequence[Rule]) -> list[int]:
    """The heights of ``rules``: of containers one more than what they must contain."""
    heights = [NEVER] * len(rules)

    def height(rule: Rule) -> int:
        match rule:
            case Object(properties):
                needed = [heights[each.value] for each in properties if each.required]
                return 1 + max(needed, default=0)
            case Array(prefix, item, least):
                needed = [heights[each] for each in prefix[:least]]
                if least > len(prefix):
                    needed.append(heights[item])
                return 1 + max(needed, default=0)
            case Map():
                return 1
            case Choice(options):
                return min((heights[each] for each in options), default=NEVER)
        return 0

    changed = True
    while changed:
        changed = False
        for index, rule in enumerate(rules):
            found = min(height(rule), NEVER)
            if found != heights[index]:
                heights[index], changed = found, True
    return heights
