"""From tokens to the text that is shown: decoded, cut before a stop sequence. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracker.endpoint.language import Language
from tracker.endpoint.parlour import Heard
from tracker.endpoint.stops import Stops
from workunits.wire.models import Likely


@dataclass(frozen=True, slots=True)
class Weighed:
    """A token of the shown text with its probabilities: itself, then alternatives.

    ``start`` is the letter of the text at which it begins.
    """

    start: int
    likely: tuple[Likely, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """More of the text."""

    text: str
    weighed: tuple[Weighed, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.weighed)


class Narrator:
    """Tells one answer. ``needed`` is after how many tokens a stop sequence was complete, ``stop``
    which it is; ``text`` all that was shown, ``weighed`` the probabilities of its tokens."""

    def __init__(self, language: Language, stops: Sequence[str] = ()) -> None:
        self._ends = language.ends
        self._decoder = language.decoder()
        self._stops = Stops(stops)
        self._decoded = 0
        self._shown = 0
        self._waiting: list[Weighed] = []
        self._parts: list[str] = []
        self.tokens: list[int] = []
        self.weighed: list[Weighed] = []
        self.needed: int | None = None

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self._parts)

    @property
    def stop(self) -> str | None:
        """The stop sequence that ended the text."""
        return self._stops.found

    def hear(self, heard: Heard) -> Piece:
        """Take tokens; returns what they add to the text."""
        shown = []
        for at, token in enumerate(heard.tokens):
            self.tokens.append(token)
            if token in self._ends or self.needed is not None:
                continue
            if heard.likely:
                self._waiting.append(Weighed(self._decoded, heard.likely[at]))
            shown.append(self._feed(self._decoder.feed((token,))))
            if self.stop is not None:
                self.needed = len(self.tokens)
        return self._piece("".join(shown))

    def end(self) -> Piece:
        """The answer has ended; returns what was held back."""
        if self.needed is not None:
            return self._piece("", over=True)
        return self._piece(self._feed(self._decoder.end()) + self._stops.end(), over=True)

    def _feed(self, text: str) -> str:
        self._decoded += len(text)
        return self._stops.feed(text)

    def _piece(self, text: str, *, over: bool = False) -> Piece:
        self._shown += len(text)
        self._parts.append(text)
        ready = [each for each in self._waiting if each.start < self._shown]
        if over and self.needed is None:
            ready = self._waiting
        self._waiting = self._waiting[len(ready) :]
        self.weighed += ready
        return Piece(text, tuple(ready))


def text_of(language: Language, stops: Sequence[str], tokens: tuple[int, ...]) -> Narrator:
    """The whole of an answer at once."""
    narrator = Narrator(language, stops)
    narrator.hear(Heard(tokens))
    narrator.end()
    return narrator
