"""The front door: quick help, one way to report errors, everything documented."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import click
import pytest

import openswarm
from openswarm import cli
from openswarm.cli import COMMANDS, PLACES, explain, main, swarm
from openswarm.reference import commands, contexts, reference, variable_of
from workunits.errors import LimitError, LocalError, RefusedError, UnavailableError

ROOT = Path(__file__).parents[2]
HEAVY = ("aiohttp", "aiortc", "docker", "rich", "cryptography", "asyncio", "sqlite_utils")
NARROW = 80
"""Columns of a terminal on which help has to fit."""
SHARED = {
    "DATA": "SWARM_TRACKER_DATA",
    "ENGINE": "SWARM_ENGINE",
    "HOME": "SWARM_HOME",
    "JSON": "SWARM_JSON",
    "KEY": "SWARM_KEY",
    "TRACKER": "SWARM_TRACKER",
    **{word: f"SWARM_TRACKER_{word}" for word in ("ANSWERS", "LISTEN", "MODE", "PUBLIC", "UDP")},
}
"""Variables that stand for an option of several commands, or of the one that runs a tracker."""


def run_fresh(*words: str) -> subprocess.CompletedProcess[str]:
    """Run code that says which heavy modules a command line imported."""
    code = (
        "import sys; from openswarm.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )


def status_of(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0)


def groups(path: str = "swarm", group: click.Group = swarm) -> Iterator[tuple[str, click.Group]]:
    """Every group of commands below the front door, which has a table of its own."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield f"{path} {name}", command
            yield from groups(f"{path} {name}", command)


def test_help_imports_nothing_heavy_and_no_command() -> None:
    said = run_fresh("--help")
    assert said.stderr.strip() == "[]"
    for name in PLACES:
        assert re.search(rf"^  {name} ", said.stdout, re.MULTILINE), name


@pytest.mark.parametrize("name", ["submit", "results", "volunteer", "doctor", "watch", "jobs"])
def test_help_of_a_command_does_not_load_the_network_or_the_engine(name: str) -> None:
    said = run_fresh(name, "--help")
    loaded = said.stderr.strip()
    assert not any(each in loaded for each in ("aiohttp", "aiortc", "docker", "rich")), loaded


def test_the_table_of_commands_is_true() -> None:
    for group in COMMANDS.values():
        for name, (place, line) in group.items():
            module, _, attribute = place.partition(":")
            command = getattr(import_module(module), attribute)
            assert isinstance(command, click.Command), name
            assert line.endswith(".")
            assert len(line) < 60


def test_every_command_is_documented_with_an_example() -> None:
    names = [name for name, _ in commands()]
    assert "swarm submit" in names
    assert "swarm key show" in names
    page = (ROOT / "docs" / "commands.md").read_text()
    for name, command in commands():
        text = f"{command.help}\n{command.epilog or ''}"
        assert command.help, name
        assert re.search(rf"Examples?:\n\s+.*{name.split()[-1]}", text), name
        assert f"### {name}\n" in page, name


def test_no_summary_is_cut_on_a_narrow_terminal() -> None:
    checked = 0
    for path, group in groups():
        formatter = click.HelpFormatter(width=NARROW - 2)  # as click makes one
        limit = formatter.width - 6 - max(map(len, group.commands))
        for name, command in group.commands.items():
            summary = command.get_short_help_str(limit)
            assert summary == command.get_short_help_str(1000), f"{path} {name}"
            assert summary.endswith("."), f"{path} {name}"
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("name", ["", *PLACES])
def test_help_fits_a_narrow_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with patch.dict("os.environ", COLUMNS=str(NARROW)):
        assert status_of(*filter(None, [name]), "--help") == 0
    said, _, _ = capsys.readouterr().out.partition("Example")
    for line in said.splitlines():
        assert len(line) <= NARROW, line
    _, _, listed = said.partition("Commands:\n")
    for line in listed.strip().splitlines():
        assert re.match(r" *[a-z-]+  .*\.$", line), f"more than a line: {line}"


def test_every_option_says_what_it_is_for() -> None:
    for name, command in commands():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.opts}"


