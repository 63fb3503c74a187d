"""Layers of images on this machine: where they are found, and that they are taken out once."""

import hashlib
from pathlib import Path

import pytest

from client.config import Config
from client.jobs import sharing
from sandbox import engine
from sandbox.engine import Engine
from tests.engine import docker_engine, runtime_image
from tests.sandbox.shared import make_layer, name_of
from workunits.errors import UnavailableError

__all__ = ["docker_engine", "runtime_image"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(engine, "find", lambda *_: None)
    return Config(tmp_path / "home", tmp_path, "", tmp_path / "key")


def test_a_runtime_image_that_was_built_here_is_its_own_layer(config: Config) -> None:
    _, path = make_layer(config.cache, {"a": b"a"})
    tar = path.rename(config.cache / "runtime-test.tar")
    diff = hashlib.sha256(tar.read_bytes()).digest()
    assert sharing.layers_of(config, "sha256:" + diff.hex(), print) == [(diff, tar)]


def test_what_is_nowhere_is_not_found(config: Config) -> None:
    assert sharing.layers_of(config, "sha256:" + "0" * 64, print) is None


def test_layers_that_were_taken_out_stay_until_one_is_gone(config: Config) -> None:
    folder = config.cache / "layers"
    folder.mkdir()
    layers = [make_layer(folder, {"a": text}) for text in (b"base", b"top")]
    name = name_of(*layers)
    note = folder / name.removeprefix("sha256:")
    note.write_text("\n".join(diff.hex() for diff, _ in layers))
    assert sharing.layers_of(config, name, print) == layers
    for broken in (layers[0][0].hex(), "no hex", ""):
        note.write_text(broken)
        assert sharing.layers_of(config, name, print) is None
    note.write_text("\n".join(diff.hex() for diff, _ in layers))
    layers[0][1].unlink()
    assert sharing.layers_of(config, name, print) is None


@pytest.mark.engine
def test_an_image_of_the_engine_is_taken_out_once(
    config: Config, docker_engine: Engine, runtime_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "find", lambda *_: docker_engine)
    heard: list[str] = []
    for _ in range(2):
        found = sharing.layers_of(config, runtime_image, heard.append)
        assert found is not None
        assert name_of(*found) == runtime_image
    assert len(heard) == 1
    assert sharing.layers_of(config, "sha256:" + "0" * 64, heard.append) is None
    with pytest.raises(UnavailableError):
        sharing.save(config, docker_engine.url, "nobody/has:this", heard.append)
