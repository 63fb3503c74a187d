"""Chat templates: from messages to the text that a model was trained on, without injection.

What a person wrote never makes a control token, whatever it says and whatever stands beside it:
a mark that no text has is put into every place of a message that could be part of one's name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError

from workunits.errors import LimitError, MalformedError, RefusedError
from workunits.models.cage import MAX_VALUE, STEPS, Cage, RaisedError
from workunits.models.tokenizer import Tokenizer

MAX_TEMPLATE = 64 << 10
MAX_MESSAGES = 4096
MAX_RENDERED = 4 << 20
ROLES = ("system", "developer", "user", "assistant", "tool")
MARK = "\udcff"
"""Half of a surrogate pair, which no UTF-8 text has."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_FAILURES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. ``role`` is one of ``ROLES``."""

    role: str
    content: str


def check_template(source: str) -> None:
    """Raise ``MalformedError`` or ``LimitError`` unless ``source`` is a template."""
    _compiled(Cage(), source)


def render(
    template: str,
    messages: Sequence[Message],
    *,
    tokens: Mapping[str, str] | None = None,
    generation: bool = True,
    guard: "Guard | None" = None,
) -> str:
    """The text of ``messages``.

    ``tokens`` are texts that a template may name, as ``bos_token`` and ``eos_token``. With
    ``generation`` the text ends where the model's answer begins. With a ``guard`` what the messages
    say is marked: encode it with ``guard.encode``.

    Raises ``MalformedError`` (the template), ``RefusedError`` (it refuses these messages), or
    ``LimitError``.
    """
    if len(messages) > MAX_MESSAGES:
        raise LimitError(f"{len(messages)} messages are over the limit of {MAX_MESSAGES}")
    said = [_plain(message, guard) for message in messages]
    if sum(len(each["content"]) for each in said) > MAX_RENDERED:
        raise LimitError(
            f"the messages have more than {MAX_RENDERED:,} characters",
            hint="Ask with shorter messages.",
        )
    cage = Cage()
    cage.left = STEPS
    compiled = _compiled(cage, template)
    values: dict[str, Any] = {
        **(tokens or {}),
        "add_generation_prompt": generation,
        "messages": said,
    }
    parts: list[str] = []
    size = 0
    try:
        for part in compiled.generate(values):
            parts.append(part)
            size += len(part)
            if size > MAX_VALUE:
                raise LimitError("the chat template makes too much text of the messages")
    except RaisedError as error:
        raise RefusedError(
            f"the model's chat template refuses these messages: {error.message}",
            hint="Check the order of the roles: many models want user and assistant in turn.",
        ) from None
    except _FAILURES as error:
        raise _failed(error) from None
    return "".join(parts)


class Guard:
    """Keeps what messages say from becoming control tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._names = tuple(tokenizer.control)
        self._longest = max(map(len, self._names), default=0)
        self._starts = frozenset(
            name[:size] for name in self._names for size in range(1, len(name))
        )
        self._ends = frozenset(name[size:] for name in self._names for size in range(1, len(name)))

    def mark(self, text: str) -> str:
        """``text`` with marks in all that could be, or be part of, a control token's name."""
        text = _SURROGATE.sub("\ufffd", text)
        marked = {at for match in self._tokenizer.marks(text) for at in range(*match.span())}
        body = text.strip()
        first = len(text) - len(text.lstrip())
        if len(body) < self._longest and any(body in name for name in self._names):
            marked.update(range(first, first + len(body)))
        for size in range(1, min(self._longest, len(body) + 1)):
            if body[-size:] in self._starts:
                marked.update(range(first + len(body) - size, first + len(body)))
            if body[:size] in self._ends:
                marked.update(range(first, first + size))
        if not marked:
            return text
        return "".join(MARK + char + MARK if at in marked else char for at, char in enumerate(text))

    def encode(self, rendered: str) -> tuple[int, ...]:
        """The ids of a text that ``render`` made with this guard."""
        found: list[int] = []
        at = 0
        for match in self._tokenizer.marks(rendered):
            found += self._text(rendered[at : match.start()])
            found += self._tokenizer.encode(match[0], special=True)
            at = match.end()
        return (*found, *self._text(rendered[at:]))

    def _text(self, text: str) -> tuple[int, ...]:
        text = text.replace(MARK, "")
        return self._tokenizer.encode(text) if text else ()


def _plain(message: Message, guard: Guard | None) -> dict[str, str]:
    if message.role not in ROLES:
        raise MalformedError(
            f"no message has the role {message.role[:40]!r}", hint=f"Known: {', '.join(ROLES)}."
        )
    content = guard.mark(message.content) if guard else message.content
    return {"content": content, "role": message.role}


def _compiled(cage: Cage, source: str) -> Template:
    if len(source) > MAX_TEMPLATE:
        raise LimitError(f"a chat template of {len(source):,} characters is over {MAX_TEMPLATE:,}")
    cage.left = STEPS
    try:
        code = _code(source)
        return Template.from_code(cage, code, cage.make_globals(None))
    except _FAILURES as error:
        raise _failed(error) from None


@lru_cache(64)
def _code(source: str) -> Any:
    return Cage().compile(source)


def _failed(error: BaseException) -> MalformedError:
    return MalformedError(
        f"the model's chat template does not work: {type(error).__name__}: {str(error)[:200]}",
        hint="Give another with `swarm model add --template FILE`.",
    )
