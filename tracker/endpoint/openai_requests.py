"""Bodies of ``/v1/chat/completions`` and ``/v1/completions`` (OpenAI API reference), read strictly.

Fields that change nothing about an answer are ignored; those that would change it, and are not
offered, are refused; so is every field that nobody knows, because it might.
"""

from dataclasses import dataclass
from typing import Any

from tracker.endpoint import wishes
from tracker.endpoint.errors import invalid, unsupported
from tracker.endpoint.fields import Fields
from tracker.endpoint.wishes import Ids, Prompt, Talk, Text, Turn, Wish
from workunits.errors import RemoteError
from workunits.models.forms import form_of
from workunits.models.request import MAX_CANDIDATES, MAX_ID, MAX_PROMPT

MAX_MESSAGES = 10_000
MAX_TEXT = 10_000_000
MAX_TOKENS = 2**31
MAX_PROMPTS = 32
MAX_STOPS = 4
COMPLETION_TOKENS = 16
"""Tokens of a completion unless it says otherwise, as at OpenAI."""

HARMLESS = (
    *("user", "metadata", "store", "safety_identifier", "service_tier", "prediction"),
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "parallel_tool_calls"),
)
"""They say who asks, what to keep, or how to hurry."""

_TOOLS = "no model here calls tools; say what you need in the messages"
_ROLES = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Completion:
    """A request to ``/v1/completions``; ``echo`` is whether answers begin with their prompts."""

    wish: Wish
    prompts: tuple[Prompt, ...]
    echo: bool


def parse_chat(body: Fields) -> tuple[Wish, Talk]:
    """A request to ``/v1/chat/completions``. Raises ``ApiError``."""
    talk = Talk(_messages(body))
    for field in ("tools", "functions"):
        if body.raw(field):
            raise unsupported(field, _TOOLS)
    for field in ("tool_choice", "function_call"):
        if body.raw(field) not in (None, "none", "auto"):
            raise unsupported(field, _TOOLS)
    if body.raw("modalities") not in (None, ["text"]):
        raise unsupported("modalities", "models here answer with text alone")
    if body.raw("reasoning_effort") not in (None, "none"):
        raise unsupported("reasoning_effort", "no model here has such a setting")
    if body.raw("verbosity") not in (None, "medium"):
        raise unsupported("verbosity", "no model here has such a setting")
    for field in ("audio", "web_search_options", "moderation"):
        if body.has(field):
            raise unsupported(field, "models here have only what stands in the messages")
    asked = body.flag("logprobs")
    alternatives = body.integer("top_logprobs", 0, 20)
    if alternatives is not None and not asked:
        raise body.bad("top_logprobs", "it needs 'logprobs' to be true")
    newer = body.integer("max_completion_tokens", 1, MAX_TOKENS)
    older = body.integer("max_tokens", 1, MAX_TOKENS)
    wish = _wish(
        body,
        most=newer if newer is not None else older,
        top=1 + (alternatives or 0) if asked else 0,
        form=_form(body),
    )
    body.end()
    return wish, talk


def parse_completion(body: Fields) -> Completion:
    """A request to ``/v1/completions``. Raises ``ApiError``."""
    prompts = _prompts(body)
    echo = body.flag("echo")
    alternatives = body.integer("logprobs", 0, 5)
    if echo and alternatives is not None:
        raise unsupported("echo", "probabilities of a prompt's own tokens are not known")
    if body.raw("suffix"):
        raise unsupported("suffix", "write the model's own marks for it into the prompt")
    most = body.integer("max_tokens", 1, MAX_TOKENS)
    best = body.integer("best_of", 1, 20)
    wish = _wish(
        body,
        most=COMPLETION_TOKENS if most is None else most,
        top=0 if alternatives is None else 1 + alternatives,
        form=_form(body),
    )
    if best not in (None, 1, wish.count):
        raise unsupported("best_of", "every answer is given; ask for them with 'n'")
    if len(prompts) * wish.count > MAX_PROMPTS:
        raise body.bad("prompt", f"that makes more than {MAX_PROMPTS} answers in one request")
    body.end()
    return Completion(wish, prompts, echo)


def _wish(body: Fields, *, most: int | None, top: int, form: str) -> Wish:
    model = body.text("model", limit=wishes.MAX_NAME)
    for field in ("presence_penalty", "frequency_penalty"):
        if body.number(field, -2, 2):
            raise unsupported(field, "use 'repetition_penalty' (1 to 2) instead")
    if body.raw("logit_bias"):
        raise unsupported("logit_bias", "tokens are drawn as the model weighs them")
    top_k = body.integer("top_k", -1, MAX_CANDIDATES)
    settings = wishes.sampling(
        body.number("temperature", 0, 2),
        body.number("top_p", 0, 1),
        top_k,
        body.number("repetition_penalty", 1, 2),
    )
    stream = body.flag("stream")
    options = body.group("stream_options")
    usage = False
    if options:
        if not stream:
            raise body.bad("stream_options", "it is only allowed when 'stream' is true")
        usage = options.flag("include_usage")
        options.ignore("include_obfuscation")
        options.end()
    body.ignore(*HARMLESS)
    return Wish(
        model=model,
        sampling=settings,
        most=most,
        seed=body.integer("seed", -(2**63), 2**63 - 1),
        count=body.integer("n", 1, wishes.MAX_CHOICES) or 1,
        stops=_stops(body),
        stream=stream,
        usage=usage,
        top=top,
        form=form,
    )


