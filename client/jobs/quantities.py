"""Sizes and durations as people write and read them."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)\s*", re.ASCII)
_SIZES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_SECONDS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Bytes in ``"256MB"`` (powers of 1000) or ``"256MiB"`` (powers of 1024).

    Raises ``ValueError`` that says what is accepted.
    """
    return _parse(text, _SIZES, "a size such as 512MB or 1.5GiB")


def parse_seconds(text: str) -> int:
    """Whole seconds in ``"90"``, ``"90s"``, ``"1.5min"``, ``"2h"``.

    Raises ``ValueError`` that says what is accepted.
    """
    return _parse(text, _SECONDS, "a duration such as 90s, 10min or 2h")


def format_size(size: int) -> str:
    """``size`` bytes, short: ``'1.5 MiB'``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
            )
        amount /= 1024
    return f"{amount:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """``seconds``, short: ``'1 h 5 min'``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def plural(count: int, noun: str, many: str = "") -> str:
    """``'1 unit'``, ``'1,200 units'``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def _parse(text: str, units: dict[str, int], wanted: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(f"{text[:40]!r} is not {wanted}")
    amount = Decimal(match[1]) * units[match[2]]
    if amount != int(amount):
        raise ValueError(f"{text[:40]!r} is not a whole number, write {wanted}")
    return int(amount)
