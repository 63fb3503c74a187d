"""Layers: what is let through to the engine, what is put in, and what comes out."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import image, layers
from sandbox.containers import DockerSandbox
from sandbox.engine import Engine
from sandbox.fake import FakeSandbox, sleeping
from sandbox.runner import Mount, Program, Sandbox, Task
from tests.sandbox.conftest import LIMITS, said
from tests.sandbox.shared import make_layer, name_of
from workunits.errors import (
    LimitError,
    LocalError,
    MalformedError,
    RemoteError,
    UnavailableError,
)
from workunits.images import MAX_IMAGE


def tar(tmp_path: Path, fill: Callable[[tarfile.TarFile], object], form: int) -> Path:
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w", format=form) as file:
        fill(file)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_layer_is_let_through(tmp_path: Path, form: int) -> None:
    def fill(file: tarfile.TarFile) -> None:
        file.addfile(member("folder", tarfile.DIRTYPE))
        file.addfile(member("folder/file", size=1000), io.BytesIO(bytes(1000)))
        file.addfile(member("link", tarfile.SYMTYPE, linkname="/etc/passwd"))
        file.addfile(member("hard", tarfile.LNKTYPE, linkname="folder/file"))
        file.addfile(member("pipe", tarfile.FIFOTYPE))
        if form != tarfile.USTAR_FORMAT:
            file.addfile(member("x" * 300, size=600), io.BytesIO(bytes(600)))

    layers.check(tar(tmp_path, fill, form))


def test_an_empty_layer_is_let_through(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(bytes(1024))
    layers.check(tmp_path / "empty")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE, b"S", b"g"])
def test_devices_and_sparse_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tar(tmp_path, lambda file: file.addfile(member("x", kind)), tarfile.GNU_FORMAT)
    with pytest.raises(MalformedError, match="type"):
        layers.check(path)


def test_sparse_files_in_extended_headers_are_refused(tmp_path: Path) -> None:
    info = member("x", pax_headers={"GNU.sparse.realsize": str(1 << 40)})
    path = tar(tmp_path, lambda file: file.addfile(info), tarfile.PAX_FORMAT)
    with pytest.raises(MalformedError, match="sparse"):
        layers.check(path)


@pytest.mark.parametrize(("name", "fine"), [("trusted.overlay.redirect", 0), ("user.note", 1)])
def test_attributes_that_overlayfs_reads_are_refused(tmp_path: Path, name: str, fine: int) -> None:
    info = member("x", pax_headers={f"SCHILY.xattr.{name}": "/etc"})
    path = tar(tmp_path, lambda file: file.addfile(info), tarfile.PAX_FORMAT)
    if fine:
        layers.check(path)
    else:
        with pytest.raises(MalformedError, match="attributes"):
            layers.check(path)


def test_what_is_compressed_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path, lambda file: file.addfile(member("x")), tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress(path.read_bytes()) + bytes(1024))
    with pytest.raises(MalformedError, match="compressed"):
        layers.check(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:1500],
        lambda raw: raw[:1536],
        lambda raw: raw + b"x",
        lambda raw: b"",
        lambda raw: raw[:124] + b"77777777777\0" + raw[136:],
    ],
    ids=["cut in a file", "without an end", "something after the end", "nothing", "another size"],
)
def test_what_is_no_whole_tar_file_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    def fill(file: tarfile.TarFile) -> None:
        file.addfile(member("file", size=1000), io.BytesIO(bytes(1000)))

    path = tar(tmp_path, fill, tarfile.GNU_FORMAT)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(MalformedError):
        layers.check(path)


def test_a_file_larger_than_any_image_is_refused(tmp_path: Path) -> None:
    raw = member("x", size=MAX_IMAGE + 1).tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    (tmp_path / "big").write_bytes(raw)
    with pytest.raises(LimitError):
        layers.check(tmp_path / "big")


def test_a_layer_has_a_largest_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MAX_FILES", 3)

    def fill(file: tarfile.TarFile) -> None:
        for at in range(4):
            file.addfile(member(f"f{at}"))

    with pytest.raises(LimitError):
        layers.check(tar(tmp_path, fill, tarfile.GNU_FORMAT))


def test_a_layer_that_is_not_there_is_our_fault(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        layers.check(tmp_path / "none")
    with pytest.raises(LocalError):
        list(layers.archive("sha256:" + "0" * 64, [(bytes(32), tmp_path / "none")]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_layer_is_a_layer_or_a_remote_error(tmp_path: Path, data: st.DataObject) -> None:
    info = member("x" * 200, size=700, pax_headers={"size": "700", "comment": "c"})
    path = tar(
        tmp_path, lambda file: file.addfile(info, io.BytesIO(bytes(700))), tarfile.PAX_FORMAT
    )
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, 2600))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    try:
        layers.check(path)
    except RemoteError:
        return


def test_the_archive_is_the_same_bytes_everywhere_and_says_nothing_else(tmp_path: Path) -> None:
    base, top = make_layer(tmp_path, {"a": b"a"}), make_layer(tmp_path, {"b": b"b"})
    name = name_of(base, top, base)
    raw = b"".join(layers.archive(name, [base, top, base]))
    assert raw == b"".join(layers.archive(name, [base, top, base]))
    with tarfile.open(fileobj=io.BytesIO(raw)) as file:
        content = {each.name: file.extractfile(each).read() for each in file}  # type: ignore[union-attr]
    (entry,) = json.loads(content["manifest.json"])
    assert entry["RepoTags"] == [layers.tag(name)]
    assert entry["Layers"] == [f"{diff.hex()}.tar" for diff, _ in (base, top, base)]
    assert len(content) == 4
    config = content[entry["Config"]]
    assert entry["Config"] == hashlib.sha256(config).hexdigest() + ".json"
    assert json.loads(config)["config"] == {}


def saved(files: dict[str, bytes]) -> list[bytes]:
    """What ``docker save`` gives, in small pieces."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as file:
        for name, data in files.items():
            file.addfile(member(name, size=len(data)), io.BytesIO(data))
    whole = raw.getvalue()
    return [whole[at : at + 700] for at in range(0, len(whole), 700)]


