"""The fake model: tokens out of a hash, under the same contract as the engines.

An answer is a function of the first bytes of the model's file and of the request, as with a real
engine in its pinned build, so two of them agree about it, and one with another file does not.
"""

import asyncio
import hashlib
import math
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.models.runtime import Answered, Gaps, ModelSpec, OutOfMemoryError, Question, Spoken
from workunits.errors import LocalError, RefusedError, UnavailableError
from workunits.models.answer import Finish
from workunits.models.request import Request, pack_ids

Oracle = Callable[[bytes, Request, int], int]
"""The token at a place of the answer to a request, by a model that is known by its digest."""

_CLAIM_SECONDS = 0.4
_HEAD = 1 << 20


@dataclass(slots=True)
class FakeModels:
    """How the models of a ``FakeSandbox`` behave; may be changed while they run.

    ``length`` is after how many tokens a text ends, the end of text included; None makes it
    depend on the request. ``token_seconds`` is what one token takes, ``prompt_seconds`` one of the
    prompt, ``load_seconds`` a container. A claimed token takes ``check_share`` of another. ``gap``
    is how far a wrong token is below the best one. ``crashes`` are for the next answers after how
    many tokens the engine dies; None leaves one in peace. A container has memory for prompts of
    fewer than ``room`` tokens, and cannot even load a model if that is 0. ``oracle`` replaces the
    hash.
    """

    vocabulary: int = 256
    ends: frozenset[int] = frozenset({0})
    length: int | None = None
    token_seconds: float = 0.0
    prompt_seconds: float = 0.0
    load_seconds: float = 0.0
    check_share: float = 0.4
    gap: float = 5.0
    crashes: "deque[int | None]" = field(default_factory=deque)
    room: int | None = None
    oracle: Oracle | None = None
    loads: int = 0
    answered: int = 0

    def token(self, model: bytes, request: Request, place: int) -> int:
        """The token at ``place`` of the answer."""
        if self.oracle is not None:
            return self.oracle(model, request, place)
        asked = _asked(model, request)
        length = self.length or 8 + int.from_bytes(asked[:2], "big") % 120
        if place + 1 >= length:
            return min(self.ends)
        drawn = hashlib.sha256(asked + struct.pack(">I", place)).digest()
        token = int.from_bytes(drawn[:8], "big") % self.vocabulary
        while token in self.ends:
            token = (token + 1) % self.vocabulary
        return token


def _asked(model: bytes, request: Request) -> bytes:
    """What decides an answer, but not where it is cut. Greedy answers have no seed."""
    drawn = request.seed if request.sampling.temperature else 0
    words = repr((drawn, request.sampling, request.form)).encode()
    return hashlib.sha256(model + pack_ids(request.prompt) + words).digest()


def digest(spec: ModelSpec) -> bytes:
    """What a fake model is known by: the first MiB of its file."""
    try:
        with spec.model.open("rb") as file:
            return hashlib.sha256(file.read(_HEAD)).digest()
    except OSError as error:
        raise LocalError(
            f"the model {spec.model} cannot be read: {error.strerror}", hint="Check the file."
        ) from None


