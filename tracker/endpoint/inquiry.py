"""One request of an API as calls to the parlour: as many as it wants answers, side by side."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from tracker.endpoint.errors import ApiError, Fault, invalid
from tracker.endpoint.keys import ApiKey, BrokeError, CrowdedError
from tracker.endpoint.language import Language, Languages
from tracker.endpoint.narration import Narrator, Piece, Weighed, text_of
from tracker.endpoint.parlour import Call, Heard, Parlour, Served, Settled
from tracker.endpoint.wishes import Ids, Prompt, Talk, Text, Wish, seeds
from workunits.errors import LimitError, RefusedError
from workunits.models.answer import Finish
from workunits.models.request import MAX_NEW, NONCE_SIZE, Request

USUAL_MOST = 2048
"""Tokens of an answer that nobody gave a limit, if the context has so many left."""

AT_ONCE = 1 << 13
"""Bytes that are tokenized on the spot; more of them take a thread."""

TURN = 100
"""Bytes that take as long as the marks of one turn."""

Tell = Callable[[int, Piece], Awaitable[None]]
"""Takes which answer, and more of its text."""

Over = Callable[["Outcome"], Awaitable[None]]
"""Takes an answer with its verdict."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A wish that fits its model. ``requests`` has one for each answer, prompt after prompt.

    ``cut`` is whether the context leaves room for fewer tokens than were wished.
    """

    served: Served
    language: Language
    wish: Wish
    requests: tuple[Request, ...]
    cut: bool = False

    @property
    def prompted(self) -> int:
        """Tokens of all prompts; one that is answered several times counts once."""
        return sum(len(each.prompt) for each in self.requests[:: self.wish.count])


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer at its end. ``finish`` is OpenAI's word; ``stop`` the sequence that ended it;
    ``corrected`` whether another text had been heard; ``generated`` tokens were paid for."""

    index: int
    text: str
    finish: str
    stop: str | None
    weighed: tuple[Weighed, ...]
    corrected: bool
    settled: Settled

    @property
    def generated(self) -> int:
        """Tokens of the answer, an end of text included."""
        return len(self.settled.tokens)


@dataclass(frozen=True, slots=True)
class Counter:
    """Where wishes are taken. ``draw`` gives random bytes, for seeds, nonces and ids."""

    parlour: Parlour
    languages: Languages
    draw: Callable[[int], bytes] = field(default=os.urandom)

    def find(self, name: str) -> Served:
        """The model of that name. Raises ``ApiError``."""
        served = self.parlour.find(name)
        if served is None:
            raise ApiError(
                Fault.MISSING,
                f"The model '{name[:100]}' does not exist. GET /v1/models lists those that do.",
                param="model",
                tag="model_not_found",
            )
        return served

    async def open(self, wish: Wish, prompts: Sequence[Prompt], field_: str) -> Inquiry:
        """Turn prompts into tokens, and check that they fit. Raises ``ApiError``; ``field_`` is
        the field that the prompts came in."""
        served = self.find(wish.model)
        language = await self.languages(served)
        context = served.card.context
        all_ids = [await tokens(language, prompt, context, field_) for prompt in prompts]
        if not all(all_ids):
            raise invalid(f"'{field_}' is empty; say something", field_, "empty_prompt")
        room = context - max(map(len, all_ids))
        most = min(USUAL_MOST, room) if wish.most is None else wish.most
        cut = most > room
        if room < 1 or (cut and not wish.fit):
            raise overflow(context, context - room, wish.most or 1, field_)
        first = int.from_bytes(self.draw(6), "big") if wish.seed is None else wish.seed
        requests = tuple(
            Request(
                prompt=ids,
                most=min(most, room, MAX_NEW),
                seed=seed,
                nonce=self.draw(NONCE_SIZE),
                sampling=wish.sampling,
                form=wish.form,
            )
            for ids in all_ids
            for seed in seeds(first, wish.count)
        )
        return Inquiry(served, language, wish, requests, cut)


