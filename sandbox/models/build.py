"""Engine images: the runtime image, and a layer with an engine and what answers through it.

Everything on which the numbers of an answer depend is in that layer, pinned by hash or compiled
from pinned sources with a pinned compiler, so two builders get the same image if Debian did not
change its packages in between. A peer that has the runtime image fetches the upper layer only.
"""

import asyncio
import contextlib
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from importlib import resources
from pathlib import Path, PurePosixPath

from sandbox import image, programs
from sandbox.calls import Calls
from sandbox.image import Say
from sandbox.locks import Lock
from sandbox.models.pypi import Package, fetch
from workunits.errors import LocalError
from workunits.images import chain_id
from workunits.models.program import Engine

VERSION = "1"
"""Part of the recipe: goes up with what this file does to the same sources."""

WORKER = (
    "sandbox.models.worker.answer",
    "sandbox.models.worker.automaton",
    "sandbox.models.worker.grammar",
    "sandbox.models.worker.sampler",
    "sandbox.models.worker.serve",
    "workunits.models.rules",
    "workunits.models.schema",
)
"""Modules of ours that every engine image has, under their own names."""

ENGINES = {
    Engine.LLAMA_CPP: "sandbox.models.worker.llama",
    Engine.CTRANSFORMERS: "sandbox.models.worker.ctransformers",
}


NUMPY = Package(
    "numpy", "2.4.6", "89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93"
)
TYPING = Package(
    "typing-extensions",
    "4.16.0",
    "481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8",
)
CTRANSFORMERS = Package(
    "ctransformers", "0.2.27", "6a3ba47556471850d95fdbc59299a82ab91c9dc8b40201c5e7e82d71360772d9"
)
LLAMA_CPP = Package(
    "llama-cpp-python",
    "0.3.36",
    "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    source=True,
)

LIBRARIES = ("libggml-base.so.0", "libggml-cpu.so.0", "libggml.so.0", "libllama.so")
COMPILER = ("cmake", "coreutils", "dash", "g++", "grep", "ninja-build", "patch")
FLAGS: tuple[str, ...] = (
    "-DBUILD_SHARED_LIBS=ON",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    # One instruction set (x86-64-v3), said one by one: with SOURCE_DATE_EPOCH none is the default.
    "-DGGML_NATIVE=OFF",
    "-DGGML_SSE42=ON",
    "-DGGML_AVX=ON",
    "-DGGML_AVX2=ON",
    "-DGGML_BMI2=ON",
    "-DGGML_F16C=ON",
    "-DGGML_FMA=ON",
    "-DGGML_LLAMAFILE=ON",
    # No kernels whose sums depend on the size of the batch.
    "-DGGML_CPU_REPACK=OFF",
    "-DGGML_OPENMP=OFF",
    "-DLLAMA_BUILD_COMMON=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
)
_LLAMA = "/src/vendor/llama.cpp"
_CHANGES = ("llama.patch", "tiles.h")
"""Files of ``sandbox.models.kernels``: they make products the same in every batch."""

_CHANGE: tuple[str, ...] = (
    f"patch -p1 -d {_LLAMA} -i /src/llama.patch",
    f"cmake -E copy /src/tiles.h {_LLAMA}/ggml/src/ggml-cpu/llamafile",
)
_QUICKER = (
    "set_target_properties(llama PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 40)\n"
    "target_compile_options(llama PRIVATE -O1)"
)
"""The part without numbers (150 architectures) takes half the time this way; ggml is as it was."""


class Kernels(StrEnum):
    """Which matrix products llama.cpp has.

    Numbers of the pinned ones are the same in every batch, so answers are verified exactly. The
    fast ones are llama.cpp's own choice: its numbers differ a little from batch to batch, so such
    answers are verified by margins.
    """

    PINNED = "pinned"
    FAST = "fast"


def _make(kernels: Kernels) -> str:
    """The script that compiles llama.cpp."""
    flags, change = FLAGS, _CHANGE
    if kernels is Kernels.FAST:
        flags, change = tuple(flag.replace("REPACK=OFF", "REPACK=ON") for flag in FLAGS), ()
    return "\n".join(
        (
            *change,
            f"echo '{_QUICKER}' >> {_LLAMA}/src/CMakeLists.txt",
            f"cmake -G Ninja -S {_LLAMA} -B /src/made '" + "' '".join(flags) + "'",
            # Without a word, CMake takes a machine that it does not know for one without AVX2.
            "grep -q -e -mavx2 /src/made/build.ninja",
            "cmake --build /src/made --target llama",
            "cmake -E make_directory /made",
            *(f"strip -o /made/{name} /src/made/bin/{name}" for name in LIBRARIES),
        )
    )