def test_layers_are_found_by_what_they_are_whatever_they_are_called(tmp_path: Path) -> None:
    base, top = make_layer(tmp_path, {"a": b"a"}), make_layer(tmp_path, {"b": bytes(3000)})
    given_ = saved(
        {
            "blobs/sha256/x": gzip.compress(base[1].read_bytes()) + b"",
            "1/layer.tar": top[1].read_bytes(),
            "config.json": b"{}" * 600,
        }
    )
    into = tmp_path / "into"
    wanted = [base[0], top[0], base[0]]
    paths = layers.split(given_, wanted, into)
    assert [hashlib.sha256(path.read_bytes()).digest() for path in paths] == wanted
    assert {path.name for path in into.iterdir()} == {path.name for path in paths}
    assert layers.split([], wanted, into) == paths


def test_a_layer_that_the_engine_does_not_give_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="did not give 1 layers"):
        layers.split(saved({"x": bytes(2000)}), [bytes(32)], tmp_path)
    with pytest.raises(MalformedError, match="broken"):
        layers.split([b"no tar" * 200], [bytes(32)], tmp_path)
    assert not list(tmp_path.iterdir())


# -- the sandboxes ------------------------------------------------------------------------------


async def check_loading(sandbox: Sandbox, tmp_path: Path) -> None:
    """Both sandboxes load what is an image, and nothing else."""
    base, top = make_layer(tmp_path, {"a": b"1"}), make_layer(tmp_path, {"b": b"2"})
    name = name_of(base, top)
    assert name not in await sandbox.images()
    with pytest.raises(MalformedError):
        await sandbox.load(name, [(base[0], top[1]), top])
    with pytest.raises(MalformedError):
        await sandbox.load(name_of(top, base), [base, top])
    assert not {name, name_of(top, base)} & await sandbox.images()
    await sandbox.load(name, [base, top])
    assert name in await sandbox.images()
    assert await sandbox.forget(name)
    assert name not in await sandbox.images()
    assert await sandbox.forget(name)


async def test_the_fake_loads_images(tmp_path: Path) -> None:
    await check_loading(FakeSandbox(sleeping(0)), tmp_path)


@pytest.mark.engine
async def test_an_engine_loads_images(sandbox: DockerSandbox, tmp_path: Path) -> None:
    await check_loading(sandbox, tmp_path)


@pytest.mark.engine
async def test_an_image_goes_out_of_an_engine_and_in_again_and_runs(
    sandbox: DockerSandbox,
    docker_engine: Engine,
    runtime_image: str,
    api: docker.APIClient,
    tmp_path: Path,
) -> None:
    heard: list[str] = []
    _, base = image.save(docker_engine.url, runtime_image, tmp_path, heard.append)
    top = make_layer(tmp_path, {"usr/share/greeting": b"hello"})
    name = name_of(*base, top)
    await sandbox.load(name, [*base, top])
    again = tmp_path / "again"
    assert image.save(docker_engine.url, layers.tag(name), again, heard.append) == (
        name,
        [(diff, again / path.name) for diff, path in (*base, top)],
    )
    (tmp_path / "unit.py").write_text("print(open('/usr/share/greeting').read(), end='')")
    files = (Mount("unit.py", tmp_path / "unit.py"),)
    cell = await sandbox.open(Program(name, files, LIMITS))
    out = tmp_path / "out"
    out.mkdir()
    try:
        outcome = await cell.run(Task(("python3", "/job/unit.py"), (), ("said",), "said"), out)
        assert said(outcome) == "hello"
        assert not await sandbox.forget(name)
    finally:
        await cell.close()
    assert await sandbox.forget(name)
    assert runtime_image in await sandbox.images()


@pytest.mark.engine
def test_an_image_that_the_engine_does_not_have_cannot_be_saved(
    docker_engine: Engine, tmp_path: Path
) -> None:
    for missing in ("nobody/has:this", "sha256:" + "0" * 64):
        with pytest.raises(UnavailableError, match="has no image"):
            image.save(docker_engine.url, missing, tmp_path, print)