async def tokens(language: Language, prompt: Prompt, context: int, field_: str) -> tuple[int, ...]:
    """The ids of a prompt. One that cannot fit into ``context`` is refused before it costs time."""
    if isinstance(prompt, Ids):
        if max(prompt.ids) >= language.size:
            raise invalid(f"'{field_}' has a token id that the model does not know", field_)
        return prompt.ids
    size = prompt_size(prompt)
    if size // language.longest > context:
        raise overflow(context, size // language.longest, 1, field_, least=True)
    try:
        turns = len(prompt.turns) if isinstance(prompt, Talk) else 0
        if size + TURN * turns <= AT_ONCE:
            return _encode(language, prompt)
        return await asyncio.to_thread(_encode, language, prompt)
    except LimitError as error:
        raise invalid(error.message, field_, "context_length_exceeded") from None
    except RefusedError as error:  # the chat template wants the turns in another order
        raise invalid(f"{error.message}. {error.hint}", field_) from None


def prompt_size(prompt: Talk | Text) -> int:
    """Bytes of a prompt's text, without what a template adds."""
    if isinstance(prompt, Text):
        return len(prompt.text.encode())
    return sum(len(turn.content.encode()) for turn in prompt.turns)


def overflow(context: int, prompt: int, most: int, field_: str, *, least: bool = False) -> ApiError:
    """The prompt and the answer do not fit into the context together."""
    about = "at least " if least else ""
    return invalid(
        f"This model's maximum context length is {context} tokens. However, you requested "
        f"{about}{prompt + most} tokens ({about}{prompt} in the {field_}, {most} in the "
        f"completion). Please reduce the length of the {field_} or completion.",
        field_,
        "context_length_exceeded",
    )


def _encode(language: Language, prompt: Talk | Text) -> tuple[int, ...]:
    return language.chat(prompt.turns) if isinstance(prompt, Talk) else language.plain(prompt.text)


async def ask(
    counter: Counter,
    key: ApiKey,
    inquiry: Inquiry,
    *,
    tell: Tell | None = None,
    over: Over | None = None,
    urgent: bool = True,
    checked: bool = False,
) -> list[Outcome]:
    """Ask for every answer and follow all of them to their verdicts.

    ``tell`` hears text as it comes, ``over`` verdicts. What is to be ``checked`` is not begun where
    nobody could check it. An answer that fails before anything of it was told is asked for once
    more, in silence. Whatever goes wrong, or when this is cancelled, no call is left open. Raises
    what ``Parlour.ask`` and ``Call.events`` raise.
    """
    outcomes: list[Outcome] = []
    # Stop sequences are found, and probabilities told, in tokens as they come.
    stream = bool(tell or inquiry.wish.stops or inquiry.wish.top)

    async def follow(index: int, calls: "_Calls") -> None:
        told = False

        async def show(piece: Piece) -> None:
            nonlocal told
            if tell and piece:
                told = True
                await tell(index, piece)

        try:
            outcome = await _follow(inquiry, index, calls.call(index), show)
        except RefusedError as error:
            if told or isinstance(error, ApiError | CrowdedError | BrokeError):
                raise
            outcome = await _follow(inquiry, index, calls.again(index), show)
        outcomes.append(outcome)
        if over:
            await over(outcome)

    async with _Calls(counter.parlour, key, inquiry, stream, urgent, checked) as calls:
        if len(inquiry.requests) == 1:
            await follow(0, calls)
        else:
            async with asyncio.TaskGroup() as group:
                for index in range(len(inquiry.requests)):
                    group.create_task(follow(index, calls))
    return sorted(outcomes, key=lambda each: each.index)


class _Calls:
    """The calls of an inquiry. All begin together, and none is left open at the end."""

    def __init__(
        self,
        parlour: Parlour,
        key: ApiKey,
        inquiry: Inquiry,
        stream: bool,
        urgent: bool,
        checked: bool,
    ) -> None:
        self._parlour = parlour
        self._key = key
        self._inquiry = inquiry
        self._stream = stream
        self._urgent = urgent
        self._checked = checked
        self._calls: list[Call] = []
        self._over: list[Call] = []

    async def __aenter__(self) -> Self:
        try:
            for request in self._inquiry.requests:
                self._calls.append(self._ask(request, again=False))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def call(self, index: int) -> Call:
        """The call for one answer."""
        return self._calls[index]

    def again(self, index: int) -> Call:
        """Another call for the same answer."""
        self._over.append(self._calls[index])
        self._calls[index] = self._ask(self._inquiry.requests[index], again=True)
        return self._calls[index]

    def _ask(self, request: Request, *, again: bool) -> Call:
        return self._parlour.ask(
            *(self._key, self._inquiry.served, request),
            stream=self._stream,
            top=self._inquiry.wish.top,
            urgent=self._urgent,
            again=again,
            checked=self._checked,
        )

    async def _close(self) -> None:
        for call in (*self._over, *self._calls):
            await call.close()


async def _follow(
    inquiry: Inquiry, index: int, call: Call, show: Callable[[Piece], Awaitable[None]]
) -> Outcome:
    stops = inquiry.wish.stops
    narrator = Narrator(inquiry.language, stops)
    halted = False
    async for event in call.events():
        if isinstance(event, Heard):
            piece = narrator.hear(event)
            if narrator.needed is not None and not halted:
                halted = True
                call.halt(narrator.needed)
        else:
            piece = narrator.end()
        await show(piece)
        if isinstance(event, Settled):
            return _outcome(inquiry, index, narrator, event)
    raise ApiError(Fault.ABSENT, "The answer broke off. Try again.", seconds=1)


def _outcome(inquiry: Inquiry, index: int, narrator: Narrator, settled: Settled) -> Outcome:
    right = narrator
    if not settled.same or not narrator.tokens:
        right = text_of(inquiry.language, inquiry.wish.stops, settled.tokens)
    ended = right.stop is not None or settled.finish is Finish.STOP
    return Outcome(
        index=index,
        text=right.text,
        finish="stop" if ended else "length",
        stop=right.stop,
        weighed=tuple(right.weighed),
        corrected=not settled.same,
        settled=settled,
    )
