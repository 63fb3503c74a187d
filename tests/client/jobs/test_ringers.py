"""Known answers from a folder: what is read, what is refused, what is doubted."""

from io import BytesIO
from pathlib import Path

import pytest

from client.jobs.jobfile import Draft, load
from client.jobs.ringers import doubts
from client.jobs.table import JobFileError
from workunits.ids import BlobRef
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.signing import Identity
from workunits.submission import Submission

AUTHOR = Identity.from_seed(b"a" * 32)
JOB = """\
name = "small"
outputs = ["b.csv", "a.json"]
[program]
image = "sha256:abababababababababababababababababababababababababababababababab"
command = ["run", "{x}"]
[parameters]
x = { range = [0, 20] }
[limits]
output = 10
[verification]
ringers = "known"
"""
LINE = 11


@pytest.fixture
def known(tmp_path: Path) -> Path:
    for index in (10, 9, 0):
        unit = tmp_path / "known" / str(index)
        unit.mkdir(parents=True)
        (unit / "a.json").write_text(f"{index}")
        (unit / "b.csv").write_text("b")
    return tmp_path / "known"


def read(known: Path, text: str = JOB) -> Draft:
    (known.parent / "JOB.toml").write_text(text)
    return load(known.parent, lambda: "")


def mistakes(known: Path, text: str = JOB) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        read(known, text)
    assert {mistake.line for mistake in caught.value.mistakes} == {LINE}
    return [mistake.message for mistake in caught.value.mistakes]


def ref_of(content: bytes) -> BlobRef:
    return hash_stream(BytesIO(content), len(content)).info.ref


def test_an_answer_is_the_digest_of_the_result_that_a_peer_would_reveal(known: Path) -> None:
    draft = read(known)
    assert [index for index, _ in draft.answers] == [0, 9, 10]
    outputs = (NamedBlob("a.json", ref_of(b"9")), NamedBlob("b.csv", ref_of(b"b")))
    assert draft.answers[1] == (9, Result(Ending.EXITED, 0, outputs).digest)


def test_known_answers_are_not_among_the_files_that_are_shared(known: Path) -> None:
    assert not read(known).files


def test_a_submission_names_the_known_answers_by_hash_and_carries_them(known: Path) -> None:
    draft = read(known)
    sent = draft.submission(AUTHOR, b"n" * 16, b"s" * 32)
    assert Submission.parse(sent.encode()) == sent
    assert sent.ringers is not None
    assert sent.ringers.answers == draft.answers
    assert sent.signed.manifest.demands.ringers == sent.ringers.hash
    other = draft.submission(AUTHOR, b"n" * 16, b"t" * 32)
    assert other.signed.manifest.demands.ringers != sent.ringers.hash


def test_a_folder_of_results_may_be_used_as_it_is(known: Path) -> None:
    (known / "results.jsonl").write_text("{}\n")
    (known / "manifest.job").write_text("")
    (known / "0" / ".a.json.part").write_text("")
    assert len(read(known).answers) == 3


@pytest.mark.parametrize("name", ["x", "01", "-1", "1.5", "+1", "\u0663", "1" * 10])
def test_a_folder_that_is_no_index_is_named(known: Path, name: str) -> None:
    (known / name).mkdir()
    assert mistakes(known) == [f"{known / name} is not the folder of a unit"]


def test_all_wrong_answers_are_named_at_once(known: Path) -> None:
    (known / "20").mkdir()
    (known / "3").write_text("a file")
    (known / "0" / "b.csv").unlink()
    (known / "9" / "c.csv").write_text("")
    (known / "10" / "a.json").write_text("0123456789")
    assert mistakes(known) == [
        f"{known / '20'} is beyond the job's 20 units",
        f"{known / '3'} is not the folder of a unit",
        f"{known / '0'} lacks b.csv",
        f"{known / '9' / 'c.csv'} is not an output of the job",
        f"{known / '10'} holds 11 B, more than limits.output of 10 B",
    ]


def test_an_output_that_is_no_file_is_refused(known: Path) -> None:
    (known / "0" / "b.csv").unlink()
    (known / "0" / "b.csv").mkdir()
    (message,) = mistakes(known)
    assert "b.csv is not a regular file" in message


@pytest.mark.parametrize("name", ["nothing", "JOB.toml", "a\\u0000b"])
def test_a_folder_that_is_not_there_is_a_mistake(known: Path, name: str) -> None:
    (message,) = mistakes(known, JOB.replace('"known"', f'"{name}"'))
    assert "cannot read" in message


def test_an_empty_folder_is_a_mistake(known: Path) -> None:
    (known / "empty").mkdir()
    (message,) = mistakes(known, JOB.replace('"known"', '"known/empty"'))
    assert message.endswith("holds no known answers")


@pytest.mark.parametrize(
    ("answers", "units", "words"),
    [
        (0, 5, []),
        (10, 20, []),
        (9, 100, ["only 9 known answers"]),
        (1, 100, ["only 1 known answer:"]),
        (11, 20, ["more than half"]),
        (3, 4, ["only 3", "more than half"]),
    ],
)
def test_too_few_and_too_many_answers_are_doubted(
    answers: int, units: int, words: list[str]
) -> None:
    found = doubts(answers, units)
    assert len(found) == len(words)
    assert all(word in doubt for word, doubt in zip(words, found, strict=True))
