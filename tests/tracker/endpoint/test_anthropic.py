"""Anthropic's API over HTTP: what goes over the line, letter by letter."""

from typing import Any

import orjson
import pytest

from tests.tracker.endpoint.serving import SECRET, Serving
from tests.tracker.endpoint.tiny import DIALECT, NAME, ids
from tracker.endpoint.fake import ENTRY, VALIDATOR
from tracker.endpoint.keys import AbsentError
from tracker.endpoint.wishes import Turn

MESSAGES = "/v1/messages"


def message(**fields: Any) -> dict[str, Any]:
    hello = [{"role": "user", "content": "Hello"}]
    return {"model": NAME, "max_tokens": 50, "messages": hello} | fields


def read(events: list[bytes]) -> list[tuple[str, Any]]:
    found = []
    for event in events:
        name, _, data = event.partition(b"\n")
        found.append(
            (name.removeprefix(b"event: ").decode(), orjson.loads(data.removeprefix(b"data: ")))
        )
        assert found[-1][0] == found[-1][1]["type"]
    return found


async def test_a_message_is_answered_with_its_verdict(serving: Serving) -> None:
    serving.say("Hi there")
    answer = await serving.ask(MESSAGES, json=message(system="Be brief."))
    prompt = DIALECT.chat([Turn("system", "Be brief."), Turn("user", "Hello")])
    assert answer.pop("id").startswith("msg_")
    assert answer.pop("swarm")["validators"] == [VALIDATOR.hex()]
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": NAME,
        "content": [{"type": "text", "text": "Hi there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": len(prompt), "output_tokens": 9},
    }


async def test_a_stream_has_the_events_in_their_order(serving: Serving) -> None:
    serving.say("Hello, world")
    events = read(await serving.events(MESSAGES, json=message(stream=True)))
    names = [name for name, _ in events]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    told = dict(events)
    assert told["message_start"]["message"]["usage"]["output_tokens"] == 0
    assert told["message_start"]["message"]["content"] == []
    text = "".join(each["delta"]["text"] for name, each in events if name.endswith("block_delta"))
    assert text == "Hello, world"
    assert told["message_delta"]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert told["message_delta"]["usage"] == {"output_tokens": 13}
    for name in ("message_delta", "message_stop"):
        assert told[name]["swarm"]["verified"] is True
        assert told[name]["swarm"]["ledger_entry"] == ENTRY
    assert told["content_block_delta"]["swarm"] == {"verified": False}


async def test_nothing_is_shown_before_its_verdict_if_that_is_wanted(serving: Serving) -> None:
    serving.say("wrong", stands=ids("right"))
    headers = {"X-Swarm-Verify": "before"}
    events = read(await serving.events(MESSAGES, json=message(stream=True), headers=headers))
    text = [each["delta"]["text"] for name, each in events if name == "content_block_delta"]
    assert text == ["right"]
    assert "corrected" not in dict(events)["message_stop"]["swarm"]
    serving.say("abc", reason="nobody came")
    answer = await serving.ask(MESSAGES, 503, json=message(), headers=headers)
    assert answer["error"]["type"] == "overloaded_error"
    calls = len(serving.parlour.calls)
    serving.say("abc", unchecked=AbsentError("nobody can check it", seconds=15))
    for stream in (False, True):
        answer = await serving.ask(MESSAGES, 503, json=message(stream=stream), headers=headers)
        assert "nobody can check it" in answer["error"]["message"]
    assert len(serving.parlour.calls) == calls


async def test_an_answer_is_cut_where_the_context_ends(serving: Serving) -> None:
    serving.say("a long answer" * 50)
    body = message(model="other-1", max_tokens=4096)
    answer = await serving.ask(MESSAGES, json=body)
    assert answer["stop_reason"] == "model_context_window_exceeded"
    assert answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"] == 200
    answer = await serving.ask(MESSAGES, json=message(max_tokens=5))
    assert answer["stop_reason"] == "max_tokens"


async def test_tokens_are_counted_without_asking_anybody(serving: Serving) -> None:
    body = message()
    del body["max_tokens"]
    counted = await serving.ask(MESSAGES + "/count_tokens", json=body)
    assert counted == {"input_tokens": len(DIALECT.chat([Turn("user", "Hello")]))}
    assert not serving.parlour.calls


@pytest.mark.parametrize("name", ["x-api-key", "Authorization"])
async def test_a_key_comes_in_either_header(serving: Serving, name: str) -> None:
    headers = {name: SECRET if name == "x-api-key" else f"bearer {SECRET}"}
    url = serving.url + MESSAGES
    async with serving.http.post(url, json=message(), headers=headers) as response:
        assert response.status == 200


async def test_errors_have_the_shape_of_anthropic(serving: Serving) -> None:
    async with serving.http.post(serving.url + MESSAGES, json=message()) as response:
        assert response.status == 401
        assert (await response.json())["error"]["type"] == "authentication_error"
    answer = await serving.ask(MESSAGES, 404, json=message(model="nothing"))
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "not_found_error"
    assert set(answer["error"]) == {"type", "message"}
    long = message(messages=[{"role": "user", "content": "x" * 5000}])
    answer = await serving.ask(MESSAGES, 400, json=long)
    assert answer["error"]["type"] == "invalid_request_error"
    assert "4096" in answer["error"]["message"]
    answer = await serving.ask("/v1/messages/batches", 404, json={})
    assert answer["type"] == "error"


async def test_a_failure_in_mid_stream_is_an_event(serving: Serving) -> None:
    serving.say("abcdef", failure=AbsentError("all are gone", seconds=9), failure_after=3)
    events = read(await serving.events(MESSAGES, json=message(stream=True)))
    assert events[-1][0] == "error"
    assert events[-1][1]["error"]["type"] == "overloaded_error"


async def test_models_are_listed_for_whoever_says_which_version(serving: Serving) -> None:
    headers = {"x-api-key": SECRET, "anthropic-version": "2023-06-01"}
    async with serving.http.get(serving.url + "/v1/models", headers=headers) as response:
        listed = await response.json()
    assert [each["id"] for each in listed["data"]] == ["other-1", NAME]
    assert listed["data"][0] == {
        "type": "model",
        "id": "other-1",
        "display_name": "other-1",
        "created_at": "2023-11-14T22:13:21Z",
    }
    async with serving.http.get(serving.url + "/v1/models/no", headers=headers) as response:
        assert (await response.json())["type"] == "error"