_COMPILE = (
    'chroot "$1" python3 -I -S -B -c "import compileall, py_compile; compileall.compile_dir('
    "'/opt/engine', quiet=1, force=True, "
    'invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"'
)
_LAYER = re.compile(r"opt/engine(/|$)|usr/lib/x86_64-linux-gnu/libstdc\+\+\.so")
_NUMPY_LEFT_OUT = re.compile(
    r".*/tests/|.*\.(pyi|h|a|pxd|pyx|c|txt)$|numpy/(f2py|distutils|_core/include|_pyinstaller)/"
)


def build(
    engine: Engine, cache: Path, say: Say, kernels: Kernels = Kernels.PINNED
) -> list[tuple[bytes, Path]]:
    """The layers of an engine's image in ``cache``, lowest first, made if they are not there.

    Raises ``UnavailableError`` where they cannot be made, ``LocalError`` when the disk fails.
    """
    tars = (image.build(cache, say), _layer(engine, cache, say, kernels))
    return [(bytes.fromhex(image.tar_hash(tar).removeprefix("sha256:")), tar) for tar in tars]


def content_hash(layers: Sequence[tuple[bytes, Path]]) -> str:
    """The name of the image that ``layers`` are."""
    return chain_id([diff for diff, _ in layers])


def engine_image(
    engine: Engine, docker: str, cache: Path, say: Say, kernels: Kernels = Kernels.PINNED
) -> str:
    """Make sure that the Docker engine at ``docker`` has the image of ``engine``; returns its
    content hash. Blocks, for minutes if llama.cpp has to be compiled.

    Raises ``UnavailableError`` and ``LocalError``.
    """
    layers = build(engine, cache, say, kernels)
    name = content_hash(layers)

    async def load() -> None:
        calls = Calls(docker)
        try:
            if name not in await calls.images():
                say(f"loading the image {name[7:19]} into the engine")
                await calls.load(name, layers)
        finally:
            await calls.close()

    asyncio.run(load())
    return name


def layer_path(engine: Engine, cache: Path, kernels: Kernels = Kernels.PINNED) -> Path:
    """Where the upper layer of an engine's image lies, or will."""
    words = [VERSION, engine.value, _COMPILE, _LAYER.pattern, _NUMPY_LEFT_OUT.pattern]
    words += [repr(package) for package in (NUMPY, TYPING, CTRANSFORMERS)]
    words += [_source(name).decode() for name in (*WORKER, ENGINES[engine])]
    if engine is Engine.LLAMA_CPP:
        words.append(libraries_path(cache, kernels).name)
    return cache / f"{engine.value}-{image.SUITE}-{image.recipe_hash(words)}.tar"


def libraries_path(cache: Path, kernels: Kernels = Kernels.PINNED) -> Path:
    """Where the compiled libraries of llama.cpp lie, or will: a tar file of ``made/``."""
    words = [VERSION, repr(LLAMA_CPP), _make(kernels), *COMPILER, image.SUITE]
    if kernels is Kernels.PINNED:
        words += [_change(name).decode() for name in _CHANGES]
    recipe = image.recipe_hash(words)
    return cache / f"llama.cpp-libraries-{image.SUITE}-{recipe}.tar"


def _source(module: str) -> bytes:
    package, _, name = module.rpartition(".")
    return resources.files(package).joinpath(f"{name}.py").read_bytes()


def _change(name: str) -> bytes:
    return resources.files("sandbox.models.kernels").joinpath(name).read_bytes()


