"""Job files: what is accepted, and that every mistake is found with its line."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.jobs.jobfile import Draft, load
from client.jobs.table import JobFileError, Mistake
from tests.sandbox.shared import make_layer, name_of
from workunits.errors import UnavailableError
from workunits.ids import JobId
from workunits.manifest import Limits
from workunits.metainfo import hash_stream
from workunits.parameters import Combine
from workunits.signing import Identity
from workunits.submission import Submission
from workunits.verification import Comparator, Comparison, Demands, Policy

AUTHOR = Identity.from_seed(b"a" * 32)
IMAGE = "sha256:" + "ab" * 32
SMALL = """\
name = "small"
[program]
command = ["python3", "run.py", "{x}"]
files = ["run.py"]
stdout = "out.json"
[parameters]
x = [1, 2, 3]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run.py").write_text("print(1)\n")
    (tmp_path / "data").mkdir()
    for name in ("b.csv", "a.csv"):
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "rows.csv").write_text("k,metric\n1,l1\n\n3,l2\n")
    (tmp_path / "list.txt").write_text("2\n\n 3 \n5\n")
    return tmp_path


def read(home: Path, text: str) -> Draft:
    file = home / "JOB.toml"
    file.write_text(text)
    return load(file, lambda: IMAGE)


def mistakes(home: Path, text: str) -> tuple[Mistake, ...]:
    with pytest.raises(JobFileError) as caught:
        read(home, text)
    return caught.value.mistakes


def only_mistake(home: Path, text: str) -> Mistake:
    (found,) = mistakes(home, text)
    return found


def test_a_small_file_gives_a_manifest_with_defaults(home: Path) -> None:
    draft = read(home, SMALL)
    submission = draft.submission(AUTHOR, b"n" * 16, b"s" * 32)
    assert Submission.parse(submission.encode()) == submission
    assert submission.ringers is None
    manifest = submission.signed.manifest
    assert (manifest.submitter, manifest.nonce) == (AUTHOR.key, b"n" * 16)
    assert (manifest.price, manifest.policy) == (1, Policy.ECONOMY)
    assert (manifest.comparator, manifest.demands) == (Comparator(), Demands())
    assert manifest.program.image == IMAGE
    assert manifest.outputs == ("out.json",)
    assert manifest.limits == Limits(60, 180, 256 << 20, 256 << 10)
    assert manifest.unit(JobId(bytes(32)), 2).command == ("python3", "run.py", "3")


def test_every_part_of_a_full_file_is_read(home: Path) -> None:
    draft = read(
        home,
        """
name = "full"
price = 7
outputs = ["answer.csv"]
[program]
image = "sha256:1212121212121212121212121212121212121212121212121212121212121212"
command = "sh -c 'run {p} {{}}' {n} {f} {q} {l}"
[parameters]
p = [0.10, 1e-3, 1_000.5, true, "a b", -7]
n = { range = [10, 0, -5] }
f = { files = "data/*.csv" }
q = { lines = "list.txt" }
l = [ "x" ]
[inputs]
"all.csv" = "rows.csv"
[limits]
cpu = "1.5min"
wall = 600
memory = "1GiB"
output = "100kB"
[verification]
policy = "trusted"
comparator = "numeric"
rtol = 1e-9
atol = 1
""",
    )
    manifest = draft.body
    assert manifest.units == 6 * 2 * 2 * 3
    unit = manifest.unit(JobId(bytes(32)), 0)
    assert unit.command == ("sh", "-c", "run 0.10 {}", "10", "a.csv", "2", "x")
    assert [blob.name for blob in unit.inputs] == ["all.csv", "a.csv"]
    values = [manifest.parameters.axes[0][at] for at in range(6)]
    assert values == ["0.10", "1e-3", "1000.5", "true", "a b", "-7"]
    assert manifest.limits == Limits(90, 600, 1 << 30, 100_000)
    assert manifest.comparator == Comparator(Comparison.NUMERIC, 1e-9, 1.0)
    assert (manifest.price, manifest.policy) == (7, Policy.TRUSTED)
    assert {path.name for path in draft.files.values()} == {"a.csv", "b.csv", "rows.csv"}
    for ref, path in draft.files.items():
        with path.open("rb") as stream:
            assert hash_stream(stream, path.stat().st_size).info.ref == ref


def test_rows_of_a_table_become_units(home: Path) -> None:
    text = SMALL.replace("x = [1, 2, 3]", 'rows = "rows.csv"').replace("{x}", "{k} {metric}")
    manifest = read(home, text).body
    assert manifest.parameters.combine is Combine.ZIP
    assert [manifest.parameters.parameters(at) for at in range(manifest.units)] == [
        {"k": "1", "metric": "l1"},
        {"k": "3", "metric": "l2"},
    ]


