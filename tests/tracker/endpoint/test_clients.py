"""The clients that people have, unmodified: ``openai``, ``anthropic``, ``langchain-openai``.

A ``Place`` is where they are pointed at. ``tests.acceptance`` has one with a live swarm for the
tests that assume nothing of what a model says; the others need a parlour that does as it is told.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from tests.tracker.endpoint.serving import SECOND, SECONDS, SECRET, Serving, served
from tests.tracker.endpoint.tiny import NAME, ids
from tracker.endpoint.fake import Script
from tracker.endpoint.keys import AbsentError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint is, and what to say to it."""

    url: str
    secret: str
    model: str
    seconds: float = SECONDS

    def openai(self) -> openai.AsyncOpenAI:
        """OpenAI's client."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=self.secret, max_retries=0, timeout=self.seconds
        )

    def anthropic(self) -> anthropic.AsyncAnthropic:
        """Anthropic's client."""
        return anthropic.AsyncAnthropic(
            base_url=self.url, api_key=self.secret, max_retries=0, timeout=self.seconds
        )


@pytest.fixture
async def place(serving: Serving) -> AsyncIterator[Place]:
    """Where clients are pointed at; the endpoint is in this process."""
    yield Place(serving.url, SECRET, NAME)


# -- whatever the model says ------------------------------------------------------------------


async def test_openai_lists_models(place: Place) -> None:
    async with place.openai() as client:
        models = [model async for model in client.models.list()]
        assert place.model in [model.id for model in models]
        assert (await client.models.retrieve(place.model)).id == place.model


async def test_openai_chats(place: Place) -> None:
    async with place.openai() as client:
        answer = await client.chat.completions.create(
            model=place.model,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=8,
            temperature=0,
        )
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert isinstance(choice.message.content, str)
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage
    assert 1 <= answer.usage.completion_tokens <= 8
    assert answer.model_extra
    assert answer.model_extra["swarm"]["verified"] is True


