"""Asking a tracker's endpoint as any client would, with a clock."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import ClientSession

from bench.processes import BenchError


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer: seconds to its first token and to its last, and how many it had."""

    first: float
    last: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens per second after the first."""
        return (self.tokens - 1) / max(self.last - self.first, 1e-9)


async def streamed(
    http: ClientSession, url: str, secret: str, model: str, prompt: Sequence[int], most: int
) -> Timing:
    """Ask for ``most`` tokens after ``prompt`` (ids), greedily, and read the stream to its end."""
    body = {
        "model": model,
        "prompt": list(prompt),
        "max_tokens": most,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {secret}"}
    first = last = 0.0
    tokens = 0
    began = time.monotonic()
    async with http.post(f"{url}/v1/completions", json=body, headers=headers) as answer:
        if answer.status != 200:
            raise BenchError(f"the endpoint said {answer.status}: {(await answer.text())[:200]}")
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise BenchError(f"the endpoint said {chunk['error']}")
            if any(choice.get("text") for choice in chunk.get("choices", ())):
                last = time.monotonic() - began
                first = first or last
            if usage := chunk.get("usage"):
                tokens = usage["completion_tokens"]
    return Timing(first, last, tokens)
