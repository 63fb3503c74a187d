"""When two numbers are close, and which words are numbers."""

import math
import re
from dataclasses import dataclass

MAX_NUMBER = 1000
"""Characters of a number. Longer ones are no numbers: reading them takes quadratic time."""

_NUMBER = re.compile(
    r"[+-]?(?:(?P<whole>[0-9]++)|(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:e[+-]?[0-9]++)?)",
    re.IGNORECASE,
)
_SPECIAL = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart close numbers may be; both finite and 0 or more.

    ``rtol`` is a share of the larger number, ``atol`` is in the unit of the numbers.
    """

    rtol: float
    atol: float

    def close(self, one: float, other: float) -> bool:
        """Whether ``|a - b| <= max(rtol * max(|a|, |b|), atol)``.

        The difference of two integers is exact; beside a float an integer is rounded to a double.
        An integer beyond the range of doubles is close to itself only. NaN is close to NaN, an
        infinity to itself, and zero has no sign. Symmetric and reflexive, not transitive.
        """
        if one == other:
            return True
        try:
            if isinstance(one, int) and isinstance(other, int):
                largest = max(abs(one), abs(other))
                return abs(one - other) <= max(self.rtol * largest, self.atol)
            one, other = float(one), float(other)
        except OverflowError:
            return False
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=self.rtol, abs_tol=self.atol)

    def close_complex(self, one: complex, other: complex) -> bool:
        """The same formula with distance and moduli in the plane.

        Where a modulus is not finite, both parts must be close.
        """
        if one == other:
            return True
        left, right = math.hypot(one.real, one.imag), math.hypot(other.real, other.imag)
        if not (math.isfinite(left) and math.isfinite(right)):
            return self.close(one.real, other.real) and self.close(one.imag, other.imag)
        distance = math.hypot(one.real - other.real, one.imag - other.imag)
        return distance <= max(self.rtol * max(left, right), self.atol)


def number(word: str) -> float | None:
    """The number that ``word`` spells: an ``int`` if it has digits only, else a ``float``.

    None for anything else, also for a decimal beyond the range of doubles: as infinities, 1e400
    and 2e400 would be equal. A decimal too small for a double is 0.
    """
    if len(word) > MAX_NUMBER:
        return None
    if word.isascii() and word.isdecimal():
        return int(word)
    if match := _NUMBER.fullmatch(word):
        if match["whole"]:
            return int(word)
        value = float(word)
        return value if math.isfinite(value) else None
    return float(word) if _SPECIAL.fullmatch(word) else None
