"""The OpenAPI document says what is there: the routes, and the shape of every answer."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.tracker.api.schema import problems
from tests.tracker.serving import Served, served
from tests.tracker.work.world import SUBMITTER, manifest
from tracker.api.handlers import Api
from tracker.api.log import Log
from tracker.api.models import Models
from tracker.api.openapi import document
from tracker.api.torrents import Torrents
from workunits.ids import JobId
from workunits.statements import Cancel, Grant, Register

DOCUMENT = document("1")


def documented() -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }


def test_every_route_is_documented_and_every_documented_route_is_there() -> None:
    routes = [
        *Api.routes(Api.__new__(Api)),
        *Log.routes(Log.__new__(Log)),
        *Torrents.routes(Torrents.__new__(Torrents)),
        *Models.routes(Models.__new__(Models)),
    ]
    registered = {(route.method, route.path) for route in routes}
    assert registered - {("GET", "/api/v1/openapi.json")} == documented()


def test_every_parameter_of_a_path_is_described() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            named = {
                each["name"] for each in operation.get("parameters", []) if each["in"] == "path"
            }
            assert {f"{{{name}}}" for name in named} == {
                part for part in path.split("/") if part.startswith("{")
            }
            assert operation["summary"]
            assert "default" in operation["responses"]


def test_every_reference_leads_somewhere() -> None:
    def look(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                place = DOCUMENT
                for step in value["$ref"].removeprefix("#/").split("/"):
                    place = place[step]
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(DOCUMENT)


async def test_the_document_is_served(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        served_document = await tracker.ask("/api/v1/openapi.json")
        assert served_document["openapi"].startswith("3.1")
        assert served_document["paths"] == DOCUMENT["paths"]


def schema(path: str, method: str, status: str) -> Any:
    answer = DOCUMENT["paths"][path][method]["responses"][status]
    return answer["content"]["application/json"]["schema"]


def check(value: Any, path: str, method: str = "get", status: str = "200") -> None:
    assert problems(DOCUMENT, schema(path, method, status), value) == []


async def test_every_answer_has_the_documented_shape(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        check(
            await tracker.say(tracker.sign(Grant(SUBMITTER.key, 1000))),
            *("/api/v1/statements", "post", "200"),
        )
        live = await tracker.submit(manifest(nonce=1))
        check(live, "/api/v1/jobs", "post", "201")
        job = await tracker.run(manifest(3, nonce=2))
        cancelled = await tracker.submit(manifest(nonce=3))
        await tracker.say(tracker.sign(Cancel(JobId(bytes.fromhex(cancelled["id"]))), SUBMITTER))
        check(await tracker.ask("/api/v1/status"), "/api/v1/status")
        check(await tracker.ask("/api/v1/jobs"), "/api/v1/jobs")
        for each in (job, live["id"], cancelled["id"]):
            check(await tracker.ask(f"/api/v1/jobs/{each}"), "/api/v1/jobs/{job}")
        units = await tracker.ask(f"/api/v1/jobs/{job}/units")
        assert len(units["units"]) == 3
        check(units, "/api/v1/jobs/{job}/units")
        peers = await tracker.ask("/api/v1/peers")
        assert len(peers["peers"]) == 2
        check(peers, "/api/v1/peers")
        accounts = await tracker.ask("/api/v1/accounts")
        check(accounts, "/api/v1/accounts")
        key = peers["peers"][0]["key"]
        check(await tracker.ask(f"/api/v1/accounts/{key}"), "/api/v1/accounts/{account}")
        ledger = await tracker.ask("/api/v1/ledger")
        assert {entry["type"] for entry in ledger["entries"]} == {
            *("mint", "escrow", "commits", "draws", "verdict", "refund"),
            *("anchor", "join", "leave"),
        }
        check(ledger, "/api/v1/ledger")
        await tracker.say(tracker.sign(Register(b"1" * 20, b"", 5, "films"), SUBMITTER))
        own = await tracker.ask(f"/api/v1/torrents?account={SUBMITTER.key.hex()}")
        assert own["torrents"][0]["v2"] is None
        check(own, "/api/v1/torrents")
        check(await tracker.ask("/api/v1/reach"), "/api/v1/reach")
        await the_error_shape(tracker)


async def the_error_shape(tracker: Served) -> None:
    error = DOCUMENT["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
    answer = await tracker.ask("/api/v1/jobs/" + "0" * 64, status=404)
    assert problems(DOCUMENT, error, answer) == []


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"jobs": [{}]}, True),
        ({"jobs": 5}, True),
        ({"jobs": [], "more": 1}, True),
        ({}, True),
        ({"jobs": []}, False),
    ],
)
def test_the_checker_finds_what_is_wrong(value: Any, wrong: bool) -> None:
    assert bool(problems(DOCUMENT, {"$ref": "#/components/schemas/Jobs"}, value)) == wrong


def test_routes_are_aiohttp_routes() -> None:
    assert all(isinstance(route, web.RouteDef) for route in Api.routes(Api.__new__(Api)))
