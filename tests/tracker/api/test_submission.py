"""Jobs with demands and with known answers, as they are posted and as they are shown."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.tracker.serving import Served, served
from tests.tracker.work.world import SUBMITTER, manifest
from workunits.ids import Digest
from workunits.manifest import SignedManifest
from workunits.ringers import Ringers
from workunits.submission import Submission
from workunits.verification import Demands

KNOWN = Ringers(b"s" * 32, ((1, Digest(b"d" * 32)),))


def submission(ringers: Ringers | None = KNOWN, named: Ringers = KNOWN) -> Submission:
    demands = Demands((("audit", 150),), reputation=3, ringers=named.hash)
    job = dataclasses.replace(manifest(3), demands=demands)
    return Submission(SignedManifest.sign(job, SUBMITTER), ringers)


async def post(tracker: Served, sent: Submission, status: int = 201) -> Any:
    return await tracker.ask("/api/v1/jobs", "POST", status, data=sent.encode())


async def test_a_job_with_known_answers_shows_that_it_has_some_and_not_which(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        view = await post(tracker, submission())
        assert view["demands"] == {
            "settings": {"audit": 150},
            "same_platform": False,
            "reputation": 3,
            "ringers": True,
        }
        shown = await tracker.fetch(f"/api/v1/jobs/{view['id']}/manifest")
        assert shown == submission().signed.encode()


@pytest.mark.parametrize("sent", [submission(None), submission(Ringers(b"t" * 32, KNOWN.answers))])
async def test_known_answers_that_are_missing_or_others_are_refused(
    tmp_path: Path, sent: Submission
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        answer = await post(tracker, sent, 400)
        assert "ringers" in answer["error"]["message"]
        assert (await tracker.ask("/api/v1/jobs"))["jobs"] == []
