"""Whether what people are told gives away what they should not know, for tests."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from workunits.models.request import pack_ids


def parts(value: object) -> Iterator[object]:
    """All numbers, texts and bytes that notices are made of."""
    if is_dataclass(value):
        yield from parts([getattr(value, each.name) for each in fields(value)])
    elif isinstance(value, Mapping):
        yield from parts([*value.items()])
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from parts(each)
    else:
        yield value


def gives_away(notice: object, secrets: set[int]) -> bool:
    """Whether one of the numbers is in a notice: as it is, in digits, or packed."""
    for part in parts(notice):
        if part in secrets:
            return True
        if isinstance(part, bytes):
            if any(pack_ids((each,)) in part for each in secrets):
                return True
            part = part.decode("ascii", "replace")
        # No number is looked for within another: the digits of a measured time mean nothing.
        if isinstance(part, str) and not secrets.isdisjoint(map(int, re.findall("[0-9]+", part))):
            return True
    return False
