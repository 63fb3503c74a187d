"""Answers that are JSON, or what a schema asks for, whatever the model would rather say."""

import json
import random
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sandbox.models.worker import automaton
from sandbox.models.worker.automaton import INDENT, MAX_DIGITS, MAX_STATES, State
from sandbox.models.worker.grammar import Grammar
from tests.sandbox.models.schemas import (
    Pair,
    names,
    pairs,
    values,
)
from workunits.models.rules import MAX_DEPTH

BYTES = tuple(bytes([each]) for each in range(256))
END = 256
MORE = (b"", b'{"', b'":', b'",', b'"}', b"[[", b"]]", b"true", b"null}", b": ", b'", "', b"\n    ")
PIECES = (*BYTES, b"</s>", *MORE)
ENDS = frozenset({END})


def grammar(form: str, pieces: tuple[bytes, ...] = PIECES) -> Grammar:
    return Grammar(form, pieces, ENDS)


def after(made: Grammar, text: bytes) -> State | None:
    """The state after ``text``, byte by byte; None where it is refused."""
    state = made.start()
    for byte in text:
        if not made.allows(state, byte):
            return None
        state = made.next(state, byte)
    return state


def accepts(form: str, text: str | bytes) -> bool:
    made = grammar(form)
    state = after(made, text.encode() if isinstance(text, str) else text)
    return state is not None and made.allows(state, END)


def schema_text(**schema: Any) -> str:
    return json.dumps(schema)


def walked(made: Grammar, rng: random.Random, most: int = 4000) -> bytes:
    """A text that ends as soon as the dice let it, but is never led to its end."""
    state, text = made.start(), b""
    for _ in range(most):
        token = rng.choice([END, *b'"}],:{[0123 \nabtrue', rng.randrange(len(PIECES))])
        if not made.allows(state, token):
            allowed = [each for each in range(len(PIECES)) if made.allows(state, each)]
            assert allowed, f"nothing may follow {text!r}"
            closing = [each for each in (END, *b'"]}') if each in allowed]
            token = rng.choice(closing or allowed)
        if token == END:
            return text
        state, text = made.next(state, token), text + PIECES[token]
    return led_home(made, state, text)


def led_home(made: Grammar, state: State, text: bytes) -> bytes:
    """The rest of a text by the shortest way that is easy to see."""
    for _ in range(3000):
        if made.done(state):
            return text
        for byte in b'"]}:,0{[ntfabcdelrsu':
            if made.allows(state, byte):
                break
        else:
            byte = next(each for each in range(256) if made.allows(state, each))
        state, text = made.next(state, byte), text + bytes([byte])
    raise AssertionError(f"there is no way home from {text[-200:]!r}")


# Values and schemas that they conform to, for Hypothesis.

styles = st.sampled_from(
    [{}, {"indent": 2}, {"indent": 4}, {"indent": "\t"}, {"separators": (",", ":")}]
)


@settings(deadline=None)
@given(pairs, st.data(), styles, st.booleans())
def test_every_text_that_json_makes_of_a_conforming_value_is_accepted(
    pair: Pair, data: st.DataObject, style: dict[str, Any], ascii_only: bool
) -> None:
    schema, conforming = pair
    value = data.draw(conforming)
    text = json.dumps(value, ensure_ascii=ascii_only, **style)
    assert accepts(json.dumps(schema), text)


@given(st.dictionaries(names, values, max_size=4), styles, st.data())
def test_a_text_is_accepted_however_it_is_cut_into_tokens(
    value: dict[str, Any], style: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=False, **style).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    pieces = tuple(text[one:other] for one, other in pairwise(cuts))
    made = Grammar("json", (*pieces, b"</s>"), frozenset({len(pieces)}))
    state = made.start()
    for token in range(len(pieces)):
        assert not made.allows(state, len(pieces))
        state = made.next(state, token)
    assert made.done(state)
    assert made.allows(state, len(pieces))
    assert made.next(state, len(pieces)) == state
    assert state == after(grammar("json"), text)


@settings(deadline=None)
@given(pairs, st.integers(0, 2**32))
def test_random_walks_end_in_texts_that_conform(pair: Pair, seed: int) -> None:
    schema, _ = pair
    text = walked(grammar(json.dumps(schema)), random.Random(seed), 200)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.parametrize("seed", range(5))
def test_random_walks_end_in_one_json_object(seed: int) -> None:
    made, rng = grammar("json"), random.Random(seed)
    for _ in range(6):
        assert isinstance(json.loads(walked(made, rng)), dict)


@settings(deadline=None)
@given(pairs, st.data())
def test_a_changed_byte_is_refused_or_leaves_a_text_that_conforms(
    pair: Pair, data: st.DataObject
) -> None:
    schema, conforming = pair
    raw = bytearray(json.dumps(data.draw(conforming)).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
        st.sampled_from(b'"{}[]:,0e.-\\ua\xc3 ')
    )
    if accepts(json.dumps(schema), bytes(raw)):
        jsonschema.Draft202012Validator(schema).validate(json.loads(bytes(raw)))


