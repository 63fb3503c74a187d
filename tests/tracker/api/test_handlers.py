"""Every endpoint of the REST service, asked well and asked badly."""

import asyncio
import base64
import json
import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.tracker.serving import Served, identity, served
from tests.tracker.work.world import SUBMITTER, manifest, outcome
from tracker.blobs import MAX_BLOB, WebSeed
from workunits.errors import LimitError
from workunits.ids import JobId, PeerKey
from workunits.manifest import SignedManifest
from workunits.merkle import EMPTY_ROOT, leaf_hash
from workunits.metainfo import hash_stream, parse_info
from workunits.results import Result
from workunits.statements import MAX_AGE, MAX_STATEMENT, Cancel, Grant, Pay, Statement, Upload
from workunits.submission import MAX_SUBMISSION
from workunits.verification import Demands, Policy
from workunits.wire.handshake import Vouch

DATA = b"some data to share\n" * 1000


def cancel(job: str) -> Cancel:
    return Cancel(JobId(bytes.fromhex(job)))


def v2(data: bytes = DATA) -> bytes:
    return hash_stream(BytesIO(data), len(data)).info.ref.v2


async def upload(
    tracker: Served,
    data: bytes = DATA,
    *,
    claim: Upload | None = None,
    address: bytes = b"",
    status: int = 201,
    statement: Statement | None = None,
) -> Any:
    claim = claim or Upload(v2(data), len(data))
    statement = statement or tracker.sign(claim, SUBMITTER)
    answer: Any = await tracker.ask(
        f"/api/v1/blobs/{(address or claim.blob).hex()}",
        *("PUT", status),
        data=data,
        headers={"X-Swarm-Statement": base64.b64encode(statement.encode()).decode()},
    )
    return answer


