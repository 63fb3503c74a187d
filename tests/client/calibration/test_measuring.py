"""A calibration of the fake model finds what the fake does."""

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.calibration.claims import LIES
from client.calibration.measuring import Bench, Build, Series, Study, requests_of
from client.calibration.variants import VARIANTS
from sandbox.fake import FakeSandbox, scripted
from validators.calibration import HONEST

TOKENS = 6


@dataclass(slots=True)
class Laboratory:
    """The fake, a model, and another model of which the fake answers otherwise."""

    fake: FakeSandbox
    model: Path
    other: Path
    said: list[tuple[str, int]]
    steps: int = 0

    def study(self, cells: int = 1, builds: int = 1) -> Study:
        image = next(iter(self.fake.available))
        prompts = [(5, 6, 7 + at) for at in range(8)]
        return Study(
            Bench(self.fake, 64, 1 << 30, cells),
            [Build(f"build {at}", image) for at in range(builds)],
            self.model,
            requests_of(prompts, TOKENS, 0),
            self.fake.models.vocabulary,
            self.fake.models.ends,
            self.say,
        )

    def say(self, what: str, count: int) -> Callable[[], None]:
        self.said.append((what, count))

        def step() -> None:
            self.steps += 1

        return step


@pytest.fixture
async def laboratory(tmp_path: Path) -> AsyncIterator[Laboratory]:
    fake = FakeSandbox(scripted(()))
    fake.models.length = 100
    for name in ("model", "other"):
        (tmp_path / name).write_text(name)
    yield Laboratory(fake, tmp_path / "model", tmp_path / "other", [])
    await fake.close()


def series(study: Study, name: str) -> Series:
    (found,) = [each for each in study.findings.series if each.claims == name]
    return found


@pytest.mark.parametrize("cells", [1, 3])
async def test_honest_answers_are_confirmed_and_have_no_gaps(
    laboratory: Laboratory, cells: int
) -> None:
    study = laboratory.study(cells)
    findings = await study.run((), ())
    assert (findings.confirmed, findings.disagreed) == (8, 0)
    honest = series(study, HONEST)
    assert honest.exact == honest.same == honest.count == 8
    assert set(honest.mosts) == {0.0}


async def test_every_lie_has_a_gap(laboratory: Laboratory) -> None:
    study = laboratory.study()
    await study.run(tuple(LIES), ())
    for name in LIES:
        found = series(study, name)
        assert found.count == 8
        assert found.exact == found.same == 0, name
    assert set(series(study, "cut off").mosts) == {math.inf}
    assert set(series(study, "one token edited").mosts) == {laboratory.fake.models.gap}


async def test_a_substitute_is_compared_token_by_token_where_checks_are_exact(
    laboratory: Laboratory,
) -> None:
    study = laboratory.study()
    variant = VARIANTS["Q2_K"]
    await study.run((), [(variant, laboratory.other)])
    found = series(study, "Q2_K")
    assert (found.count, found.same, found.exact) == (8, 0, 0)
    same = laboratory.study()
    await same.run((), [(variant, laboratory.model)])
    assert series(same, "Q2_K").exact == 8


async def test_answers_of_a_substitute_are_measured_where_builds_differ(
    laboratory: Laboratory,
) -> None:
    study = laboratory.study(builds=2)
    await study.run((), [(VARIANTS["Q2_K"], laboratory.other)])
    found = series(study, "Q2_K")
    assert found.same == 0
    assert min(found.mosts) > 0
    assert [each.maker for each in study.findings.series if each.claims == HONEST] == [
        "build 0",
        "build 1",
    ]


async def test_costs_are_those_of_answers_of_full_length(laboratory: Laboratory) -> None:
    laboratory.fake.models.token_seconds = 1e-3
    laboratory.fake.models.check_share = 0.25
    study = laboratory.study()
    findings = await study.run((), (), lengths=(10, 1000), times=2)
    assert [round(each.prompt) for each in findings.costs] == [3, 10]
    for each in findings.costs:
        assert each.answers == 2
        assert each.share == pytest.approx(0.25)


async def test_every_step_is_told(laboratory: Laboratory) -> None:
    await laboratory.study().run(tuple(LIES), (), lengths=(10,), times=2)
    assert laboratory.steps == sum(count for _, count in laboratory.said)


async def test_cells_are_closed_when_one_fails(laboratory: Laboratory) -> None:
    laboratory.fake.models.crashes.extend([None, 2])
    with pytest.raises(ExceptionGroup):
        await laboratory.study().run((), ())
    assert not laboratory.fake._cells
