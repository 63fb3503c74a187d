"""A coding agent that is told of the endpoint as docs/models.md says."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine import Engine
from tests.acceptance.salon import Salon, open_salon
from tests.interop import programs
from tests.models import ctransformers_image, ctransformers_model, smollm

__all__ = ["ctransformers_image", "ctransformers_model", "smollm"]

CONTEXT = 2048
DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
SECONDS = 180.0


@pytest.fixture
def roomy(
    docker_engine: Engine,
    runtime_image: str,
    ctransformers_image: str,
    ctransformers_model: Path,
    smollm: Path,
    tmp_path: Path,
) -> Iterator[Salon]:
    """A live swarm whose model has room for what an agent says of itself."""
    with open_salon(tmp_path, docker_engine, smollm, ctransformers_model, context=CONTEXT) as made:
        yield made


def config_of(salon: Salon) -> str:
    """The configuration in the document, for this swarm."""
    found = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found
    text = found[1].replace("http://tracker.example:8400", salon.swarm.url)
    assert "osk-..." in text and salon.swarm.url in text
    return text.replace("osk-...", salon.secret)


def test_continue_answers_as_the_document_says(roomy: Salon, tmp_path: Path) -> None:
    program = programs.agent()
    home = tmp_path / "home"
    home.mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(config_of(roomy))

    def ask(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "--config", config, "--print", *options, "What is 2 + 2?"],
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    answered = ask("--exclude", "*")
    assert answered.returncode == 0, answered.stdout + answered.stderr
    assert answered.stdout.strip()
    refused = ask()
    assert refused.returncode != 0
    assert "no model here calls tools" in refused.stdout + refused.stderr