@given(st.binary(max_size=12))
def test_what_json_does_not_read_is_refused(tail: bytes) -> None:
    text = b'{"a":' + tail
    if accepts("json", text):
        assert isinstance(json.loads(text), dict)


# JSON.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "{}{}",
        "{} ",
        "{,}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{'a':1}",
        '{"a":01}',
        '{"a":+1}',
        '{"a":.5}',
        '{"a":1.}',
        '{"a":1e}',
        '{"a":-}',
        '{"a":NaN}',
        '{"a":tru}',
        '{"a":"\t"}',
        '{"a":"\\x"}',
        '{"a":[1 2]}',
        '{"a":[1,]}',
        '{"a":"\\ud800"}',
        '{"a":"\\udc00"}',
        '{"a":"\\ud800\\u0041"}',
        '{"a":"\\ud800x"}',
        '{"a":"\\u12g4"}',
    ],
)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert not accepts("json", text)


@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
     b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3", b"\xe2\x82",
     b"\xc3\x28"],
)  # fmt: skip
def test_what_is_no_utf_8_is_refused(raw: bytes) -> None:
    assert not accepts("json", b'{"a":"' + raw + b'"}')


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_all_characters_may_stand_in_a_string(text: str) -> None:
    assert accepts("json", json.dumps({text: text}, ensure_ascii=False))
    assert accepts("json", json.dumps({text: text}))


def test_numbers_are_bounded_so_that_they_end() -> None:
    for part in ("{0}", "0.{0}", "-{0}"):
        assert accepts("json", f'{{"a":{part.format("7" * MAX_DIGITS)}}}')
        assert not accepts("json", f'{{"a":{part.format("7" * (MAX_DIGITS + 1))}}}')
    assert accepts("json", '{"a":1e-308}')
    assert not accepts("json", '{"a":1e0308}')


def test_white_space_is_bounded_so_that_it_ends() -> None:
    room = " " * (1 + INDENT)
    assert accepts("json", " {" + room + "}")
    assert not accepts("json", "  {}")
    assert not accepts("json", "{ " + room + "}")
    assert accepts("json", '{"a" : 1' + room + "," + room + '"b": 2}')
    assert not accepts("json", '{"a"  :1}')
    assert not accepts("json", '{"a":  1}')


def test_nesting_is_bounded() -> None:
    deep = MAX_DEPTH - 1
    assert accepts("json", '{"a":' + "[" * deep + "]" * deep + "}")
    assert not accepts("json", '{"a":' + "[" * (deep + 1) + "]" * (deep + 1) + "}")
    assert accepts("json", '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH)
    assert not accepts("json", '{"a":' * MAX_DEPTH + "{}" + "}" * MAX_DEPTH)


# Schemas.


def test_properties_come_in_the_order_of_the_schema_and_no_others_do() -> None:
    form = schema_text(
        type="object",
        properties={"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}},
        required=["b"],
    )
    assert accepts(form, '{"b":1}')
    assert accepts(form, '{"a":1,"b":1,"c":1}')
    assert accepts(form, '{"b":1,"c":1}')
    for wrong in (
        '{"a":1}',
        "{}",
        '{"b":1,"a":1}',
        '{"b":1,"b":1}',
        '{"b":1,"d":1}',
        '{"a":1,"c":1}',
    ):
        assert not accepts(form, wrong)


def test_a_name_that_begins_as_another_is_not_mistaken_for_it() -> None:
    form = schema_text(
        type="object", properties={"ab": {"const": 1}, "a": {"const": 2}, "abc": {"const": 3}}
    )
    assert accepts(form, '{"ab":1,"a":2,"abc":3}')
    assert not accepts(form, '{"a":1}')
    assert not accepts(form, '{"a":2,"ab":1}')


def test_a_number_that_others_continue_can_end_or_go_on() -> None:
    form = schema_text(type="array", items={"enum": [1, 10, 100, 12]})
    assert accepts(form, "[1,10,100,12]")
    assert accepts(form, "[1 ,10]")
    assert not accepts(form, "[11]")
    assert not accepts(form, "[1000]")
    alone = grammar(schema_text(enum=[1, 10]))
    state = after(alone, b"1")
    assert state is not None
    assert alone.done(state)
    assert alone.allows(state, ord("0"))


def test_alternatives_are_followed_until_they_differ() -> None:
    form = json.dumps(
        {
            "anyOf": [
                {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}},
                 "required": ["kind", "x"]},
                {"type": "object", "properties": {"kind": {"const": "b"}, "x": {"type": "string"}},
                 "required": ["kind", "x"]},
                {"type": "object", "properties": {"kind": {"type": "string"}},
                 "required": ["kind"]},
            ]
        }
    )  # fmt: skip
    assert accepts(form, '{"kind":"a","x":1}')
    assert accepts(form, '{"kind":"b","x":"1"}')
    assert accepts(form, '{"kind":"c"}')
    assert not accepts(form, '{"kind":"a","x":"1"}')
    assert not accepts(form, '{"kind":"c","x":1}')


TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
                "right": {"$ref": "#/$defs/tree"},
            },
            "required": ["value", "left"],
            "additionalProperties": False,
        }
    },
}


def test_schemas_may_refer_to_themselves() -> None:
    form = json.dumps(TREE)
    leaf = '{"value":1,"left":null}'
    assert accepts(form, leaf)
    assert accepts(form, f'{{"value":1,"left":{leaf},"right":{leaf}}}')
    assert not accepts(form, '{"value":1,"left":{}}')
    for seed in range(5):
        text = walked(grammar(form), random.Random(seed), 2000)
        jsonschema.Draft202012Validator(TREE).validate(json.loads(text))


def test_what_refers_to_itself_ends_before_it_is_too_deep() -> None:
    form = json.dumps(TREE)
    deepest = '{"value":1,"left":' * MAX_DEPTH + "null" + "}" * MAX_DEPTH
    assert accepts(form, deepest)
    made = grammar(form)
    state = after(made, b'{"value":1,"left":' * MAX_DEPTH)
    assert state is not None
    assert bytes(byte for byte in range(256) if made.allows(state, byte)) == b"\t\n\r n"


def test_a_prefix_of_items_has_its_own_schemas() -> None:
    form = schema_text(
        type="array", prefixItems=[{"type": "integer"}, {"type": "string"}], items=False, minItems=1
    )
    assert accepts(form, '[1,"a"]')
    assert accepts(form, "[1]")
    for wrong in ("[]", '["a"]', '[1,"a",1]'):
        assert not accepts(form, wrong)


def test_lengths_are_of_code_points_however_they_are_written() -> None:
    form = schema_text(type="string", minLength=2, maxLength=2)
    for text in ('"ab"', '"é😀"', '"\\u00e9\\ud83d\\ude00"', '"\\n\\""'):
        assert accepts(form, text)
    for text in ('"a"', '"abc"', '"😀"', '"\\ud83d\\ude00"'):
        assert not accepts(form, text)
    assert accepts(schema_text(type="string", maxLength=0), '""')


# Tokens.


def test_a_control_token_or_one_that_does_not_exist_is_never_allowed() -> None:
    made = grammar("json")
    for token in (END + 1, -1, len(PIECES), 10**9):
        assert not made.allows(made.start(), token)
        with pytest.raises(ValueError, match="not allowed"):
            made.next(made.start(), token)


def test_the_end_comes_where_the_text_is_complete_and_nothing_else_does() -> None:
    made = grammar("json")
    state = after(made, b'{"a":1}')
    assert state is not None
    assert [each for each in range(len(PIECES)) if made.allows(state, each)] == [END]
    assert not made.allows(made.start(), END)


def test_equal_states_are_equal_whatever_led_there() -> None:
    made = grammar("json")
    one, other = after(made, b'{"a":"x'), after(made, b'{"bcd":"\\n')
    assert one == other
    assert hash(one) == hash(other)
    assert one != after(made, b'{"a":x')
    assert one != made.start()


def test_what_is_remembered_is_bounded_and_can_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = schema_text(type="string", maxLength=10**6)
    made = grammar(form)
    state = after(made, b'"' + b"a" * 100)
    monkeypatch.setattr(automaton, "MAX_STATES", 20)
    assert state is not None
    for _ in range(200):
        state = made.next(state, ord("b"))
    assert len(made._automaton._states) <= 20
    assert made.done(made.next(state, ord('"')))
    assert MAX_STATES >= 1000


def test_many_ways_to_understand_a_text_do_not_multiply() -> None:
    twins = [{"type": "array", "items": {"$ref": "#"}, "minItems": each} for each in range(40)]
    made = grammar(json.dumps({"anyOf": [*twins, {"type": "null"}]}))
    state = after(made, b"[" * 30)
    assert state is not None
    assert 40 < len(state.threads) <= automaton.MAX_THREADS
    text = led_home(made, state, b"[" * 30)
    assert json.loads(text)


@settings(deadline=None)
@given(pairs)
def test_a_schema_that_is_made_twice_allows_the_same(pair: Pair) -> None:
    form = json.dumps(pair[0])
    one, other = grammar(form), grammar(form)
    assume(one is not other)
    rng = random.Random(1)
    first, second = one.start(), other.start()
    for _ in range(20):
        allowed = [each for each in range(257) if one.allows(first, each)]
        assert allowed == [each for each in range(257) if other.allows(second, each)]
        token = rng.choice(allowed)
        if token == END:
            break
        first, second = one.next(first, token), other.next(second, token)
        assert first == second