def _messages(body: Fields) -> tuple[Turn, ...]:
    messages = body.groups("messages", MAX_MESSAGES)
    if messages is None:
        raise body.missing("messages")
    if not messages:
        raise body.bad("messages", "there is not one")
    return tuple(map(_message, messages))


def _message(message: Fields) -> Turn:
    role = message.text("role", limit=40)
    if role not in _ROLES:
        if role in ("tool", "function"):
            raise unsupported(message.name("role"), _TOOLS)
        raise message.bad("role", f"expected one of {', '.join(_ROLES)}, but got {role!r}")
    for field in ("tool_calls", "function_call", "audio", "refusal"):
        if message.raw(field):
            raise unsupported(message.name(field), "messages are text here")
    content = message.raw("content")
    if content is None:
        raise message.missing("content")
    if isinstance(content, list):
        parts = (message.element("content", at, part) for at, part in enumerate(content))
        content = "".join(map(text_part, parts))
    elif not isinstance(content, str):
        raise message.wrong("content", "a string or an array of parts", content)
    message.ignore("name", "annotations", "id")
    message.end()
    return Turn(_ROLES[role], content)


def text_part(part: Fields) -> str:
    """One part of a message, which must be text; a hint for a cache of prompts is ignored."""
    kind = part.text("type", limit=100)
    if kind != "text":
        raise invalid(
            f"'{part.name('type')}' is {kind!r}: models here read text alone",
            part.name("type"),
            "unsupported_content",
        )
    text = part.text("text", limit=MAX_TEXT)
    part.ignore("cache_control", "citations", "annotations")
    part.end()
    return text


def _prompts(body: Fields) -> tuple[Prompt, ...]:
    value = body.raw("prompt")
    if value is None:
        raise body.missing("prompt")
    if isinstance(value, str):
        return (Text(value),)
    if not isinstance(value, list):
        raise body.wrong("prompt", "a string or an array", value)
    if not value:
        raise body.bad("prompt", "it is empty")
    if isinstance(value[0], int):
        return (_ids(body, "prompt", value),)
    if len(value) > MAX_PROMPTS:
        raise body.bad("prompt", f"it has more than {MAX_PROMPTS} prompts")
    return tuple(_prompt(body, f"prompt[{at}]", each) for at, each in enumerate(value))


def _prompt(body: Fields, place: str, value: object) -> Prompt:
    match value:
        case str():
            return Text(value)
        case list():
            return _ids(body, place, value)
    raise body.wrong(place, "a string or an array of token ids", value)


def _ids(body: Fields, place: str, value: list[Any]) -> Ids:
    if len(value) > MAX_PROMPT:
        raise body.bad(place, f"it has more than {MAX_PROMPT:,} tokens")
    if not value or any(type(each) is not int or not 0 <= each < MAX_ID for each in value):
        raise body.bad(place, "token ids are integers, not negative, and there is at least one")
    return Ids(tuple(value))


def _stops(body: Fields) -> tuple[str, ...]:
    value = body.raw("stop")
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise body.wrong("stop", "a string or an array of strings", value)
    return checked_stops(body, "stop", stops, MAX_STOPS)


def checked_stops(body: Fields, field: str, stops: list[str], most: int) -> tuple[str, ...]:
    """Stop sequences within the limits."""
    if len(stops) > most:
        raise body.bad(field, f"there are more than {most}")
    if not all(0 < len(each) <= wishes.MAX_STOP for each in stops):
        raise body.bad(field, f"each has 1 to {wishes.MAX_STOP} letters")
    return tuple(stops)


def _form(body: Fields) -> str:
    """What ``response_format`` asks for, as ``Request.form`` has it."""
    wanted = body.group("response_format")
    if wanted is None:
        return ""
    kind = wanted.text("type", limit=40)
    if kind == "text":
        form = ""
    elif kind == "json_object":
        form = "json"
    elif kind == "json_schema":
        form = _schema(wanted)
    else:
        raise wanted.bad("type", f"expected text, json_object or json_schema, but got {kind!r}")
    wanted.end()
    return form


def _schema(wanted: Fields) -> str:
    about = wanted.group("json_schema")
    if about is None:
        raise wanted.missing("json_schema")
    about.text("name", limit=64)
    about.ignore("description", "strict")
    schema = about.raw("schema")
    if not isinstance(schema, dict):
        raise about.wrong("schema", "an object", schema)
    about.end()
    try:
        return form_of(schema)
    except RemoteError as error:
        hint = f". {error.hint.rstrip('.')}" if error.hint else ""
        raise about.bad("schema", f"{error.message}{hint}") from None
