"""API keys: who pays for a request, how much is left, how often it may ask. Pure.

A key is a secret that only its holder has; here it is known by its SHA-256. Its owner paid a budget
in advance. A request reserves the most that it can cost, and is charged what it did cost once its
verdict is on disk. Reservations are in memory alone: a restart releases them, so that nobody pays
for an answer that did not come.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tracker.rows import ApiKeyRow, UsageRow
from workunits.errors import LimitError, MalformedError, RefusedError
from workunits.ids import PeerKey
from workunits.models.apikey import hash_of

MAX_OF_OWNER = 1_000
MAX_KEYS = 1_000_000
MINUTE = 60.0


class UnknownKeyError(RefusedError):
    """The API key is none of this tracker's, or was closed (HTTP 401)."""

    code = "unknown-key"


class BrokeError(RefusedError):
    """What is left of the budget does not cover the request (HTTP 402)."""

    code = "broke"


class CrowdedError(RefusedError):
    """Not now. ``seconds`` is how long to wait (HTTP 429)."""

    code = "crowded"

    def __init__(self, message: str, *, seconds: float, hint: str = "") -> None:
        super().__init__(message, hint=hint or f"Try again in {max(1, round(seconds))} s.")
        self.seconds = seconds


class AbsentError(CrowdedError):
    """Nobody is there to answer, and ``seconds`` is when to look again (HTTP 503)."""

    code = "absent"


@dataclass(slots=True, eq=False)
class ApiKey:
    """A key as the tracker knows it: credits of its ``budget``, how many are ``spent``, and how
    many are ``reserved`` for requests under way.

    ``hash`` is the SHA-256 of the secret, ``per_minute`` how many requests it may make, ``created``
    Unix seconds. A ``closed`` key asks nothing any more.
    """

    hash: bytes
    owner: PeerKey
    name: str
    budget: int
    per_minute: int
    created: int
    spent: int = 0
    reserved: int = 0
    closed: bool = False

    @property
    def left(self) -> int:
        """Credits that are neither spent nor reserved."""
        return self.budget - self.spent - self.reserved

    def row(self) -> ApiKeyRow:
        """The row that keeps it."""
        return ApiKeyRow(
            *(self.hash, self.owner, self.name, self.budget, self.spent, self.per_minute),
            *(self.created, int(self.closed)),
        )


@dataclass(slots=True, eq=False)
class Hold:
    """Credits reserved for one request; ``open`` until it is settled."""

    key: ApiKey
    amount: int
    open: bool = True


@dataclass(frozen=True, slots=True)
class Use:
    """What one request came to: tokens of prompt and answer, seconds from first to last token,
    credits, and whether it was verified."""

    model: str
    prompt: int
    generated: int
    seconds: float
    verified: bool
    cost: int


