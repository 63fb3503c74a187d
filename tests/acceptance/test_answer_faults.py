"""What goes wrong while a live swarm answers: engines, volunteers, clients, models, the tracker."""

import struct
import sys
from pathlib import Path

import httpx
import openai
import pytest

from examples.demo.swarm import Peer
from tests.acceptance.hostile import VARIABLE
from tests.acceptance.salon import CONTEXT, MODEL, Heard, Salon, eventually, salon
from tests.models import ctransformers_image, ctransformers_model, smollm
from workunits.models.gguf import read_header
from workunits.models.tokenizer import Tokenizer
from workunits.models.vocabulary import Vocabulary

__all__ = ["ctransformers_image", "ctransformers_model", "salon", "smollm"]

STORY = "Tell me a long story about a fox and a river."
LONG = 120
"""Tokens of an answer in whose midst something happens."""

GREEDY = 600
"""Tokens of a prompt for which memory as large as the model's file does not suffice."""

HOSTILE = [sys.executable, "-m", "tests.acceptance.hostile"]
HASTY = [sys.executable, "-m", "tests.acceptance.hasty"]


@pytest.fixture(scope="module")
def story(salon: Salon) -> Heard:
    """The story, told without any trouble."""
    salon.staff("one", "two", "three")
    return salon.ask(STORY, LONG)


def assert_told(heard: Heard, known: Heard) -> None:
    """The same tokens, none of them twice, and all verified."""
    assert heard.text == known.text
    said = heard.verdict
    assert (said["verified"], said["same"], heard.finish) == (True, True, known.finish)


def test_an_engine_that_is_killed_in_mid_stream_loses_no_word(salon: Salon, story: Heard) -> None:
    salon.staff("one", "two", "three")
    with salon.stream(STORY, LONG) as stream:
        stream.read(5)
        assert salon.kill_engines()
        assert_told(stream.read(), story)


def test_a_volunteer_that_is_killed_in_mid_stream_is_replaced(salon: Salon, story: Heard) -> None:
    salon.staff("one", "two", "three")
    with salon.stream(STORY, LONG) as stream:
        stream.read(5)
        victim = salon.the_busy_one()
        salon.swarm.kill(victim)
        heard = stream.read()
    assert_told(heard, story)
    assert salon.peers[victim].key not in (heard.verdict["worker"], *heard.verdict["validators"])


def test_a_validator_that_is_killed_is_replaced(salon: Salon, story: Heard) -> None:
    salon.staff("one", "two", "three")
    with salon.stream(STORY, LONG) as stream:
        stream.read(5)
        worker = salon.the_busy_one()
        others = {"one", "two", "three"} - {worker}
        for name in others:
            salon.stop(name)
        victim = salon.the_busy_one(worker)
        (heir,) = others - {victim}
        salon.swarm.kill(victim)
        salon.go_on(heir)
        heard = stream.read()
    assert_told(heard, story)
    assert heard.verdict["worker"] == salon.peers[worker].key
    assert heard.verdict["validators"] == [salon.peers[heir].key]


