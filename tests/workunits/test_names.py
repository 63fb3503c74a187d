"""Names from outside: what may be a file name, a parameter, a placeholder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.errors import MalformedError
from workunits.names import file_name, fill, parameter_name, placeholders, plain_text


@pytest.mark.parametrize("name", ["a", "out.txt", "_x", "A-b_c.9", "x" * 100])
def test_plain_file_names_pass(name: str) -> None:
    assert file_name(name, "output") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "-rf", ".hidden", "a\n", "a b", "a\0", "é", "x" * 101],
)
def test_whatever_could_leave_its_directory_or_look_like_an_option_is_refused(name: str) -> None:
    with pytest.raises(MalformedError, match="not a plain file name") as caught:
        file_name(name, "output")
    assert caught.value.hint


@given(st.text(max_size=120))
def test_a_file_name_that_passes_is_one_path_component(name: str) -> None:
    try:
        file_name(name, "output")
    except MalformedError:
        return
    assert name not in {"", ".", ".."}
    assert not set(name) & set("/\\\0\n ")
    assert name[0] not in ".-"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "{", "x" * 33, "é"])
def test_what_cannot_stand_between_braces_is_no_parameter(name: str) -> None:
    with pytest.raises(MalformedError, match="not a parameter name") as caught:
        parameter_name(name, "parameter")
    assert caught.value.hint
    assert parameter_name("a_9", "parameter") == "a_9"


def test_control_characters_are_not_plain_text() -> None:
    assert plain_text("grüße 1", "name") == "grüße 1"
    for text in ("a\n", "\x1b[31m", "a\0", "\u202e"):
        with pytest.raises(MalformedError, match="control characters"):
            plain_text(text, "name")


def test_placeholders_are_found_in_order_and_doubled_braces_stand_for_themselves() -> None:
    assert placeholders("a {x} {{y}} {z}{x}") == ("x", "z", "x")
    assert fill("a {x} {{y}} {z}", {"x": "1", "z": "{x}"}) == "a 1 {y} {x}"


@pytest.mark.parametrize("template", ["{", "}", "a{b", "a}b", "{{{", "{a{b}}"])
def test_an_unbalanced_brace_is_refused(template: str) -> None:
    with pytest.raises(MalformedError, match="unbalanced brace") as caught:
        placeholders(template)
    assert caught.value.hint


@given(st.text(max_size=30))
def test_text_with_doubled_braces_fills_to_itself(text: str) -> None:
    template = text.replace("{", "{{").replace("}", "}}")
    assert placeholders(template) == ()
    assert fill(template, {}) == text
