"""Jobs over REST: submitted, listed, followed and cancelled."""

import json
import logging
from io import BytesIO
from pathlib import Path

import pytest

from tests.tracker.serving import identity, served
from tests.tracker.work.world import SUBMITTER, manifest
from workunits.ids import JobId
from workunits.manifest import SignedManifest
from workunits.statements import Cancel
from workunits.submission import MAX_SUBMISSION
from workunits.verification import Policy


def cancel(job: str) -> Cancel:
    return Cancel(JobId(bytes.fromhex(job)))


async def test_a_submitted_job_is_shown_and_its_manifest_given_back(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        signed = SignedManifest.sign(manifest(3), SUBMITTER)
        view = await tracker.submit(manifest(3))
        assert view["id"] == signed.id.hex()
        assert view["counts"]["open"] == 3
        assert view["escrow"] == {"held": 12, "paid": 0, "returned": 0}
        assert await tracker.ask(f"/api/v1/jobs/{view['id']}") == view
        assert await tracker.fetch(f"/api/v1/jobs/{view['id']}/manifest") == signed.encode()


async def test_a_job_that_is_submitted_twice_is_paid_once(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        first = await tracker.submit(manifest(nonce=1))
        assert await tracker.submit(manifest(nonce=1)) == first
        account = await tracker.ask(f"/api/v1/accounts/{SUBMITTER.key.hex()}")
        assert account["spent"] == 4
        job = await tracker.run(manifest(nonce=2))
        again = await tracker.submit(manifest(nonce=2), status=200)
        assert (again["id"], again["state"]) == (job, "finished")


async def test_a_job_that_the_account_cannot_pay_is_refused_with_a_hint(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.submit(manifest(), status=403)
        assert answer["error"]["code"] == "refused"
        assert "swarm tracker grant" in answer["error"]["hint"]
        assert (await tracker.ask("/api/v1/jobs"))["jobs"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"nonsense", 400, "malformed"),
        (b"x" * (MAX_SUBMISSION + 1000), 413, "limit"),
        (SignedManifest.sign(manifest(), SUBMITTER).encode()[:-1], 400, "malformed"),
        (SignedManifest.sign(manifest(), SUBMITTER).encode()[:-2] + b"?e", 403, "signature"),
    ],
)
async def test_what_is_no_job_is_refused(
    tmp_path: Path, body: bytes, status: int, code: str
) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.ask("/api/v1/jobs", "POST", status, data=BytesIO(body))
        assert answer["error"]["code"] == code
        assert answer["error"]["blame"] == "theirs"


async def test_jobs_are_listed_newest_first_and_filtered(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        views = [await tracker.submit(manifest(nonce=at)) for at in range(3)]
        await tracker.say(tracker.sign(cancel(views[0]["id"]), SUBMITTER))

        async def listed(query: str) -> list[str]:
            return [job["id"] for job in (await tracker.ask(f"/api/v1/jobs?{query}"))["jobs"]]

        ids = [view["id"] for view in views]
        assert await listed("") == ids[::-1]
        assert await listed("limit=1") == ids[2:]
        assert await listed("state=cancelled") == ids[:1]
        assert await listed("state=active") == [ids[2], ids[1]]
        assert await listed(f"submitter={SUBMITTER.key.hex()}&limit=1000") == ids[::-1]
        assert await listed(f"submitter={'0' * 64}") == []
        assert await listed(f"after={views[1]['created']!r}") == ids[:1]


async def test_a_job_is_found_by_the_first_digits_of_its_id(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(manifest()))["id"]
        for digits in (4, 12, 63, 64):
            assert (await tracker.ask(f"/api/v1/jobs/{job[:digits]}"))["id"] == job


async def test_events_follow_a_job_and_end_with_it(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(manifest(policy=Policy.TRUSTED)))["id"]
        states = []
        async with tracker.http.get(f"{tracker.url}/api/v1/jobs/{job}/events") as response:
            assert response.content_type == "text/event-stream"
            async for line in response.content:
                if line.startswith(b"data: "):
                    states.append(json.loads(line[6:])["state"])
                if states == ["active"]:
                    states.append("")
                    await tracker.say(tracker.sign(cancel(job), SUBMITTER))
        assert states[0] == "active"
        assert states[-1] == "cancelled"
        over = await tracker.fetch(f"/api/v1/jobs/{job}/events")
        assert json.loads(over.removeprefix(b"data: "))["state"] == "cancelled"


async def test_who_stops_watching_leaves_nothing_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(manifest(policy=Policy.TRUSTED)))["id"]
        response = await tracker.http.get(f"{tracker.url}/api/v1/jobs/{job}/events")
        await response.content.readline()
        response.close()
        worker = await tracker.join("worker")
        while not worker.leases:
            await worker.receive()
        await worker.commit()
        await worker.reveal()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_job_is_cancelled_by_its_submitter_or_the_operator_only(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        jobs = [(await tracker.submit(manifest(nonce=at)))["id"] for at in range(2)]
        answer = await tracker.say(tracker.sign(cancel(jobs[0]), identity("thief")), 403)
        assert "only its submitter" in answer["error"]["message"]
        for job, author in zip(jobs, (SUBMITTER, tracker.running.identity), strict=True):
            done = await tracker.say(tracker.sign(cancel(job), author))
            assert done["result"] == {"job": job, "returned": 4}
            view = await tracker.ask(f"/api/v1/jobs/{job}")
            assert (view["state"], view["escrow"]["returned"]) == ("cancelled", 4)
        answer = await tracker.say(tracker.sign(cancel(jobs[0]), SUBMITTER), 403)
        assert "not active" in answer["error"]["message"]
        assert answer["error"]["hint"]