def _layer(engine: Engine, cache: Path, say: Say, kernels: Kernels) -> Path:
    tar = layer_path(engine, cache, kernels)
    if tar.exists():
        return tar
    image.require_mmdebstrap(tar, say)
    with _alone(tar, say), tempfile.TemporaryDirectory(dir=cache, prefix="building-") as folder:
        if tar.exists():
            return tar
        root = Path(folder) / "opt"
        site = root / "engine" / "site"
        site.mkdir(parents=True)
        if engine is Engine.LLAMA_CPP:
            _place_llama(site, cache, say, kernels)
        else:
            library = "ctransformers/lib/avx2/libctransformers.so"
            wheel = fetch(CTRANSFORMERS, cache, say)
            _unpack(wheel, site, lambda name: name == library)
            (site / library).rename(site / "libctransformers.so")
            shutil.rmtree(site / "ctransformers")
        _unpack(fetch(NUMPY, cache, say), site, lambda name: not _NUMPY_LEFT_OUT.match(name))
        for module in (*WORKER, ENGINES[engine]):
            path = root.joinpath("engine", *module.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_source(module))
        _open_up(root)
        say(f"building the image of {engine.value}")
        words = ("--variant=extract", "--include=python3,libstdc++6")
        hooks = (f"--extract-hook=copy-in {root} /", f"--extract-hook={_COMPILE}")
        image.bootstrap((*words, *hooks, image.SUITE), tar, _is_ours)
    return tar


def _is_ours(name: str) -> bool:
    return _LAYER.match(name) is not None


def _place_llama(site: Path, cache: Path, say: Say, kernels: Kernels) -> None:
    """llama.cpp's libraries, and the one module of llama-cpp-python that declares them."""
    libraries = _libraries(cache, say, kernels)
    package = site / "llama_cpp"
    (package / "lib").mkdir(parents=True)
    _unpack(fetch(TYPING, cache, say), site, lambda name: name == "typing_extensions.py")
    with tarfile.open(fetch(LLAMA_CPP, cache, say)) as source:
        for name in ("llama_cpp.py", "_ctypes_extensions.py"):
            (package / name).write_bytes(_member(source, f"llama_cpp/{name}"))
    (package / "__init__.py").write_bytes(b"")
    with tarfile.open(libraries) as source:
        for name in LIBRARIES:
            (package / "lib" / name).write_bytes(_member(source, name))


def _libraries(cache: Path, say: Say, kernels: Kernels) -> Path:
    """Compile llama.cpp in a Debian of its own, unless that was done."""
    tar = libraries_path(cache, kernels)
    if tar.exists():
        return tar
    sources = fetch(LLAMA_CPP, cache, say)
    say(
        f"compiling llama.cpp with {kernels} kernels, once; this takes about 5 minutes on two cores"
    )
    with _alone(tar, say), tempfile.TemporaryDirectory(dir=cache, prefix="building-") as folder:
        if tar.exists():
            return tar
        source = Path(folder) / "src"
        with tarfile.open(sources) as packed:
            packed.extractall(folder, filter="data")
        (Path(folder) / f"llama_cpp_python-{LLAMA_CPP.version}").rename(source)
        for name in _CHANGES:
            (source / name).write_bytes(_change(name))
        (source / "make.sh").write_text(_make(kernels), encoding="utf-8")
        words = ("--variant=extract", f"--include={','.join(COMPILER)}")
        hooks = (
            f"--extract-hook=copy-in {source} /",
            '--extract-hook=nice chroot "$1" sh -e /src/make.sh',
        )
        image.bootstrap(
            (*words, *hooks, image.SUITE), tar, lambda name: name.startswith("made/lib")
        )
    return tar


@contextlib.contextmanager
def _alone(tar: Path, say: Say) -> Iterator[None]:
    """Make others wait who want to make the same file."""
    tar.parent.mkdir(parents=True, exist_ok=True)
    with Lock(tar.with_suffix(".lock")) as lock:
        said = False
        while not lock.try_take():  # to wait for it in the kernel could not be interrupted
            if not said:
                say(f"waiting for another process that builds {tar.name}")
                said = True
            programs.pause()
        yield


def _unpack(wheel: Path, into: Path, keep: Callable[[str], bool]) -> None:
    """Those files of a wheel for whose names ``keep`` is true; its hash was checked."""
    with zipfile.ZipFile(wheel) as packed:
        for member in packed.infolist():
            if not member.is_dir() and ".." not in member.filename and keep(member.filename):
                packed.extract(member, into)


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    """The first file whose path ends like this."""
    for member in packed:
        if member.isreg() and PurePosixPath(member.name).match(name):
            file = packed.extractfile(member)
            assert file is not None
            return file.read()
    raise LocalError(f"there is no {name} in {packed.name!r}", hint="Delete that file.")


def _open_up(root: Path) -> None:
    """Modes that do not depend on this process's mask."""
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