async def test_openai_streams_and_the_last_chunk_has_the_verdict(place: Place) -> None:
    async with place.openai() as client:
        stream = await client.chat.completions.create(
            model=place.model,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    verdicts = [chunk.model_extra["swarm"]["verified"] for chunk in chunks if chunk.model_extra]
    assert len(verdicts) == len(chunks)
    assert verdicts[0] is False
    assert verdicts[-1] is True
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens <= 8
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")


async def test_openai_streams_nothing_unverified_if_it_says_so(place: Place) -> None:
    async with place.openai() as client:
        stream = await client.chat.completions.create(
            model=place.model,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=8,
            stream=True,
            extra_headers={"X-Swarm-Verify": "before"},
        )
        chunks = [chunk async for chunk in stream]
    spoken = [chunk for chunk in chunks if chunk.choices[0].delta.content]
    assert spoken
    assert all((chunk.model_extra or {})["swarm"]["verified"] for chunk in spoken)


async def test_openai_draws_the_same_answer_from_the_same_seed(place: Place) -> None:
    async with place.openai() as client:
        answers = [
            await client.chat.completions.create(
                model=place.model,
                messages=[{"role": "user", "content": "Tell me a story."}],
                max_tokens=12,
                seed=11,
                temperature=1,
                n=2,
            )
            for _ in range(2)
        ]
    first, second = ([choice.message.content for choice in each.choices] for each in answers)
    assert first == second
    assert len(first) == 2


async def test_openai_gets_probabilities(place: Place) -> None:
    async with place.openai() as client:
        answer = await client.chat.completions.create(
            model=place.model,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=4,
            logprobs=True,
            top_logprobs=3,
        )
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.content
    for entry in logprobs.content:
        assert entry.logprob <= 0
        assert len(entry.top_logprobs) == 3
        assert entry.bytes == list(entry.token.encode()) or "\ufffd" in entry.token


async def test_openai_completes(place: Place) -> None:
    async with place.openai() as client:
        answer = await client.completions.create(
            model=place.model, prompt="Once upon a time", max_tokens=8, logprobs=2
        )
        assert answer.choices[0].logprobs
        stream = await client.completions.create(
            model=place.model, prompt="Once upon a time", max_tokens=8, stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


async def test_anthropic_sends_messages(place: Place) -> None:
    async with place.anthropic() as client:
        message = await client.messages.create(
            model=place.model,
            max_tokens=8,
            system="You are brief.",
            messages=[{"role": "user", "content": [{"type": "text", "text": "Say something."}]}],
            extra_body={"temperature": 0},
        )
        count = await client.messages.count_tokens(
            model=place.model,
            system="You are brief.",
            messages=[{"role": "user", "content": "Say something."}],
        )
    assert message.type == "message"
    assert message.content[0].type == "text"
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.input_tokens == count.input_tokens
    assert 1 <= message.usage.output_tokens <= 8
    assert (message.model_extra or {})["swarm"]["verified"] is True


async def test_anthropic_streams(place: Place) -> None:
    async with (
        place.anthropic() as client,
        client.messages.stream(
            model=place.model,
            max_tokens=8,
            messages=[{"role": "user", "content": "Say something."}],
        ) as stream,
    ):
        events = [event async for event in stream]
        message = await stream.get_final_message()
    shown = "".join(event.text for event in events if event.type == "text")
    assert message.content[0].type == "text"
    assert message.content[0].text == shown
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.output_tokens >= 1
    assert events[-1].type == "message_stop"
    assert _verdict(events)["verified"] is True


def _verdict(events: Sequence[pydantic.BaseModel]) -> Any:
    """That of ``message_delta``; the helper makes events of its own of the others."""
    (delta,) = (event for event in events if getattr(event, "type", "") == "message_delta")
    return (delta.model_extra or {})["swarm"]


async def test_langchain_invokes_and_streams(place: Place) -> None:
    model = ChatOpenAI(
        model=place.model,
        base_url=f"{place.url}/v1",
        api_key=pydantic.SecretStr(place.secret),
        max_retries=0,
        timeout=place.seconds,
        max_completion_tokens=8,
        temperature=0,
    )
    turns = [SystemMessage("You are brief."), HumanMessage("Say something.")]
    answer = await model.ainvoke(turns)
    assert isinstance(answer.content, str)
    assert answer.response_metadata["finish_reason"] in ("stop", "length")
    pieces = [piece.content async for piece in model.astream(turns) if piece.content]
    assert "".join(str(piece) for piece in pieces) == answer.content


async def test_openai_runs_a_batch(place: Place) -> None:
    lines = [
        {
            "custom_id": f"line-{at}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": place.model,
                "messages": [{"role": "user", "content": f"Count to {at}."}],
                "max_tokens": 4 if at else 10**6,
            },
        }
        for at in range(4)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    async with place.openai() as client:
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        made = await client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"of": "a test"},
        )
        assert made.status == "validating"
        batch = await client.batches.retrieve(made.id)
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            await asyncio.sleep(0.05)
            batch = await client.batches.retrieve(batch.id)
        assert batch.status == "completed"
        assert batch.request_counts
        assert batch.request_counts.to_dict() == {"total": 4, "completed": 3, "failed": 1}
        assert batch.output_file_id
        assert batch.error_file_id
        output = [json.loads(line) for line in (await _content(client, batch.output_file_id))]
        errors = [json.loads(line) for line in (await _content(client, batch.error_file_id))]
        assert batch.id in [each.id async for each in client.batches.list(limit=1)]
        files = {each.id async for each in client.files.list()}
        assert files >= {file.id, batch.output_file_id, batch.error_file_id}
        assert (await client.files.delete(file.id)).deleted
    assert [each["custom_id"] for each in output] == ["line-1", "line-2", "line-3"]
    for each in output:
        body = each["response"]["body"]
        assert each["response"]["status_code"] == 200
        assert body["choices"][0]["message"]["role"] == "assistant"
        assert body["swarm"]["verified"] is True
    (error,) = errors
    assert error["custom_id"] == "line-0"
    assert error["response"]["status_code"] == 400
    assert error["response"]["body"]["error"]["code"] == "context_length_exceeded"


async def _content(client: openai.AsyncOpenAI, file: str) -> list[str]:
    return (await client.files.content(file)).text.splitlines()


async def test_clients_raise_their_own_errors(place: Place) -> None:
    wrong = Place(place.url, "osk-wrong", place.model)
    async with wrong.openai() as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    async with wrong.anthropic() as other:
        with pytest.raises(anthropic.AuthenticationError):
            await other.models.list()
    async with place.openai() as client:
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nothing")
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(
                model=place.model,
                messages=[{"role": "user", "content": "x"}],
                tools=[{"type": "function", "function": {"name": "f"}}],
            )
        assert bad.value.param == "tools"
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(
                model=place.model, messages=[{"role": "user", "content": "far too long " * 100_000}]
            )
        assert bad.value.code == "context_length_exceeded"
        with pytest.raises(openai.APIStatusError) as large:
            await client.chat.completions.create(
                model=place.model, messages=[{"role": "user", "content": "x" * 10_000_000}]
            )
        assert large.value.status_code == 413
        assert (await client.models.retrieve(place.model)).id == place.model
    async with place.anthropic() as other:
        with pytest.raises(anthropic.BadRequestError):
            await other.messages.create(
                model=place.model,
                max_tokens=5,
                messages=[{"role": "user", "content": "x " * 10**6}],
            )


