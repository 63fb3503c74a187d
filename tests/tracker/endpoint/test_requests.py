"""Bodies of requests: what is asked is read as it is meant, and nothing hostile gets through."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.endpoint.anthropic_requests import parse_count, parse_message
from tracker.endpoint.errors import ApiError, Fault
from tracker.endpoint.fields import Fields, read_object
from tracker.endpoint.openai_requests import HARMLESS, parse_chat, parse_completion
from tracker.endpoint.wishes import Ids, Talk, Text, Turn, Wish, seeds
from workunits.models.request import MAX_SEED, Sampling

MESSAGES = [{"role": "user", "content": "Hello"}]
CHAT: dict[str, Any] = {"model": "m", "messages": MESSAGES}
COMPLETION: dict[str, Any] = {"model": "m", "prompt": "Hello"}
MESSAGE: dict[str, Any] = CHAT | {"max_tokens": 10}
PARSERS: list[tuple[Callable[[Fields], object], dict[str, Any]]] = [
    (parse_chat, CHAT),
    (parse_completion, COMPLETION),
    (parse_message, MESSAGE),
    (parse_count, CHAT),
]


def fields(value: dict[str, Any]) -> Fields:
    return read_object(json.dumps(value).encode())


def chat(**more: Any) -> Wish:
    return parse_chat(fields(CHAT | more))[0]


def refusal(parse: Callable[[Fields], object], value: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(fields(value))
    assert caught.value.fault is Fault.INVALID
    assert caught.value.message
    return caught.value


NAMES = sorted(
    {"model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p"}
    | {"n", "stop", "seed", "stream", "stream_options", "logprobs", "top_logprobs", "tools"}
    | {"response_format", "presence_penalty", "top_k", "role", "content", "type", "text", "system"}
    | {"repetition_penalty", "json_schema", "schema", "name", "include_usage", "stop_sequences"}
    | {"thinking", "tool_choice", "echo", "best_of", "logit_bias", *HARMLESS}
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["user", "text", "json_object", "json_schema", "assistant", "tool"])
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(("parse", "right"), PARSERS)
@given(changes=st.dictionaries(st.sampled_from(NAMES), values, max_size=5))
def test_whatever_the_fields_hold_is_read_or_refused(
    parse: Callable[[Fields], object], right: dict[str, Any], changes: dict[str, Any]
) -> None:
    try:
        parse(fields(right | changes))
    except ApiError as error:
        assert error.fault is Fault.INVALID


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"a":' * 5000, b'{"a": NaN}']))
def test_whatever_the_body_is_it_is_an_object_or_refused(raw: bytes) -> None:
    try:
        read_object(raw)
    except ApiError as error:
        assert error.fault is Fault.INVALID


def test_half_a_surrogate_is_no_text() -> None:
    with pytest.raises(ApiError):
        read_object(rb'{"prompt": "\ud800"}')


def test_a_body_has_a_limit() -> None:
    with pytest.raises(ApiError) as caught:
        read_object(b" " * 11, limit=10)
    assert caught.value.fault is Fault.LARGE


def test_settings_become_what_a_peer_is_asked() -> None:
    wish = chat(
        temperature=0.7,
        top_p=0.95,
        top_k=40,
        repetition_penalty=1.1,
        max_tokens=5,
        max_completion_tokens=7,
        seed=-3,
        n=2,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
        logprobs=True,
        top_logprobs=5,
    )
    assert wish == Wish(
        model="m",
        sampling=Sampling(700, 950, 40, 1100),
        most=7,
        seed=-3,
        count=2,
        stops=("a", "b"),
        stream=True,
        usage=True,
        top=6,
    )
    assert chat() == Wish("m", Sampling(1000, 1000, 0, 1000))
    assert chat(temperature=0, top_p=0, top_k=-1).sampling == Sampling(0, 1, 0, 1000)
    assert chat(temperature=0.0001).sampling.temperature == 1
    assert chat(stop="a").stops == ("a",)
    assert chat(max_tokens=5.0).most == 5


def test_seeds_are_in_a_row_and_in_bounds() -> None:
    assert seeds(7, 3) == (7, 8, 9)
    assert all(0 <= seed < MAX_SEED for seed in (*seeds(-(2**63), 8), *seeds(2**63 - 1, 8)))
    assert len(set(seeds(-1, 8))) == 8


def test_messages_are_strings_or_parts_of_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    _, talk = parse_chat(
        fields(
            {
                "model": "m",
                "messages": [
                    {"role": "developer", "content": "d"},
                    {"role": "system", "content": parts},
                    {"role": "user", "content": "u", "name": "Ann"},
                    {"role": "assistant", "content": "x", "tool_calls": [], "refusal": None},
                ],
            }
        )
    )
    turns = [("system", "d"), ("system", "ab"), ("user", "u"), ("assistant", "x")]
    assert talk == Talk(tuple(Turn(*turn) for turn in turns))


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "king", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role"),
        ({"messages": [*MESSAGES, "x"]}, "messages[1]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 9}, "n"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": "x" * 513}, "stop"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"repetition_penalty": 0.9}, "repetition_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 1}}},
            "response_format.json_schema.schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "nothing"}},
                }
            },
            "response_format.json_schema.schema",
        ),
        ({"min_p": 0.1}, "min_p"),
    ],
)
def test_what_is_wrong_in_a_chat_is_named(change: dict[str, Any], param: str) -> None:
    said = refusal(parse_chat, CHAT | change)
    assert said.param == param
    assert ".." not in said.message


def test_what_changes_nothing_is_ignored_and_null_is_nothing() -> None:
    ignored = dict.fromkeys(HARMLESS, "x")
    neutral = {
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "tools": [],
        "tool_choice": "none",
        "logit_bias": {},
        "modalities": ["text"],
        "response_format": {"type": "text"},
        "min_p": None,
    }
    assert chat(**ignored, **neutral) == chat()


def test_json_is_asked_for_as_an_object_or_by_schema() -> None:
    assert chat(response_format={"type": "json_object"}).form == "json"
    schema = {"type": "object", "properties": {"\u00e9": {"type": "string"}}}
    about = {"name": "x", "schema": schema, "strict": True, "description": "d"}
    form = chat(response_format={"type": "json_schema", "json_schema": about}).form
    assert form.isascii()
    assert json.loads(form) == schema


def test_prompts_of_completions_are_texts_or_ids() -> None:
    def prompts(value: object) -> object:
        return parse_completion(fields(COMPLETION | {"prompt": value})).prompts

    assert prompts("a") == (Text("a"),)
    assert prompts(["a", "b"]) == (Text("a"), Text("b"))
    assert prompts([1, 2]) == (Ids((1, 2)),)
    assert prompts([[1], [2, 3]]) == (Ids((1,)), Ids((2, 3)))
    assert parse_completion(fields(COMPLETION)).wish.most == 16


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [2**24]}, "prompt"),
        ({"prompt": ["a", {}]}, "prompt[1]"),
        ({"prompt": ["a"] * 33}, "prompt"),
        ({"prompt": ["a"] * 32, "n": 2}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": 1, "echo": True}, "echo"),
        ({"messages": MESSAGES}, "messages"),
    ],
)
def test_what_is_wrong_in_a_completion_is_named(change: dict[str, Any], param: str) -> None:
    assert refusal(parse_completion, COMPLETION | change).param == param


def test_a_message_for_anthropic_is_read() -> None:
    wish, talk = parse_message(
        fields(
            {
                "model": "m",
                "max_tokens": 50,
                "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "user", "content": [{"type": "text", "text": "b"}]},
                    {"role": "assistant", "content": "c"},
                    {"role": "user", "content": "d"},
                ],
                "temperature": 0.5,
                "top_k": 10,
                "top_p": 0.9,
                "stop_sequences": ["x"],
                "stream": True,
                "metadata": {"user_id": "u"},
                "thinking": {"type": "disabled"},
                "tools": [],
                "tool_choice": {"type": "auto"},
            }
        )
    )
    assert wish == Wish(
        "m", Sampling(500, 900, 10, 1000), most=50, fit=True, stops=("x",), stream=True
    )
    assert [(turn.role, turn.content) for turn in talk.turns] == [
        *(("system", "s"), ("user", "a\nb"), ("assistant", "c"), ("user", "d"))
    ]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": "The"}]}, "messages"),
        ({"messages": []}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages[0].content[0].type",
        ),
        ({"temperature": 1.5}, "temperature"),
        ({"stop_sequences": ["a"] * 17}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"tools": [{"name": "x"}]}, "tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"seed": 5}, "seed"),
    ],
)
def test_what_is_wrong_in_a_message_is_named(change: dict[str, Any], param: str) -> None:
    assert refusal(parse_message, MESSAGE | change).param == param
