"""When tokens are told: the first at once, then a few at a time, not each in a message."""

import asyncio

from client.work.speech import Speeches
from sandbox.models.runtime import Spoken
from workunits.ids import LeaseToken

PAUSE = 0.01
"""Seconds between two messages about one answer, at least."""


class Streams:
    """The answers under way whose tokens are wanted as they come."""

    def __init__(self, speeches: Speeches) -> None:
        self._speeches = speeches
        self._due: dict[LeaseToken, asyncio.Handle] = {}
        self._next: dict[LeaseToken, float] = {}

    def hear(self, token: LeaseToken, spoken: Spoken) -> None:
        """Keep some tokens, and tell them soon if they are wanted so."""
        if not self._speeches.hear(token, spoken) or token in self._due:
            return
        loop = asyncio.get_running_loop()
        wait = self._next.get(token, 0.0) - loop.time()
        # What comes in the same turn of the loop goes along either way.
        later = loop.call_later(wait, self._tell, token) if wait > 0 else None
        self._due[token] = later or loop.call_soon(self._tell, token)

    def close(self, token: LeaseToken) -> None:
        """The answer has ended; what was not told is not told from here."""
        self._next.pop(token, None)
        due = self._due.pop(token, None)
        if due is not None:
            due.cancel()

    def _tell(self, token: LeaseToken) -> None:
        del self._due[token]
        self._next[token] = asyncio.get_running_loop().time() + PAUSE
        self._speeches.tell(token)
