"""Prompts that a live swarm answers: the clients that people have, ``swarm chat``, jobs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import finish
from tests.acceptance.salon import MODEL, SECONDS, Salon, eventually, salon
from tests.models import ctransformers_image, ctransformers_model, smollm
from tests.tracker.endpoint.test_clients import (
    Place,
    test_anthropic_sends_messages,
    test_anthropic_streams,
    test_clients_raise_their_own_errors,
    test_langchain_invokes_and_streams,
    test_openai_chats,
    test_openai_completes,
    test_openai_draws_the_same_answer_from_the_same_seed,
    test_openai_gets_probabilities,
    test_openai_lists_models,
    test_openai_runs_a_batch,
    test_openai_streams_and_the_last_chunk_has_the_verdict,
    test_openai_streams_nothing_unverified_if_it_says_so,
)

__all__ = [
    "ctransformers_image",
    "ctransformers_model",
    "salon",
    "smollm",
    "test_anthropic_sends_messages",
    "test_anthropic_streams",
    "test_clients_raise_their_own_errors",
    "test_langchain_invokes_and_streams",
    "test_openai_chats",
    "test_openai_completes",
    "test_openai_draws_the_same_answer_from_the_same_seed",
    "test_openai_gets_probabilities",
    "test_openai_lists_models",
    "test_openai_runs_a_batch",
    "test_openai_streams_and_the_last_chunk_has_the_verdict",
    "test_openai_streams_nothing_unverified_if_it_says_so",
]
"""The tests that assume nothing of what a model says are those of the endpoint."""

PROMPT, ANSWER = "What is 2 + 2?", "The answer is 4."
JOB = """
name = "capitals"
[model]
name = "smollm2"
prompts = "prompts.txt"
max_tokens = 16
"""


@pytest.fixture
def place(salon: Salon) -> Place:
    """Where clients are pointed at: a live swarm with two volunteers."""
    salon.staff("one", "two")
    return Place(salon.swarm.url, salon.secret, MODEL, SECONDS)


def chat(salon: Salon, *arguments: str) -> Any:
    """``swarm chat`` without colours."""
    extra = {"NO_COLOR": "1", "SWARM_API_KEY": salon.secret}
    return salon.swarm.ask(
        salon.asker, "chat", PROMPT, "--temperature", "0", "--max-tokens", "24", *arguments,
        extra=extra,
    )  # fmt: skip


def test_an_answer_makes_sense_and_says_who_checked_it(salon: Salon) -> None:
    salon.staff("one", "two")
    heard = salon.ask(PROMPT, 24)
    assert (heard.text, heard.finish) == (ANSWER, "stop")
    said = heard.verdict
    assert (said["verified"], said["same"]) == (True, True)
    both = {peer.key for name, peer in salon.peers.items() if name in ("one", "two")}
    assert {said["worker"], *said["validators"]} == both
    told = eventually(lambda: entry(salon, said["ledger_entry"]), "the ledger has it")
    assert sum(move["amount"] for move in told["moves"]) == said["cost"] > 0


def entry(salon: Salon, number: int) -> Any:
    """An entry of the public ledger, if it is there."""
    entries = salon.swarm.get(f"ledger?after={max(0, number - 1)}&limit=2")["entries"]
    return next((each for each in entries if each["number"] == number), None)


def test_chat_in_the_terminal_says_the_answer_and_its_verdict(salon: Salon) -> None:
    salon.staff("one", "two")
    plain = chat(salon)
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.strip() == ANSWER
    assert "verified by 1 peer" in plain.stderr
    assert "\x1b" not in plain.stdout + plain.stderr
    told = chat(salon, "--json", "--verify", "before")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["text"] == ANSWER
    assert (answer["model"], answer["verdict"]["verified"]) == (MODEL, True)


def test_prompts_of_a_job_are_answered_and_paid(salon: Salon, tmp_path: Path) -> None:
    salon.staff("one", "two")
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\nSay hello.\nSay hi.\n")
    swarm, asker = salon.swarm, salon.asker
    job = json.loads(swarm.run(asker, "submit", str(tmp_path / "job.toml"), "--json"))["id"]
    view = finish(swarm, asker, job)
    assert view["counts"]["accepted"] == 3
    assert view["escrow"]["paid"] > 0
    swarm.run(asker, "results", job, str(tmp_path / "out"))
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [each["index"] for each in answers] == [0, 1, 2]
    assert answers[0]["answer"] == ANSWER
