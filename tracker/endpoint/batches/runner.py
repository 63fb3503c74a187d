"""Works on batches until they are over, also on those that a restart interrupted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from tracker.endpoint import errors
from tracker.endpoint.auth import KeyRing
from tracker.endpoint.batches import writing
from tracker.endpoint.batches.lines import Line, LineError, body_of, read_lines
from tracker.endpoint.batches.records import OUTPUT, PROMPTS_LIFE, Batch, StoredFile
from tracker.endpoint.batches.store import Answered, Store
from tracker.endpoint.errors import ApiError, Fault
from tracker.endpoint.fields import Fields
from tracker.endpoint.inquiry import Inquiry, Outcome, ask
from tracker.endpoint.keys import ApiKey, BrokeError, CrowdedError
from tracker.endpoint.openai import CHAT, OpenAI, new_id
from tracker.endpoint.openai_requests import parse_chat, parse_completion
from tracker.endpoint.streams import first
from tracker.endpoint.verifying import require_verified

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Lines of one batch that are under way together."""

SWEEP_SECONDS = 60.0
LONGEST_PAUSE = 60.0
ATTEMPTS = 3
"""How often a line is asked whose answer fails, or is verified by nobody."""


class _StoppedError(Exception):
    """Somebody cancelled the batch."""


@dataclass(slots=True, eq=False)
class _Life:
    """A batch that is worked on. ``moved`` is set when one of its lines is done."""

    batch: Batch
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    flying: int = 0


