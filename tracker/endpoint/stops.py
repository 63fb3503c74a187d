"""Stop sequences: an answer ends before the first of them. Text comes in pieces."""

from collections.abc import Sequence


class Stops:
    """Looks for stop sequences in a text that grows.

    Text that may turn out to be the beginning of one is held back. ``found`` is the sequence that
    ended the text; it is never part of what is shown, and nothing after it is.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        """``stops`` are not empty. Where two begin at the same place the longer one counts only
        if it is complete when the shorter one is seen."""
        self._stops = tuple(dict.fromkeys(stops))
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """Take more text; returns what can be shown of all that was not yet."""
        if self.found is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        hits = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            # The one that was complete first, as if the text had come letter by letter.
            at, stop = min(hits, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            self.found, self._held = stop, ""
            return text[:at]
        keep = self._maybe(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """The text is over; returns what was held back."""
        held, self._held = self._held, ""
        return held

    def _maybe(self, text: str) -> int:
        """Letters at the end of ``text`` that a stop sequence may begin with."""
        most = min(len(text), max(map(len, self._stops)) - 1)
        return next(
            (
                size
                for size in range(most, 0, -1)
                if any(stop.startswith(text[len(text) - size :]) for stop in self._stops)
            ),
            0,
        )