def test_variables_are_called_like_their_options() -> None:
    found: dict[str, str] = {}
    for context in contexts():
        for option in context.command.params:
            if not isinstance(option, click.Option):
                continue
            words = max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
            variable = variable_of(option, context)
            found[f"{context.command_path} --{words.lower()}"] = variable
            own = f"{context.auto_envvar_prefix}_{words}"
            if context.command_path == "swarm chat" and words == "KEY":
                own = "SWARM_API_KEY"  # another key than that of all other commands
            assert variable in (own, SHARED.get(words)), f"{context.command_path} {option.opts}"
    assert found["swarm model calibrate --lie"] == "SWARM_MODEL_CALIBRATE_LIE"
    assert found["swarm chat --key"] == "SWARM_API_KEY"


def test_a_variable_gives_what_its_option_gives(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_SIMULATE_ATTACK", "nonsense")
    assert status_of("simulate") == 2
    assert "'nonsense'" in capsys.readouterr().err


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == reference(), (
        "run: python -m openswarm.reference > docs/commands.md"
    )


def test_the_job_page_names_every_key_of_a_job_file() -> None:
    page = (ROOT / "docs" / "jobs.md").read_text()
    keys = """name price outputs image command files stdout range lines rows combine cpu wall
        memory output policy comparator rtol atol"""
    for key in keys.split():
        assert f"`{key}`" in page or f"{key} = " in page, key


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("sumbit") == 2
    assert "Did you mean 'submit'?" in capsys.readouterr().err
    assert status_of("zzzz") == 2
    assert "hint: See `swarm --help`." in capsys.readouterr().err


def test_a_wrong_option_points_to_the_help_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of("submit", "--wach", "x") == 2
    assert "`swarm submit --help`" in capsys.readouterr().err


def test_a_usage_error_is_json_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("jobs", "--limit", "many", "--json") == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "usage"
    assert error["blame"] == "ours"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--version") == 0
    assert capsys.readouterr().out.split()[-1] == cli.VERSION
    assert f"version = {cli.VERSION}\n" in (ROOT / "setup.cfg").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("completion", shell) == 0
    assert "_SWARM_COMPLETE" in capsys.readouterr().out


def test_names_of_commands_are_completed_without_loading_them() -> None:
    context = click.Context(swarm, info_name="swarm")
    assert [item.value for item in swarm.shell_complete(context, "su")] == ["submit"]
    assert {item.value for item in swarm.shell_complete(context, "s")} == {
        "submit",
        "seed",
        "simulate",
        "status",
    }


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """A command ``swarm fail`` that raises what is put into the list."""
    errors: list[BaseException] = []

    @click.command()
    def fail() -> None:
        raise errors[0]

    monkeypatch.setattr(cli, "fail", fail, raising=False)
    monkeypatch.setitem(PLACES, "fail", "openswarm.cli:fail")
    yield errors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnavailableError("gone"), 1),
        (LimitError("too much"), 1),
        (RefusedError("no"), 3),
        (ExceptionGroup("group", [ExceptionGroup("inner", [RefusedError("no")])]), 3),
        (FileNotFoundError(2, "No such file", "x"), 1),
        (KeyError("bug"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_status(
    failing: list[BaseException], error: BaseException, status: int
) -> None:
    failing.append(error)
    assert status_of("fail") == status


def test_a_bug_says_that_it_is_one_and_how_to_report_it(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing.append(KeyError("x"))
    assert status_of("fail") == 1
    said = capsys.readouterr().err
    assert "this is a bug" in said
    assert "SWARM_DEBUG" in said
    monkeypatch.setenv("SWARM_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["fail"])


def test_errors_have_no_colour_without_a_terminal(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(LocalError("broken", hint="Mend it."))
    status_of("fail")
    assert capsys.readouterr().err == "error: broken\nhint: Mend it.\n"


def test_every_error_that_is_explained_ends_in_a_hint() -> None:
    for error in (KeyError("x"), OSError(5, "io", "f"), click.UsageError("u")):
        assert explain(error).hint


def test_the_python_interface_has_everything_that_it_lists() -> None:
    for name in openswarm.__all__:
        assert getattr(openswarm, name) is not None
    assert set(openswarm.__all__) <= set(dir(openswarm))
    with pytest.raises(AttributeError):
        _ = openswarm.nothing
