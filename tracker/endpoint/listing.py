"""``/v1/models``: in OpenAI's shape, or in Anthropic's for whoever says ``anthropic-version``."""

from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from tracker.endpoint.inquiry import Counter
from tracker.endpoint.keys import ApiKey
from tracker.endpoint.parlour import Served

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Listing:
    """The models that can be asked."""

    counter: Counter

    async def models(self, request: web.Request, _: ApiKey) -> web.Response:
        """``GET /v1/models``."""
        served = self.counter.parlour.models()
        if not speaks_anthropic(request):
            return web.json_response({"object": "list", "data": list(map(openai_model, served))})
        data = list(map(anthropic_model, reversed(served)))  # the newest first, as it says
        ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        body = {"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]}
        return web.json_response(body)

    async def model(self, request: web.Request, _: ApiKey) -> web.Response:
        """``GET /v1/models/{model}``."""
        served = self.counter.find(request.match_info["model"])
        shown = anthropic_model if speaks_anthropic(request) else openai_model
        return web.json_response(shown(served))


def speaks_anthropic(request: web.Request) -> bool:
    """Which of the two APIs a request is meant for, where both have the same path."""
    return "anthropic-version" in request.headers or request.path.startswith("/v1/messages")


def openai_model(served: Served) -> Json:
    """A model as OpenAI's API shows it, and under ``swarm`` what only a swarm has."""
    card = served.card
    return {
        "id": card.name,
        "object": "model",
        "created": served.created,
        "owned_by": "swarm",
        "swarm": {
            "architecture": card.architecture,
            "quantisation": card.quantisation,
            "context": card.context,
            "licence": card.licence,
            "parameters": card.parameters,
            "engine": card.engine.value,
            "file": card.file.v2.hex(),
            "price": served.price,
        },
    }


def anthropic_model(served: Served) -> Json:
    """A model as Anthropic's API shows it."""
    created = datetime.fromtimestamp(served.created, UTC)
    return {
        "type": "model",
        "id": served.card.name,
        "display_name": served.card.name,
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
