"""A JSON schema, or the wish for JSON, as rules that an answer can be built by, byte after byte.

The endpoint refuses by these rules what the worker's grammar could not follow, so this file is
copied into the engine images too: it imports the standard library only, nothing of ours.

Every text that the rules allow conforms to the schema, though not every value that conforms can
be written: properties come in the order of the schema, and no others come where some are named.
"""

import json
import math
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from workunits.models.rules import (
    MAX_DEPTH,
    NEVER,
    Array,
    Choice,
    Form,
    Literals,
    Map,
    Number,
    Object,
    Property,
    Rule,
    Text,
    heights_of,
)

JSON = "json"
"""The form that is one JSON object, whatever is in it."""

MAX_RULES = 4096
MAX_OPTIONS = 64
MAX_REFERENCES = 128
MAX_PROPERTIES = 256
"""Properties of one object."""

MAX_LEAST = 32_768
"""The largest least length: an answer has no more tokens."""

MAX_MOST = 2**53
ANNOTATIONS = frozenset(
    {
        "$comment",
        "$defs",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "format",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "string": ("minLength", "maxLength"),
}
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_WORDS = {"boolean": (b"false", b"true"), "null": (b"null",)}


def compile_form(form: str) -> Form:
    """The rules of ``form``: ``JSON``, or a JSON schema as text.

    Raises ``ValueError`` that names the keyword, and where, for what is not supported: a schema is
    never followed in part.
    """
    builder = _Builder(None if form == JSON else _read(form))
    root = builder.free_object() if form == JSON else builder.reference("#", "#")
    return builder.finish(root)


def _read(form: str) -> object:
    try:
        return json.loads(form, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"the schema is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("the schema is nested too deep") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the schema has a name twice in one object")
    return found


def _no_number(name: str) -> object:
    raise ValueError(f"the schema has {name}, which is not JSON")


class _Builder:
    """Turns schemas into rules. References are followed one after the other, not in recursion."""

    def __init__(self, document: object) -> None:
        self._document = document
        self._rules: list[Rule] = []
        self._known: dict[str, int] = {}
        self._waiting: list[tuple[str, int]] = []
        self._any = -1

    def finish(self, root: int) -> Form:
        """Follow all references and make the choices flat."""
        while self._waiting:
            pointer, index = self._waiting.pop()
            self._rules[index] = Choice((self._schema(self._target(pointer), pointer, 0),))
        for index, rule in enumerate(self._rules):
            if isinstance(rule, Choice):
                self._rules[index] = Choice(self._flat(index))
        heights = heights_of(self._rules)
        if heights[root] >= NEVER:
            raise ValueError("the schema asks for a value that has no end")
        for index, rule in enumerate(self._rules):
            if isinstance(rule, Choice):
                options = tuple(each for each in rule.options if heights[each] < NEVER)
                self._rules[index] = Choice(options)
        return Form(tuple(self._rules), tuple(heights), root)

    def reference(self, pointer: str, where: str) -> int:
        """The rule that a local reference means."""
        if not pointer.startswith("#"):
            raise ValueError(f'"$ref" at {where} is not local: it must begin with "#"')
        if pointer not in self._known:
            if len(self._known) >= MAX_REFERENCES:
                raise ValueError(f'"$ref" leads to more than {MAX_REFERENCES} places')
            self._known[pointer] = self._add(Choice(()))
            self._waiting.append((pointer, self._known[pointer]))
        return self._known[pointer]

    def free_object(self) -> int:
        """Any object."""
        return self._add(Map(self._anything()))

    def _add(self, rule: Rule) -> int:
        if len(self._rules) >= MAX_RULES:
            raise ValueError(f"the schema has more than {MAX_RULES:,} parts")
        self._rules.append(rule)
        return len(self._rules) - 1

    def _anything(self) -> int:
        if self._any < 0:
            self._any = self._add(Choice(()))
            kinds: tuple[Rule, ...] = (
                Map(self._any),
                Array((), self._any),
                Text(),
                Number(),
                Literals((b"false", b"null", b"true")),
            )
            self._rules[self._any] = Choice(tuple(self._add(each) for each in kinds))
        return self._any

    def _flat(self, index: int) -> tuple[int, ...]:
        """All rules that a choice leads to without anything between."""
        seen, waiting, found = {index}, [index], []
        while waiting:
            rule = self._rules[at := waiting.pop()]
            if not isinstance(rule, Choice):
                found.append(at)
                continue
            fresh = [each for each in dict.fromkeys(rule.options) if each not in seen]
            seen.update(fresh)
            waiting.extend(reversed(fresh))
        if len(found) > MAX_OPTIONS:
            raise ValueError(f'"anyOf" has more than {MAX_OPTIONS} alternatives')
        return tuple(found)

    def _target(self, pointer: str) -> object:
        found = self._document
        for step in pointer.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise ValueError(f'"$ref" to {pointer} leads nowhere')
        if pointer.split("/", maxsplit=1)[0] != "#":
            raise ValueError(f'"$ref" to {pointer}: only paths such as "#/$defs/name" are known')
        return found

    def _schema(self, schema: object, where: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ValueError("the schema is nested too deep")
        if schema is True:
            return self._anything()
        if not isinstance(schema, dict):
            raise ValueError(f"a schema must be an object, at {where}")
        given = {
            name: value
            for name, value in schema.items()
            if name not in ANNOTATIONS and name[:2] != "x-" and not (name == "$id" and where == "#")
        }
        for alone in ("$ref", "anyOf", "const", "enum"):
            if alone in given:
                others = (
                    given.keys() - {alone} - ({"type"} if alone in ("const", "enum") else set())
                )
                if others:
                    raise ValueError(f'"{min(others)}" beside "{alone}" at {where} is not known')
        if "$ref" in given:
            return self.reference(_string(given["$ref"], f"$ref at {where}"), where)
        if "anyOf" in given:
            options = _list(given["anyOf"], "anyOf", where)
            return self._choice(
                [
                    self._schema(each, f"{where}/anyOf/{index}", depth + 1)
                    for index, each in enumerate(options)
                ]
            )
        types = _types(given, where)
        if "const" in given or "enum" in given:
            values = [given["const"]] if "const" in given else _list(given["enum"], "enum", where)
            return self._values(values, types, where, depth)
        known = {name for kind in types for name in _KEYWORDS.get(kind, ())} | {"type"}
        for name in given:
            if name not in known and not any(name in some for some in _KEYWORDS.values()):
                raise ValueError(f'the keyword "{name}" at {where} is not known')
        if not known & given.keys():
            return self._anything()
        return self._choice([self._typed(kind, given, where, depth) for kind in types])

    def _choice(self, options: list[int]) -> int:
        return options[0] if len(options) == 1 else self._add(Choice(tuple(options)))

    def _typed(self, kind: str, given: Mapping[str, object], where: str, depth: int) -> int:
        if kind == "object":
            return self._object(given, where, depth)
        if kind == "array":
            return self._array(given, where, depth)
        if kind == "string":
            return self._add(Text(*_bounds(given, "minLength", "maxLength", where)))
        if kind in _WORDS:
            return self._add(Literals(_WORDS[kind]))
        return self._add(Number(whole=kind == "integer"))

    def _object(self, given: Mapping[str, object], where: str, depth: int) -> int:
        properties = given.get("properties", {})
        if not isinstance(properties, dict):
            raise ValueError(f'"properties" at {where} must be an object')
        if len(properties) > MAX_PROPERTIES:
            raise ValueError(f'"properties" at {where} are more than {MAX_PROPERTIES}')
        required = given.get("required", [])
        if not isinstance(required, list):
            raise ValueError(f'"required" at {where} must be a list')
        for name in required:
            if not isinstance(name, str) or name not in properties:
                raise ValueError(f'"required" at {where} names {name!r}, which has no property')
        more = given.get("additionalProperties", not properties)
        if more is not False and not properties:
            inner = f"{where}/additionalProperties"
            return self._add(Map(self._schema(more, inner, depth + 1)))
        if not isinstance(more, bool):
            self._schema(more, f"{where}/additionalProperties", depth + 1)
        return self._add(
            Object(
                tuple(
                    Property(
                        _texts(name, where),
                        self._schema(each, f"{where}/properties/{name}", depth + 1),
                        name in required,
                    )
                    for name, each in properties.items()
                )
            )
        )

    def _array(self, given: Mapping[str, object], where: str, depth: int) -> int:
        if given.get("uniqueItems", False) is not False:
            raise ValueError(f'the keyword "uniqueItems" at {where} is not known')
        least, most = _bounds(given, "minItems", "maxItems", where)
        first = _list(given["prefixItems"], "prefixItems", where) if "prefixItems" in given else []
        prefix = tuple(
            self._schema(each, f"{where}/prefixItems/{index}", depth + 1)
            for index, each in enumerate(first)
        )
        items = given.get("items", True)
        if items is False:
            most = len(prefix) if most < 0 else min(most, len(prefix))
            items = True
            if least > most:
                raise ValueError(f'"minItems" at {where} is more than there can be')
        return self._add(
            Array(prefix, self._schema(items, f"{where}/items", depth + 1), least, most)
        )

    def _values(self, values: list[object], types: tuple[str, ...], where: str, depth: int) -> int:
        """The rule for exactly these values, as far as they have one of ``types``."""
        fitting = [each for each in values if any(_is(kind, each) for kind in types)]
        if not fitting:
            raise ValueError(f'no value of "enum" or "const" at {where} has the type')
        texts = {
            text
            for each in fitting
            if not isinstance(each, list | dict)
            for text in _texts(each, where)
        }
        options = [self._add(Literals(tuple(sorted(texts))))] if texts else []
        options += [self._exactly(each, where, depth) for each in fitting if _nests(each)]
        return self._choice(options)

    def _exactly(self, value: object, where: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ValueError("the schema is nested too deep")
        if isinstance(value, list):
            parts = tuple(self._exactly(each, where, depth + 1) for each in value)
            item = parts[0] if parts else self._anything()
            return self._add(Array(parts, item, len(parts), len(parts)))
        if isinstance(value, dict) and len(value) <= MAX_PROPERTIES:
            return self._add(
                Object(
                    tuple(
                        Property(_texts(name, where), self._exactly(each, where, depth + 1), True)
                        for name, each in value.items()
                    )
                )
            )
        if isinstance(value, dict):
            raise ValueError(f"an object at {where} has more than {MAX_PROPERTIES} properties")
        return self._add(Literals(_texts(value, where)))


def _types(given: Mapping[str, object], where: str) -> tuple[str, ...]:
    """The types that a value may have: those that are named, else those that keywords are for."""
    if "type" not in given:
        meant = tuple(
            kind for kind, names in _KEYWORDS.items() if any(name in given for name in names)
        )
        return meant or _TYPES
    named = given["type"]
    found = tuple(_list(named, "type", where)) if isinstance(named, list) else (named,)
    for each in found:
        if each not in _TYPES:
            raise ValueError(f'"type" at {where} must be one or more of {", ".join(_TYPES)}')
    return tuple(
        kind for kind in _TYPES if kind in found and not (kind == "integer" and "number" in found)
    )


_CHECKS: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _is(kind: str, value: object) -> bool:
    return _CHECKS[kind](value)


def _nests(value: object) -> bool:
    return isinstance(value, list | dict)


def _texts(value: object, where: str) -> tuple[bytes, ...]:
    """The ways in which a scalar is commonly written: with escapes beyond ASCII, and without."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a number at {where} is too large")
    try:
        plain = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(f"a string at {where} has half of a surrogate pair") from None
    return tuple(sorted({plain, json.dumps(value).encode()}))


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a string")
    return value


def _list(value: object, name: str, where: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise ValueError(f'"{name}" at {where} must be a list that is not empty')
    return value


def _bounds(given: Mapping[str, object], low: str, high: str, where: str) -> tuple[int, int]:
    found = []
    for name, default, limit in ((low, 0, MAX_LEAST), (high, -1, MAX_MOST)):
        value = given.get(name, default)
        if name in given and (type(value) is not int or not 0 <= value <= limit):
            raise ValueError(f'"{name}" at {where} must be an integer from 0 to {limit:,}')
        assert isinstance(value, int)
        found.append(value)
    least, most = found
    if 0 <= most < least:
        raise ValueError(f'"{low}" at {where} is more than "{high}"')
    return least, most
