"""Everything under ``/v1``: OpenAI's and Anthropic's APIs of one tracker."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Self

from aiohttp import web

from tracker.endpoint import errors
from tracker.endpoint.anthropic import Anthropic
from tracker.endpoint.auth import KeyRing
from tracker.endpoint.batches.handlers import Batches
from tracker.endpoint.batches.runner import Runner
from tracker.endpoint.batches.store import Store
from tracker.endpoint.dialects import Dialects
from tracker.endpoint.errors import ApiError, Fault
from tracker.endpoint.inquiry import Counter
from tracker.endpoint.language import Languages
from tracker.endpoint.listing import Listing, speaks_anthropic
from tracker.endpoint.openai import CHAT, COMPLETIONS, OpenAI
from tracker.endpoint.parlour import Parlour
from tracker.endpoint.shells import Handler, Plain, Shell, answer, preflight
from tracker.endpoint.streams import PAUSE


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The APIs. ``runner.run()`` has to run beside them, or no batch is worked on; ``close`` comes
    after its end."""

    keys: KeyRing
    openai: OpenAI
    anthropic: Anthropic
    listing: Listing
    batches: Batches
    runner: Runner

    @classmethod
    def open(
        cls,
        parlour: Parlour,
        keys: KeyRing,
        folder: Path,
        *,
        languages: Languages | None = None,
        draw: Callable[[int], bytes] = os.urandom,
        wall: Callable[[], float] = time,
        pause: float = PAUSE,
    ) -> Self:
        """``folder`` is where files and batches are kept, ``pause`` seconds between keep-alives."""
        counter = Counter(parlour, languages or Dialects(), draw)
        openai = OpenAI(counter, wall, pause)
        store = Store(folder)
        runner = Runner(store, openai, keys, wall)
        batches = Batches(store, runner, draw, wall)
        anthropic = Anthropic(counter, pause)
        return cls(keys, openai, anthropic, Listing(counter), batches, runner)

    def close(self) -> None:
        """Let go of the disk."""
        self.batches.store.close()

    def routes(self) -> list[web.RouteDef]:
        """Everything under ``/v1``."""
        of_openai = Shell(self.keys, errors.openai)
        of_anthropic = Shell(self.keys, errors.anthropic)
        return [
            web.post(CHAT, of_openai(self.openai.chat)),
            web.post(COMPLETIONS, of_openai(self.openai.completions)),
            web.get("/v1/models", self._either(self.listing.models)),
            web.get("/v1/models/{model:.+}", self._either(self.listing.model)),
            web.post("/v1/messages", of_anthropic(self.anthropic.messages)),
            web.post("/v1/messages/count_tokens", of_anthropic(self.anthropic.count)),
            *(
                web.route(method, path, of_openai(handler))
                for method, path, handler in self.batches.routes()
            ),
            web.options("/v1/{path:.*}", preflight),
            web.route("*", "/v1/{path:.*}", unknown),
        ]

    def _either(self, handler: Handler) -> Plain:
        shells = {
            anthropic: Shell(self.keys, shape)(handler)
            for anthropic, shape in ((True, errors.anthropic), (False, errors.openai))
        }

        async def handle(request: web.Request) -> web.StreamResponse:
            return await shells[speaks_anthropic(request)](request)

        return handle


async def unknown(request: web.Request) -> web.Response:
    """What nobody answers."""
    error = ApiError(
        Fault.MISSING, f"Invalid URL ({request.method} {request.path[:200]})", tag="unknown_url"
    )
    return answer(errors.anthropic if speaks_anthropic(request) else errors.openai, error)