def test_zipped_lists_of_different_lengths_are_refused(home: Path) -> None:
    found = only_mistake(home, SMALL + 'y = [1]\ncombine = "zip"\n')
    assert (found.line, "different lengths" in found.message) == (6, True)


def test_a_job_without_parameters_has_one_unit(home: Path) -> None:
    text = SMALL.split("[parameters]")[0].replace(', "{x}"', "")
    assert read(home, text).body.units == 1


def test_a_directory_stands_for_its_job_file(home: Path) -> None:
    read(home, SMALL)
    assert load(home, lambda: IMAGE).body.name == "small"


def test_a_missing_job_file_says_what_to_do(home: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        load(home / "nothing.toml", lambda: IMAGE)
    assert caught.value.hint


def test_all_mistakes_are_found_at_once_with_their_lines(home: Path) -> None:
    found = mistakes(
        home,
        """\
name = ""
prize = 5
price = -1
outputs = ["../x", "a", "a"]
policy = "pair"

[program]
image = "debian:12"
command = [
  "python3",
  "{nothing}",
  "{open",
]
files = ["run.py", "missing.py", 5]
stdout = "-x"

[parameters]
x = []
y = 5
z = { range = [0, 10, 0] }
bad-name = [1]
w = { files = "nothing/*" }
v = [1, [2]]
u = { values = [1] }
combine = "sum"

[inputs]
digits.csv = "rows.csv"
"b c" = "rows.csv"
d = "data"

[limits]
cpu = "5 parsecs"
memory = "1MB"
wall = 0
output = true

[verification]
comparator = "exact"
policy = "quadruple"
rtol = 1e-3
""",
    )
    lines = [mistake.line for mistake in found]
    assert lines == sorted(lines)
    assert {
        1, 2, 3, 4, 5, 8, 11, 12, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25,
        28, 29, 30, 33, 34, 35, 36, 40, 41,
    } == set(lines)  # fmt: skip
    by_line = {mistake.line: mistake for mistake in found}
    assert "'price'" in by_line[2].hint
    assert "[verification]" in by_line[5].hint
    assert "quotes" in by_line[28].hint
    assert "regular file" in by_line[30].message
    assert str(found[0]) == f"{home / 'JOB.toml'}:1: {found[0].message}"


def test_what_is_missing_is_named(home: Path) -> None:
    messages = " ".join(mistake.message for mistake in mistakes(home, "# nothing\n"))
    for word in ("name is missing", "program is missing", "command is missing", "no output"):
        assert word in messages


@pytest.mark.parametrize(
    ("text", "line"),
    [("name = 1\nname = 2\n", 2), ("name = 'a", 1), ("a = [1,\n", 2), ("[a\n", 1), ("a = \n", 1)],
)
def test_a_syntax_error_has_a_line(home: Path, text: str, line: int) -> None:
    found = only_mistake(home, text)
    assert found.line == line
    assert found.message.startswith("not TOML")


def test_mistakes_in_a_table_of_rows_name_the_table_and_its_line(home: Path) -> None:
    (home / "rows.csv").write_text("a,b-c\n1\n2,3\n")
    text = SMALL.replace("x = [1, 2, 3]", 'rows = "rows.csv"').replace(', "{x}"', "")
    found = mistakes(home, text)
    assert [(mistake.file.name, mistake.line) for mistake in found] == [
        ("rows.csv", 1),
        ("rows.csv", 2),
    ]


def test_rows_and_other_parameters_exclude_each_other(home: Path) -> None:
    found = mistakes(home, SMALL + 'rows = "rows.csv"\n')
    assert any(mistake.line == 7 and "stand alone" in mistake.message for mistake in found)


def test_a_missing_runtime_image_is_a_mistake_with_the_image_s_hint(home: Path) -> None:
    def lookup() -> str:
        raise UnavailableError("no image", hint="Build it.")

    file = home / "JOB.toml"
    file.write_text(SMALL)
    with pytest.raises(JobFileError) as caught:
        load(file, lookup)
    (found,) = caught.value.mistakes
    assert (found.line, found.message, found.hint) == (2, "no image", "Build it.")


def test_too_many_units_are_refused(home: Path) -> None:
    text = SMALL.replace("[1, 2, 3]", "{ range = [0, 100_000_000] }") + "y = [1, 2]\n"
    found = only_mistake(home, text)
    assert "200,000,000 units" in found.message


def test_a_manifest_that_would_be_too_large_is_refused(home: Path) -> None:
    (home / "list.txt").write_text("".join(f"{at:020}\n" for at in range(60_000)))
    found = only_mistake(home, SMALL.replace("[1, 2, 3]", '{ lines = "list.txt" }'))
    assert "more than" in found.message


def test_a_large_output_cannot_be_compared_as_numbers(home: Path) -> None:
    text = SMALL + '[limits]\noutput = "1MiB"\n[verification]\ncomparator = "numeric"\n'
    assert only_mistake(home, text).line == 9


def test_one_name_for_an_input_and_a_parameter_s_file_is_refused(home: Path) -> None:
    text = SMALL + 'f = { files = "data/*" }\n[inputs]\n"a.csv" = "rows.csv"\n'
    assert only_mistake(home, text).line == 10


def test_bytes_that_are_not_text_are_refused(home: Path) -> None:
    file = home / "JOB.toml"
    file.write_bytes(b'name = "a"\nb = "\xff"\n')
    with pytest.raises(JobFileError) as caught:
        load(file, lambda: IMAGE)
    assert caught.value.mistakes[0].line == 2


SPELLED = """ "" | "run.py" | "a\\u0000b" | 1 | -1 | 0.5 | nan | true | [] | {} | ["{x}"] | "pair"
    | [[1]] | { range = [1, 2] } | { files = "/*" } | 1979-05-27 | "\\"{" | { files = "" }
    | { lines = "" } | { files = "**/../*" } | 10_000_000_000_000 | "program" | "data"
    | { audit = 0.5 } | ["x", "{a}{b}"] | { lead = 2, batch = "b" }"""

KEYS = """name price outputs program parameters inputs limits verification program.command
    program.files program.image program.stdout parameters.x parameters.rows parameters.combine
    limits.cpu limits.memory inputs.a verification.rtol verification.policy
    verification.comparator verification.command verification.settings verification.ringers
    verification.same-platform verification.reputation verification.settings.audit
    verification.settings.lead verification.settings.final_after "\\u0000" """
LEAVES = st.sampled_from(SPELLED.split("|"))
NAMES = st.sampled_from(KEYS.split())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(NAMES, LEAVES), max_size=8))
def test_whatever_a_file_says_it_is_a_draft_or_a_list_of_mistakes(
    home: Path, pairs: list[tuple[str, str]]
) -> None:
    text = "\n".join(f"{key} = {value.strip()}" for key, value in pairs)
    try:
        draft = read(home, text)
    except JobFileError as error:
        last = text.count("\n") + 1
        assert error.mistakes
        assert all(1 <= mistake.line <= last for mistake in error.mistakes)
        assert all(mistake.message for mistake in error.mistakes)
    else:
        tomllib.loads(text)
        draft.body.check()


