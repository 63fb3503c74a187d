"""Schemas become rules, or are refused as a whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.models.rules import MAX_DEPTH, NEVER, Array, Choice, Literals, Map, Object, Text
from workunits.models.schema import (
    JSON,
    MAX_OPTIONS,
    MAX_PROPERTIES,
    MAX_RULES,
    compile_form,
)

REFUSED = [
    ({"type": "string", "pattern": "a"}, "pattern"),
    ({"type": "integer", "minimum": 1}, "minimum"),
    ({"multipleOf": 2}, "multipleOf"),
    ({"allOf": [{"type": "string"}]}, "allOf"),
    ({"oneOf": [{"type": "string"}]}, "oneOf"),
    ({"not": {}}, "not"),
    ({"if": {}, "then": {}}, "if"),
    ({"type": "object", "patternProperties": {}}, "patternProperties"),
    ({"type": "object", "minProperties": 1}, "minProperties"),
    ({"type": "object", "properties": {"a": {"nullable": True}}}, "nullable"),
    ({"type": "array", "contains": {}}, "contains"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"type": "array", "items": {"$id": "x"}}, r"\$id"),
    ({"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": {}}}, 'minLength" beside'),
    ({"anyOf": [{}], "type": "string"}, 'type" beside'),
    ({"enum": ["a"], "maxLength": 1}, 'maxLength" beside'),
    ({"const": "a", "enum": ["a"]}, "beside"),
    ({"$ref": "http://example.org/schema"}, "not local"),
    ({"$ref": "#/$defs/a"}, "leads nowhere"),
    ({"$ref": "#anchor"}, "#anchor"),
    ({"$ref": "#/enum/1", "$defs": {}}, "leads nowhere"),
    ({"$ref": 5}, "must be a string"),
    ({"type": "text"}, "type"),
    ({"type": []}, "type"),
    ({"type": [["string"]]}, "type"),
    ({"enum": []}, "enum"),
    ({"anyOf": []}, "anyOf"),
    ({"anyOf": {}}, "anyOf"),
    ({"enum": [1, 2], "type": "string"}, "has the type"),
    ({"const": True, "type": "integer"}, "has the type"),
    ({"properties": []}, "properties"),
    ({"type": "object", "required": ["a"]}, "'a'"),
    ({"type": "object", "required": "a"}, "required"),
    ({"type": "object", "properties": {"a": {}}, "required": [["a"]]}, "required"),
    ({"type": "object", "additionalProperties": 5}, "must be an object"),
    ({"type": "array", "items": [{}]}, "must be an object"),
    ({"type": "array", "items": False, "minItems": 1}, "minItems"),
    ({"type": "array", "minItems": 2, "maxItems": 1}, "minItems"),
    ({"type": "array", "minItems": -1}, "minItems"),
    ({"type": "array", "maxItems": True}, "maxItems"),
    ({"type": "string", "maxLength": 1.0}, "maxLength"),
    ({"type": "string", "minLength": 10**6}, "minLength"),
    ({"const": "\ud800"}, "surrogate"),
    (False, "must be an object"),
    ([], "must be an object"),
    ("json", "must be an object"),
]


@pytest.mark.parametrize(("schema", "named"), REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(schema: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        compile_form(json.dumps(schema))


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ("", "not JSON"),
        ("JSON", "not JSON"),
        ("{", "not JSON"),
        ('{"const": NaN}', "NaN"),
        ('{"const": 1e999}', "too large"),
        ('{"const": ' + "1" * 5000 + "}", "digits"),
        ('{"type": "string", "type": "null"}', "twice"),
        ("[" * 16_000, "nested too deep"),
    ],
)
def test_what_is_no_json_is_refused(form: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        compile_form(form)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1},
    ],
)
def test_a_value_without_end_is_refused(schema: object) -> None:
    with pytest.raises(ValueError, match="no end"):
        compile_form(json.dumps(schema))


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def test_only_what_nests_too_deep_is_refused() -> None:
    form = compile_form(json.dumps(nested(MAX_DEPTH)))
    assert form.heights[form.root] == MAX_DEPTH
    with pytest.raises(ValueError, match="too deep"):
        compile_form(json.dumps(nested(MAX_DEPTH + 1)))
    links: dict[str, Any] = {f"d{at}": nested(1) for at in range(MAX_DEPTH + 1)}
    for at in range(MAX_DEPTH):
        links[f"d{at}"]["properties"]["a"] = {"$ref": f"#/$defs/d{at + 1}"}
    with pytest.raises(ValueError, match="no end"):
        compile_form(json.dumps({"$ref": "#/$defs/d0", "$defs": links}))
    found = compile_form(json.dumps({"$ref": "#/$defs/d1", "$defs": links}))
    assert found.heights[found.root] == MAX_DEPTH


def test_a_constant_that_nests_too_deep_is_refused() -> None:
    compile_form('{"const":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}")
    with pytest.raises(ValueError, match="too deep"):
        compile_form('{"const":' + "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2) + "}")


def test_what_is_large_is_refused() -> None:
    options = [{"const": str(at)} for at in range(MAX_OPTIONS + 1)]
    compile_form(json.dumps({"anyOf": options[1:]}))
    with pytest.raises(ValueError, match="anyOf"):
        compile_form(json.dumps({"anyOf": options}))
    names: dict[str, object] = {str(at): {} for at in range(MAX_PROPERTIES + 1)}
    with pytest.raises(ValueError, match="properties"):
        compile_form(json.dumps({"properties": names}))
    with pytest.raises(ValueError, match="properties"):
        compile_form(json.dumps({"const": names}))
    links: dict[str, object] = {f"{at}": {"$ref": f"#/$defs/{at + 1}"} for at in range(200)}
    with pytest.raises(ValueError, match="places"):
        compile_form(json.dumps({"$ref": "#/$defs/0", "$defs": links}))
    with pytest.raises(ValueError, match="parts"):
        compile_form(json.dumps({"const": [0] * MAX_RULES}))


def test_annotations_and_defaults_change_nothing() -> None:
    plain: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    noted = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:example",
        "title": "t",
        "description": "d",
        "x-order": 1,
        "additionalProperties": False,
        "type": "object",
        "properties": {
            "a": {"type": "string", "format": "date", "default": "", "examples": ["b"],
                  "deprecated": False, "$comment": "c", "minLength": 0}
        },
        "$defs": {"unused": {"pattern": "never read"}},
    }  # fmt: skip
    assert compile_form(json.dumps(plain)) == compile_form(json.dumps(noted))


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    compile_form(json.dumps({"type": "object", "properties": {"pattern": {}, "$ref": {}}}))


def test_without_a_type_the_keywords_say_which_is_meant() -> None:
    for schema, kind in (
        ({"properties": {"a": {}}}, Object),
        ({"items": {}}, Array),
        ({"minLength": 1}, Text),
    ):
        form = compile_form(json.dumps(schema))
        root = form.rules[form.root]
        assert isinstance(root, Choice)
        assert [type(form.rules[each]) for each in root.options] == [kind]


def test_references_lead_through_escapes_and_share_their_rules() -> None:
    form = compile_form(
        json.dumps(
            {
                "$defs": {"a/b~c d": {"type": "null"}},
                "type": "array",
                "prefixItems": [{"$ref": "#/$defs/a~1b~0c%20d"}] * 2,
            }
        )
    )
    (array,) = (each for each in form.rules if isinstance(each, Array) and each.prefix)
    assert array.prefix[0] == array.prefix[1]
    assert Literals((b"null",)) in form.rules


def test_json_is_any_object() -> None:
    form = compile_form(JSON)
    assert isinstance(form.rules[form.root], Map)
    free = compile_form('{"type":"object"}')
    root = free.rules[free.root]
    assert isinstance(root, Choice)
    assert [type(free.rules[each]) for each in root.options] == [Map]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
)
words = st.sampled_from(
    ["type", "properties", "required", "items", "anyOf", "$ref", "enum", "const", "minItems",
     "maxItems", "prefixItems", "additionalProperties", "minLength", "$defs", "a"]
)  # fmt: skip
leaves = st.sampled_from(["object", "array", "#", "#/$defs/a", "#/items", 0, 1, True, False, None])
schemas = st.recursive(
    leaves | json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
)


@given(schemas | st.dictionaries(words, schemas))
def test_any_value_is_a_form_or_a_value_error(schema: object) -> None:
    try:
        form = compile_form(json.dumps(schema))
    except ValueError:
        return
    assert form.heights[form.root] < NEVER
    assert len(form.heights) == len(form.rules)
    for rule in form.rules:
        if isinstance(rule, Choice):
            assert not any(isinstance(form.rules[each], Choice) for each in rule.options)


@given(st.text(max_size=50))
def test_any_text_is_a_form_or_a_value_error(text: str) -> None:
    try:
        compile_form(text)
    except ValueError as error:
        assert str(error)
