"""Blobs over REST: fetched whole and in ranges, uploaded by who may."""

from pathlib import Path

import pytest

from tests.tracker.api.uploading import DATA, upload, v2
from tests.tracker.serving import served
from tests.tracker.work.world import SUBMITTER, manifest, outcome
from tracker.blobs import MAX_BLOB
from workunits.metainfo import parse_info
from workunits.results import Result
from workunits.statements import Grant, Upload


async def test_a_small_output_can_be_fetched(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.run(manifest())
        reveal = outcome(0)
        ref = Result.parse(reveal.result).outputs[0].ref
        path = f"/api/v1/blobs/{ref.v2.hex()}"
        assert await tracker.fetch(path) == reveal.contents[0]
        assert parse_info(await tracker.fetch(path + "/info")).ref == ref


async def test_an_uploaded_blob_is_served_whole_and_in_ranges(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        assert (await upload(tracker))["length"] == len(DATA)
        path = f"/api/v1/blobs/{v2().hex()}"
        assert await tracker.fetch(path) == DATA
        assert parse_info(await tracker.fetch(path + "/info")).ref.v2 == v2()
        request = tracker.http.get(tracker.url + path, headers={"Range": "bytes=5-9"})
        async with request as response:
            assert response.status == 206
            assert await response.read() == DATA[5:10]
        await upload(tracker)
    async with served(tmp_path) as tracker:
        assert await tracker.fetch(path) == DATA


async def test_a_blob_with_another_hash_is_not_kept(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        claim = Upload(v2(), len(DATA))
        answer = await upload(tracker, DATA[:-1] + b"?", claim=claim, status=403)
        assert "another hash" in answer["error"]["message"]
        assert answer["error"]["hint"]
        assert list((tmp_path / "blobs").iterdir()) == []
        await upload(tracker)


@pytest.mark.parametrize(("data", "status"), [(DATA + b"?", 413), (DATA[:-1], 403)])
async def test_a_blob_of_another_length_is_not_kept(
    tmp_path: Path, data: bytes, status: int
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await upload(tracker, data, claim=Upload(v2(), len(DATA)), status=status)
        assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_blob_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        answer = await upload(tracker, b"x", claim=Upload(v2(), MAX_BLOB + 1), status=413)
        assert "web seed's limit" in answer["error"]["message"]
        assert answer["error"]["hint"]


async def test_only_who_has_or_had_credit_may_upload(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await upload(tracker, status=403)
        assert "credit" in answer["error"]["message"]
        assert "swarm tracker grant" in answer["error"]["hint"]


async def test_an_upload_needs_a_statement_about_itself(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await upload(tracker, address=b"?" * 32, status=403)
        wrong = tracker.sign(Grant(SUBMITTER.key, 5))
        answer = await upload(tracker, statement=wrong, status=403)
        assert "not about this upload" in answer["error"]["message"]
        path = f"/api/v1/blobs/{v2().hex()}"
        for headers in ({}, {"X-Swarm-Statement": "!"}, {"X-Swarm-Statement": "é"}):
            answer = await tracker.ask(path, "PUT", 400, data=DATA, headers=headers)
            assert "X-Swarm-Statement" in answer["error"]["message"]
