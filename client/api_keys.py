"""API keys as a tracker shows them to who opened them."""

from dataclasses import dataclass
from typing import Self

from client.json_fields import JsonFields
from workunits.ids import HASH_SIZE

MAX_KEYS = 10_000
_CREDITS = 2**62


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """A key by the hash of its secret. ``budget``, ``spent``, ``reserved`` and ``left`` are
    credits, ``requests`` those that have ended."""

    hash: bytes
    name: str
    budget: int
    spent: int
    reserved: int
    left: int
    per_minute: int
    requests: int
    created: int
    closed: bool

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        return cls(
            hash=fields.octets("hash", HASH_SIZE),
            name=fields.text("name", limit=200),
            budget=fields.integer("budget", 0, _CREDITS),
            spent=fields.integer("spent", 0, _CREDITS),
            reserved=fields.integer("reserved", 0, _CREDITS),
            left=fields.integer("left", -_CREDITS, _CREDITS),
            per_minute=fields.integer("per_minute"),
            requests=fields.integer("requests"),
            created=fields.integer("created"),
            closed=fields.flag("closed"),
        )