class Keys:
    """All keys of a tracker. Emits a row for everything that it changes."""

    def __init__(self, keys: Iterable[ApiKeyRow] = (), usage: Iterable[UsageRow] = ()) -> None:
        self._keys: dict[bytes, ApiKey] = {}
        self._owned: dict[PeerKey, list[ApiKey]] = {}
        self._usage: dict[bytes, dict[str, UsageRow]] = {}
        self._full: dict[bytes, float] = {}
        self._dirty: dict[ApiKey, None] = {}
        self._used: dict[tuple[bytes, str], None] = {}
        self._closed: dict[ApiKey, None] = {}
        for row in keys:
            self._enter(
                ApiKey(
                    *(row.hash, PeerKey(row.owner), row.name, row.budget, row.per_minute),
                    *(row.created, row.spent),
                    closed=bool(row.closed),
                )
            )
        for used in usage:
            self._usage.setdefault(used.key, {})[used.model] = used

    def __len__(self) -> int:
        return len(self._keys)

    # -- who is it --------------------------------------------------------------------------

    def find(self, secret: str) -> ApiKey:
        """Whose secret this is. Raises ``UnknownKeyError``."""
        try:
            key = self._keys.get(hash_of(secret))
        except MalformedError as error:
            raise UnknownKeyError(error.message, hint=error.hint) from None
        if key is None or key.closed:
            raise UnknownKeyError(
                "this API key is not known here, or it was closed",
                hint="Check that it is a key of this tracker; make one: swarm api-key create",
            )
        return key

    def get(self, hash_: bytes) -> ApiKey | None:
        """The key with that hash."""
        return self._keys.get(hash_)

    def of(self, owner: PeerKey) -> list[ApiKey]:
        """The keys of an account, oldest first, closed ones too."""
        return list(self._owned.get(owner, ()))

    def usage(self, hash_: bytes) -> list[UsageRow]:
        """What a key was used for, by model."""
        return list(self._usage.get(hash_, {}).values())

    def usage_of_models(self) -> dict[str, UsageRow]:
        """What each model was used for by all keys; ``key`` of these rows is empty."""
        found: dict[str, UsageRow] = {}
        for row in (row for rows in self._usage.values() for row in rows.values()):
            before = found.get(row.model, UsageRow(b"", row.model, 0, 0, 0, 0, 0, 0))
            found[row.model] = _sum(before, row)
        return found

    # -- opening and closing ----------------------------------------------------------------

    def check_open(self, owner: PeerKey, hash_: bytes) -> None:
        """Raise unless ``owner`` may open a key with that hash, or pay into it."""
        known = self._keys.get(hash_)
        if known is not None:
            if known.owner != owner or known.closed:
                raise RefusedError(
                    "this API key was opened before",
                    hint="Make another secret: swarm api-key create",
                )
            return
        if sum(not key.closed for key in self._owned.get(owner, ())) >= MAX_OF_OWNER:
            raise LimitError(
                f"you have {MAX_OF_OWNER:,} API keys, which is the limit",
                hint="Close some of them: swarm api-key close",
            )
        if len(self._keys) >= MAX_KEYS:
            raise LimitError("no more API keys can be opened here", hint="Ask the operator.")

    def open(
        self, owner: PeerKey, hash_: bytes, name: str, amount: int, per_minute: int, created: int
    ) -> ApiKey:
        """Open a key, or pay ``amount`` into it; ``check_open`` was called."""
        key = self._keys.get(hash_)
        if key is None:
            key = ApiKey(hash_, owner, name, amount, per_minute, created)
            self._enter(key)
        else:
            key.budget += amount
            key.name, key.per_minute = name, per_minute
        self._dirty[key] = None
        return key

    def close(self, author: PeerKey, hash_: bytes, operator: PeerKey) -> ApiKey:
        """End a key, as its owner or the ``operator`` may. What is left of its budget is ``owed``.

        Raises ``RefusedError``.
        """
        key = self._keys.get(hash_)
        if key is None or author not in (key.owner, operator):
            raise RefusedError("you have no such API key", hint="See your keys: swarm api-key list")
        key.closed = True
        self._dirty[key] = self._closed[key] = None
        return key

    def owed(self) -> list[ApiKey]:
        """Closed keys of whose budgets something is left that is not reserved."""
        return [key for key in self._closed if key.left > 0]

    def refunded(self, key: ApiKey, amount: int) -> None:
        """``amount`` was paid back to a key's owner."""
        key.budget -= amount
        self._dirty[key] = None
        if key.budget == key.spent:
            del self._closed[key]

    @property
    def liable(self) -> int:
        """Credits that were paid in advance and are not spent."""
        return sum(key.budget - key.spent for key in self._keys.values())

    # -- requests ---------------------------------------------------------------------------

    def pace(self, key: ApiKey, now: float) -> None:
        """Count a request at ``now``. Raises ``CrowdedError`` when there were too many.

        A minute's worth may come at once. The bucket is one number, the time at which it will be
        full again.
        """
        step = MINUTE / key.per_minute
        after = max(self._full.get(key.hash, now), now) + step
        wait = after - now - max(MINUTE, step)
        if wait > 1e-6:
            raise CrowdedError(
                f"this API key may make {key.per_minute:,} requests a minute", seconds=wait
            )
        self._full[key.hash] = after

    def reserve(self, key: ApiKey, amount: int) -> Hold:
        """Set credits aside for one request. Raises ``BrokeError`` when there are not so many."""
        if key.closed:
            raise UnknownKeyError("this API key was closed", hint="Make one: swarm api-key create")
        if key.left < amount:
            raise BrokeError(
                f"the request may cost {amount:,} credits and the API key has {max(0, key.left):,} "
                "left",
                hint="Ask for fewer tokens, or pay into the key: swarm api-key top-up",
            )
        key.reserved += amount
        return Hold(key, amount)

    def settle(self, hold: Hold, cost: int) -> int:
        """Charge what a request did cost, at most what was set aside, and release the rest.

        Returns the charge; a hold that is settled already is left alone.
        """
        if not hold.open:
            return 0
        hold.open = False
        key, charge = hold.key, min(cost, hold.amount)
        key.reserved -= hold.amount
        key.spent += charge
        self._dirty[key] = None
        return charge

    def release(self, hold: Hold) -> None:
        """Nothing came of a request: it costs nothing."""
        self.settle(hold, 0)

    def used(self, key: ApiKey, use: Use) -> None:
        """Count a request that has ended."""
        place = key.hash, use.model
        rows = self._usage.setdefault(key.hash, {})
        before = rows.get(use.model, UsageRow(*place, 0, 0, 0, 0, 0, 0))
        rows[use.model] = _sum(
            before,
            UsageRow(
                *(*place, 1, use.prompt, use.generated, round(use.seconds * 1000)),
                *(int(use.verified), use.cost),
            ),
        )
        self._used[place] = None

    def take(self) -> list[ApiKeyRow | UsageRow]:
        """The rows of everything that changed since the last call."""
        rows: list[ApiKeyRow | UsageRow] = [key.row() for key in self._dirty]
        rows += [self._usage[key][model] for key, model in self._used]
        self._dirty, self._used = {}, {}
        return rows

    def _enter(self, key: ApiKey) -> None:
        self._keys[key.hash] = key
        self._owned.setdefault(key.owner, []).append(key)
        if key.closed and key.budget > key.spent:
            self._closed[key] = None


def _sum(one: UsageRow, other: UsageRow) -> UsageRow:
    return UsageRow(
        *(one.key, one.model, one.requests + other.requests, one.prompt + other.prompt),
        *(one.generated + other.generated, one.milliseconds + other.milliseconds),
        *(one.verified + other.verified, one.cost + other.cost),
    )
