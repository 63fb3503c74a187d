"""The REST client against servers that fail, lie and come back."""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from client.json_fields import JsonFields, decode_object
from client.tracker_api import MAX_EVENT, TrackerApi, TrackerError, check_url
from client.views import AccountView, JobView, PeerView, StatusView, UnitPage
from workunits.errors import LimitError, LocalError, MalformedError, RemoteError, UnavailableError
from workunits.ids import BlobRef, JobId

JOB = {
    "id": "ab" * 32,
    "name": "a job",
    "submitter": "cd" * 32,
    "policy": "pair",
    "comparator": "exact",
    "demands": {
        "settings": {"audit": 150},
        "same_platform": False,
        "reputation": 3,
        "ringers": True,
    },
    "price": 1,
    "units": 3,
    "counts": {"accepted": 1, "open": 2},
    "escrow": {"held": 4, "paid": 2, "returned": 0},
    "state": "active",
    "created": 1.5,
}
UNIT = {
    "index": 0,
    "state": "accepted",
    "parameters": {"x": "1"},
    "result": {
        "ending": "exited",
        "exit": 0,
        "outputs": [{"name": "out", "length": 3, "v1": "00" * 20, "v2": "11" * 32}],
    },
    "winners": ["22" * 32],
    "losers": [],
    "reason": "",
}
STATUS = {
    "tracker": "ab" * 32,
    "version": "1",
    "time": 5,
    "peers": {"connected": 2},
    "jobs": {"active": 1},
    "ledger": {"entries": 3, "head": "00" * 32, "minted": 10},
}
JOB_ID = JobId(bytes.fromhex(str(JOB["id"])))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def tracker(handler: Handler) -> AsyncIterator[TrackerApi]:
    """A client of a server that answers everything with ``handler``; pauses take no time."""
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", handler)

    async def sleep(_: float) -> None:
        return

    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield TrackerApi(session, str(server.make_url("")), sleep=sleep, rng=random.Random(1))


