"""Line numbers of TOML keys."""

import tomllib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from client.jobs.toml_lines import KeyPath, error_line, key_lines, line_of

DOCUMENT = '''\
# a job
name = "a"
text = """
[not a table]
key = 1
"""

[program]
command = [
    "python3",  # ] not the end
    "x",
]
limits = { cpu = 1, deep.er = [1,
  2] }
"quoted.key" = 'lit"eral'

[[rows]]
a = 1
[rows.inner]
b = 2
[[rows]]
a.b = 3
'''


def paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found = {path} if path else set()
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found |= paths(inner, (*path, key))
    return found


def test_every_key_of_a_document_is_on_its_line() -> None:
    lines = key_lines(DOCUMENT)
    assert set(lines) == paths(tomllib.loads(DOCUMENT))
    assert lines[("name",)] == 2
    assert lines[("program",)] == 8
    assert lines[("program", "command", 1)] == 11
    assert lines[("program", "limits", "deep", "er", 1)] == 14
    assert lines[("program", "quoted.key")] == 15
    assert lines[("rows", 0, "inner", "b")] == 20
    assert lines[("rows", 1, "a", "b")] == 22


def test_an_unknown_path_gets_the_line_of_the_table_around_it() -> None:
    lines = key_lines(DOCUMENT)
    assert line_of(lines, ("program", "image")) == 8
    assert line_of(lines, ("limits",)) == 1


def test_a_syntax_error_keeps_its_line_and_loses_its_place_in_the_message() -> None:
    for text, line in (("a = 1\nb = ?\n", 2), ("a = 1\nb =", 2), ("a = [1,\n\n", 3)):
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found, message = error_line(error, text)
            assert found == line
            assert "line" not in message


KEYS = st.sampled_from(["a", "b-1", '"c.d"', "'e f'", '"\\u00e9"', "7"])
PLAIN = ["1", "-2.5e3", "true", "1979-05-27T07:32:00Z", '"x"', "'#]'", '"\\"]"', '""', "''", "inf"]
LONG = ['"""\n[a]\n"""', "'''\nb = 1'''", '"""a""b"""', '"""x\\""""']
SCALARS = st.sampled_from([*PLAIN, *LONG])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ", # ,]\n".join(items) + "\n]"),
        st.lists(st.tuples(KEYS, inner.filter(lambda v: "#" not in v)), max_size=3).map(
            lambda items: "{ " + ", ".join(f"{k} = {v}" for k, v in items) + " }"
        ),
    ),
    max_leaves=6,
)
DOTTED = st.lists(KEYS, min_size=1, max_size=2).map(" . ".join)
LINES = st.one_of(
    st.tuples(DOTTED, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]} # c"),
    DOTTED.map(lambda key: f"[{key}]"),
    DOTTED.map(lambda key: f"[[ {key} ]]"),
    st.just("# [x]"),
    st.just(""),
)


@given(st.lists(LINES, max_size=6).map("\n".join))
def test_it_finds_exactly_the_paths_that_tomllib_finds(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert set(lines) == paths(document)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


@given(st.text(alphabet="ab.=[]{}\"'\\,# \n1"))
@example('"""')
@example("[[")
def test_any_text_is_survived(text: str) -> None:
    lines = key_lines(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(lines) == paths(document)
