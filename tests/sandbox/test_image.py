"""Images by content, and the runtime image."""

import io
import tarfile
from pathlib import Path

import docker
import pytest

from sandbox import image
from sandbox.engine import Engine
from workunits.errors import LocalError, MalformedError, UnavailableError

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_the_hash_of_one_layer_is_the_layer() -> None:
    assert image.content_hash([A]) == A


def test_the_hash_of_several_layers_depends_on_their_order() -> None:
    # sha256sum of the two diff ids with a space between.
    want = "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert image.content_hash([A, B]) == want
    assert image.content_hash([B, A]) != want


@pytest.mark.parametrize("layers", [[], [""], ["sha256:aa"], [A, "md5:aa"]])
def test_what_is_not_layers_has_no_hash(layers: list[str]) -> None:
    with pytest.raises(MalformedError):
        image.content_hash(layers)


def write_tar(path: Path, text: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return path


def test_what_differs_between_machines_is_dropped(tmp_path: Path) -> None:
    raw, tidy = tmp_path / "raw.tar", tmp_path / "tidy.tar"
    with tarfile.open(raw, "w") as tar:
        for name in (
            "./etc/hostname",
            "./etc/passwd",
            "./var/lib/apt/lists/partial",
            "./dev/null",
            "./usr/share/doc/x/README",
            "./usr/share/doc/x/copyright",
            "./usr/bin/python3",
        ):
            member = tarfile.TarInfo(name)
            member.uid, member.uname, member.mtime = 42, "me", 1
            tar.addfile(member)
    image._tidy(raw, tidy)
    with tarfile.open(tidy) as tar:
        assert tar.getnames() == [
            "./etc/passwd",
            "./usr/share/doc/x/copyright",
            "./usr/bin/python3",
        ]
        assert {(m.uid, m.uname, m.mtime) for m in tar} == {(0, "", image.EPOCH)}


def test_without_mmdebstrap_the_hint_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError) as caught:
        image.build(tmp_path, print)
    assert "mmdebstrap" in caught.value.hint
    assert str(tmp_path) in caught.value.hint


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(LocalError):
        image.load("unix:///nowhere", tmp_path / "x", print)


def test_without_an_engine_loading_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        image.load("unix:///nowhere", write_tar(tmp_path / "x.tar", b"x"), print)
    assert caught.value.hint


@pytest.mark.engine
def test_an_imported_tar_has_the_hash_of_its_bytes(
    docker_engine: Engine, tmp_path: Path, api: docker.APIClient
) -> None:
    heard: list[str] = []
    tar = write_tar(tmp_path / "x.tar", b"some text")
    got = image.load(docker_engine.url, tar, heard.append)
    try:
        assert got == image.tar_hash(tar)
        assert len(heard) == 1
        assert image.load(docker_engine.url, tar, heard.append) == got
        assert len(heard) == 1
        found = image.find(api, got)
        assert found is not None
        assert image.find(api, A) is None
    finally:
        api.remove_image(f"openswarm/image:{got[7:19]}")
