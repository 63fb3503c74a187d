"""``swarm model``: a model is put up, listed, fetched among peers, and taken back."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.client.commands.shell import Shell
from tests.workunits.models import ggufs
from workunits.images import chain_id


def place_image(home: Path, content: bytes = b"an engine") -> str:
    """An image whose only layer is in the cache; its content hash."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("engine")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    diff = hashlib.sha256(packed.getvalue()).digest()
    name = chain_id([diff])
    folder = home / "cache" / "layers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{diff.hex()}.tar").write_bytes(packed.getvalue())
    (folder / name.removeprefix("sha256:")).write_text(diff.hex())
    return name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(ggufs.model())
    return path


def put_up(shell: Shell, file: Path, *words: str) -> str:
    image = place_image(shell.home)
    said = shell.good("model", "add", file, "--image", image, "--no-serve", *words)
    return said.out.strip()


def test_a_model_is_put_up_listed_shown_and_taken_back(rich_shell: Shell, file: Path) -> None:
    assert put_up(rich_shell, file, "--name", "tiny", "--price", "3", "--context", "256") == "tiny"
    (row,) = rich_shell.good("model", "list", "--json").json
    assert (row["name"], row["price"], row["context"]) == ("tiny", 3, 256)
    assert (row["quantisation"], row["licence"], row["engine"]) == (
        "Q8_0", "apache-2.0", "llama.cpp",
    )  # fmt: skip
    assert row["file"]["length"] == file.stat().st_size
    assert "tiny" in rich_shell.good("model", "list").out
    shown = rich_shell.good("model", "show", "tiny").out
    assert "smollm" in shown and "<|im_end|>" in shown and "exact" in shown
    assert rich_shell.good("model", "show", "tiny", "--json").json["template"] == ggufs.TEMPLATE
    rich_shell.good("model", "remove", "tiny")
    assert rich_shell.good("model", "list", "--json").json == []
    missing = rich_shell.run("model", "show", "tiny")
    assert missing.status == 1
    assert "no model here is called" in missing.err


def test_gaps_and_a_template_of_ones_own_are_in_the_card(
    rich_shell: Shell, file: Path, tmp_path: Path
) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    words = ("--gaps", "0.01", "1", "--template", str(template), "--name", "by-gaps")
    put_up(rich_shell, file, *words)
    row = rich_shell.good("model", "show", "by-gaps", "--json").json
    assert (row["mean_gap"], row["most_gap"]) == (10, 1000)
    assert row["template"] == template.read_text()
    rich_shell.good("model", "remove", "by-gaps")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model" * 100, ggufs.model()[:-500]])
def test_a_file_that_is_no_model_is_refused_with_a_hint(
    rich_shell: Shell, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    said = rich_shell.run("model", "add", path, "--no-serve")
    assert said.status == 1
    assert "GGUF" in said.err and str(path) in said.err and "hint: " in said.err


def test_a_folder_is_no_model(rich_shell: Shell, tmp_path: Path) -> None:
    said = rich_shell.run("model", "add", tmp_path, "--no-serve")
    assert (said.status, f"{tmp_path} is a folder" in said.err) == (1, True)


def test_an_option_that_is_half_there_leads_to_the_help_of_its_command(
    rich_shell: Shell, file: Path
) -> None:
    said = rich_shell.run("model", "add", file, "--gaps", "1")
    assert (said.status, "hint: See `swarm model add --help`." in said.err) == (2, True)


def test_the_job_behind_a_model_has_no_number_of_units_and_no_results(
    rich_shell: Shell, file: Path, tmp_path: Path
) -> None:
    put_up(rich_shell, file, "--name", "behind")
    (job,) = (each for each in rich_shell.good("jobs", "--json").json if each["name"] == "behind")
    assert job["asked"]
    assert f"{job['units']:,}" not in rich_shell.good("jobs").out
    assert "as they are asked for" in rich_shell.good("status", job["id"]).out
    said = rich_shell.run("results", job["id"], tmp_path / "out")
    assert (said.status, "went to those who asked" in said.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_what_is_neither_file_nor_package_is_refused(rich_shell: Shell, tmp_path: Path) -> None:
    said = rich_shell.run("model", "add", tmp_path / "none.gguf", "--no-serve")
    assert (said.status, "there is no file" in said.err) == (1, True)
    said = rich_shell.run("model", "add", "no name!", "--no-serve")
    assert (said.status, "neither a file nor" in said.err) == (1, True)


def test_an_image_that_is_not_here_is_named(rich_shell: Shell, file: Path) -> None:
    said = rich_shell.run("model", "add", file, "--image", "sha256:" + "1" * 64, "--no-serve")
    assert said.status == 1
    assert "111111" in said.err


def test_who_may_not_put_up_models_is_told_so(shell: Shell, file: Path) -> None:
    image = place_image(shell.home)
    said = shell.run("model", "add", file, "--image", image, "--no-serve", "--name", "mine")
    assert said.status == 3
    assert said.err.index("warning: your account has no credit") < said.err.index("error: ")
    assert "swarm tracker grant" in said.err


def test_a_job_of_prompts_says_what_it_asks_and_what_that_can_cost(
    rich_shell: Shell, file: Path, tmp_path: Path
) -> None:
    put_up(rich_shell, file, "--name", "asked")
    job = tmp_path / "job"
    job.mkdir()
    (job / "prompts.txt").write_text("hello\nworld\n")
    (job / "JOB.toml").write_text(
        'name = "asked"\n[model]\nname = "asked"\nprompts = "prompts.txt"\nmax_tokens = 8\n'
    )
    said = rich_shell.good("submit", job, "--dry-run")
    assert "asked" in said.out and "up to 8 tokens each" in said.out
    longest = rich_shell.good("submit", job, "--dry-run", "--json").json["model"]["longest"]
    meter = 8 + longest // 16
    assert f"at most {2 * (meter + (meter + 1) // 2)} credits" in said.out
    assert f"set aside  {2 * (24 + 12)} credits" in said.out
    found = rich_shell.good("submit", job, "--dry-run", "--json").json
    assert found["model"]["prompts"] == found["units"] == 2
    assert found["escrow"] == 2 * (8 + 256 // 16 + (8 + 256 // 16) // 2)
    view = rich_shell.good("submit", job, "--json").json
    assert view["units"] == 2
    said = rich_shell.good("results", view["id"][:12], tmp_path / "out")
    assert (tmp_path / "out" / "answers.jsonl").read_text() == ""
    assert "0 answers as text" in said.err
    rich_shell.good("cancel", view["id"][:12])
    rich_shell.good("model", "remove", "asked")


def serve(shell: Shell, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "SWARM_HOME": str(shell.home),
        "SWARM_CACHE": str(shell.home / "cache"),
        "SWARM_TRACKER": shell.tracker,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "openswarm.cli", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_model_comes_from_who_put_it_up(rich_shell: Shell, tmp_path: Path, file: Path) -> None:
    image = place_image(rich_shell.home)
    words = ("model", "add", str(file), "--image", image, "--name", "shared")
    with serve(rich_shell, *words) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any("serving model and image" in line for line in lines)
            reader = replace(rich_shell, home=tmp_path / "reader")
            said = reader.good("model", "fetch", "shared", "--json")
            assert Path(said.json["files"]["model"]).read_bytes() == ggufs.model()
            assert set(said.json["files"]) == {"model", "image 1"}
        finally:
            process.send_signal(signal.SIGINT)
    rich_shell.good("model", "remove", "shared")
