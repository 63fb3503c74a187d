"""The handlers of ``/v1/chat/completions`` and ``/v1/completions``."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from tracker.endpoint import sse
from tracker.endpoint.errors import openai_body
from tracker.endpoint.fields import Fields
from tracker.endpoint.inquiry import Counter, Outcome, ask
from tracker.endpoint.keys import ApiKey
from tracker.endpoint.language import Language
from tracker.endpoint.narration import Piece
from tracker.endpoint.openai_requests import parse_chat, parse_completion
from tracker.endpoint.replies import Reply
from tracker.endpoint.shells import CORS, broken, read_body
from tracker.endpoint.streams import PAUSE, EventStream, attended
from tracker.endpoint.verifying import require_verified, verified_only
from tracker.endpoint.wishes import Ids, Prompt, Text

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass(frozen=True, slots=True)
class OpenAI:
    """Chats and completions. ``wall`` is Unix time, ``pause`` seconds between keep-alives."""

    counter: Counter
    wall: Callable[[], float]
    pause: float = PAUSE

    async def chat(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``POST /v1/chat/completions``."""
        return await self._serve(request, key, CHAT)

    async def completions(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``POST /v1/completions``."""
        return await self._serve(request, key, COMPLETIONS)

    async def open(self, path: str, body: Fields) -> Reply:
        """A request to ``path``, checked against its model. Raises ``ApiError``."""
        draw = self.counter.draw
        if path == CHAT:
            wish, talk = parse_chat(body)
            inquiry = await self.counter.open(wish, (talk,), "messages")
            return Reply(inquiry, new_id("chatcmpl-", draw), int(self.wall()), chat=True)
        completion = parse_completion(body)
        inquiry = await self.counter.open(completion.wish, completion.prompts, "prompt")
        leads: tuple[str, ...] = ()
        if completion.echo:
            leads = tuple(text_of(inquiry.language, prompt) for prompt in completion.prompts)
        return Reply(inquiry, new_id("cmpl-", draw), int(self.wall()), chat=False, leads=leads)

    async def _serve(self, request: web.Request, key: ApiKey, path: str) -> web.StreamResponse:
        before = verified_only(request.headers)
        reply = await self.open(path, await read_body(request))
        if reply.inquiry.wish.stream:
            return await attended(request, self._stream(request, key, reply, before))
        outcomes = await attended(request, ask(self.counter, key, reply.inquiry, checked=before))
        if before:
            require_verified(outcomes)
        return web.Response(
            body=orjson.dumps(reply.whole(outcomes)), content_type="application/json"
        )

    async def _stream(
        self, request: web.Request, key: ApiKey, reply: Reply, before: bool
    ) -> web.StreamResponse:
        stream = EventStream(request, CORS, pause=self.pause)
        opened: set[int] = set()

        def opening(index: int) -> list[bytes]:
            if index in opened:
                return []
            opened.add(index)
            chunk = reply.opening(index)
            return [sse.event(chunk)] if chunk else []

        async def tell(index: int, piece: Piece) -> None:
            await stream.send(*opening(index), sse.event(reply.more(index, piece)))

        async def over(outcome: Outcome) -> None:
            end = sse.event(reply.closing(outcome, shown=True))
            await stream.send(*opening(outcome.index), end)

        try:
            if before:
                asking = ask(self.counter, key, reply.inquiry, checked=True)
                outcomes = await stream.kept(asking)
                require_verified(outcomes)
                for outcome in outcomes:
                    await stream.send(*opening(outcome.index), *_all_at_once(reply, outcome))
            else:
                asking = ask(self.counter, key, reply.inquiry, tell=tell, over=over)
                outcomes = await stream.kept(asking)
            last = [sse.event(reply.counts(outcomes))] if reply.inquiry.wish.usage else []
            await stream.send(*last, sse.DONE)
        except Exception as error:
            if not stream.begun:
                raise
            await stream.send(sse.event(openai_body(broken(error, request))))
        return await stream.end()


def _all_at_once(reply: Reply, outcome: Outcome) -> list[bytes]:
    piece = Piece(outcome.text, () if outcome.corrected else outcome.weighed)
    more = reply.more(outcome.index, piece, {"verified": True})
    return [sse.event(more), sse.event(reply.closing(outcome, shown=False))]


def new_id(prefix: str, draw: Callable[[int], bytes]) -> str:
    """An id as OpenAI's API has them."""
    return prefix + base64.b32encode(draw(20)).decode().rstrip("=").lower()


def text_of(language: Language, prompt: Prompt) -> str:
    """A prompt as text."""
    match prompt:
        case Text():
            return prompt.text
        case Ids():
            decoder = language.decoder()
            return decoder.feed(prompt.ids) + decoder.end()
    raise TypeError("a conversation is no text")
