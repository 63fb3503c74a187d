"""Questions that make no sense, and bugs of ours: JSON errors that end in a hint."""

import logging
from pathlib import Path

import pytest

from tests.tracker.serving import served


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
