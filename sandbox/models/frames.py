"""The words between host and engine, as the host sees them.

They come in frames (``sandbox.framing``). A hostile model may have taken the engine over, so all of
it is parsed strictly: what may come now and how large it may be is known before a byte of it is
kept.

Host: ``Q`` (question), ``H`` (halt). Engine: ``R`` (ready), ``S`` (spoken tokens), ``E`` (end).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sandbox.framing import Framing, frame
from sandbox.models.runtime import Answered, Gaps, Question, Spoken
from workunits.errors import LimitError, MalformedError
from workunits.models.answer import Finish
from workunits.models.request import MAX_ID, Sampling, pack_ids

VERSION = 1
MAX_SPOKEN = 1024
"""Most tokens in one frame."""

MAX_LIKELY = 21
"""Most probabilities beside one token: its own, and the best others."""

FINISHES = (None, Finish.STOP, Finish.LENGTH, Finish.HALTED)
"""Finishes by their number in frames."""

_READY = struct.Struct(">BII")
_QUESTION = struct.Struct(">IQHHHHBBBIIII")
_HALT = struct.Struct(">I")
_SPOKEN = struct.Struct(">IH")
_LIKELY = struct.Struct(">If")
_END = struct.Struct(">BIIddddd")
_MAX_SECONDS = 1e7
_NEARLY_ZERO = 1e-3


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engine has its model and waits: how many tokens it knows, and its context."""

    vocabulary: int
    context: int


Event: TypeAlias = Loaded | Spoken | Answered


def encode_question(question: Question) -> bytes:
    """The frame that asks ``question``."""
    request, given = question.request, question.given
    form = request.form.encode()
    payload = b"".join(
        (
            _QUESTION.pack(
                request.most,
                request.seed,
                *_settings(request.sampling),
                question.top,
                question.margins,
                FINISHES.index(given.finish),
                question.halt,
                len(request.prompt),
                len(given.tokens),
                len(form),
            ),
            pack_ids(request.prompt),
            pack_ids(given.tokens),
            form,
        )
    )
    return frame(b"Q", payload)


def encode_halt(after: int) -> bytes:
    """The frame that ends the answer under way after ``after`` tokens; 0 leaves it as it is."""
    return frame(b"H", _HALT.pack(after))


def _settings(sampling: Sampling) -> tuple[int, int, int, int]:
    return sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition


class Replies:
    """Parser of what an engine writes: bytes in, events out.

    ``expect`` opens the window for one answer; before it only ``Loaded`` is legal, once. Raises
    ``MalformedError`` or ``LimitError``; after that the parser is useless. What it lets through
    of an answer fits together: tokens are known ones, without gaps, at most as many as were asked
    for, and the end is one that they can have.
    """

    __slots__ = ("_framing", "_halted", "_left", "_loaded", "_question", "_room", "_said")

    def __init__(self) -> None:
        self._framing = Framing("engine", self._limit)
        self._loaded: Loaded | None = None
        self._question: Question | None = None
        self._room = 0
        self._said: list[int] = []
        self._halted = False
        self._left = False

    def expect(self, question: Question) -> None:
        """``question`` was asked, of an engine that is loaded."""
        assert self._loaded is not None
        request = question.request
        self._question = question
        self._room = min(request.most, self._loaded.context - len(request.prompt))
        self._said = []
        self._halted = question.halt > 0
        self._left = False

    def halt(self) -> None:
        """The answer under way may end anywhere from now on."""
        self._halted = True

    def leave(self) -> None:
        """The answer under way may end without a token, too: nobody reads it."""
        self._left = True

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes and yield what became complete."""
        for kind, payload in self._framing.feed(data):
            yield self._event(kind, payload)

    def _limit(self, kind: bytes) -> int | None:
        """Most payload bytes of a frame of this kind; None if it may not come now."""
        question = self._question
        if kind == b"R" and self._loaded is None:
            return _READY.size
        if kind == b"S" and question is not None and not question.margins:
            return _SPOKEN.size + MAX_SPOKEN * (5 + MAX_LIKELY * _LIKELY.size)
        if kind == b"E" and question is not None:
            return _END.size
        return None

    def _event(self, kind: bytes, payload: bytes) -> Event:
        if kind == b"R":
            return self._ready(payload)
        assert self._question is not None
        if kind == b"S":
            return self._spoken(payload, self._question)
        answered = self._end(payload, self._question)
        self._question = None
        return answered

    def _ready(self, payload: bytes) -> Loaded:
        if len(payload) != _READY.size:
            raise MalformedError("the engine sent a short greeting")
        version, vocabulary, context = _READY.unpack(payload)
        if version != VERSION:
            raise MalformedError(
                f"the engine speaks version {version} and not {VERSION}",
                hint="Use the engine image that this version of Open-Swarm builds.",
            )
        if not 0 < vocabulary <= MAX_ID or not context:
            raise MalformedError("the engine has no tokens")
        self._loaded = Loaded(vocabulary, context)
        return self._loaded

    def _spoken(self, payload: bytes, question: Question) -> Spoken:
        if len(payload) < _SPOKEN.size:
            raise MalformedError("the engine sent short tokens")
        start, count = _SPOKEN.unpack_from(payload)
        if start != len(self._said) or not 0 < count <= MAX_SPOKEN:
            raise MalformedError("the engine's tokens do not follow each other")
        if start + count > self._room:
            raise LimitError(f"the engine says more than {self._room} tokens")
        at = _SPOKEN.size + 4 * count
        if len(payload) < at:
            raise MalformedError("the engine's tokens are cut off")
        tokens = struct.unpack_from(f">{count}I", payload, _SPOKEN.size)
        self._check(tokens)
        self._said.extend(tokens)
        likely: tuple[tuple[tuple[int, float], ...], ...] = ()
        if question.top:
            likely, at = self._likely(payload, at, tokens, question.top)
        if at != len(payload):
            raise MalformedError("the engine sent something after its tokens")
        return Spoken(start, tokens, likely)

    def _likely(
        self, payload: bytes, at: int, tokens: tuple[int, ...], top: int
    ) -> tuple[tuple[tuple[tuple[int, float], ...], ...], int]:
        """Probabilities of each token, and where they end."""
        found = []
        for token in tokens:
            width = payload[at] if at < len(payload) else 0
            end = at + 1 + width * _LIKELY.size
            if not 0 < width <= top or end > len(payload):
                raise MalformedError("the engine's probabilities are cut off, or too many")
            pairs = tuple(_LIKELY.iter_unpack(payload[at + 1 : end]))
            if pairs[0][0] != token:
                raise MalformedError("the engine's probabilities are of another token")
            self._check(tuple(each for each, _ in pairs))
            if not all(-math.inf < value <= _NEARLY_ZERO for _, value in pairs):
                raise MalformedError("the engine sent a log probability that is none")
            found.append(pairs)
            at = end
        return tuple(found), at

    def _check(self, tokens: tuple[int, ...]) -> None:
        assert self._loaded is not None
        if max(tokens) >= self._loaded.vocabulary:
            raise MalformedError("the engine sent a token that its model does not have")

    def _end(self, payload: bytes, question: Question) -> Answered:
        if len(payload) != _END.size:
            raise MalformedError("the engine sent a short end")
        number, count, agreed, mean, most, *seconds = _END.unpack(payload)
        finish = FINISHES[number] if number < len(FINISHES) else None
        if finish is None:
            raise MalformedError(f"the engine sent an unknown end {number}")
        if not all(0 <= each <= _MAX_SECONDS for each in seconds):
            raise MalformedError("the engine sent times that cannot be")
        given = question.given.tokens
        tokens = given if question.margins else tuple(self._said)
        if count != len(tokens):
            raise MalformedError("the engine miscounts its tokens")
        if not 0 <= agreed <= len(given) or given[:agreed] != tokens[:agreed]:
            raise MalformedError("the engine agrees with what nobody claimed")
        gaps = None
        if question.margins:
            gaps = Gaps(mean, most)
            if not 0 <= mean <= most:  # false for NaN too
                raise MalformedError("the engine sent gaps that cannot be")
        elif not self._left:
            self._check_finish(finish, count)
        return Answered(tokens, finish, agreed, gaps, *seconds)

    def _check_finish(self, finish: Finish, count: int) -> None:
        if not count:
            raise MalformedError("the engine sent an empty answer")
        if (finish is Finish.LENGTH and count != self._room) or (
            finish is Finish.HALTED and (not self._halted or count == self._room)
        ):
            raise MalformedError(f"the engine's answer cannot end with {finish}")
