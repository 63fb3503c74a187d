"""Forms are refused before anybody is asked."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.errors import LimitError, MalformedError
from workunits.models.forms import check_form, form_of
from workunits.models.request import MAX_FORM, NONCE_SIZE, Request


@pytest.mark.parametrize("form", ["", "json", "{}", '{"type":"object"}'])
def test_forms_that_can_be_followed_pass(form: str) -> None:
    check_form(form)


def test_a_refusal_names_the_keyword_and_says_where_to_look() -> None:
    with pytest.raises(MalformedError, match='"pattern" at #/properties/a') as caught:
        check_form('{"properties":{"a":{"pattern":"x"}}}')
    assert "docs/models.md" in caught.value.hint


def test_a_refusal_repeats_little_of_what_was_sent() -> None:
    with pytest.raises(MalformedError) as caught:
        check_form(json.dumps({"x" * 10_000: 1, "y": {}}))
    assert len(caught.value.message) < 400


def test_a_form_that_is_too_long_is_refused() -> None:
    long = {"description": "d" * MAX_FORM}
    with pytest.raises(LimitError, match="characters"):
        check_form(json.dumps(long))


@given(st.text(max_size=20))
def test_a_schema_becomes_a_form_that_a_request_can_carry(name: str) -> None:
    try:
        form = form_of({"const": name})
    except MalformedError:
        assert any("\ud800" <= each <= "\udfff" for each in name)
        return
    request = Request((1,), 1, 0, bytes(NONCE_SIZE), form=form)
    assert Request.parse(request.encode()) == request
    assert json.loads(form) == {"const": name}


@pytest.mark.parametrize("schema", [None, "json", 5, [], {"a": {1}}, {"const": float("nan")}])
def test_what_is_no_schema_is_refused(schema: object) -> None:
    with pytest.raises(MalformedError):
        form_of(schema)
