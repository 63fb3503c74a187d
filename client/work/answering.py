"""Units that ask a model: what its cell is asked, and what becomes of its answer."""

import asyncio
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import cast

from client.work.speech import rate_of
from sandbox.models.runtime import (
    Answered,
    Given,
    ModelCell,
    ModelRuntime,
    ModelSpec,
    Question,
    Spoken,
)
from sandbox.runner import Limits
from validators.texts import stands
from workunits.errors import LimitError, LocalError, MalformedError, RefusedError
from workunits.manifest import Manifest
from workunits.metainfo import hash_stream
from workunits.models.answer import OUTPUT, REJECTED, Answer, meter
from workunits.models.gguf import read_header
from workunits.models.request import Request
from workunits.models.requests import read_request
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.verification import Comparator
from workunits.wire.models import Ask

REFUSED = 2
"""Exit status of a unit whose request the model cannot take: too long, or with unknown tokens."""


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a unit. Without ``answer`` it is a result that has none; ``rate`` is tokens a
    second, 0 for a check."""

    result: Result
    contents: tuple[bytes, ...] = ()
    answer: Answer | None = None
    rate: float = 0.0


async def serve(runtime: ModelRuntime, manifest: Manifest, model: Path) -> ModelCell:
    """Load the model of a job.

    Raises ``MalformedError`` or ``LimitError`` when the file is no sound model; no native code has
    seen it then. Otherwise what ``ModelRuntime.serve`` raises, and ``LocalError``.
    """
    try:
        await asyncio.to_thread(read_header, model)
    except OSError as error:
        raise LocalError(
            f"the model's file cannot be read: {error.strerror or error}", hint="Check the disk."
        ) from None
    program, limits = manifest.program, manifest.limits
    assert program.model is not None
    return await runtime.serve(
        ModelSpec(
            program.model.engine,
            program.image,
            model,
            program.model.context,
            Limits(
                *(limits.cpu_seconds, limits.wall_seconds),
                *(limits.memory_bytes, limits.output_bytes),
            ),
        )
    )


def request_at(path: Path, index: int) -> Request:
    """Request ``index`` of a file of requests, which may be large and is not read as a whole.

    Raises ``MalformedError`` or ``LimitError`` if it has no such request, and ``OSError``.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return read_request(b"", index)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            return read_request(cast("bytes", raw), index)


class Inquiry:
    """One unit that asks a model in a cell."""

    def __init__(self, cell: ModelCell, manifest: Manifest, ask: Ask) -> None:
        self._cell = cell
        self._manifest = manifest
        self._ask = ask
        self._halt = ask.halt
        self._asking = False
        self._stopped = False

    @property
    def checks(self) -> bool:
        """Whether somebody else's answer is checked, or gone on with."""
        return bool(self._ask.given)

    def cut(self, after: int) -> None:
        """End the answer after ``after`` tokens, at least one, or now if it has more."""
        self._halt = after
        if self._asking:
            self._cell.halt(after)

    def stop(self) -> None:
        """Nobody needs the answer any more: end it as soon as that can be."""
        self._stopped = True
        self.cut(1)

    async def run(self, read: Callable[[], Request], hear: Callable[[Spoken], None]) -> Said | None:
        """Ask; ``read`` gives the request where none came with the lease, and is called in a
        thread. ``None`` when it was stopped meanwhile.

        A request that cannot be answered is a result like any other, the same for everybody.
        Raises ``UnavailableError`` when the engine died, ``LocalError`` when the requests cannot
        be read, and ``OSError``.
        """
        model, comparator = self._manifest.program.model, self._manifest.comparator
        assert model is not None
        try:
            request = self._ask.request
            if request is None:
                request = await asyncio.to_thread(read)
            if request.most > model.most:
                raise LimitError(f"an answer of this job has at most {model.most:,} tokens")
            if self._stopped:
                return None
            question = _question(request, self._ask, self._halt, comparator)
            self._asking = True
            answered = await self._cell.answer(question, hear)
        except (MalformedError, LimitError, RefusedError):
            return None if self._stopped else Said(Result(Ending.EXITED, REFUSED, ()))
        finally:
            self._asking = False
        return None if self._stopped else _said(answered, question, self._manifest)


def _question(request: Request, ask: Ask, halt: int, comparator: Comparator) -> Question:
    given = Given(ask.given, ask.finish)
    claimed = bool(ask.given) and ask.finish is not None
    margins = claimed and comparator.by_margin
    return Question(request, given, margins=margins, halt=halt, top=ask.top)


def _said(answered: Answered, question: Question, manifest: Manifest) -> Said:
    """The result: our own answer, or under margins the claimed one if it is close enough."""
    request, given = question.request, question.given
    tokens, finish = answered.tokens, answered.finish
    if question.margins:
        gaps = answered.gaps
        if gaps is None or not stands(manifest.comparator, gaps.mean, gaps.most):
            return Said(Result(Ending.EXITED, REJECTED, ()))
        assert given.finish is not None
        tokens, finish = given.tokens, given.finish
    answer = Answer(tokens, finish, request.nonce)
    raw = answer.encode()
    if len(raw) > manifest.limits.output_bytes:
        return Said(Result(Ending.OUTPUT, 0, ()))
    ref = hash_stream(BytesIO(raw), len(raw)).info.ref
    worth = meter(request, len(tokens))
    result = Result(Ending.EXITED, 0, (NamedBlob(OUTPUT, ref),), worth)
    return Said(result, (raw,), answer, 0.0 if given.tokens else rate_of(answered))