SHARED = SMALL.replace("[program]", '[program]\nimage = "{image}"')


def image_of(home: Path) -> tuple[str, list[tuple[bytes, Path]]]:
    layers = [make_layer(home, {"a": text}) for text in (b"base", b"top")]
    return name_of(*layers), layers


def test_an_image_that_is_here_is_shared(home: Path) -> None:
    image, layers = image_of(home)
    file = home / "JOB.toml"
    for line, shares in (("", True), ("share-image = true", True), ("share-image = false", False)):
        file.write_text(SHARED.replace("{image}", image + '"\n' + line + "#"))
        draft = load(file, lambda: IMAGE, lambda name: layers if name == image else None)
        program = draft.body.program
        assert [layer.diff for layer in program.layers] == ([d for d, _ in layers] * shares)
        for layer, (_, path) in zip(program.layers, layers, strict=False):
            assert draft.files[layer.ref] == path
            assert layer.ref.length == path.stat().st_size


def test_an_image_that_is_not_here_is_not_shared_unless_that_is_asked_for(home: Path) -> None:
    file = home / "JOB.toml"
    file.write_text(SHARED.replace("{image}", IMAGE))
    assert load(file, lambda: IMAGE).body.program.layers == ()

    def broken(_: str) -> None:
        raise UnavailableError("the engine failed", hint="Start it.")

    assert load(file, lambda: IMAGE, broken).body.program.layers == ()
    file.write_text(SHARED.replace("{image}", IMAGE + '"\nshare-image = true#'))
    for lookup in (lambda _: None, broken):
        with pytest.raises(JobFileError) as caught:
            load(file, lambda: IMAGE, lookup)
        (mistake,) = caught.value.mistakes
        assert (mistake.line, bool(mistake.hint)) == (4, True)


def test_the_runtime_image_is_shared_only_when_that_is_asked_for(home: Path) -> None:
    layer = make_layer(home, {"a": b"runtime"})
    file = home / "JOB.toml"
    for line, count in (("", 0), ("share-image = true\n", 1)):
        file.write_text(SMALL.replace("[program]", f"[program]\n{line}"))
        draft = load(file, lambda: name_of(layer), lambda _: [layer])
        assert len(draft.body.program.layers) == count


def test_who_only_serves_the_files_needs_no_runtime_image_that_is_not_shared(home: Path) -> None:
    def built() -> str:
        raise UnavailableError("it would be built now", hint="Do not.")

    file = home / "JOB.toml"
    file.write_text(SMALL)
    assert len(load(file, built, serving=True).files) == 1
    file.write_text(SMALL.replace("[program]", "[program]\nshare-image = true"))
    with pytest.raises(JobFileError):
        load(file, built, serving=True)
