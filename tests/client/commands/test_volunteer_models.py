"""What a volunteer's terminal shows of models, and who runs none."""

import json
from pathlib import Path

import pytest

from client import processor
from client.commands.invocation import Invocation
from client.commands.volunteer import Offer, Screen, _no_models
from client.config import Config
from client.work import notices
from client.work.volunteer import Status
from workunits.ids import JobId, UnitId

JOB = JobId(b"j" * 32)
UNIT = UnitId(JOB, 3)
SEEN = notices.JobSeen(JOB, "smollm2", 1000, "llama.cpp", asked=True)
ANSWERED = notices.Answered(UNIT, 1.35, 128, 96.4, checked=False, failure="")


class Line:
    """In place of the living line of a terminal."""

    shown = ""

    def update(self, text: str) -> None:
        self.shown = text


def screen_of(tmp_path: Path, *, json: bool = False) -> Screen:
    config = Config.make(home=tmp_path, tracker=None, environment={"HOME": str(tmp_path)})
    return Screen(Invocation(config, json=json), Offer(1, 1 << 30, 1 << 30, validator=False))


def test_a_model_and_how_fast_it_answers_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = screen_of(tmp_path)
    screen.notice(SEEN)
    assert "smollm2, the model runs on llama.cpp" in capsys.readouterr().err
    line = screen._status = Line()
    screen.notice(ANSWERED)
    screen.update(Status(online=True, running=0, held=0, committed=0, done=1))
    assert line.shown.endswith("answered smollm2: 128 tokens in 1.4 s, 96 tok/s")
    screen.notice(notices.Answered(UNIT, 0.5, 128, 0.0, checked=True, failure=""))
    screen.update(Status(online=True, running=0, held=0, committed=0, done=1))
    assert line.shown.endswith("checked smollm2: 128 tokens in 0.5 s")


def test_an_answer_that_failed_has_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = screen_of(tmp_path)
    screen.notice(SEEN)
    screen.notice(notices.Answered(UNIT, 0.1, 0, 0.0, checked=False, failure="exit status 2"))
    assert "unit smollm2/3: exit status 2" in capsys.readouterr().err


def test_machines_read_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen_of(tmp_path, json=True).notice(ANSWERED)
    said = json.loads(capsys.readouterr().out)
    assert said["event"] == "Answered"
    assert (said["tokens"], said["rate"], said["checked"]) == (128, 96.4, False)


@pytest.mark.parametrize(
    ("wanted", "avx2", "reason"),
    [
        (True, True, ""),
        (True, False, "platform"),
        (False, True, "models"),
        (False, False, "models"),
    ],
)
def test_who_refuses_models_or_has_no_avx2_runs_none(
    monkeypatch: pytest.MonkeyPatch, wanted: bool, avx2: bool, reason: str
) -> None:
    monkeypatch.setattr(processor, "has_avx2", lambda: avx2)
    assert _no_models(Offer(1, 1, 1, validator=False, models=wanted)) == reason