def test_a_client_that_hangs_up_pays_for_what_was_computed(salon: Salon) -> None:
    salon.staff("one", "two")
    before = salon.settled_key()
    answered = {name: len(salon.events(name, "Answered")) for name in ("one", "two")}
    with salon.stream(STORY, 400) as stream:
        stream.read(5)
    after = salon.settled_key()
    eventually(lambda: not salon.busy(), "nobody computes")
    fresh = [
        event
        for name, known in answered.items()
        for event in salon.events(name, "Answered")[known:]
        if not event["checked"]
    ]
    computed = sum(event["tokens"] for event in fresh)
    assert 5 <= computed < 300
    prompt = 60
    assert 0 < after["spent"] - before["spent"] <= 1.5 * (computed + prompt // 16) + 2


def test_a_prompt_of_10_megabytes_is_refused(salon: Salon) -> None:
    salon.staff("one", "two")
    refused = salon.chat("ten megabytes " * 800_000)
    assert refused.status_code == 413
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert salon.chat("Say hello.").status_code == 200


def test_a_prompt_that_is_longer_than_the_context_is_refused(salon: Salon) -> None:
    salon.staff("one", "two")
    refused = salon.chat("far too long " * CONTEXT)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert salon.chat("Say hello.", CONTEXT).status_code == 400


def test_a_key_whose_budget_is_spent_gets_a_402(salon: Salon) -> None:
    salon.staff("one", "two")
    with (
        salon.client(salon.open_key("poor", 40)) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        for _ in range(5):
            client.completions.create(model=MODEL, prompt="One, two,", max_tokens=8)
    assert caught.value.status_code == 402
    assert caught.value.type == "insufficient_quota"
    key = salon.settled_key("poor")
    assert 0 < key["spent"] <= key["budget"] == 40


def test_the_tracker_keeps_nothing_of_prompts_and_answers(salon: Salon, smollm: Path) -> None:
    salon.staff("one", "two")
    secret = "zebrafinch quokka wombat 731942"
    heard = salon.ask(f"Repeat this: {secret}", 48)
    salon.settled_key()
    refused = salon.chat(f"{secret} " * CONTEXT)
    assert refused.status_code == 400
    tokenizer = Tokenizer(Vocabulary.of(read_header(smollm)))
    needles = [word.encode() for word in secret.split()] + [heard.text[:20].encode()]
    for text in (f": {secret}", heard.text):
        ids = tokenizer.encode(text)[1:7]
        needles += [struct.pack(f"{order}{len(ids)}I", *ids) for order in "<>"]
    files = [path for path in (salon.swarm.folder / "tracker").rglob("*") if path.is_file()]
    assert any(path.suffix.startswith(".db") or "sqlite" in path.name for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [needle for needle in needles if needle in content], path


def put_up(salon: Salon, smollm: Path, what: str) -> Peer:
    """Publish a model with something wrong, under its name."""
    publisher = salon.swarm.peer(f"publisher-{what}")
    salon.swarm.grant(publisher, 1)
    about = ("--engine", "ctransformers", "--name", what)
    arguments = ("model", "add", str(smollm), *about)
    salon.swarm.background(publisher, *arguments, program=HOSTILE, extra={VARIABLE: what})
    salon.await_model(what, publisher)
    return publisher


def error_of(refused: httpx.Response) -> str:
    """What a client is told."""
    return str(refused.json()["error"]["message"])


def warnings(salon: Salon, *names: str) -> str:
    """What volunteers warn of."""
    return " ".join(event["message"] for name in names for event in salon.events(name, "Warned"))


def test_a_file_whose_header_lies_is_shown_to_no_engine(salon: Salon, smollm: Path) -> None:
    salon.staff("one", "two")
    put_up(salon, smollm, "header")
    refused = salon.chat("Say hello.", model="header")
    assert refused.status_code == 503
    assert "can run the model 'header': the model's file is not sound" in error_of(refused)
    assert int(refused.headers["Retry-After"]) > 0
    told = warnings(salon, "one", "two")
    assert "the model of header is not sound" in told
    assert "the model was not loaded" not in told
    assert salon.chat("Say hello.").status_code == 200


def test_a_model_that_needs_more_memory_than_it_may_have_is_given_back(
    salon: Salon, smollm: Path
) -> None:
    salon.staff("one", "two")
    put_up(salon, smollm, "memory")
    refused = salon.chat("Say hello.", model="memory")
    assert refused.status_code == 503
    assert "the model needs more memory than it may have" in error_of(refused)
    assert "does not fit into" in warnings(salon, "one", "two")
    assert all(salon.swarm.runs(name) for name in ("one", "two"))
    assert salon.key()["reserved"] == 0
    assert salon.chat("Say hello.").status_code == 200


def test_a_model_that_runs_out_of_memory_while_it_answers_takes_nothing_along(
    salon: Salon, smollm: Path
) -> None:
    both = ("one", "two")
    salon.staff(*both)
    put_up(salon, smollm, "greedy")
    assert salon.chat("Say hello.", model="greedy").status_code == 200
    refused = salon.chat("hello " * GREEDY, model="greedy")
    assert refused.status_code == 503
    assert "can run the model 'greedy': the model needs more memory" in error_of(refused)
    for name in both:
        killed = "the model did not answer: the engine ran out of memory"
        assert warnings(salon, name).count(killed) == 1
        assert salon.swarm.runs(name)
    assert salon.key()["reserved"] == 0
    for model in (MODEL, "greedy"):
        assert salon.chat("Say hello.", model=model).status_code == 200


def test_a_cheat_is_never_heard_before_the_verdict(salon: Salon) -> None:
    prompts = [f"Tell me a story about {what}." for what in ("bees", "a cat")]
    salon.staff("one", "two")
    honest = {prompt: salon.ask(prompt, 32).text for prompt in prompts}
    salon.staff("one", "two", "thrifty")
    cheat = salon.peers["thrifty"].key
    for prompt in 6 * prompts:
        heard = salon.ask(prompt, 32, before=True)
        assert heard.text == honest[prompt]
        assert (heard.verdict["verified"], heard.verdict["same"]) == (True, True)
        assert cheat not in (heard.verdict["worker"], *heard.verdict["validators"])
        if salon.swarm.get(f"accounts/{cheat}")["wrong"]:
            break
    else:
        pytest.fail("the cheat was never caught")


def test_a_tracker_that_is_killed_keeps_its_books_and_models(salon: Salon) -> None:
    salon.staff("one", "two")
    hello = salon.ask("Say hello.", 8)
    before = salon.settled_key()
    with salon.stream(STORY, 400) as stream:
        stream.read(5)
        salon.swarm.kill("tracker")
        with pytest.raises((openai.APIError, httpx.TransportError)):
            stream.read()
    salon.start_tracker()
    assert MODEL in [each["name"] for each in salon.swarm.get("models")["models"]]
    after = salon.key()
    assert (after["budget"], after["spent"]) == (before["budget"], before["spent"])
    assert after["reserved"] == 0
    salon.staff("one", "two")
    assert_told(salon.ask("Say hello.", 8), hello)
    checked = salon.swarm.ask(salon.asker, "ledger", "verify")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert salon.swarm.get("status")["ledger"]["total"] == 0


def test_without_volunteers_there_is_a_503(salon: Salon) -> None:
    salon.swarm.kill("tracker")
    salon.start_tracker(HASTY)
    salon.staff("one")
    with salon.stream(STORY, 400) as stream:
        stream.read(5)
        salon.staff()
        with pytest.raises(openai.APIError, match="no volunteer"):
            stream.read()
    refused = salon.chat("Say hello.")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert salon.key()["reserved"] == 0
