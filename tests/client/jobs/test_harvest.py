"""Bringing results home from a tracker that may be wrong or lie."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest

from client.config import Config
from client.jobs.harvest import Harvest
from client.jobs.result_folder import ResultFolder
from client.tracker_api import TrackerApi, TrackerError
from client.views import ResultView, UnitView
from tests.client.work.tracker import job_of
from workunits.errors import MalformedError
from workunits.ids import BlobRef, JobId
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob


def ref_of(content: bytes) -> BlobRef:
    return hash_stream(BytesIO(content), len(content)).info.ref


def unit(index: int, *outputs: NamedBlob, state: str = "accepted") -> UnitView:
    result = ResultView("exited", 0, outputs)
    return UnitView(index, state, {"n": "lies"}, result, (), (), "")


@dataclass
class Store:
    """A tracker with units and contents."""

    listed: list[UnitView]
    contents: dict[BlobRef, bytes] = field(default_factory=dict)
    asked: list[BlobRef] = field(default_factory=list)
    status: int = 404

    async def units(self, job: JobId) -> AsyncIterator[UnitView]:
        for each in self.listed:
            yield each

    async def blob(self, ref: BlobRef) -> AsyncIterator[bytes]:
        self.asked.append(ref)
        if ref not in self.contents:
            raise TrackerError("refused", "not kept", status=self.status)
        yield self.contents[ref]


async def harvest(store: Store, folder: Path) -> Harvest:
    job = job_of(3)
    place = ResultFolder(folder, job)
    config = Config.make(home=folder, environment={"HOME": str(folder)})
    found = Harvest(cast("TrackerApi", store), job, place, config)
    await found.run(lambda: None)
    return found


def out(content: bytes) -> NamedBlob:
    return NamedBlob("out", ref_of(content))


async def test_parameters_come_from_the_signed_manifest_not_from_the_tracker(
    tmp_path: Path,
) -> None:
    store = Store([unit(1, out(b"1"))], {ref_of(b"1"): b"1"})
    found = await harvest(store, tmp_path)
    assert found.rows[0]["parameters"] == {"n": "1"}
    assert (found.accepted, found.present) == (1, 1)


async def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    store = Store([unit(0, out(b"1")), unit(2, out(b"2"))], {ref_of(b"1"): b"1"})
    store.contents[ref_of(b"2")] = b"2"
    await harvest(store, tmp_path)
    await harvest(store, tmp_path)
    assert len(store.asked) == 2


async def test_units_that_are_not_over_are_left_out(tmp_path: Path) -> None:
    found = await harvest(Store([unit(0, state="computing"), unit(1, state="failed")]), tmp_path)
    assert (found.accepted, found.failed) == (0, 1)
    assert [row["state"] for row in found.rows] == ["failed"]


async def test_wrong_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        await harvest(Store([unit(0, out(b"1"))], {ref_of(b"1"): b"2"}), tmp_path)
    assert not (tmp_path / "0" / "out").exists()


@pytest.mark.parametrize(
    "units",
    [
        [unit(3)],
        [unit(1), unit(1)],
        [unit(1), unit(0)],
        [unit(0, NamedBlob("other", ref_of(b"1")))],
        [unit(0, out(b"1"), out(b"1"))],
        [unit(0, NamedBlob("out", BlobRef(bytes(32), bytes(20), 2 << 20)))],
    ],
)
async def test_a_list_that_the_manifest_does_not_allow_is_refused(
    tmp_path: Path, units: list[UnitView]
) -> None:
    with pytest.raises(MalformedError):
        await harvest(Store(units, {ref_of(b"1"): b"1"}), tmp_path)


async def test_a_tracker_that_refuses_is_not_taken_for_one_that_lacks(tmp_path: Path) -> None:
    with pytest.raises(TrackerError):
        await harvest(Store([unit(0, out(b"1"))], status=403), tmp_path)
