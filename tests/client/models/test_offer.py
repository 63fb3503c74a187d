"""Whoever prepares a model can be stopped, and what was half done is gone."""

import threading
from pathlib import Path

import pytest

from client.config import Config
from client.models.offer import MODELS, Wishes, prepare
from sandbox import programs
from tests.workunits.models import ggufs
from workunits.errors import LocalError
from workunits.models.program import Engine

WISHES = Wishes(Engine.CTRANSFORMERS, name="tiny")


class BuildingError(Exception):
    """The image is wanted: all before it is done."""


def no_image(engine: Engine, image: str) -> tuple[str, list[tuple[bytes, Path]]]:
    raise BuildingError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(ggufs.model())
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "home", tmp_path / "cache", "http://127.0.0.1:1", tmp_path / "key")


def kept(config: Config) -> list[Path]:
    return [*(config.cache / MODELS / "ctransformers").iterdir()]


def test_a_halt_in_the_middle_of_a_conversion_is_no_failure_of_the_disk(
    config: Config, file: Path
) -> None:
    converting, halt = threading.Event(), threading.Event()
    half: list[Path] = []

    def say(text: str) -> None:
        converting.set()

    def watch(done: int, total: int) -> None:
        if converting.is_set():
            half[:] = kept(config)
            halt.set()
        programs.heed()

    with programs.halting(halt), pytest.raises(programs.HaltedError):
        prepare(config, str(file), WISHES, no_image, say, watch)
    assert half
    assert not kept(config)
    with pytest.raises(BuildingError):
        prepare(config, str(file), WISHES, no_image, say)
    assert [path.suffix for path in kept(config)] == [".gguf"]


def test_a_conversion_for_which_the_disk_fails_says_so_and_leaves_nothing(
    config: Config, file: Path
) -> None:
    def watch(done: int, total: int) -> None:
        if (config.cache / MODELS).exists():
            raise OSError(28, "No space left on device")

    with pytest.raises(LocalError, match="No space left on device"):
        prepare(config, str(file), WISHES, no_image, lambda text: None, watch)
    assert not kept(config)
