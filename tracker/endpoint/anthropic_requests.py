"""Bodies of ``/v1/messages`` and ``/v1/messages/count_tokens`` (Anthropic API), read strictly.

As with OpenAI's: what changes nothing is ignored, what is not offered or not known is refused.
"""

from tracker.endpoint import wishes
from tracker.endpoint.errors import unsupported
from tracker.endpoint.fields import Fields
from tracker.endpoint.openai_requests import (
    MAX_MESSAGES,
    MAX_TEXT,
    MAX_TOKENS,
    checked_stops,
    text_part,
)
from tracker.endpoint.wishes import Talk, Turn, Wish
from workunits.models.request import MAX_CANDIDATES

MAX_STOPS = 16
HARMLESS = ("metadata", "service_tier", "cache_control", "inference_geo", "diagnostics")
"""They say who asks, where it may be computed, or how to hurry."""

_TOOLS = "no model here calls tools; say what you need in the messages"


def parse_message(body: Fields) -> tuple[Wish, Talk]:
    """A request to ``/v1/messages``. Raises ``ApiError``."""
    talk = _talk(body)
    most = body.integer("max_tokens", 1, MAX_TOKENS)
    if most is None:
        raise body.missing("max_tokens")
    stops = body.items("stop_sequences", MAX_STOPS) or []
    if not all(isinstance(each, str) for each in stops):
        raise body.bad("stop_sequences", "each is a string")
    wish = Wish(
        model=body.text("model", limit=wishes.MAX_NAME),
        sampling=wishes.sampling(
            body.number("temperature", 0, 1),
            body.number("top_p", 0, 1),
            body.integer("top_k", 0, MAX_CANDIDATES),
            None,
        ),
        most=most,
        fit=True,
        stops=checked_stops(body, "stop_sequences", stops, MAX_STOPS),
        stream=body.flag("stream"),
    )
    body.end()
    return wish, talk


def parse_count(body: Fields) -> tuple[str, Talk]:
    """A request to ``/v1/messages/count_tokens``: the model and what would be said to it."""
    talk = _talk(body)
    model = body.text("model", limit=wishes.MAX_NAME)
    body.end()
    return model, talk


def _talk(body: Fields) -> Talk:
    messages = body.groups("messages", MAX_MESSAGES)
    if messages is None:
        raise body.missing("messages")
    if not messages:
        raise body.bad("messages", "at least one message is required")
    turns = _merged(list(map(_message, messages)))
    if turns[-1].role == "assistant":
        raise unsupported("messages", "the last message is the assistant's, and no prefill here")
    system = _content(body, "system") if body.has("system") else ""
    if body.raw("tools"):
        raise unsupported("tools", _TOOLS)
    choice = body.group("tool_choice")
    if choice and choice.raw("type") not in ("auto", "none"):
        raise unsupported("tool_choice", _TOOLS)
    thinking = body.group("thinking")
    if thinking and thinking.raw("type") != "disabled":
        raise unsupported("thinking", "no model here thinks apart from its answer")
    for field in ("container", "mcp_servers", "context_management", "output_config", "prefill"):
        if body.raw(field):
            raise unsupported(field, "messages are text here, and so are answers")
    if body.raw("speed") not in (None, "standard"):
        raise unsupported("speed", "every request is as fast as the volunteers are")
    body.ignore(*HARMLESS)
    return Talk((Turn("system", system), *turns) if system else tuple(turns))


def _message(message: Fields) -> Turn:
    role = message.text("role", limit=40)
    if role not in ("user", "assistant", "system"):
        raise message.bad("role", f"expected user or assistant, but got {role!r}")
    turn = Turn(role, _content(message, "content"))
    message.end()
    return turn


def _content(fields: Fields, field: str) -> str:
    content = fields.raw(field)
    if content is None:
        raise fields.missing(field)
    if isinstance(content, list):
        parts = (fields.element(field, at, part) for at, part in enumerate(content))
        return "".join(map(text_part, parts))
    if not isinstance(content, str):
        raise fields.wrong(field, "a string or an array of blocks", content)
    if len(content) > MAX_TEXT:
        raise fields.bad(field, f"it is longer than {MAX_TEXT:,} letters")
    return content


def _merged(turns: list[Turn]) -> list[Turn]:
    """Turns of one role in a row are one turn."""
    merged = turns[:1]
    for turn in turns[1:]:
        if turn.role == merged[-1].role:
            merged[-1] = Turn(turn.role, f"{merged[-1].content}\n{turn.content}")
        else:
            merged.append(turn)
    return merged