@dataclass(eq=False)
class Runner:
    """Works on all batches. ``wall`` is Unix time, ``sleep`` waits for some seconds."""

    store: Store
    openai: OpenAI
    keys: KeyRing
    wall: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    sweep_seconds: float = SWEEP_SECONDS
    _new: "asyncio.Queue[_Life]" = field(default_factory=asyncio.Queue)
    _lives: dict[str, _Life] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """A batch that was just stored."""
        life = self._lives[batch.id] = _Life(batch)
        if batch.status == "cancelling":
            life.stop.set()
        self._new.put_nowait(life)

    def cancel(self, id_: str) -> Batch | None:
        """Stop working on a batch, which still has to be saved; None if nobody works on it."""
        life = self._lives.get(id_)
        if life is None or life.batch.status not in ("validating", "in_progress"):
            return None
        life.batch.enter("cancelling", self.wall())
        life.stop.set()
        return life.batch

    def uses(self, file: str) -> bool:
        """Whether a file is the input of a batch that is not over."""
        return any(life.batch.input == file for life in self._lives.values())

    def busy(self, owner: bytes) -> int:
        """How many batches of ``owner`` are not over."""
        return sum(life.batch.owner == owner for life in self._lives.values())

    async def run(self) -> NoReturn:
        """Until it is cancelled. What is unfinished then is taken up by the next run."""
        for batch in await asyncio.to_thread(self.store.active):
            self.add(batch)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            while True:
                life = await self._new.get()
                group.create_task(self._work(life))

    async def _sweep(self) -> NoReturn:
        while True:
            await asyncio.to_thread(self.store.sweep, self.wall())
            await asyncio.sleep(self.sweep_seconds)

    async def _work(self, life: _Life) -> None:
        batch = life.batch
        try:
            await self._live(life)
        except Exception:
            log.exception("batch %s", batch.id)
            await self._fail(batch, None, "server_error", "The tracker failed; its log says more.")
        finally:
            self._lives.pop(batch.id, None)

    async def _live(self, life: _Life) -> None:
        batch = life.batch
        key = self.keys.get(batch.owner)
        if key is None or key.closed:
            await self._fail(batch, None, "invalid_api_key", "The API key was closed.")
            return
        if not batch.times.get("in_progress") and not await self._validate(batch):
            return
        end = "completed"
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(_stopped(life.stop))
                async with asyncio.timeout(max(0.0, batch.expires - self.wall())):
                    await self._answer_all(life, key)
                stopping.cancel()
        except BaseExceptionGroup as problems:
            problem = first(problems)
            if not isinstance(problem, _StoppedError | TimeoutError):
                raise
            end = "cancelled" if isinstance(problem, _StoppedError) else "expired"
        await self._finish(batch, end)

    async def _validate(self, batch: Batch) -> bool:
        """Read the input; False if it is wrong, and the batch therefore over."""
        try:
            lines = await asyncio.to_thread(self._read, batch)
        except LineError as error:
            await self._fail(batch, error.line, error.tag or "invalid", error.message)
            return False
        batch.times["in_progress"] = int(self.wall())
        if batch.status == "validating":  # and was not cancelled meanwhile
            batch.status = "in_progress"
        await asyncio.to_thread(self.store.begin, batch, lines)
        return True

    def _read(self, batch: Batch) -> list[Line]:
        lines = []
        with self.store.path(batch.input).open("rb") as stream:
            for line, body in read_lines(stream):
                try:
                    if line.url != batch.endpoint:
                        raise errors.invalid(
                            f"its url is {line.url}, and that of the batch {batch.endpoint}", "url"
                        )
                    batch.model = self.openai.counter.find(_model(line, body)).card.name
                except ApiError as error:
                    raise LineError(line.number, error) from None
                lines.append(line)
        return lines

    async def _answer_all(self, life: _Life, key: ApiKey) -> None:
        lines = iter(await asyncio.to_thread(self.store.open_lines, life.batch))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._answer_some(life, key, lines))

    async def _answer_some(self, life: _Life, key: ApiKey, lines: Iterator[Line]) -> None:
        for line in lines:
            answer = await self._answer(life, key, line)
            await asyncio.to_thread(self.store.answer, life.batch, answer)
            life.moved.set()

    async def _answer(self, life: _Life, key: ApiKey, line: Line) -> Answered:
        id_ = new_id("batch_req_", self.openai.counter.draw)
        raw = await asyncio.to_thread(self.store.read, life.batch.input, line.offset, line.length)
        failures = 0
        while True:
            life.flying += 1
            try:
                reply = await self.openai.open(line.url, body_of(raw))
                outcomes = await self._ask(key, reply.inquiry)
                return writing.answered(line, id_, reply, outcomes)
            except Exception as problem:
                found = first(problem)
                error = errors.of(found if isinstance(found, Exception) else problem)
                failures += not isinstance(found, CrowdedError | BrokeError)
                if error.fault is Fault.FAILED:
                    log.error("line %d of %s", line.number, life.batch.id, exc_info=problem)
            finally:
                life.flying -= 1
            if failures >= ATTEMPTS:
                return writing.refused(line, id_, error)
            if error.fault in (Fault.CROWDED, Fault.ABSENT):
                await self.sleep(min(LONGEST_PAUSE, error.seconds or 1.0))
            elif error.fault is Fault.BROKE and life.flying:
                # Others have credits set aside that they may not need in the end.
                life.moved.clear()
                await life.moved.wait()
            else:
                return writing.refused(line, id_, error)

    async def _ask(self, key: ApiKey, inquiry: Inquiry) -> list[Outcome]:
        """Answers of which every one is verified, where anybody checks them."""
        checked = inquiry.served.checked
        outcomes = await ask(self.openai.counter, key, inquiry, urgent=False, checked=checked)
        if checked:
            require_verified(outcomes)
        return outcomes

    async def _finish(self, batch: Batch, end: str) -> None:
        """Write the files, and come to the end."""
        if end == "completed":
            batch.enter("finalizing", self.wall())
        await asyncio.to_thread(self._write_all, batch, end)

    def _write_all(self, batch: Batch, end: str) -> None:
        draw = self.openai.counter.draw
        if end != "completed":
            why = {
                "cancelled": ("batch_cancelled", "The batch was cancelled before this was asked."),
                "expired": ("batch_expired", "The batch's time was over before this was asked."),
            }[end]
            left = self.store.open_lines(batch)
            ids = (new_id("batch_req_", draw) for _ in left)
            missed = (writing.unasked(line, id_, *why) for line, id_ in zip(left, ids, strict=True))
            self.store.answer(batch, *missed)
        batch.counts = self.store.counts(batch)
        batch.output = self._write(batch, failed=False)
        batch.error = self._write(batch, failed=True)
        batch.enter(end, self.wall())
        self._end(batch)

    def _write(self, batch: Batch, *, failed: bool) -> str | None:
        """The output or the error file, if it has a line."""
        id_ = new_id("file-", self.openai.counter.draw)
        size = 0
        with self.store.draft(id_).open("wb") as draft:
            for answer in self.store.answers(batch, failed=failed):
                size += draft.write(answer + b"\n")
        if not size:
            self.store.draft(id_).unlink()
            return None
        now = int(self.wall())
        name = f"{batch.id}_{'error' if failed else 'output'}.jsonl"
        expires = now + batch.output_life
        self.store.keep(StoredFile(id_, batch.owner, name, OUTPUT, size, now, expires))
        return id_

    async def _fail(self, batch: Batch, line: int | None, code: str, message: str) -> None:
        batch.errors = [{"code": code, "line": line, "message": message, "param": None}]
        batch.enter("failed", self.wall())
        await asyncio.to_thread(self._end, batch)

    def _end(self, batch: Batch) -> None:
        self.store.finish(batch)
        if not batch.keeps:
            self.store.shorten(batch.input, int(self.wall()) + PROMPTS_LIFE)


def _model(line: Line, body: Fields) -> str:
    """The model that a line asks, whose body is right in all else. Raises ``ApiError``."""
    wish = parse_chat(body)[0] if line.url == CHAT else parse_completion(body).wish
    return wish.model


async def _stopped(stop: asyncio.Event) -> NoReturn:
    await stop.wait()
    raise _StoppedError
