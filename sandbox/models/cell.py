"""A loaded model in one warm hardened container, which is replaced when in doubt."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from sandbox.attach import Attach, HungUpError
from sandbox.berth import GRACE_SECONDS, START_SECONDS, Berth, Maker
from sandbox.calls import Calls
from sandbox.models.frames import Event, Loaded, Replies, encode_halt, encode_question
from sandbox.models.runtime import Answered, ModelSpec, OutOfMemoryError, Question, Spoken
from sandbox.runner import Mount
from sandbox.slot import Slot
from workunits.errors import LocalError, RefusedError, RemoteError, UnavailableError
from workunits.models.answer import MODEL_FILE
from workunits.models.request import Request

BOOT = """
import sys
sys.path[:0] = ["/opt/engine", "/opt/engine/site"]
from sandbox.models.worker.serve import main
main()
"""
"""What process 1 of an engine's container runs."""

READ_RATE = 20e6
"""Slowest speed at which a model is read that is not stuck, in bytes per second."""
DRAIN_SECONDS = 2.0
"""How long an engine may take to leave an answer that nobody waits for."""

Kind = TypeVar("Kind", Answered, Loaded)


def words(spec: ModelSpec) -> list[str]:
    """The arguments of process 1."""
    return [spec.engine.value, str(spec.context), str(spec.threads)]


class DockerModelCell:
    """See ``runtime.ModelCell``."""

    def __init__(
        self,
        calls: Calls,
        maker: Maker,
        spec: ModelSpec,
        slot: Slot,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_close: Callable[["DockerModelCell"], None] = lambda cell: None,
    ) -> None:
        self.spec = spec
        self._berth: Berth[Event] = Berth(calls, maker, slot.folder, clock)
        self._slot = slot
        self._on_close = on_close
        self._replies = Replies()
        self._loaded: Loaded | None = None
        self._busy = False
        self._left = False
        self._closed = False

    @property
    def context(self) -> int:
        """See ``runtime.ModelCell``."""
        return self.spec.context

    async def start(self) -> None:
        """Show the model to a first container. Raises ``UnavailableError`` when it is not
        loaded (``OutOfMemoryError``), ``LocalError`` when the file cannot be read."""
        size = await asyncio.to_thread(self._install)
        if size > self.spec.limits.memory_bytes:
            raise OutOfMemoryError(
                f"a model of {size} bytes does not fit into {self.spec.limits.memory_bytes} bytes "
                "of memory",
                hint="Grant more memory, or take a smaller model.",
            )
        self._loading_seconds = START_SECONDS + size / READ_RATE
        await self._start()

    async def answer(self, question: Question, hear: Callable[[Spoken], None]) -> Answered:
        """See ``runtime.ModelCell.answer``."""
        if self._closed or self._busy:
            raise LocalError(
                "a model was asked while it was closed or busy",
                hint="This is a mistake in Open-Swarm; please report it.",
            )
        self._busy = True
        try:
            line = await self._prepare()
            self._refuse(question.request)
            return await self._ask(line, question, hear)
        finally:
            self._busy = False

    def halt(self, after: int) -> None:
        """See ``runtime.ModelCell.halt``."""
        line = self._berth.line
        if self._busy and line is not None and not self._left:
            self._replies.halt()
            line.send(encode_halt(max(after, 1)))

    async def close(self) -> None:
        """See ``runtime.ModelCell.close``."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        await self._berth.clear()
        await asyncio.to_thread(self._slot.remove)

    def _install(self) -> int:
        self._slot.install((Mount(MODEL_FILE, self.spec.model),))
        return (self._slot.folder / "job" / MODEL_FILE).stat().st_size

    async def _start(self) -> Attach[Event]:
        self._replies, self._left = Replies(), False
        try:
            line = await self._berth.occupy(self._replies)
            async with asyncio.timeout(self._loading_seconds):
                self._loaded = await self._await(line, Loaded)
            if self._loaded.context != self.spec.context:
                raise UnavailableError(
                    f"the engine gives a context of {self._loaded.context} tokens and not "
                    f"{self.spec.context}",
                    hint="Ask for a context that the model has.",
                )
        except (TimeoutError, HungUpError, RemoteError) as error:
            raise await self._give_up("the model was not loaded", error) from None
        except BaseException:
            await self._berth.clear()
            raise
        return line

    async def _prepare(self) -> Attach[Event]:
        """A container that is young, alive, and done with what was asked before."""
        line = self._berth.warm(self.spec.limits.wall_seconds)
        if line is not None and await self._is_idle(line):
            return line
        await self._berth.clear()
        return await self._start()

    async def _is_idle(self, line: Attach[Event]) -> bool:
        if not self._left:
            return True
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._await(line, Answered)
        except (TimeoutError, HungUpError, RemoteError):
            return False
        self._left = False
        return True

    def _refuse(self, request: Request) -> None:
        assert self._loaded is not None
        if len(request.prompt) >= self.spec.context:
            raise RefusedError(
                f"a prompt of {len(request.prompt)} tokens leaves no room for an answer in a "
                f"context of {self.spec.context}",
                hint="Shorten the prompt.",
            )
        if max(request.prompt) >= self._loaded.vocabulary:
            raise RefusedError(
                f"the prompt has the token {max(request.prompt)}, and the model only "
                f"{self._loaded.vocabulary}",
                hint="Use the tokenizer that belongs to the model.",
            )

    async def _ask(
        self, line: Attach[Event], question: Question, hear: Callable[[Spoken], None]
    ) -> Answered:
        seconds = self.spec.limits.wall_seconds + GRACE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                self._replies.expect(question)
                line.send(encode_question(question))
                return await self._await(line, Answered, hear)
        except (TimeoutError, HungUpError, RemoteError) as error:
            raise await self._give_up("the model did not answer", error) from None
        except BaseException:
            # Nobody listens any more; the container is good for the next one.
            if self._berth.line is line:
                self._left = True
                self._replies.leave()
                line.send(encode_halt(0))
            raise

    @staticmethod
    async def _await(
        line: Attach[Event], kind: type[Kind], hear: Callable[[Spoken], None] | None = None
    ) -> Kind:
        while True:
            event = await line.next()
            if isinstance(event, kind):
                return event
            if isinstance(event, Spoken) and hear is not None:
                hear(event)

    async def _give_up(self, what: str, error: Exception) -> UnavailableError:
        """Discard the container, and say why."""
        kind, reason = UnavailableError, str(error)
        hint = "Try again; look at the model and the engine's image if it happens always."
        if isinstance(error, TimeoutError):
            reason = "it took too long"
            hint = "Ask for less, or grant more time or threads."
        elif isinstance(error, HungUpError) and await self._berth.ran_out_of_memory():
            kind, reason = OutOfMemoryError, "the engine ran out of memory"
            hint = "Grant more memory, take a smaller model, or a shorter context."
        elif isinstance(error, HungUpError):
            last = " ".join(self._berth.complaint.splitlines()[-_LINES:])
            reason = f"the engine died: {' '.join(last.split())[-_REASON:]}"
        await self._berth.clear()
        return kind(f"{what}: {reason}", hint=hint)


_LINES, _REASON = 3, 300
