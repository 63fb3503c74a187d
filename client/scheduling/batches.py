"""Computed units on their way to a commit: sent at once when the wire is idle, else gathered."""

from workunits.ids import JobId, LeaseToken


class Batches:
    """Lease tokens by job, in batches of at most ``most``, none older than ``wait`` seconds."""

    def __init__(self, most: int, wait: float) -> None:
        self._most = most
        self._wait = wait
        self._pending: dict[JobId, list[LeaseToken]] = {}
        self._since = 0.0

    def add(self, job: JobId, token: LeaseToken, now: float) -> None:
        """One more."""
        if not self._pending:
            self._since = now
        self._pending.setdefault(job, []).append(token)

    def due(self) -> float | None:
        """When the oldest has waited long enough."""
        return self._since + self._wait if self._pending else None

    def clear(self) -> None:
        """Forget all."""
        self._pending.clear()

    def take(self, now: float, *, idle: bool) -> list[tuple[JobId, list[LeaseToken]]]:
        """What to send now; ``idle`` when no other commit is under way."""
        if not self._pending:
            return []
        everything = idle or now >= self._since + self._wait
        batches = []
        for job, tokens in list(self._pending.items()):
            if everything or len(tokens) >= self._most:
                del self._pending[job]
                batches += [
                    (job, tokens[at : at + self._most]) for at in range(0, len(tokens), self._most)
                ]
        return batches