def answers(*responses: Any) -> tuple[Handler, list[str]]:
    """Give one response after the other; the last one stays. Also the paths that were asked."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        asked.append(f"{request.method} {request.path_qs}")
        response = responses[min(len(asked), len(responses)) - 1]
        if response is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(response, tuple):
            return web.Response(status=response[0], body=response[1])
        return web.json_response(response)

    return handler, asked


async def test_a_lost_connection_and_a_gateway_error_are_tried_again() -> None:
    handler, asked = answers(None, (503, b"busy"), STATUS)
    async with tracker(handler) as api:
        status = await api.status()
    assert (status.connected, status.jobs, status.minted) == (2, 1, 10)
    assert asked == ["GET /api/v1/status"] * 3


async def test_a_tracker_that_stays_away_is_unavailable_with_a_hint() -> None:
    for failure in (None, (502, b"")):
        handler, asked = answers(failure)
        async with tracker(handler) as api:
            with pytest.raises(UnavailableError) as caught:
                await api.status()
        assert caught.value.hint
        assert len(asked) >= 4  # aiohttp itself repeats a GET on a stale connection


async def test_a_refusal_is_not_repeated_and_keeps_code_and_hint() -> None:
    error = {"code": "refused", "message": "no\x1b[2J credit", "hint": "earn", "blame": "theirs"}
    handler, asked = answers((403, json.dumps({"error": error}).encode()))
    async with tracker(handler) as api:
        with pytest.raises(TrackerError) as caught:
            await api.status()
    assert (caught.value.code, caught.value.status, caught.value.hint) == ("refused", 403, "earn")
    assert caught.value.message == "no\ufffd[2J credit"
    assert len(asked) == 1


async def test_a_server_that_is_no_tracker_is_recognised() -> None:
    for answer in ((200, b"<html>"), (404, b"<html>")):
        handler, _ = answers(answer)
        async with tracker(handler) as api:
            with pytest.raises(RemoteError) as caught:
                await api.status()
        assert "tracker" in caught.value.hint


async def test_an_answer_without_end_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * (1 << 20))

    async with tracker(endless) as api:
        with pytest.raises(LimitError):
            await api.status()


async def test_pages_of_jobs_are_joined_and_one_that_repeats_ends_it() -> None:
    page = [JOB | {"id": f"{at:064x}", "created": 2000.0 - at} for at in range(1000)]
    handler, asked = answers({"jobs": page}, {"jobs": page[:3]})
    async with tracker(handler) as api:
        assert len(await api.jobs(limit=1500)) == 1000
        assert asked[1].endswith("jobs?limit=500&after=1001.0")
    handler, asked = answers({"jobs": page})
    async with tracker(handler) as api:
        assert len(await api.jobs(limit=5000)) == 1000
        assert len(asked) == 2


async def test_pages_of_units_that_go_in_circles_are_refused() -> None:
    handler, _ = answers({"units": [UNIT], "next": 7})
    async with tracker(handler) as api:
        with pytest.raises(MalformedError):
            _ = [unit async for unit in api.units(JOB_ID)]


async def test_a_manifest_that_is_not_the_job_s_is_refused() -> None:
    handler, _ = answers((200, b"d8:manifest0:9:signature0:e"))
    async with tracker(handler) as api:
        with pytest.raises(MalformedError):
            await api.manifest(JOB_ID)


async def test_more_content_than_a_blob_has_is_refused() -> None:
    handler, _ = answers((200, b"four"))
    async with tracker(handler) as api:
        with pytest.raises(LimitError):
            _ = [chunk async for chunk in api.blob(BlobRef(bytes(32), bytes(20), 3))]


def event_stream(*bodies: bytes) -> tuple[Handler, list[str]]:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        body = bodies[min(len(asked), len(bodies)) - 1]
        if body == b"":
            return web.json_response({}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(body)
        return response

    return handler, asked


def event(**change: Any) -> bytes:
    return b": hello\ndata: " + json.dumps(JOB | change).encode() + b"\r\n\r\n"


async def test_events_go_on_after_the_tracker_was_away() -> None:
    handler, asked = event_stream(
        event() + event(executions=1), b"", event(executions=2) + event(state="finished")
    )
    lost: list[str] = []
    async with tracker(handler) as api:
        views = [
            view
            async for view in api.events(JOB_ID, on_loss=lambda error: lost.append(error.message))
        ]
    assert [view.executions for view in views] == [0, 1, 2, 0]
    assert not views[-1].active
    assert len(asked) == 3
    assert len(lost) == 2


async def test_events_give_up_after_the_given_patience() -> None:
    handler, asked = event_stream(b"")
    async with tracker(handler) as api:
        with pytest.raises(UnavailableError):
            _ = [view async for view in api.events(JOB_ID, patience=6)]
    assert len(asked) == 6


async def test_an_event_without_end_is_refused() -> None:
    handler, _ = event_stream((b"data: " + b"x" * 1000 + b"\n") * (MAX_EVENT // 1000 + 1))
    async with tracker(handler) as api:
        with pytest.raises(LimitError):
            _ = [view async for view in api.events(JOB_ID)]


def test_addresses_of_trackers_are_checked() -> None:
    assert check_url("http://host:1/") == "http://host:1"
    for text in ("host:1", "ftp://host", "http://", "http://a\nb"):
        with pytest.raises(LocalError):
            check_url(text)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=5),
        st.just("ab" * 32), st.just("ab" * 20), st.just(2**70),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)  # fmt: skip
VIEWS = (
    (JobView, JOB),
    (UnitPage, {"units": [UNIT], "next": None}),
    (StatusView, STATUS),
    (AccountView, {"account": "mint", "balance": -5, "earned": 1, "banned": False}),
    (PeerView, {"key": "ab" * 32, "role": "validator"}),
)


@given(st.sampled_from(VIEWS), st.data())
def test_any_answer_is_a_view_or_malformed(
    kind: tuple[type[JobView], dict[str, Any]], data: st.DataObject
) -> None:
    view, good = kind
    body = dict(good)
    for key in data.draw(st.sets(st.sampled_from(sorted(good)))):
        body[key] = data.draw(JSON)
    raw = json.dumps(body).encode()
    try:
        view.read(decode_object(raw, limit=1 << 20, what="answer"))
    except RemoteError as error:
        assert error.message


@given(st.binary(max_size=50))
def test_any_bytes_are_an_object_or_malformed(raw: bytes) -> None:
    try:
        assert isinstance(decode_object(raw, limit=40, what="answer"), JsonFields)
    except RemoteError:
        return


def test_good_answers_are_read_whole() -> None:
    page = UnitPage.read(JsonFields({"units": [UNIT], "next": 4}, "page"))
    assert page.next == 4
    (unit,) = page.units
    assert unit.result is not None
    assert unit.result.outputs[0].ref.length == 3
    assert unit.winners == (bytes.fromhex("22" * 32),)
    hostile = UNIT | {"result": {"ending": "exited", "exit": 0, "outputs": [
        {"name": "../x", "length": 3, "v1": "00" * 20, "v2": "11" * 32}]}}  # fmt: skip
    with pytest.raises(MalformedError):
        UnitPage.read(JsonFields({"units": [hostile]}, "page"))
