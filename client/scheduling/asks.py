"""What units of models ask, from the message before their lease until they have run. Pure.

Prompts are other people's: each is forgotten as soon as nothing here can need it.
"""

from collections.abc import Container
from dataclasses import replace

from workunits.errors import LimitError
from workunits.ids import LeaseToken
from workunits.wire.models import Ask, Halt
from workunits.wire.work import MAX_HOLD

MAX_TOKENS = 2**21
"""Tokens of all prompts and claimed answers that are kept at once."""

_TOKEN_BYTES = 4


class Asks:
    """Asks by lease token, within bounds."""

    def __init__(self, most: int = MAX_TOKENS) -> None:
        self._most = most
        self._asks: dict[LeaseToken, Ask] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._asks)

    def get(self, token: LeaseToken) -> Ask | None:
        """What is asked under ``token``, if that was said."""
        return self._asks.get(token)

    def hear(self, ask: Ask) -> None:
        """Keep ``ask``, if it is the first for its lease.

        Raises ``LimitError`` when that is too much; nothing has changed then.
        """
        if ask.token in self._asks:
            return
        weight = _weight(ask)
        if self._weight + weight > self._most or len(self._asks) >= MAX_HOLD:
            raise LimitError(
                f"the tracker asks for more than {self._most:,} tokens at once",
                hint="It should wait for what it leased before.",
            )
        self._asks[ask.token] = ask
        self._weight += weight

    def halt(self, halt: Halt) -> None:
        """Remember where the answer ends, if anything is asked under that lease."""
        ask = self._asks.get(halt.token)
        if ask is not None:
            self._asks[halt.token] = replace(ask, halt=max(1, halt.after))

    def drop(self, token: LeaseToken) -> None:
        """Forget what was asked; nothing asked is no error."""
        ask = self._asks.pop(token, None)
        if ask is not None:
            self._weight -= _weight(ask)

    def keep_only(self, tokens: Container[LeaseToken]) -> None:
        """Forget all that are not for ``tokens``."""
        for token in [each for each in self._asks if each not in tokens]:
            self.drop(token)


def is_urgent(ask: Ask | None) -> bool:
    """Whether somebody waits: for tokens as they come, or for an answer to be checked."""
    return ask is not None and (ask.stream or bool(ask.given))


def _weight(ask: Ask) -> int:
    asked = ask.request
    own = len(asked.prompt) + len(asked.form) // _TOKEN_BYTES if asked else 0
    return len(ask.given) + own + 1
