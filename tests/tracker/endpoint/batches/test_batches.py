"""Batches from upload to output: over HTTP, through restarts, and to the deletion of prompts."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.tracker.endpoint.serving import SECONDS, SECRET, Serving, served, until
from tests.tracker.endpoint.tiny import NAME
from tracker.endpoint.batches.records import DAY, KEEP, OVER, Batch
from tracker.endpoint.batches.runner import AT_ONCE, ATTEMPTS, Runner
from tracker.endpoint.batches.store import Store
from tracker.endpoint.keys import AbsentError, CrowdedError, Keys
from workunits.errors import RefusedError

URL = "/v1/completions"


def line(name: str, **body: Any) -> dict[str, Any]:
    request = {"model": NAME, "prompt": name, "max_tokens": 5} | body
    return {"custom_id": name, "method": "POST", "url": URL, "body": request}


def packed(*lines: object) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in lines)


async def upload(serving: Serving, content: bytes, status: int = 200, /, **fields: str) -> Any:
    form = aiohttp.FormData({"purpose": "batch"} | fields)
    form.add_field("file", content, filename="in.jsonl")
    return await serving.ask("/v1/files", status, data=form)


async def create(serving: Serving, *lines: object, status: int = 200, **fields: Any) -> Any:
    file = await upload(serving, packed(*lines))
    body = {"input_file_id": file["id"], "endpoint": URL, "completion_window": "24h"} | fields
    return await serving.ask("/v1/batches", status, json=body)


async def get(serving: Serving, path: str, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {SECRET}"}
    async with serving.http.get(serving.url + path, headers=headers) as response:
        assert response.status == status, await response.text()
        return await response.read()


async def state(serving: Serving, batch: str, true: Callable[[Any], bool]) -> Any:
    """The batch as soon as something is true of it."""
    async with asyncio.timeout(SECONDS):
        while not true(found := orjson.loads(await get(serving, f"/v1/batches/{batch}"))):
            pass
    return found


async def over(serving: Serving, batch: str) -> Any:
    return await state(serving, batch, lambda found: found["status"] in OVER)


async def rows(serving: Serving, file: str | None) -> list[Any]:
    assert file
    content = await get(serving, f"/v1/files/{file}/content")
    return [orjson.loads(each) for each in content.splitlines()]


async def test_lines_are_asked_without_hurry_and_answered_in_order(serving: Serving) -> None:
    names = [f"line {at}" for at in range(100)]
    made = await create(serving, *map(line, names), metadata={"of": "tests"})
    assert made["status"] == "validating"
    found = await over(serving, made["id"])
    assert found["status"] == "completed"
    assert found["request_counts"] == {"total": 100, "completed": 100, "failed": 0}
    assert found["error_file_id"] is None
    assert found["metadata"] == {"of": "tests"}
    assert found["model"] == NAME
    assert found["usage"]["total_tokens"] > 500
    output = await rows(serving, found["output_file_id"])
    assert [each["custom_id"] for each in output] == names
    assert output[3]["response"]["body"]["choices"][0]["text"] == "line "
    assert output[3]["response"]["body"]["swarm"]["verified"] is True
    assert len({each["id"] for each in output}) == 100
    assert not any(call.urgent for call in serving.parlour.calls)
    assert serving.endpoint.batches.store.open_lines(_only(serving)) == []


async def test_a_file_with_a_wrong_line_is_refused(serving: Serving) -> None:
    answer = await upload(serving, packed(line("a"), line("a")), 400)
    assert answer["error"]["message"].startswith("Line 2: ")
    assert orjson.loads(await get(serving, "/v1/files"))["data"] == []
    assert not list(serving.endpoint.batches.store.draft("x").parent.iterdir())


async def test_an_upload_says_what_it_is_for(serving: Serving) -> None:
    answer = await upload(serving, packed(line("a")), 400, purpose="fine-tune")
    assert answer["error"]["param"] == "purpose"
    await serving.ask("/v1/files", 400, json={})
    form = aiohttp.FormData({"purpose": "batch", "more": "x"})
    form.add_field("none", b"", filename="x")
    await serving.ask("/v1/files", 400, data=form)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    await serving.ask("/v1/files", 400, data=b"--x\r\nnonsense", headers=headers)
    life = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = await upload(serving, packed(line("a")), **life)
    assert file["expires_at"] == file["created_at"] + 3600
    life["expires_after[seconds]"] = "5"
    await upload(serving, packed(line("a")), 400, **life)


async def test_a_batch_of_wrong_requests_fails_with_the_line(serving: Serving) -> None:
    for wrong, text in (
        (line("b", temperature=9), "temperature"),
        (line("b", model="nothing"), "nothing"),
        (line("b") | {"url": "/v1/chat/completions"}, "url"),
    ):
        made = await create(serving, line("a"), wrong)
        found = await over(serving, made["id"])
        assert found["status"] == "failed"
        (error,) = found["errors"]["data"]
        assert error["line"] == 2
        assert text in error["message"]
    assert not serving.parlour.calls


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "/v1/embeddings"},
        {"completion_window": "1h"},
        {"metadata": {"a": 5}},
        {"metadata": {str(at): "" for at in range(17)}},
        {"output_expires_after": {"anchor": "created_at", "seconds": 5}},
        {"priority": "high"},
    ],
)
async def test_a_batch_that_is_not_offered_is_refused(
    serving: Serving, change: dict[str, Any]
) -> None:
    await create(serving, line("a"), status=400, **change)
    assert orjson.loads(await get(serving, "/v1/batches"))["data"] == []


async def test_batches_and_files_come_in_pages(serving: Serving) -> None:
    made = [(await create(serving, line("a")))["id"] for _ in range(3)]
    for batch in made:
        await over(serving, batch)
    page = orjson.loads(await get(serving, "/v1/batches?limit=2"))
    assert [each["id"] for each in page["data"]] == [made[2], made[1]]
    assert page["has_more"] is True
    rest = orjson.loads(await get(serving, f"/v1/batches?limit=2&after={page['last_id']}"))
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([made[0]], False)
    inputs = orjson.loads(await get(serving, "/v1/files?purpose=batch&order=asc&limit=2"))
    assert len(inputs["data"]) == 2
    after = inputs["last_id"]
    rest = orjson.loads(await get(serving, f"/v1/files?purpose=batch&order=asc&after={after}"))
    assert len(rest["data"]) == 1
    await get(serving, "/v1/batches?limit=0", 400)
    await get(serving, "/v1/batches/batch_nothing", 404)
    await get(serving, "/v1/files/../files", 200)
    await get(serving, "/v1/files/nothing/content", 404)


async def test_a_cancelled_batch_stops_and_keeps_what_it_has(serving: Serving) -> None:
    serving.say("abc", hold_after=0)
    made = await create(serving, *(line(str(at)) for at in range(100)))
    await state(serving, made["id"], lambda found: found["status"] == "in_progress")
    await until(lambda: len(serving.parlour.calls) == AT_ONCE)
    found = await serving.ask(f"/v1/batches/{made['id']}/cancel")
    assert found["status"] == "cancelling"
    found = await over(serving, made["id"])
    assert found["status"] == "cancelled"
    assert found["cancelling_at"]
    assert found["request_counts"] == {"total": 100, "completed": 0, "failed": 100}
    errors = await rows(serving, found["error_file_id"])
    assert {each["error"]["code"] for each in errors} == {"batch_cancelled"}
    assert all(call.closed for call in serving.parlour.calls)
    assert serving.key.reserved == 0
    await serving.ask(f"/v1/batches/{made['id']}/cancel", 400)


async def test_a_file_is_not_deleted_while_a_batch_reads_it(serving: Serving) -> None:
    script = serving.say("abc", hold_after=0)
    made = await create(serving, line("a"))
    headers = {"Authorization": f"Bearer {SECRET}"}
    url = f"{serving.url}/v1/files/{made['input_file_id']}"
    async with serving.http.delete(url, headers=headers) as response:
        assert response.status == 400
    script.go.set()
    await over(serving, made["id"])
    async with serving.http.delete(url, headers=headers) as response:
        assert (await response.json())["deleted"] is True
    async with serving.http.get(url, headers=headers) as response:
        assert response.status == 404


async def test_a_restart_asks_only_for_what_has_no_answer(tmp_path: Path) -> None:
    def some(card: object, request: Any) -> tuple[int, ...]:
        if bytes(request.prompt) == b"late":
            raise CrowdedError("wait", seconds=0)
        return tuple(request.prompt)

    async with served(tmp_path) as serving:
        serving.obey(some)
        made = await create(serving, line("early"), line("late"))
        await state(serving, made["id"], lambda found: found["request_counts"]["completed"] == 1)
    async with served(tmp_path) as serving:
        found = await over(serving, made["id"])
        assert found["status"] == "completed"
        assert [bytes(call.request.prompt) for call in serving.parlour.calls] == [b"late"]
        output = await rows(serving, found["output_file_id"])
        assert [each["custom_id"] for each in output] == ["early", "late"]


async def _at_once(seconds: float) -> None:
    await asyncio.sleep(0)


def fail(serving: Serving, failure: Callable[[int], Exception | None]) -> list[int]:
    """Let lines be asked again at once. Their answer is their prompt, unless ``failure`` of a try,
    counted from 1, gives an error. Returns the tries so far."""
    tries: list[int] = []

    def some(card: object, request: Any) -> tuple[int, ...]:
        tries.append(len(tries) + 1)
        if error := failure(len(tries)):
            raise error
        return tuple(request.prompt)

    serving.obey(some)
    serving.endpoint.runner.sleep = _at_once
    return tries


async def unavailable(serving: Serving, batch: dict[str, Any]) -> dict[str, Any]:
    """The error of the one line of a batch, which nobody could answer."""
    (row,) = await rows(serving, batch["error_file_id"])
    assert row["response"]["status_code"] == 503
    error: dict[str, Any] = row["response"]["body"]["error"]
    return error


async def test_a_line_waits_while_nobody_is_there_and_gives_up_if_unverified(
    serving: Serving,
) -> None:
    tries = fail(serving, lambda at: AbsentError("all are gone", seconds=0) if at < 3 else None)
    found = await over(serving, (await create(serving, line("a")))["id"])
    assert found["request_counts"]["completed"] == 1
    assert len(tries) == 3
    serving.say("abc", reason="no validator")
    found = await over(serving, (await create(serving, line("a")))["id"])
    assert (await unavailable(serving, found))["code"] == "unverified"


async def test_a_line_waits_until_somebody_is_there_to_check_it(serving: Serving) -> None:
    script = serving.say("abc", unchecked=AbsentError("nobody can check", seconds=0))
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2 * ATTEMPTS:
            script.unchecked = None

    serving.endpoint.runner.sleep = sleep
    found = await over(serving, (await create(serving, line("a")))["id"])
    assert found["request_counts"]["completed"] == 1
    assert len(serving.parlour.calls) == 1, "nothing was computed that nobody could check"


async def test_where_nobody_checks_answers_a_line_is_answered_and_says_so(
    serving: Serving,
) -> None:
    serving.parlour.checked = False
    serving.say("abc", reason="nobody checks here")
    found = await over(serving, (await create(serving, line("a")))["id"])
    (row,) = await rows(serving, found["output_file_id"])
    told = row["response"]["body"]["swarm"]
    assert (told["verified"], told["reason"]) == (False, "nobody checks here")
    assert len(serving.parlour.calls) == 1


async def test_a_line_whose_answer_fails_is_given_up_and_waits_for_peers_do_not_count(
    serving: Serving,
) -> None:
    def failure(at: int) -> Exception:
        if at % 3 == 1:  # the next two are one failure, asked again in silence
            return AbsentError("all are gone", seconds=0)
        return RefusedError("no answer could be verified: the peers could not agree")

    tries = fail(serving, failure)
    found = await over(serving, (await create(serving, line("a")))["id"])
    assert found["request_counts"]["failed"] == 1
    assert "could not agree" in (await unavailable(serving, found))["message"]
    assert len(tries) == 3 * ATTEMPTS


async def test_lines_that_the_budget_does_not_cover_say_so(serving: Serving) -> None:
    serving.say("abc")
    # Each line sets 18 credits aside and uses 12: three pass, one after the other.
    serving.key.budget = 12 * 3 + 6
    found = await over(serving, (await create(serving, *(line(str(at)) for at in range(5))))["id"])
    assert found["request_counts"]["completed"] + found["request_counts"]["failed"] == 5
    assert found["request_counts"]["completed"] >= 2
    errors = await rows(serving, found["error_file_id"])
    assert {each["response"]["status_code"] for each in errors} == {402}
    assert serving.key.spent <= serving.key.budget


async def test_prompts_are_deleted_a_day_after_the_end_unless_they_shall_stay(
    serving: Serving,
) -> None:
    made = [
        await create(serving, line("a secret"), metadata=metadata)
        for metadata in ({}, {KEEP: "true"})
    ]
    for each in made:
        await over(serving, each["id"])
    store, now = serving.endpoint.batches.store, serving.endpoint.batches.wall()
    files = [store.path(each["input_file_id"]) for each in made]
    store.sweep(now + DAY - 60)
    assert [file.exists() for file in files] == [True, True]
    store.sweep(now + DAY + 60)
    assert [file.exists() for file in files] == [False, True]
    store.sweep(now + 31 * DAY)
    assert not list(files[0].parent.iterdir())


async def test_a_batch_that_takes_too_long_expires(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        serving.say("abc", hold_after=0)
        made = await create(serving, line("a"))
        await state(serving, made["id"], lambda found: found["status"] == "in_progress")
        batch = _only(serving)
        batch.expires = int(serving.endpoint.batches.wall()) - 1
        serving.endpoint.batches.store.save(batch)
    async with served(tmp_path) as serving:
        found = await over(serving, made["id"])
        assert found["status"] == "expired"
        (error,) = await rows(serving, found["error_file_id"])
        assert error["error"]["code"] == "batch_expired"


async def test_a_batch_of_a_key_that_was_closed_meanwhile_fails(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        serving.say("abc", hold_after=0)
        made = await create(serving, line("a"))
        batch = await state(serving, made["id"], lambda found: found["status"] == "in_progress")
        owner = serving.key.hash
    store = Store(tmp_path)
    keys = Keys()
    runner = Runner(store, serving.endpoint.openai, keys, lambda: 0.0)
    async with asyncio.TaskGroup() as group:
        working = group.create_task(runner.run())
        await until(lambda: not store.active())
        working.cancel()
    found = store.batch(batch["id"], owner)
    store.close()
    assert found
    assert found.status == "failed"
    assert found.errors[0]["code"] == "invalid_api_key"


def _only(serving: Serving) -> Batch:
    (batch,) = serving.endpoint.batches.store.batches(serving.key.hash, "", 10)
    return batch
