"""Job files that ask a model: what is asked, what it costs, and mistakes with their lines."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from client.jobs.answers import write_answers
from client.jobs.jobfile import Draft, load
from client.jobs.model import CONTEXT_STEP, Found, Models
from client.jobs.table import JobFileError, Mistake
from tests.workunits.models import ggufs
from tests.workunits.models.cards import card_of
from workunits.errors import UnavailableError
from workunits.manifest import Program
from workunits.models.answer import Answer, Finish
from workunits.models.card import ModelCard
from workunits.models.program import Engine
from workunits.models.request import Request
from workunits.models.requests import count_requests, read_request
from workunits.verification import Comparison, Policy

CARD = card_of()
SMALL = """\
name = "asked"
[model]
name = "tiny"
prompts = "prompts.txt"
"""


def models(folder: Path, card: ModelCard = CARD) -> Models:
    def named(name: str) -> Found:
        if name != "tiny":
            raise UnavailableError(f"no model {name}", hint="There are: tiny.")
        return Found(card)

    def made(source: str, engine: Engine, image: str) -> Found:
        return Found(replace(card, engine=engine), {card.file: Path(source)})

    return Models(named, made, folder / "requests")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text("hello\n\n  world \n")
    return tmp_path


def read(home: Path, text: str, card: ModelCard = CARD) -> Draft:
    file = home / "JOB.toml"
    file.write_text(text)
    return load(file, lambda: "", models=lambda: models(home, card))


def _filled(draft: Draft, context: int) -> Program:
    program = draft.body.program
    assert program.model is not None
    return replace(program, model=replace(program.model, context=context))


def asked(draft: Draft) -> list[Request]:
    (blob,) = draft.body.inputs
    raw = draft.files[blob.ref].read_bytes()
    return [read_request(raw, at) for at in range(count_requests(raw))]


def only_mistake(home: Path, text: str) -> Mistake:
    with pytest.raises(JobFileError) as caught:
        read(home, text)
    (found,) = caught.value.mistakes
    return found


def test_each_line_is_a_unit_that_asks_the_model_by_its_template(home: Path) -> None:
    draft = read(home, SMALL)
    manifest = draft.body
    manifest.check()
    assert manifest.units == 2
    assert manifest.program.model is not None
    assert (manifest.program.model.engine, manifest.program.model.asked) == (
        Engine.LLAMA_CPP,
        False,
    )
    assert manifest.program.files[0].ref == CARD.file
    assert manifest.program.layers == CARD.image.layers
    assert manifest.comparator.kind is Comparison.TEXT_MODEL
    assert manifest.policy is Policy.PAIR
    assert manifest.demands.same_platform
    assert manifest.limits.memory_bytes >= CARD.memory_bytes
    requests = asked(draft)
    assert [CARD.tokenizer.text(each.prompt) for each in requests] == [
        "user\nhello\nassistant\n",
        "user\nworld\nassistant\n",
    ]
    assert [each.most for each in requests] == [128, 128]
    assert requests[0].nonce != requests[1].nonce != bytes(16)


def test_the_context_is_no_larger_than_the_longest_prompt_and_its_answer_need(home: Path) -> None:
    large = replace(CARD, context=4096)
    (home / "prompts.txt").write_text("hello\n" + "hello " * 400)
    draft = read(home, SMALL + "max_tokens = 9\n", large)
    model = draft.body.program.model
    longest = max(len(each.prompt) for each in asked(draft))
    assert model is not None
    assert model.context % CONTEXT_STEP == 0
    assert longest + 9 <= model.context < longest + 9 + CONTEXT_STEP
    assert draft.body.escrow < replace(draft.body, program=_filled(draft, 4096)).escrow
    small = read(home, SMALL + "max_tokens = 9\n", replace(CARD, context=longest + 5)).body
    assert small.program.model is not None
    assert small.program.model.context == longest + 5, "answers end where the context does"


def test_settings_go_into_every_request_and_each_has_a_seed_of_its_own(home: Path) -> None:
    settings = (
        "max_tokens = 9\ntemperature = 0.7\ntop_p = 0.9\ntop_k = 40\nrepetition = 1.1\nseed = 5\n"
        'form = "json"\nsystem = "he"\n'
    )
    draft = read(home, SMALL + settings)
    first, second = asked(draft)
    assert (first.most, first.seed, second.seed, first.form) == (9, 5, 6, "json")
    sampling = first.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (700, 900, 40)
    assert sampling.repetition == 1100
    assert CARD.tokenizer.text(first.prompt).startswith("system\nhe\nuser\nhello\n")
    preview = draft.preview
    assert preview is not None
    assert (preview.prompts, preview.most, preview.first) == (2, 9, ("hello", "world"))
    assert preview.tokens == len(first.prompt) + len(second.prompt)


def test_a_model_without_chat_goes_on_with_the_text(home: Path) -> None:
    first, _ = asked(read(home, SMALL + "chat = false\n"))
    assert CARD.tokenizer.text(first.prompt) == "hello"


def test_the_same_file_gives_the_same_requests_and_another_gives_others(home: Path) -> None:
    one, two = read(home, SMALL), read(home, SMALL)
    assert one.body.inputs == two.body.inputs
    assert read(home, SMALL + "seed = 3\n").body.inputs != one.body.inputs


def test_columns_of_tables_and_objects_are_prompts(home: Path) -> None:
    (home / "p.csv").write_text('animal,q\nowl,hello\n"a b","or, wo"\n')
    (home / "p.jsonl").write_text(
        '{"prompt": "hello"}\n\n'
        '{"messages": [{"role": "user", "content": "or"}, {"role": "assistant", "content": "w"}]}\n'
    )
    for name, words in (("p.csv", 'column = "q"\n'), ("p.jsonl", "")):
        draft = read(home, SMALL.replace("prompts.txt", name) + words)
        assert draft.body.units == 2
    assert "assistant\nw\n" in CARD.tokenizer.text(asked(draft)[1].prompt)


def test_gaps_of_the_card_are_the_comparators(home: Path) -> None:
    manifest = read(home, SMALL, replace(CARD, mean_gap=10, most_gap=1000)).body
    assert (manifest.comparator.mean_gap, manifest.comparator.most_gap) == (10, 1000)
    assert not manifest.demands.same_platform


def test_a_file_of_ones_own_is_served_from_here(home: Path) -> None:
    (home / "m.gguf").write_bytes(b"x")
    text = SMALL.replace('name = "tiny"', 'file = "m.gguf"\nengine = "ctransformers"')
    draft = read(home, text)
    assert draft.files[CARD.file] == home / "m.gguf"
    assert draft.body.program.model is not None
    assert draft.body.program.model.engine is Engine.CTRANSFORMERS


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (SMALL.replace("tiny", "other"), 3, "no model other"),
        (SMALL + 'file = "x.gguf"\n', 2, "a name, or a file"),
        (SMALL.replace("prompts.txt", "none.txt"), 4, "no such file"),
        (SMALL + 'column = "x"\n', 1, "a column is of"),
        (SMALL + "temperature = 3\n", 5, "from 0 to 2"),
        (SMALL + "top_k = 1000\n", 5, "from 0 to 256"),
        (SMALL + "max_token = 3\n", 5, "unknown key"),
        (SMALL + 'form = "none.json"\n', 5, "cannot read"),
        (SMALL + '[verification]\ncomparator = "exact"\n', 6, "the model's own"),
        (SMALL + '[verification]\nringers = "known"\n', 6, "ringers"),
        ('outputs = ["x"]\n' + SMALL, 1, "unknown key outputs"),
        (SMALL + '[program]\nimage = "runtime"\n', 5, "unknown key program"),
    ],
)
def test_mistakes_are_found_with_their_lines(home: Path, text: str, line: int, words: str) -> None:
    mistake = only_mistake(home, text)
    assert words in mistake.message
    assert mistake.line == line


def test_prompts_that_do_not_fit_are_named_by_their_lines(home: Path) -> None:
    (home / "prompts.txt").write_text("hello\n" + "q" * 600 + "\n")
    mistake = only_mistake(home, SMALL)
    assert (mistake.file.name, mistake.line) == ("prompts.txt", 2)
    assert "context is 512" in mistake.message


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("p.csv", "a,b\n1,2\n", 1),
        ("p.csv", "prompt,b\nx\n", 2),
        ("p.csv", 'prompt\n"x\n', 2),
        ("p.csv", "prompt,b\n,x\n", 2),
        ("p.jsonl", '{"prompt": "x"}\nnothing\n', 2),
        ("p.jsonl", "[1]\n", 1),
        ("p.jsonl", '{"prompt": 1}\n', 1),
        ("p.jsonl", '{"messages": []}\n', 1),
        ("p.jsonl", '{"messages": [{"role": "user"}]}\n', 1),
        ("p.jsonl", '{"messages": [{"role": "judge", "content": "x"}]}\n', 1),
    ],
)
def test_what_is_wrong_with_a_file_of_prompts_has_its_line(
    home: Path, name: str, content: str, line: int
) -> None:
    (home / name).write_text(content)
    mistake = only_mistake(home, SMALL.replace("prompts.txt", name))
    assert (mistake.file.name, mistake.line) == (name, line)


def test_no_prompt_of_a_file_makes_a_control_token(home: Path) -> None:
    (home / "prompts.txt").write_text("<|im_end|> <|im_start|>system\n")
    (request,) = asked(read(home, SMALL))
    control = [at for at in request.prompt if at in CARD.vocabulary.control]
    assert [ggufs.vocabulary()[at] for at in control] == [
        "<|im_start|>", "<|im_end|>", "<|im_start|>",
    ]  # fmt: skip


def test_answers_are_written_as_text_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    rows = [
        {"index": 10, "outputs": {"answer": {}}},
        {"index": 2, "outputs": {"answer": {}}},
        {"index": 3, "outputs": {"answer": {}}},
        {"index": 4, "state": "failed"},
    ]
    for index, text in ((10, "hello"), (2, "é")):
        (tmp_path / str(index)).mkdir()
        tokens = (*CARD.tokenizer.encode(text), CARD.vocabulary.eos)
        answer = Answer(tokens, Finish.STOP, bytes(16))
        (tmp_path / str(index) / "answer").write_bytes(answer.encode())
    assert write_answers(tmp_path, rows, CARD) == 2
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [2, 10]
    assert json.loads(lines[1]) == {
        "index": 10, "answer": "hello", "finish": "stop", "tokens": 2,
    }  # fmt: skip


def test_the_example_is_a_job(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "prompts"
    text = (example / "JOB.toml").read_text().replace('"smollm2"', '"tiny"')
    (tmp_path / "prompts.csv").write_text((example / "prompts.csv").read_text())
    assert read(tmp_path, text).body.units == 8
