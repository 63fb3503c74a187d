"""One answer: what is fed to an engine, which of its tokens are taken, and where the text ends.

This file is copied into the engine images: standard library, numpy, and what lies beside it.

What is answered does not depend on the tokens that somebody claims, nor on when they were told:
they are fed ahead, in few passes instead of many, and the first one that is not the engine's own
ends that. A finish is decided by the token, then by the count, then by who asked.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sandbox.models.worker.grammar import Grammar
from sandbox.models.worker.sampler import Sampler, log_probabilities

NONE, STOP, LENGTH, HALTED = range(4)
MOST_SPOKEN = 1024
Likely = list[tuple[int, float]]


class LeftError(Exception):
    """Nobody waits for this answer any more."""


class Engine(Protocol):
    """A loaded model with one sequence of tokens in its memory.

    ``batch`` is how many tokens it takes at once, ``rows`` after how many of them it gives logits,
    ``ends`` the tokens that end a text.
    """

    context: int
    vocabulary: int
    batch: int
    rows: int
    ends: frozenset[int]

    def pieces(self) -> Sequence[bytes]:
        """What each token stands for; empty for control tokens."""

    def start(self) -> None:
        """Forget every token."""

    def feed(self, tokens: Sequence[int], rows: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """Take the next tokens; the logits after each of the last ``rows`` of them, which are
        good until the next call. Raises ``ValueError`` when the engine fails."""

    def keep(self, count: int) -> None:
        """Forget all but the first ``count`` tokens."""


class Line(Protocol):
    """Who asked."""

    def speak(self, start: int, tokens: list[int], likely: list[Likely]) -> None:
        """Tokens of the answer from place ``start`` on."""

    def halt(self) -> int:
        """After how many tokens the answer is to end, as far as was said by now; 0 if not.

        Raises ``LeftError``.
        """


@dataclass(frozen=True)
class Ask:
    """What is asked (``sandbox.models.runtime.Question``). ``finish`` is that of the claim."""

    prompt: list[int]
    most: int
    seed: int
    sampling: tuple[int, int, int, int]
    form: str = ""
    given: list[int] = field(default_factory=list)
    finish: int = NONE
    margins: bool = False
    halt: int = 0
    top: int = 0


@dataclass(frozen=True)
class End:
    """How it ended. ``mean`` and ``largest`` are gaps, if those were asked for."""

    finish: int
    count: int
    agreed: int
    mean: float
    largest: float
    prompt_seconds: float
    wall_seconds: float
    cpu_seconds: float


class Form:
    """What the grammar of the answer allows next."""

    def __init__(self, form: str, engine: Engine) -> None:
        self._grammar = Grammar(form, engine.pieces(), engine.ends)
        self._state = self._grammar.start()

    def allowed(self, token: int) -> bool:
        """Whether ``token`` may come next."""
        return self._grammar.allows(self._state, token)

    def take(self, token: int) -> None:
        """The next token is this, which is allowed."""
        self._state = self._grammar.next(self._state, token)


class Turn:
    """One answer under way."""

    def __init__(self, engine: Engine, ask: Ask, line: Line) -> None:
        temperature, top_p, top_k, repetition = ask.sampling
        self._engine, self._ask, self._line = engine, ask, line
        self._sampler = Sampler(temperature, top_p, top_k, repetition, ask.seed)
        self._form = Form(ask.form, engine) if ask.form else None
        self._most = min(ask.most, engine.context - len(ask.prompt))
        self._history = list(ask.prompt)
        self._fed = self._said = 0
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._prompt_seconds = 0.0

    def run(self) -> End:
        """Answer, or measure what is claimed. Raises ``ValueError`` when the engine fails."""
        self._engine.start()
        try:
            return self._measure() if self._ask.margins else self._speak()
        except LeftError:
            count = len(self._ask.given) if self._ask.margins else self._said
            return self._end(HALTED, count, 0, math.inf, math.inf)

    def _speak(self) -> End:
        """Tokens of the engine's own, those first that are claimed, as long as they are."""
        given = self._known(self._ask.given)
        prompt, agreed, finish = len(self._ask.prompt), 0, NONE
        while not finish:
            place = len(self._history) - prompt
            halt = self._halt()
            if 0 < halt <= place:
                finish = HALTED
                break
            # The last claimed token is fed when it is known that something follows it.
            ahead = given[place:-1] if agreed == place else []
            rows = self._feed(ahead)
            likely: list[Likely] = []
            halt = self._halt()
            for row in rows:
                at = len(self._history) - prompt
                token = self._sampler.pick(row, at, self._history, self._allowed())
                kept = agreed == at and at < len(given) and given[at] == token
                agreed += kept
                self._history.append(token)
                if self._ask.top:
                    likely.append(log_probabilities(row, token, self._ask.top))
                finish = self._finish(at + 1, token, halt)
                if finish:
                    break
                self._take(token)
                if not kept:
                    break
            if len(rows):
                self._line.speak(place, self._history[prompt + place :], likely)
                self._said = len(self._history) - prompt
                self._rewind()
        return self._end(finish, len(self._history) - prompt, agreed)

    def _measure(self) -> End:
        """How far the claimed tokens are below the best ones."""
        ask = self._ask
        finish = ask.finish or HALTED
        gaps: list[float] = []
        if not self._is_ended_right():
            return self._end(finish, len(ask.given), 0, math.inf, math.inf)
        while len(gaps) < len(ask.given):
            place = len(gaps)
            self._line.halt()
            for row in self._feed(ask.given[place:-1]):
                token, at = ask.given[len(gaps)], len(gaps)
                gaps.append(self._sampler.gap(row, token, at, self._history, self._allowed()))
                self._history.append(token)
                if not math.isfinite(gaps[-1]):
                    return self._end(finish, len(ask.given), 0, math.inf, math.inf)
                self._take(token)
        agreed = next((at for at, gap in enumerate(gaps) if gap), len(gaps))
        mean = min(math.fsum(gaps) / len(gaps), max(gaps))
        return self._end(finish, len(gaps), agreed, mean, max(gaps))

    def _feed(self, ahead: list[int]) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """Feed what the engine does not know yet, and some of what may come; the logits that
        follow the prompt and each token after it. None while the prompt is not done."""
        engine, first = self._engine, len(self._ask.prompt) - 1
        pending = self._history[self._fed :] + ahead
        count = min(engine.batch, len(pending))
        rows = min(count, max(0, self._fed + count - first))
        count -= max(0, rows - engine.rows)
        rows = min(rows, engine.rows)
        found = engine.feed(pending[:count], rows)
        self._fed += count
        if rows and not self._prompt_seconds:
            self._prompt_seconds = time.monotonic() - self._began
        return found

    def _allowed(self) -> Callable[[int], bool] | None:
        return self._form.allowed if self._form is not None else None

    def _take(self, token: int) -> None:
        if self._form is not None:
            self._form.take(token)

    def _rewind(self) -> None:
        """Make the engine forget what was fed ahead and is not so."""
        if self._fed > len(self._history) - 1:
            self._fed = len(self._history) - 1
            self._engine.keep(self._fed)

    def _known(self, given: list[int]) -> list[int]:
        """Claimed tokens, up to the first that the engine could not be fed."""
        words = self._engine.vocabulary
        end = next((at for at, token in enumerate(given) if token >= words), len(given))
        return given[: min(end, self._most)]

    def _is_ended_right(self) -> bool:
        """Whether a claim ends where it should, and has only tokens that there are."""
        given, finish = self._ask.given, self._ask.finish
        if not given or len(self._known(given)) != len(given):
            return False
        ends = [self._finish(at, token, self._ask.halt) for at, token in enumerate(given, 1)]
        return not any(ends[:-1]) and ends[-1] == finish

    def _finish(self, count: int, token: int, halt: int) -> int:
        if token in self._engine.ends:
            return STOP
        if count >= self._most:
            return LENGTH
        return HALTED if halt and count >= halt else NONE

    def _halt(self) -> int:
        told, asked = self._line.halt(), self._ask.halt
        return min(told, asked) if told and asked else told or asked

    def _end(
        self,
        finish: int,
        count: int,
        agreed: int,
        mean: float = math.nan,
        largest: float = math.nan,
    ) -> End:
        wall = time.monotonic() - self._began
        cpu = time.process_time() - self._cpu
        return End(finish, count, agreed, mean, largest, self._prompt_seconds, wall, cpu)
