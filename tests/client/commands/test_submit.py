"""``swarm submit``, ``jobs``, ``status`` and ``cancel`` against a real tracker."""

from pathlib import Path

from tests.client.commands.shell import SQUARES, Shell


def test_a_dry_run_shows_units_and_cost_and_publishes_nothing(shell: Shell) -> None:
    said = shell.good("submit", shell.job_file(), "--dry-run")
    assert "3 units x 1 credit x 1 execution = 3 credits" in said.out
    assert "square 4" in said.out
    assert not (shell.home / "key").exists()
    assert shell.good("jobs", "--mine", "--json").json == []


def test_a_dry_run_in_json_has_the_first_commands(shell: Shell) -> None:
    preview = shell.good("submit", shell.job_file(), "--dry-run", "--json").json
    assert preview["escrow"] == 3
    assert preview["first"][1]["command"] == ["square", "3"]
    assert [Path(blob["path"]).name for blob in preview["blobs"]] == ["square.py"]


def test_every_mistake_is_printed_with_file_and_line(shell: Shell) -> None:
    job = shell.job_file(SQUARES.replace("name =", "nam =").replace("trusted", "blind"))
    said = shell.run("submit", job)
    assert said.status == 2
    assert f"{job}:1: name is missing" in said.err
    assert f"{job}:1: unknown key nam" in said.err
    assert f"{job}:10: verification.policy" in said.err
    assert "error: 3 mistakes" in said.err


def test_mistakes_are_json_for_scripts(shell: Shell) -> None:
    import json

    said = shell.run("submit", shell.job_file("name = 1\n"), "--json")
    error = json.loads(said.err)["error"]
    assert error["code"] == "job-file"
    assert {"file", "line", "message", "hint"} == set(error["mistakes"][0])
    assert said.out == ""


def test_a_job_that_the_account_cannot_pay_is_refused_with_a_hint(shell: Shell) -> None:
    said = shell.run("submit", shell.job_file())
    assert said.status == 3
    assert "hint:" in said.err


def test_a_submitted_job_is_listed_shown_and_cancelled(rich_shell: Shell) -> None:
    said = rich_shell.good("submit", rich_shell.job_file(), "--json")
    job = said.json["id"]
    assert said.json["escrow"]["held"] == 3
    assert rich_shell.good("credits", "--json").json["balance"] == 997
    assert [each["id"] for each in rich_shell.good("jobs", "--mine", "--json").json] == [job]
    assert job[:12] in rich_shell.good("jobs").out
    assert "3 open" in rich_shell.good("status", job[:10]).out
    assert "3 credits returned" in rich_shell.good("cancel", job[:10]).out
    assert rich_shell.good("credits", "--json").json["balance"] == 1000
    assert rich_shell.run("cancel", job[:10]).status == 3
    assert rich_shell.run("watch", job[:10]).status == 1


def test_demands_and_known_answers_are_shown_and_few_of_them_warned_of(rich_shell: Shell) -> None:
    checks = 'reputation = 2\nringers = "known"\n[verification.settings]\naudit = 0.15\n'
    job_file = rich_shell.job_file(SQUARES.replace('"trusted"', '"economy"') + checks)
    for index in (0, 2):
        answer = job_file.parent / "known" / str(index) / "out"
        answer.parent.mkdir(parents=True)
        answer.write_text(f"{index}")
    preview = rich_shell.good("submit", job_file, "--dry-run", "--json").json
    assert preview["ringers"] == 2
    assert len(preview["warnings"]) == 2
    said = rich_shell.good("submit", job_file)
    assert "warning: only 2 known answers" in said.err
    assert "warning: 2 answers of 3 units known, more than half" in said.err
    job = rich_shell.good("jobs", "--mine", "--json").json[0]
    assert job["demands"] == preview["demands"]
    line = "economy, exact, audit 0.15, reputation 2, known answers"
    assert line in rich_shell.good("submit", job_file, "--dry-run").out
    assert line in rich_shell.good("status", job["id"]).out


def test_the_tracker_gets_the_small_files_of_a_job(rich_shell: Shell) -> None:
    from urllib.request import urlopen

    job_file = rich_shell.job_file()
    preview = rich_shell.good("submit", job_file, "--dry-run", "--json").json
    rich_shell.good("submit", job_file)
    with urlopen(f"{rich_shell.tracker}/api/v1/blobs/{preview['blobs'][0]['v2']}") as answer:
        assert answer.read() == b"print(1)\n"


def test_a_large_file_is_left_to_be_seeded(rich_shell: Shell) -> None:
    job_file = rich_shell.job_file(SQUARES + '[inputs]\n"large.bin" = "large.bin"\n')
    (job_file.parent / "large.bin").write_bytes(bytes(range(256)) * 5000)
    said = rich_shell.good("submit", job_file)
    assert "large.bin" in said.err
    assert "swarm seed" in said.err


def test_somebody_else_cannot_cancel_a_job(rich_shell: Shell, tmp_path: Path) -> None:
    job = rich_shell.good("submit", rich_shell.job_file(), "--json").json["id"]
    other = Shell(tmp_path / "other", rich_shell.tracker)
    assert other.run("cancel", job).status == 3


def test_an_unknown_job_is_said_to_be_unknown(shell: Shell) -> None:
    for name in ("abcdef", "ab", "../x", "f" * 64):
        said = shell.run("status", name)
        assert said.status == 1, said
        assert "swarm jobs" in said.err


def test_a_tracker_that_is_not_there_is_named_with_what_to_check(tmp_path: Path) -> None:
    said = Shell(tmp_path, "http://127.0.0.1:9").run("jobs")
    assert said.status == 1
    assert "http://127.0.0.1:9" in said.err
    assert "--tracker" in said.err


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    said = Shell(tmp_path, "tracker.example:8400").run("jobs")
    assert said.status == 1
    assert "http://" in said.err
