"""A Jinja2 environment for chat templates, which are programs from outside.

Sandboxed and immutable (``jinja2.sandbox``), with a list of what may be called instead of one of
what may not, and with a budget: every turn of a loop, call and operation costs some of it, so that
a template ends soon and its values stay small, whatever it says.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from jinja2 import nodes, pass_context
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workunits.errors import LimitError

MAX_VALUE = 8 << 20
"""Most characters or items of one value."""

MAX_WRITTEN = 32 << 20
"""Most characters that are written, into variables too."""

MAX_NUMBER = 1 << 63
MAX_RANGE = 10_000
STEPS = 500_000
"""Budget of one rendering."""

_PER_STEP = 4096
"""Characters that are handled in one step."""

_LOOP = frozenset({"changed", "cycle"})

_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items",
    "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse",
    "round", "select", "selectattr", "sort", "title", "trim", "unique", "upper",
)  # fmt: skip
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        {
            "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit",
            "isspace", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
            "replace", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines",
            "startswith", "strip", "title", "upper",
        }
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}  # fmt: skip


class RaisedError(TemplateError):
    """A template called ``raise_exception``."""


class Generation(Extension):
    """``{% generation %}``, which marks what a model said for training; here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Cage(ImmutableSandboxedEnvironment):
    """The environment of one template. Not for several threads at once."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self) -> None:
        # As in transformers: https://huggingface.co/docs/transformers/chat_templating_writing
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            cache_size=0,
            extensions=[loopcontrols, Generation],
            finalize=self._written,
        )
        self.left = STEPS
        self.room = MAX_WRITTEN
        known = self.filters
        self.filters = {name: self._charged(known[name]) for name in _FILTERS} | {
            "join": self._join,
            "replace": self._replace,
            "safe": str,
            "string": str,
            "tojson": self._tojson,
            "_counted": self._counted,
            "_joined": self._joined,
            "_turns": self._turns,
        }
        self.globals = {
            "namespace": self.globals["namespace"],
            "raise_exception": _raise,
            "range": self._range,
        }

    def charge(self, *values: object) -> None:
        """Take from the budget for an operation on ``values``. Raises ``LimitError``."""
        size = 0
        for value in values:
            if isinstance(value, str | list | tuple | dict):
                size += len(value)
            elif isinstance(value, int) and abs(value) > MAX_NUMBER:
                raise _over("a number")
        if size > MAX_VALUE:
            raise _over("a value")
        self.left -= 1 + size // _PER_STEP
        if self.left < 0:
            raise _over("the work")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """One operation, if it is one of numbers, or joins two texts or two lists."""
        self.charge(left, right)
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        alike = any(isinstance(left, k) and isinstance(right, k) for k in (str, list, tuple))
        if operator == "**" or not (numbers or (alike and operator == "+")):
            raise TypeError(f"{operator} of these values is not supported")
        result = super().call_binop(context, operator, left, right)
        self.charge(result)
        return result

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``called``, if it is on the list."""
        self.charge(*args, *kwargs.values())
        owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
        if type(owner) in _METHODS:
            if name not in _METHODS[type(owner)]:
                raise TypeError(f"the method {name} is not supported")
            self.charge(owner)
            _foresee(owner, name, args)
        result = super().call(context, called, *args, **kwargs)
        self.charge(result)
        return result

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Nothing that begins with an underscore; of texts and collections what is listed."""
        known = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), None)
        if known is not None and attr not in known:
            return False
        return not attr.startswith("_") and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        """Only methods of values, macros, and the few functions."""
        owner = getattr(obj, "__self__", None)
        if type(owner) in _METHODS or obj in self.globals.values():
            return True
        if type(owner).__module__ == "jinja2.runtime":
            return obj.__name__ in _LOOP
        return type(obj).__module__ == "jinja2.runtime" and not isinstance(obj, Undefined)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _instrument(tree)
        return tree

    @pass_context
    def _written(self, context: Context, value: Any) -> str:
        text = str(value)
        self.room -= len(text)
        if self.room < 0:
            raise _over("the text")
        self.charge(text)
        return text

    def _charged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def charged(*args: Any, **kwargs: Any) -> Any:
            self.charge(*args, *kwargs.values())
            result = function(*args, **kwargs)
            if isinstance(result, Iterator):
                return self._turns(result)
            self.charge(result)
            return result

        return charged

    def _counted(self, value: Any) -> Any:
        self.charge(value)
        return value

    def _turns(self, items: Iterable[Any], size: int = 0) -> Iterable[Any]:
        return items if isinstance(items, Undefined) else _Turns(self, items, size)

    def _joined(self, parts: list[Any]) -> str:
        texts = [str(part) for part in parts]
        self.charge(*texts)
        return "".join(texts)

    def _join(self, items: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
        found = [
            str(item if attribute is None else self.getitem(item, attribute))
            for item in self._turns(items)
        ]
        _foresee(str(between), "join", (found,))
        self.charge(*found)
        return str(between).join(found)

    def _replace(self, text: str, old: str, new: str, count: int = -1) -> str:
        text, old, new = str(text), str(old), str(new)
        self.charge(text)
        _foresee(text, "replace", (old, new))
        return text.replace(old, new, count)

    def _range(self, *bounds: int) -> range:
        found = range(*bounds)
        if len(found) > MAX_RANGE:
            raise _over("a range")
        return found

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        if indent is not None and not 0 <= indent <= 8:
            raise _over("an indent")
        found = json.dumps(
            value,
            ensure_ascii=bool(ensure_ascii),
            indent=indent,
            separators=separators,
            sort_keys=bool(sort_keys),
        )
        self.charge(found)
        return found


class _Turns:
    """The items of a loop, each of which costs a step, and the ``size`` of what the loop writes."""

    def __init__(self, cage: Cage, items: Iterable[Any], size: int) -> None:
        self._cage = cage
        self._items = items
        self._size = size

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self._cage.charge()
            self._cage.room -= self._size
            if self._cage.room < 0:
                raise _over("the text")
            yield item

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]


def _instrument(tree: nodes.Node) -> None:
    """Make what the environment is not asked for ask it: loops, ``~``, slices, comparisons."""
    found: list[Any] = list(tree.find_all(nodes.Node))
    for node in found:
        if isinstance(node, nodes.For):
            size = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
            node.iter = _filter(node.iter, "_turns", nodes.Const(size))
        elif isinstance(node, nodes.Compare):
            node.expr = _filter(node.expr, "_counted")
            for operand in node.ops:
                operand.expr = _filter(operand.expr, "_counted")
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            node.node = _filter(node.node, "_counted")
        elif isinstance(node, nodes.AssignBlock):
            node.filter = _filter(node.filter, "_counted")
        for field, value in list(node.iter_fields()):
            if isinstance(value, list):
                value[:] = map(_concat, value)
            else:
                setattr(node, field, _concat(value))


def _concat(node: Any) -> Any:
    return _filter(nodes.List(node.nodes), "_joined") if isinstance(node, nodes.Concat) else node


def _filter(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    made = nodes.Filter(node, name, list(args), [], None, None)
    made.set_lineno(node.lineno if node else 1, override=True)
    return made


def _foresee(owner: Any, name: str, args: tuple[Any, ...]) -> None:
    """Refuse a call whose result would be too large, before it is made."""
    size = 0
    if name == "replace" and len(args) >= 2:
        size = len(owner) + owner.count(str(args[0])) * len(str(args[1]))
    if name == "join":
        if not args or not isinstance(args[0], list | tuple):
            raise TypeError("join needs a list")
        size = sum(map(len, map(str, args[0]))) + len(owner) * len(args[0])
    if size > MAX_VALUE:
        raise _over("a text")


def _raise(message: object = "") -> NoReturn:
    raise RaisedError(str(message)[:200])


def _over(what: str) -> LimitError:
    return LimitError(f"the chat template goes too far: {what} is over its limit")
