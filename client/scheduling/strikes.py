"""Which jobs a volunteer leaves alone because they failed here, and for how long. Pure."""

from math import inf
from random import Random

from client.scheduling.book import Book, JobRecord
from client.scheduling.pace import Tuning

_LASTING = frozenset({"image", "memory", "model", "models", "platform", "slow"})
"""Reasons that do not go away by trying the next unit."""


class Strikes:
    """Failures of the jobs of a book, and when they are forgiven."""

    def __init__(self, tuning: Tuning, rng: Random, book: Book) -> None:
        self._tuning = tuning
        self._rng = rng
        self._book = book
        self._sulk = -inf

    def sulks(self, now: float) -> bool:
        """Whether to want nothing more: the tracker would send the same again."""
        return now < self._sulk

    def calm(self) -> None:
        """A new session: want as much as ever."""
        self._sulk = -inf

    def refusal(self, job: JobRecord, seconds: float, now: float) -> str:
        """Why no units of ``job`` that are leased for ``seconds`` are taken; empty if they are."""
        if job.memory > self._tuning.memory_bytes:
            self.strike(job, "memory", now)
        elif job.model and self._tuning.models:
            self.strike(job, self._tuning.models, now)
        elif job.seconds is not None and job.seconds > seconds:
            job.seconds = None  # so that it gets another chance after the block
            self.strike(job, "slow", now)
        if now >= job.blocked:
            return ""
        if job.refused:
            self._sulk_over(job)
        return job.refused

    def strike(self, job: JobRecord, reason: str, now: float, *, lasting: bool = True) -> None:
        """One more failure of ``job`` in a row: leave it alone for a while, longer each time. With
        ``lasting`` false it may be of this unit alone, whatever the reason."""
        job.strikes += 1
        delay = self._tuning.backoff * 2.0 ** min(job.strikes - 1, 20)
        delay = min(delay, self._tuning.backoff_most) * self._rng.uniform(0.75, 1.25)
        job.blocked = max(job.blocked, now + delay)
        if (lasting and reason in _LASTING) or job.strikes >= self._tuning.strikes:
            job.refused = reason
            self._sulk_over(job)
            self._book.give_back(sorted(job.early), reason)

    def _sulk_over(self, job: JobRecord) -> None:
        # Not over a model that is asked: then nobody would be there for all the others.
        if not job.signed.manifest.is_asked:
            self._sulk = max(self._sulk, job.blocked)