async def test_the_status_says_who_and_how_much(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        status = await tracker.ask("/api/v1/status")
        assert status["tracker"] == tracker.running.identity.key.hex()
        assert status["peers"] == {"connected": 0, "validators": 0, "volunteers": 0}
        books = {"entries": 0, "head": EMPTY_ROOT.hex(), "minted": 0, "total": 0}
        assert status["ledger"] == books
        await tracker.grant(amount=100)
        await tracker.submit(manifest(2))
        await tracker.join("worker")
        await tracker.join("checker", validator=True)
        status = await tracker.ask("/api/v1/status")
        assert status["peers"] == {"connected": 2, "validators": 1, "volunteers": 1}
        assert status["jobs"] == {"active": 1}
        assert (status["ledger"]["minted"], status["ledger"]["total"]) == (100, 0)


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


@pytest.mark.parametrize(
    "path",
    [
        "jobs?limit=x",
        "jobs?limit=nan",
        "jobs?limit=inf",
        "jobs?after=1e400",
        "jobs?submitter=xyz",
        "jobs/xyz",
        "jobs/abc",
        "jobs/" + "g" * 64,
        "jobs/" + "a" * 65,
        "accounts/xyz",
        "blobs/xyz",
        "blobs/xyz/info",
        "ledger?after=x",
        "ledger?after=99999999999999999999",
    ],
)
async def test_a_question_that_makes_no_sense_is_a_malformed_one(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.ask(f"/api/v1/{path}", status=400)
        assert answer["error"]["code"] == "malformed"


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "jobs/" + "0" * 64,
        "jobs/0000",
        *(f"jobs/{'0' * 64}/{what}" for what in ("manifest", "units", "events")),
        "blobs/" + "0" * 64,
        f"blobs/{'0' * 64}/info",
    ],
)
async def test_what_is_not_there_is_a_json_error_with_a_hint(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.ask(f"/api/v1/{path}", status=404)
        assert answer["error"]["code"] == "unknown"
        assert answer["error"]["hint"]


async def test_another_method_is_a_json_error_with_a_hint(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.ask("/api/v1/status", "DELETE", 405)
        assert answer["error"]["code"] == "method"
        assert answer["error"]["hint"]


async def test_a_bug_of_ours_is_a_json_error_that_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as tracker:
        monkeypatch.delattr(tracker.running.sessions, "wall")
        with caplog.at_level(logging.CRITICAL):
            answer = await tracker.ask("/api/v1/status", status=500)
        assert (answer["error"]["code"], answer["error"]["blame"]) == ("internal", "ours")
        assert answer["error"]["hint"]


async def test_a_job_is_found_by_the_first_digits_of_its_id(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(manifest()))["id"]
        for digits in (4, 12, 63, 64):
            assert (await tracker.ask(f"/api/v1/jobs/{job[:digits]}"))["id"] == job


async def test_units_come_in_pages_with_who_was_right(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = await tracker.run(manifest(3))
        path = f"/api/v1/jobs/{job}/units"
        page = await tracker.ask(path + "?limit=2")
        assert [unit["index"] for unit in page["units"]] == [0, 1]
        assert page["next"] == 1
        page = await tracker.ask(path + "?limit=2&after=1")
        (unit,) = page["units"]
        assert page["next"] is None
        assert (unit["state"], unit["parameters"]) == ("accepted", {"p": "2"})
        assert set(unit["winners"]) == {identity(name).key.hex() for name in ("worker", "checker")}
        assert unit["losers"] == []
        output = Result.parse(outcome(2).result).outputs[0]
        assert unit["result"]["outputs"][0]["v2"] == output.ref.v2.hex()
        assert (await tracker.ask(path + "?state=failed"))["units"] == []


async def test_a_result_is_not_shown_before_its_verdict(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(manifest()))["id"]
        worker = await tracker.join("worker")
        while not worker.leases:
            await worker.receive()
        await worker.commit()
        (unit,) = (await tracker.ask(f"/api/v1/jobs/{job}/units"))["units"]
        assert unit["state"] == "computing"
        assert unit["result"] is None
        assert unit["winners"] == unit["losers"] == []


async def test_a_settled_unit_says_who_computed_it_and_not_what(tmp_path: Path) -> None:
    body = manifest(2, policy=Policy.ECONOMY, demands=Demands((("referee", 0),)))
    async with served(tmp_path) as tracker:
        await tracker.grant()
        job = (await tracker.submit(body))["id"]
        everyone = [
            await tracker.join("worker", hold=1),
            await tracker.join("checker", validator=True),
        ]
        for remote in everyone:
            while not remote.leases:
                await remote.receive()
            await remote.commit()
        for remote in everyone:
            await remote.reveal()
        view = await tracker.ask(f"/api/v1/jobs/{job}")
        assert (view["counts"]["settled"], view["counts"]["computing"]) == (1, 1)
        assert (view["counts"]["accepted"], view["escrow"]["paid"]) == (0, 0)
        (unit,) = (await tracker.ask(f"/api/v1/jobs/{job}/units?state=settled"))["units"]
        assert unit["result"] is None
        assert set(unit["winners"]) == {each.identity.key.hex() for each in everyone}
        page = (await tracker.fetch("/")).decode()
        assert "1 / 2; 1 settled, not final yet" in page
        peers = (await tracker.ask("/api/v1/peers"))["peers"]
        assert [each["verified"] for each in peers] == [1, 1]
        assert [each["strikes"] for each in peers] == [0, 0]


async def test_a_validator_of_the_operators_is_a_referee(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        remote = await tracker.connect("judge")
        remote.vouch = Vouch.sign(tracker.running.identity, remote.identity.key)
        await remote.greet(validator=True)
        await tracker.join("other", validator=True)
        peers = (await tracker.ask("/api/v1/peers"))["peers"]
        assert {each["key"]: each["role"] for each in peers} == {
            remote.identity.key.hex(): "referee",
            identity("other").key.hex(): "validator",
        }


async def test_a_small_output_can_be_fetched(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.run(manifest())
        reveal = outcome(0)
        ref = Result.parse(reveal.result).outputs[0].ref
        path = f"/api/v1/blobs/{ref.v2.hex()}"
        assert await tracker.fetch(path) == reveal.contents[0]
        assert parse_info(await tracker.fetch(path + "/info")).ref == ref


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


async def test_accounts_come_richest_first_and_a_new_key_has_an_empty_one(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=50)
        job = (await tracker.submit(manifest()))["id"]
        accounts = (await tracker.ask("/api/v1/accounts"))["accounts"]
        assert [each["account"] for each in accounts] == [
            *(SUBMITTER.key.hex(), f"escrow:{job}", "mint")
        ]
        assert sum(each["balance"] for each in accounts) == 0
        assert len((await tracker.ask("/api/v1/accounts?limit=1"))["accounts"]) == 1
        empty = await tracker.ask("/api/v1/accounts/" + "0" * 64)
        assert (empty["balance"], empty["banned"]) == (0, False)


async def test_the_ledger_is_shown_entry_by_entry(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant()
        await tracker.run(manifest(2))
        entries = (await tracker.ask("/api/v1/ledger"))["entries"]
        kinds = [each["type"] for each in entries]
        assert kinds[:2] == ["mint", "escrow"]
        assert kinds.count("verdict") == 2
        assert "refund" in kinds
        for entry in entries:
            assert leaf_hash(bytes.fromhex(entry["entry"])).hex() == entry["leaf"]
        rest = (await tracker.ask("/api/v1/ledger?after=2"))["entries"]
        assert rest == entries[2:]


async def test_whoever_has_the_credits_pays_them_to_another(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.say(tracker.sign(Grant(SUBMITTER.key, 100)))
        other = PeerKey(b"o" * 32)
        answer = await tracker.say(tracker.sign(Pay(other, 30), SUBMITTER))
        assert answer["result"] == {"balance": 70}
        assert (await tracker.ask(f"/api/v1/accounts/{other.hex()}"))["balance"] == 30
        answer = await tracker.say(tracker.sign(Pay(other, 71), SUBMITTER), 403)
        assert "has 70 credits" in answer["error"]["message"]


async def test_a_grant_mints_and_says_the_balance(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(Grant(SUBMITTER.key, 5)))
        assert answer["result"] == {"balance": 5}


async def test_a_statement_that_is_said_twice_is_carried_out_once(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        statement = tracker.sign(Grant(SUBMITTER.key, 5))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(tracker.say(statement)) for _ in range(5)]
        assert sorted(task.result()["repeated"] for task in tasks) == [False] + [True] * 4
        assert {task.result()["id"] for task in tasks} == {statement.id.hex()}
        assert (await tracker.ask("/api/v1/status"))["ledger"]["minted"] == 5


async def test_only_the_operator_mints(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(Grant(SUBMITTER.key, 5), SUBMITTER), 403)
        assert "only the operator" in answer["error"]["message"]
        assert answer["error"]["hint"]
        assert (await tracker.ask("/api/v1/status"))["ledger"]["entries"] == 0


@pytest.mark.parametrize(("ago", "side"), [(MAX_AGE + 60, "behind"), (-MAX_AGE - 60, "ahead")])
async def test_a_statement_of_another_time_is_refused_with_a_hint_about_the_clock(
    tmp_path: Path, ago: float, side: str
) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(Grant(SUBMITTER.key, 5), ago=ago), 403)
        assert side in answer["error"]["message"]
        assert "clock" in answer["error"]["hint"]
        old = tracker.sign(Upload(v2(), len(DATA)), SUBMITTER, ago)
        assert side in (await upload(tracker, statement=old, status=403))["error"]["message"]


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


async def test_what_is_no_statement_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        for body, status in ((b"", 400), (b"x", 400), (b"x" * (MAX_STATEMENT + 1), 413)):
            await tracker.ask("/api/v1/statements", "POST", status, data=body)
        answer = await tracker.say(tracker.sign(Upload(b"b" * 32, 1), SUBMITTER), 403)
        assert "goes with its upload" in answer["error"]["message"]


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


def test_a_full_web_seed_says_so(tmp_path: Path) -> None:
    seed = WebSeed(tmp_path / "blobs", held=90, quota=100)
    seed.check(10)
    with pytest.raises(LimitError, match="web seed is full") as caught:
        seed.check(11)
    assert caught.value.hint
