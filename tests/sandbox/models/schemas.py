"""Schemas, and values that conform to them, for Hypothesis."""

from typing import Any

from hypothesis import strategies as st

from sandbox.models.worker.automaton import MAX_DIGITS

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
integers = st.integers(-(10 ** (MAX_DIGITS - 1)), 10 ** (MAX_DIGITS - 1))
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | strings
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
Pair = tuple[dict[str, Any], st.SearchStrategy[Any]]


def lists_of(inner: Pair, least: int, more: int | None) -> Pair:
    schema: dict[str, Any] = {"type": "array", "items": inner[0], "minItems": least}
    if more is not None:
        schema["maxItems"] = least + more
    return schema, st.lists(
        inner[1], min_size=least, max_size=least + (3 if more is None else more)
    )


def texts_of(least: int, more: int | None) -> Pair:
    schema: dict[str, Any] = {"type": "string", "minLength": least}
    if more is not None:
        schema["maxLength"] = least + more
    texts = st.text(
        st.characters(exclude_categories=["Cs"]),
        min_size=least,
        max_size=least + (5 if more is None else more),
    )
    return schema, texts


def objects_of(properties: dict[str, Pair], optional: set[int]) -> Pair:
    required = [name for index, name in enumerate(properties) if index not in optional]
    schema = {
        "type": "object",
        "properties": {name: each[0] for name, each in properties.items()},
        "required": required,
        "additionalProperties": False,
    }

    @st.composite
    def made(draw: st.DrawFn) -> dict[str, Any]:
        return {
            name: draw(each[1])
            for name, each in properties.items()
            if name in required or draw(st.booleans())
        }

    return schema, made()


def enumerated(some: list[Any]) -> Pair:
    return {"enum": some}, st.sampled_from(some)


pairs: st.SearchStrategy[Pair] = st.recursive(
    st.sampled_from(
        [
            ({"type": "string"}, strings),
            ({"type": "number"}, integers | floats),
            ({"type": "integer"}, integers),
            ({"type": "boolean"}, st.booleans()),
            ({"type": "null"}, st.none()),
            ({"type": ["string", "null", "integer"]}, strings | st.none() | integers),
            ({"type": "object"}, st.dictionaries(names, values, max_size=3)),
            ({"title": "anything"}, values),
        ]
    )
    | st.builds(texts_of, st.integers(0, 4), st.none() | st.integers(0, 4))
    | st.builds(enumerated, st.lists(values, min_size=1, max_size=4)),
    lambda inner: (
        st.builds(lists_of, inner, st.integers(0, 3), st.none() | st.integers(0, 3))
        | st.builds(
            objects_of, st.dictionaries(names, inner, max_size=4), st.sets(st.integers(0, 3))
        )
        | st.builds(
            lambda some: ({"anyOf": [each[0] for each in some]}, st.one_of(*[e[1] for e in some])),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(
            lambda each: (
                {"type": "object", "additionalProperties": each[0]},
                st.dictionaries(names, each[1], max_size=3),
            ),
            inner,
        )
    ),
    max_leaves=6,
)
