"""The handlers of ``/v1/messages`` and ``/v1/messages/count_tokens``: Anthropic's API.

A whole message, and the events ``message_delta`` and ``message_stop`` of a stream, have one field
more, ``swarm`` (``tracker.endpoint.verdicts``); the other events say ``{"verified": false}``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web

from tracker.endpoint import sse
from tracker.endpoint.anthropic_requests import parse_count, parse_message
from tracker.endpoint.errors import anthropic_body
from tracker.endpoint.inquiry import Counter, Inquiry, Outcome, ask, tokens
from tracker.endpoint.keys import ApiKey
from tracker.endpoint.narration import Piece
from tracker.endpoint.openai import new_id
from tracker.endpoint.shells import CORS, broken, read_body
from tracker.endpoint.streams import PAUSE, EventStream, attended
from tracker.endpoint.verdicts import UNVERIFIED, verdict
from tracker.endpoint.verifying import require_verified, verified_only

Json = dict[str, object]
PING = sse.event({"type": "ping"}, "ping")


@dataclass(frozen=True, slots=True)
class Anthropic:
    """Messages. ``pause`` is seconds between pings."""

    counter: Counter
    pause: float = PAUSE

    async def messages(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """``POST /v1/messages``."""
        before = verified_only(request.headers)
        wish, talk = parse_message(await read_body(request))
        inquiry = await self.counter.open(wish, (talk,), "messages")
        id_ = new_id("msg_", self.counter.draw)
        if wish.stream:
            return await attended(request, self._stream(request, key, inquiry, id_, before))
        (outcome,) = await attended(request, ask(self.counter, key, inquiry, checked=before))
        if before:
            require_verified([outcome])
        body = orjson.dumps(whole(inquiry, id_, outcome))
        return web.Response(body=body, content_type="application/json")

    async def count(self, request: web.Request, _: ApiKey) -> web.StreamResponse:
        """``POST /v1/messages/count_tokens``."""
        model, talk = parse_count(await read_body(request))
        served = self.counter.find(model)
        language = await self.counter.languages(served)
        ids = await tokens(language, talk, served.card.context, "messages")
        return web.json_response({"input_tokens": len(ids)})

    async def _stream(
        self, request: web.Request, key: ApiKey, inquiry: Inquiry, id_: str, before: bool
    ) -> web.StreamResponse:
        stream = EventStream(request, CORS, comment=PING, pause=self.pause)
        begun = False

        async def tell(_: int, piece: Piece) -> None:
            nonlocal begun
            start = () if begun else opening(inquiry, id_)
            begun = True
            await stream.send(*start, *more(piece))

        try:
            asking = ask(self.counter, key, inquiry, tell=None if before else tell, checked=before)
            (outcome,) = await stream.kept(asking)
            if before:
                require_verified([outcome])
                await tell(0, Piece(outcome.text))
            start = () if begun else opening(inquiry, id_)
            await stream.send(*start, *closing(inquiry, outcome, shown=not before))
        except Exception as error:
            if not stream.begun:
                raise
            await stream.send(sse.event(anthropic_body(broken(error, request)), "error"))
        return await stream.end()


def whole(inquiry: Inquiry, id_: str, outcome: Outcome) -> Json:
    """A message that does not stream."""
    usage: Json = {"input_tokens": inquiry.prompted, "output_tokens": outcome.generated}
    return _message(inquiry, id_, usage) | {
        "content": [{"type": "text", "text": outcome.text}],
        "stop_reason": stop_reason(inquiry, outcome),
        "stop_sequence": outcome.stop,
        "swarm": verdict(outcome.settled),
    }


def opening(inquiry: Inquiry, id_: str) -> Sequence[bytes]:
    """The events before any text."""
    message = _message(inquiry, id_, {"input_tokens": inquiry.prompted, "output_tokens": 0})
    block: Json = {"index": 0, "content_block": {"type": "text", "text": ""}}
    return (
        _event("message_start", {"message": message}),
        _event("content_block_start", block),
        PING,
    )


def more(piece: Piece) -> Sequence[bytes]:
    """The event of more text."""
    if not piece.text:
        return ()
    delta = {"type": "text_delta", "text": piece.text}
    return (_event("content_block_delta", {"index": 0, "delta": delta}),)


def closing(inquiry: Inquiry, outcome: Outcome, *, shown: bool) -> Sequence[bytes]:
    """The events after the text; ``shown`` is whether it came before its verdict."""
    told = verdict(outcome.settled, outcome.text if shown and outcome.corrected else None)
    delta = {"stop_reason": stop_reason(inquiry, outcome), "stop_sequence": outcome.stop}
    usage = {"output_tokens": outcome.generated}
    return (
        _event("content_block_stop", {"index": 0}),
        _event("message_delta", {"delta": delta, "usage": usage}, told),
        _event("message_stop", {}, told),
    )


def stop_reason(inquiry: Inquiry, outcome: Outcome) -> str:
    """Why the answer ends, in Anthropic's words."""
    if outcome.stop is not None:
        return "stop_sequence"
    if outcome.finish == "stop":
        return "end_turn"
    return "model_context_window_exceeded" if inquiry.cut else "max_tokens"


def _message(inquiry: Inquiry, id_: str, usage: Json) -> Json:
    return {
        "id": id_,
        "type": "message",
        "role": "assistant",
        "model": inquiry.served.card.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _event(kind: str, fields: Json, swarm: Json = UNVERIFIED) -> bytes:
    return sse.event({"type": kind} | fields | {"swarm": swarm}, kind)