class FakeModelCell:
    """See ``runtime.ModelCell``."""

    def __init__(
        self,
        models: FakeModels,
        spec: ModelSpec,
        stopped: asyncio.Event,
        on_close: Callable[["FakeModelCell"], None],
    ) -> None:
        self.spec = spec
        self._models = models
        self._model = digest(spec)
        self._stopped = stopped
        self._on_close = on_close
        self._loaded = False
        self._busy = False
        self._closed = False
        self._halt = 0

    @property
    def context(self) -> int:
        """See ``runtime.ModelCell``."""
        return self.spec.context

    async def load(self) -> None:
        """Begin a container."""
        self._check_engine()
        self._allot(0)
        self._models.loads += 1
        await self._sleep(self._models.load_seconds)
        self._loaded = True

    async def answer(self, question: Question, hear: Callable[[Spoken], None]) -> Answered:
        """See ``runtime.ModelCell.answer``."""
        if self._closed or self._busy:
            raise LocalError("a model was asked while it was closed or busy", hint="Report.")
        self._refuse(question)
        self._busy, self._halt = True, question.halt
        try:
            if not self._loaded:
                await self.load()
            async with asyncio.timeout(self.spec.limits.wall_seconds):
                return await self._answer(question, hear)
        except TimeoutError:
            self._loaded = False
            raise UnavailableError("the model took too long", hint="Ask for less.") from None
        finally:
            self._busy = False

    def halt(self, after: int) -> None:
        """See ``runtime.ModelCell.halt``."""
        if self._busy:
            self._halt = min(self._halt or after, after) or 1

    async def close(self) -> None:
        """See ``runtime.ModelCell.close``."""
        self._closed = True
        self._on_close(self)

    def _refuse(self, question: Question) -> None:
        if len(question.request.prompt) >= self.spec.context:
            raise RefusedError("the prompt does not fit into the context", hint="Shorten it.")
        if max(question.request.prompt) >= self._models.vocabulary:
            raise RefusedError("the prompt has a token that the model does not know", hint="Check.")

    async def _answer(self, question: Question, hear: Callable[[Spoken], None]) -> Answered:
        clock = asyncio.get_running_loop().time
        began = clock()
        crash = self._models.crashes.popleft() if self._models.crashes else None
        self._allot(len(question.request.prompt))
        prompt = len(question.request.prompt) * self._models.prompt_seconds
        await self._sleep(prompt)
        if question.margins:
            answered = await self._measure(question)
        else:
            answered = await self._speak(question, hear, crash)
        self._models.answered += 1
        claimed = answered.agreed * self._models.check_share
        worked = (len(answered.tokens) - answered.agreed + claimed) * self._models.token_seconds
        return Answered(
            answered.tokens,
            answered.finish,
            answered.agreed,
            answered.gaps,
            prompt,
            clock() - began,
            prompt + worked,
        )

    async def _speak(
        self, question: Question, hear: Callable[[Spoken], None], crash: int | None
    ) -> Answered:
        request, given = question.request, question.given.tokens
        most = min(request.most, self.spec.context - len(request.prompt))
        tokens: list[int] = []
        agreed, finish = 0, None
        due = asyncio.get_running_loop().time()
        while finish is None:
            place = len(tokens)
            if crash is not None and place >= crash:
                self._loaded = False
                raise UnavailableError("the fake model crashed", hint="Ask again.")
            token = self._models.token(self._model, request, place)
            kept = agreed == place and place < len(given) and given[place] == token
            agreed += kept
            due += self._models.token_seconds * (self._models.check_share if kept else 1)
            await self._sleep(due - asyncio.get_running_loop().time())
            tokens.append(token)
            likely = (_likely(token, question.top, self._models.vocabulary),)
            hear(Spoken(place, (token,), likely if question.top else ()))
            finish = _finish(len(tokens), token in self._models.ends, most, self._halt)
        return Answered(tuple(tokens), finish, agreed)

    async def _measure(self, question: Question) -> Answered:
        request, given = question.request, question.given
        own = [self._models.token(self._model, request, n) for n in range(len(given.tokens))]
        gaps = [
            0.0 if claimed == token else self._models.gap
            for claimed, token in zip(given.tokens, own, strict=True)
        ]
        agreed = next((n for n, gap in enumerate(gaps) if gap), len(gaps))
        most = min(request.most, self.spec.context - len(request.prompt))
        ends = [
            _finish(n, token in self._models.ends, most, question.halt)
            for n, token in enumerate(given.tokens, 1)
        ]
        seconds = len(own) * self._models.token_seconds * self._models.check_share
        await self._sleep(seconds)
        wrong = (
            not gaps
            or max(given.tokens) >= self._models.vocabulary
            or any(ends[:-1])
            or ends[-1] is not given.finish
        )
        found = Gaps(math.inf, math.inf) if wrong else Gaps(sum(gaps) / len(gaps), max(gaps))
        return Answered(given.tokens, given.finish or Finish.HALTED, agreed, found)

    async def _sleep(self, seconds: float) -> None:
        """Take a while, unless the engine ends."""
        self._check_engine()
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
            except TimeoutError:
                return
            self._loaded = False
            self._check_engine()

    def _allot(self, tokens: int) -> None:
        """Take memory for a prompt of so many tokens."""
        if self._models.room is not None and tokens >= self._models.room:
            self._loaded = False
            raise OutOfMemoryError("the fake model has no memory", hint="Grant more.")

    def _check_engine(self) -> None:
        if self._stopped.is_set():
            raise UnavailableError("the fake engine is stopped", hint="Call engine_returns().")


def _finish(count: int, is_end: bool, most: int, halt: int) -> Finish | None:
    """Why an answer of ``count`` tokens ends, if it does."""
    if is_end:
        return Finish.STOP
    if count >= most:
        return Finish.LENGTH
    return Finish.HALTED if halt and count >= halt else None


def _likely(token: int, top: int, vocabulary: int) -> tuple[tuple[int, float], ...]:
    others = ((token + 1 + n) % vocabulary for n in range(min(top, vocabulary) - 1))
    return ((token, -0.25), *((other, -2.0 - n) for n, other in enumerate(others)))
