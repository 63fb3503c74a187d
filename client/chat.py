"""A client of a tracker's chat endpoint: text as it comes, and the verdict on it."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import aiohttp

from client.json_fields import JsonFields, decode_object
from client.tracker_api import TrackerError, check_url
from workunits.errors import LimitError, SwarmError, UnavailableError
from workunits.ids import HASH_SIZE

MAX_EVENT = 4 << 20
MAX_ANSWER = 16 << 20
MAX_ERROR = 64 << 10
MAX_MODELS = 10_000
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)
"""The tracker says that it is still there every 15 s."""

_HINTS = {
    401: "The key comes from --key or SWARM_API_KEY.",
    402: "`swarm api-key list` shows what your keys have left.",
    404: "`swarm model list` shows what there is.",
    503: "`swarm peers` shows who is there; `swarm volunteer` answers from this machine.",
}


@dataclass(frozen=True, slots=True)
class More:
    """More of the answer's text; ``verified`` if its verdict is there."""

    text: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end. ``corrected`` is the text that stands where another was shown; ``entry`` is the
    number of the ledger entry, -1 if there is none; ``finish`` is ``stop`` or ``length``."""

    verified: bool
    same: bool
    validators: tuple[bytes, ...]
    worker: bytes
    unit: str
    entry: int
    cost: int
    reason: str
    finish: str
    corrected: str | None


Said: TypeAlias = More | Verdict


class Events:
    """The data of server-sent events (WHATWG HTML, 9.2), from bytes in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take bytes; gives the data of events that are complete. Raises ``LimitError``."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            name, _, value = line.removesuffix(b"\r").partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif not name and not value and self._data:
                yield b"\n".join(self._data)
                self._data = []
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT:
            raise LimitError(f"an event of the tracker is over {MAX_EVENT:,} bytes")


def read_chunk(data: bytes) -> Iterator[Said]:
    """What a chunk says. Raises ``MalformedError``, and ``UnavailableError`` if it is an error."""
    chunk = decode_object(data, limit=MAX_EVENT, what="a chunk of the answer")
    if chunk.has("error"):
        message = chunk.group("error").text("message", limit=4000)
        raise UnavailableError(f"the answer broke off: {message}", hint="Ask again.")
    swarm = chunk.group("swarm")
    verified = swarm.flag("verified")
    for choice in chunk.groups("choices", 1):
        delta = choice.group("delta")
        if delta.has("content") and (text := delta.prose("content", limit=MAX_ANSWER)):
            yield More(text, verified)
        if choice.has("finish_reason"):
            yield _verdict(swarm, choice.text("finish_reason", limit=40))


def _verdict(swarm: JsonFields, finish: str) -> Verdict:
    return Verdict(
        verified=swarm.flag("verified"),
        same=swarm.flag("same"),
        validators=swarm.octets_list("validators", HASH_SIZE, 1000),
        worker=swarm.octets("worker", HASH_SIZE),
        unit=swarm.text("unit", limit=200),
        entry=swarm.integer("ledger_entry") if swarm.has("ledger_entry") else -1,
        cost=swarm.integer("cost"),
        reason=swarm.text("reason", limit=1000, default=""),
        finish=finish,
        corrected=swarm.prose("text", limit=MAX_ANSWER) if swarm.has("text") else None,
    )


class ChatApi:
    """Talks to the models of one tracker. Errors are ``SwarmError`` with a hint."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: str) -> None:
        self._session = session
        self._url = f"{check_url(url)}/v1"
        self._headers = {"Authorization": f"Bearer {secret}"}

    async def models(self) -> list[str]:
        """The names of all models."""
        try:
            async with self._session.get(f"{self._url}/models", headers=self._headers) as answer:
                if answer.status != 200:
                    await self._refuse(answer)
                raw = await answer.content.read(MAX_ANSWER)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None
        fields = decode_object(raw, limit=MAX_ANSWER, what="the list of models")
        return [model.text("id", limit=200) for model in fields.groups("data", MAX_MODELS)]

    async def say(
        self, model: str, messages: Sequence[dict[str, str]], *, before: bool, **settings: object
    ) -> AsyncGenerator[Said, None]:
        """Ask; the last that comes is the verdict. ``before`` lets nothing come ahead of it."""
        body = {"model": model, "messages": list(messages), "stream": True} | settings
        headers = self._headers | ({"X-Swarm-Verify": "before"} if before else {})
        url = f"{self._url}/chat/completions"
        events = Events()
        try:
            async with self._session.post(url, json=body, headers=headers) as answer:
                if answer.status != 200:
                    await self._refuse(answer)
                async for piece in answer.content.iter_any():
                    for data in events.feed(piece):
                        if data == b"[DONE]":
                            return
                        for said in read_chunk(data):
                            yield said
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None
        raise UnavailableError("the answer broke off", hint="Ask again.")

    async def _refuse(self, answer: aiohttp.ClientResponse) -> NoReturn:
        try:
            raw = await answer.content.read(MAX_ERROR)
            about = decode_object(raw, limit=MAX_ERROR, what="an error").group("error")
            message = about.text("message", limit=4000)
            code = about.text("code", limit=100, default="refused")
        except SwarmError:
            code, message = "refused", f"the tracker answered {answer.status}"
        wait = answer.headers.get("Retry-After", "")
        hint = _HINTS.get(answer.status, "")
        if wait.isdigit() and not hint and "Try again" not in message:
            hint = f"Try again in {int(wait)} s."
        if answer.status >= 500:
            raise UnavailableError(message, hint=hint or "Try again later.")
        raise TrackerError(code, message, status=answer.status, hint=hint)

    def _unreachable(self, error: Exception) -> UnavailableError:
        reason = str(error) or type(error).__name__
        return UnavailableError(
            f"lost the tracker at {self._url}: {reason}",
            hint="Check the address (--tracker or SWARM_TRACKER), and ask again.",
        )