# -- with a parlour that does as it is told ---------------------------------------------------


async def test_openai_gets_text_up_to_a_stop_sequence(serving: Serving, place: Place) -> None:
    serving.say("one two three")
    async with place.openai() as client:
        answer = await client.chat.completions.create(
            model=place.model, messages=[{"role": "user", "content": "count"}], stop=[" three"]
        )
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "stop"


async def test_anthropic_hears_which_stop_sequence_it_was(serving: Serving, place: Place) -> None:
    serving.say("one two three")
    async with place.anthropic() as client:
        message = await client.messages.create(
            model=place.model,
            max_tokens=100,
            messages=[{"role": "user", "content": "count"}],
            stop_sequences=["never", " three"],
        )
    assert message.stop_reason == "stop_sequence"
    assert message.stop_sequence == " three"


async def test_openai_asks_for_json(serving: Serving, place: Place) -> None:
    serving.say('{"a": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    async with place.openai() as client:
        answer = await client.chat.completions.create(
            model=place.model,
            messages=[{"role": "user", "content": "JSON"}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "one", "schema": dict(schema), "strict": True},
            },
        )
        await client.chat.completions.create(
            model=place.model,
            messages=[{"role": "user", "content": "JSON"}],
            response_format={"type": "json_object"},
        )
    assert json.loads(answer.choices[0].message.content or "") == {"a": 1}
    first, second = serving.parlour.calls
    assert json.loads(first.request.form) == schema
    assert second.request.form == "json"


async def test_openai_hears_that_the_budget_is_spent(serving: Serving, place: Place) -> None:
    serving.key.spent = serving.key.budget
    async with place.openai() as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.completions.create(model=place.model, prompt="x")
    assert caught.value.status_code == 402
    assert caught.value.type == "insufficient_quota"
    async with place.anthropic() as other:
        with pytest.raises(anthropic.APIStatusError) as told:
            await other.messages.create(
                model=place.model, max_tokens=5, messages=[{"role": "user", "content": "x"}]
            )
    assert told.value.status_code == 402
    assert told.value.type == "billing_error"


async def test_clients_hear_when_to_come_back(serving: Serving, place: Place) -> None:
    serving.parlour.script = Script(refusal=AbsentError("all are gone", seconds=30))
    async with place.openai() as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.completions.create(model=place.model, prompt="x")
    assert caught.value.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "30"
    async with place.anthropic() as other:
        with pytest.raises(anthropic.APIStatusError) as told:
            await other.messages.create(
                model=place.model, max_tokens=5, messages=[{"role": "user", "content": "x"}]
            )
    assert told.value.response.headers["Retry-After"] == "30"


async def test_openai_hears_that_it_asks_too_often(tmp_path: Path) -> None:
    async with (
        served(tmp_path, per_minute=1) as serving,
        Place(serving.url, SECRET, NAME).openai() as client,
    ):
        await client.completions.create(model=NAME, prompt="x")
        with pytest.raises(openai.RateLimitError) as caught:
            await client.completions.create(model=NAME, prompt="x")
    assert caught.value.code == "rate_limit_exceeded"


async def test_a_stream_that_breaks_off_raises_in_both_clients(
    serving: Serving, place: Place
) -> None:
    serving.say("abcdef", failure=AbsentError("all are gone", seconds=1), failure_after=3)
    async with place.openai() as client:
        stream = await client.chat.completions.create(
            model=place.model, messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match="all are gone"):
            async for _ in stream:
                pass
    async with place.anthropic() as other:
        with pytest.raises(anthropic.APIError, match="all are gone"):
            async with other.messages.stream(
                model=place.model, max_tokens=9, messages=[{"role": "user", "content": "x"}]
            ) as events:
                async for _ in events:
                    pass


async def test_files_of_another_key_are_not_there(serving: Serving, place: Place) -> None:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {}}
    async with place.openai() as client:
        file = await client.files.create(file=json.dumps(line).encode(), purpose="batch")
    async with Place(place.url, SECOND, place.model).openai() as other:
        assert not [each async for each in other.files.list()]
        with pytest.raises(openai.NotFoundError):
            await other.files.content(file.id)
        with pytest.raises(openai.NotFoundError):
            await other.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            await other.batches.create(
                input_file_id=file.id, endpoint="/v1/completions", completion_window="24h"
            )


async def test_an_answer_that_did_not_stand_is_corrected_for_anthropic(
    serving: Serving, place: Place
) -> None:
    serving.say("wrong", stands=ids("right"))
    async with (
        place.anthropic() as client,
        client.messages.stream(
            model=place.model, max_tokens=20, messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        events = [event async for event in stream]
    told = _verdict(events)
    assert (told["same"], told["corrected"], told["text"]) == (False, True, "right")
