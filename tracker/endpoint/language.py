"""Between text and the token ids of one model."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from tracker.endpoint.parlour import Served
from tracker.endpoint.wishes import Turn


class Decoder(Protocol):
    """Text out of ids that come one after the other; what may be half a letter is held back."""

    def feed(self, ids: Sequence[int], /) -> str:
        """Take ids; returns the letters that are complete."""

    def end(self) -> str:
        """There are no more; returns what is left."""


class Language(Protocol):
    """What the endpoint needs of a model's vocabulary and chat template."""

    @property
    def ends(self) -> frozenset[int]:
        """Ids that end a text."""

    @property
    def size(self) -> int:
        """How many ids there are; each is below it."""

    @property
    def longest(self) -> int:
        """Bytes of the longest token: a text has at least its bytes divided by this."""

    def chat(self, turns: Sequence[Turn], /) -> tuple[int, ...]:
        """A conversation, up to where the model is to go on. Raises ``MalformedError``."""

    def plain(self, text: str, /) -> tuple[int, ...]:
        """A text as it stands; the model's own marks in it count as such."""

    def piece(self, id_: int, /) -> bytes:
        """The bytes of one token."""

    def decoder(self) -> Decoder:
        """A new one."""


Languages: TypeAlias = Callable[[Served], Awaitable[Language]]
