"""Folders of results: checked, resumable, and never over somebody else's files."""

from io import BytesIO
from pathlib import Path

import pytest

from client.jobs.result_folder import ForeignFileError, ResultFolder
from tests.client.work.tracker import job_of
from workunits.errors import MalformedError
from workunits.manifest import SignedManifest
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob


def blob(name: str, content: bytes) -> NamedBlob:
    return NamedBlob(name, hash_stream(BytesIO(content), len(content)).info.ref)


@pytest.fixture
def job() -> SignedManifest:
    return job_of(3)


OUT = blob("out", b"42\n")


def test_an_output_gets_its_name_when_it_is_whole(tmp_path: Path, job: SignedManifest) -> None:
    folder = ResultFolder(tmp_path / "new" / "out", job)
    assert not folder.has(0, OUT)
    folder.part(0, OUT).write_bytes(b"42\n")
    assert not folder.has(0, OUT)
    assert folder.keep(0, OUT).read_bytes() == b"42\n"
    assert folder.has(0, OUT)
    assert ResultFolder(folder.path, job).has(0, OUT)


@pytest.mark.parametrize("wrong", [b"43\n", b"", b"42\n\n"])
def test_wrong_content_is_refused_and_removed(
    tmp_path: Path, job: SignedManifest, wrong: bytes
) -> None:
    folder = ResultFolder(tmp_path, job)
    folder.part(1, OUT).write_bytes(wrong)
    with pytest.raises(MalformedError):
        folder.keep(1, OUT)
    assert list((tmp_path / "1").iterdir()) == []


def test_a_changed_file_and_a_link_are_left_alone(tmp_path: Path, job: SignedManifest) -> None:
    folder = ResultFolder(tmp_path, job)
    path = folder.path_of(0, OUT)
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(ForeignFileError):
        folder.has(0, OUT)
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(ForeignFileError):
        folder.has(0, OUT)
    assert path.is_symlink()


def test_the_folder_of_another_job_is_refused(tmp_path: Path, job: SignedManifest) -> None:
    ResultFolder(tmp_path, job)
    with pytest.raises(ForeignFileError) as caught:
        ResultFolder(tmp_path, job_of(4))
    assert caught.value.hint


def test_a_folder_with_other_things_and_a_file_are_refused(
    tmp_path: Path, job: SignedManifest
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ForeignFileError):
            ResultFolder(path, job)


def test_the_table_has_a_line_for_each_unit(tmp_path: Path, job: SignedManifest) -> None:
    folder = ResultFolder(tmp_path, job)
    assert folder.write_table([{"index": 0}, {"index": 1, "name": "é"}]) == 2
    table = (tmp_path / "results.jsonl").read_text()
    assert table == '{"index": 0}\n{"index": 1, "name": "é"}\n'
    assert SignedManifest.parse((tmp_path / "manifest.job").read_bytes()) == job
