"""Files and batches as they are kept, and as OpenAI's API shows them. Pure."""

from dataclasses import dataclass, field
from typing import Any, Self

import orjson

DAY = 24 * 3600
FILE_LIFE = 30 * DAY
"""Seconds until a file is deleted, unless it was given another life."""

PROMPTS_LIFE = DAY
"""Seconds for which prompts are kept after the end of their batch."""

WINDOW = DAY
"""Seconds in which a batch must be done."""

KEEP = "swarm_keep"
"""Name in a batch's metadata: with the value ``true`` its prompts live as long as their file."""

INPUT, OUTPUT = "batch", "batch_output"
OVER = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which nothing more happens to a batch."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file. ``owner`` is the hash of an API key, times are Unix seconds."""

    id: str
    owner: bytes
    name: str
    purpose: str
    size: int
    created: int
    expires: int

    def view(self) -> dict[str, object]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created,
            "expires_at": self.expires,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Lines of a batch: all, answered, failed; and tokens of prompts and answers."""

    total: int = 0
    completed: int = 0
    failed: int = 0
    prompted: int = 0
    generated: int = 0


@dataclass(slots=True, eq=False)
class Batch:
    """A batch. ``times`` has when it came into which state, Unix seconds; ``errors`` what is wrong
    with its input; ``counts`` are of its end, before that the lines are counted."""

    id: str
    owner: bytes
    input: str
    endpoint: str
    created: int
    expires: int
    status: str = "validating"
    metadata: dict[str, str] = field(default_factory=dict)
    output_life: int = FILE_LIFE
    model: str | None = None
    times: dict[str, int] = field(default_factory=dict)
    output: str | None = None
    error: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    counts: Counts = Counts()

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in OVER

    @property
    def keeps(self) -> bool:
        """Whether its prompts live as long as their file."""
        return self.metadata.get(KEEP) == "true"

    def enter(self, status: str, now: float) -> None:
        """Come into a state."""
        self.status = status
        self.times[status] = int(now)

    def view(self) -> dict[str, object]:
        """As the API shows it."""
        counts, times = self.counts, self.times
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output,
            "error_file_id": self.error,
            "created_at": self.created,
            "in_progress_at": times.get("in_progress"),
            "expires_at": self.expires,
            "finalizing_at": times.get("finalizing"),
            "completed_at": times.get("completed"),
            "failed_at": times.get("failed"),
            "expired_at": times.get("expired"),
            "cancelling_at": times.get("cancelling"),
            "cancelled_at": times.get("cancelled"),
            "request_counts": {
                "total": counts.total,
                "completed": counts.completed,
                "failed": counts.failed,
            },
            "usage": {
                "input_tokens": counts.prompted,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": counts.generated,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": counts.prompted + counts.generated,
            },
            "metadata": self.metadata or None,
        }

    def encode(self) -> bytes:
        """For the database."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return orjson.dumps(values | {"owner": self.owner.hex()})

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Back from the database."""
        values = orjson.loads(raw)
        owner, counts = bytes.fromhex(values.pop("owner")), Counts(**values.pop("counts"))
        return cls(owner=owner, counts=counts, **values)


def listing(rows: list[dict[str, object]], *, more: bool) -> dict[str, object]:
    """A page of objects."""
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": more,
    }
