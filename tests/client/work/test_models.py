"""A whole volunteer that runs units of models, against a real WebSocket and a fake engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from client.work import notices, workshop
from client.work.volunteer import Volunteer
from sandbox.models.fake import FakeModelCell, FakeModels
from tests.client.work.models import MARGINS, ModelTracker, model_job, request_of
from tests.client.work.telling import gives_away, parts
from tests.client.work.volunteering import MemoryBlobs, World, world_of
from tests.workunits.models.ggufs import model
from workunits.ids import LeaseToken
from workunits.models.answer import REJECTED, Finish, meter
from workunits.models.requests import pack_requests
from workunits.results import Ending
from workunits.wire.models import Tokens

GGUF = model()
SLOW = 0.005
"""Seconds for a token, in tests that do something while an answer is made."""

ENDLESS = 0.05
"""Seconds for a token, where all of an answer takes longer than a model has to stop."""


@dataclass
class Place:
    """A volunteer at work."""

    world: World
    tracker: ModelTracker
    volunteer: Volunteer
    models: FakeModels
    group: asyncio.TaskGroup
    run: asyncio.Task[None]

    async def killed(self) -> None:
        """The volunteer is gone at once."""
        self.run.cancel()
        await self.tracker.until(lambda: not self.tracker.connections)
        await asyncio.wait([self.run])

    def restarted(self) -> None:
        """Another one on the same disk."""
        self.volunteer = self.world.volunteer(cpus=1)
        self.run = self.group.create_task(self.volunteer.run())

    async def settle(self, *tokens: LeaseToken) -> None:
        """Wait until results are revealed."""
        await self.tracker.until(lambda: self.tracker.revealed.keys() >= set(tokens))


@asynccontextmanager
async def place_of(
    tmp_path: Path,
    *,
    file: bytes = GGUF,
    requests: bytes = b"",
    models: FakeModels | None = None,
    no_models: str = "",
    **about: object,
) -> AsyncIterator[Place]:
    """Let a volunteer work that can fetch the model; ``about`` is for ``model_job``."""
    (tmp_path / "seed").mkdir()
    ahead = MemoryBlobs(tmp_path / "seed")
    refs = {"model": ahead.add(file), "requests": ahead.add(requests)}
    tracker = ModelTracker(model_job(**refs, **about))  # type: ignore[arg-type]
    async with world_of(tmp_path, tracker) as world:
        world.blobs.paths |= ahead.paths
        world.sandbox.models = models or FakeModels()
        world.no_models = no_models
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            volunteer = world.volunteer(cpus=1)
            run = group.create_task(volunteer.run())
            await tracker.until(lambda: bool(tracker.wants))
            place = Place(world, tracker, volunteer, world.sandbox.models, group, run)
            yield place
            place.run.cancel()
        assert not world.sandbox._served
        assert not world.left_behind()


async def told(place: Place, token: LeaseToken, count: int) -> None:
    """Wait until so many tokens were told."""
    await place.tracker.until(lambda: len(place.tracker.spoken(token)) >= count)


# -- answers --------------------------------------------------------------------------------


async def test_tokens_stream_before_the_commit_and_the_answer_has_them_all(
    tmp_path: Path,
) -> None:
    async with place_of(tmp_path, models=FakeModels(token_seconds=SLOW)) as place:
        token = await place.tracker.inquire(3, stream=True)
        await place.settle(token)
        answer, said = place.tracker.answer(token), place.tracker.said(token)
        assert place.tracker.spoken(token) == answer.tokens
        assert len(said) > 3
        assert [each.start for each in said] == sorted({each.start for each in said})
        assert [each.finish for each in said[:-1]] == [None] * (len(said) - 1)
        assert said[-1].finish is answer.finish
        assert 0 < said[-1].rate <= 1000 / SLOW
        assert place.tracker.heard.index(said[-1]) < place.tracker.heard.index(token)
        result = place.tracker.results[3]
        assert (result.ending, result.exit_status) == (Ending.EXITED, 0)
        assert result.meter == meter(request_of(3), len(answer.tokens))
        assert answer.nonce == request_of(3).nonce


async def test_what_nobody_waits_for_is_said_once_before_the_commit(tmp_path: Path) -> None:
    async with place_of(tmp_path) as place:
        token = await place.tracker.inquire(1)
        await place.settle(token)
        answer = place.tracker.answer(token)
        (said,) = place.tracker.said(token)
        assert said.ids == answer.tokens
        assert said.finish is answer.finish
        assert place.tracker.heard == [said, token]


async def test_a_batch_asks_what_its_file_of_requests_says(tmp_path: Path) -> None:
    raw = pack_requests([request_of(number) for number in (7, 8, 9)])
    async with place_of(tmp_path, asked=False, requests=raw) as place:
        place.tracker.fresh = [0, 1, 2]
        place.tracker.auto_lease = True
        await place.tracker.lease(place.tracker.connections[-1])
        await place.tracker.until(lambda: len(place.tracker.revealed) == 3)
        asked = {
            place.tracker.unit_of[token]: place.tracker.answer(token).nonce
            for token in place.tracker.revealed
        }
        assert asked == {at: request_of(number).nonce for at, number in enumerate((7, 8, 9))}
        assert place.models.loads == 1


async def test_a_unit_that_its_file_of_requests_does_not_have_fails_alike_everywhere(
    tmp_path: Path,
) -> None:
    raw = pack_requests([request_of(1)])
    async with place_of(tmp_path, asked=False, requests=raw) as place:
        token = await place.tracker.inquire(5, request=None)
        await place.settle(token)
        result = place.tracker.results[5]
        assert (result.ending, result.exit_status, result.outputs) == (Ending.EXITED, 2, ())
        assert not place.tracker.said(token)


async def test_probabilities_come_along_when_they_are_wanted(tmp_path: Path) -> None:
    async with place_of(tmp_path) as place:
        token = await place.tracker.inquire(1, stream=True, top=3)
        await place.settle(token)
        for each in place.tracker.said(token):
            assert [some[0].id for some in each.likely] == list(each.ids)
            assert {len(some) for some in each.likely} <= {3}


@pytest.mark.parametrize(
    "change", [{"prompt": (1,) * 5000}, {"prompt": (999,)}, {"most": 129}], ids=repr
)
async def test_a_request_that_cannot_be_answered_is_a_result_like_any_other(
    tmp_path: Path, change: dict[str, object]
) -> None:
    async with place_of(tmp_path) as place:
        wrong = replace(request_of(), **change)  # type: ignore[arg-type]
        token = await place.tracker.inquire(0, request=wrong, stream=True)
        await place.settle(token)
        result = place.tracker.results[0]
        assert (result.ending, result.exit_status, result.meter) == (Ending.EXITED, 2, 0)
        assert result.outputs == ()
        assert not place.tracker.said(token)
        (notice,) = place.world.heard(notices.Answered)
        assert isinstance(notice, notices.Answered)
        assert notice.failure == "exit status 2"
        again = await place.tracker.inquire(1)
        await place.settle(again)
        assert place.models.loads == 1


async def test_an_answer_over_the_output_limit_is_one_that_broke_it(tmp_path: Path) -> None:
    async with place_of(tmp_path, models=FakeModels(length=100), output_bytes=64) as place:
        token = await place.tracker.inquire(0)
        await place.settle(token)
        result = place.tracker.results[0]
        assert (result.ending, result.outputs, result.meter) == (Ending.OUTPUT, (), 0)


# -- checks ---------------------------------------------------------------------------------


async def answered(place: Place, index: int = 1) -> tuple[int, ...]:
    """The honest answer to a request; the model stays warm."""
    token = await place.tracker.inquire(index)
    await place.settle(token)
    return place.tracker.answer(token).tokens


@pytest.mark.parametrize("wrong_at", [None, 0, 4])
async def test_a_check_gives_our_own_answer_whatever_was_claimed(
    tmp_path: Path, wrong_at: int | None
) -> None:
    async with place_of(tmp_path) as place:
        own = await answered(place)
        claim = list(own)
        if wrong_at is not None:
            claim[wrong_at] ^= 1
        token = await place.tracker.inquire(1, given=tuple(claim), finish=Finish.STOP)
        await place.settle(token)
        assert place.tracker.answer(token).tokens == own
        first, second = place.tracker.revealed.values()
        assert first.result == second.result
        assert place.tracker.said(token)[-1].rate == 0
        seen = place.world.heard(notices.Answered)
        assert [each.checked for each in seen if isinstance(each, notices.Answered)] == [
            False,
            True,
        ]


async def test_an_answer_goes_on_where_another_peer_was_lost(tmp_path: Path) -> None:
    async with place_of(tmp_path) as place:
        own = await answered(place)
        token = await place.tracker.inquire(1, given=own[:5], stream=True)
        await place.settle(token)
        assert place.tracker.spoken(token) == own


async def test_under_margins_a_close_claim_is_echoed_and_a_far_one_rejected(
    tmp_path: Path,
) -> None:
    models = FakeModels(gap=0.4, length=50)
    async with place_of(tmp_path, comparator=MARGINS, models=models) as place:
        own = await answered(place)
        near = (own[0] ^ 1, *own[1:])
        for index, claim, good in ((2, near, True), (3, (own[0] ^ 1, own[1] ^ 1, *own[2:]), False)):
            # Mean gaps of 0.008 and 0.016 where 0.010 may be.
            token = await place.tracker.inquire(
                index, request=request_of(1), given=claim, finish=Finish.STOP
            )
            await place.settle(token)
            result = place.tracker.results[index]
            if good:
                assert place.tracker.answer(token).tokens == claim
                assert result.meter == meter(request_of(1), len(claim))
            else:
                assert (result.exit_status, result.outputs, result.meter) == (REJECTED, (), 0)
                assert not place.tracker.said(token)


async def test_under_margins_what_is_not_finished_is_gone_on_with(tmp_path: Path) -> None:
    async with place_of(tmp_path, comparator=MARGINS) as place:
        own = await answered(place)
        token = await place.tracker.inquire(1, given=own[:5])
        await place.settle(token)
        assert place.tracker.answer(token).tokens == own


# -- halts and revocations ------------------------------------------------------------------


async def test_a_halt_ends_the_answer_where_it_says(tmp_path: Path) -> None:
    models = FakeModels(token_seconds=SLOW, length=100)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1, stream=True)
        await told(place, token, 2)
        await place.tracker.halt(token, 60)
        await place.settle(token)
        answer = place.tracker.answer(token)
        assert (len(answer.tokens), answer.finish) == (60, Finish.HALTED)
        before = await place.tracker.inquire(1, halt=7)
        await place.settle(before)
        assert place.tracker.answer(before).tokens == answer.tokens[:7]


async def test_a_halt_that_comes_with_the_lease_is_not_lost(tmp_path: Path) -> None:
    models = FakeModels(token_seconds=SLOW, length=100)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1)
        await place.tracker.halt(token, 9)
        await place.settle(token)
        answer = place.tracker.answer(token)
        assert (len(answer.tokens), answer.finish) == (9, Finish.HALTED)


async def test_a_revoked_answer_ends_and_its_model_stays_warm(tmp_path: Path) -> None:
    models = FakeModels(token_seconds=ENDLESS, length=1000)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1, stream=True)
        await told(place, token, 2)
        await place.tracker.revoke(token)
        after = await place.tracker.inquire(2, request=request_of(2, most=3))
        await place.settle(after)
        assert models.loads == 1
        assert token not in place.tracker.commits_seen
        assert token not in place.tracker.revealed
        assert not any(each.finish for each in place.tracker.said(token))


async def test_a_model_that_does_not_stop_is_killed_and_loaded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeModelCell, "halt", lambda *_: None)
    monkeypatch.setattr(workshop, "STOP_PATIENCE", 0.01)
    models = FakeModels(token_seconds=5.0, length=100)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1)
        await place.world.until_said(notices.Started)
        await place.tracker.revoke(token)
        models.token_seconds = 0.0
        after = await place.tracker.inquire(2)
        await place.settle(after)
        assert models.loads == 2


# -- what goes wrong ------------------------------------------------------------------------


async def test_an_engine_that_dies_gives_the_unit_back_and_starts_again(tmp_path: Path) -> None:
    models = FakeModels()
    models.crashes.append(4)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1, stream=True)
        await place.tracker.until(lambda: bool(place.tracker.released))
        assert place.tracker.released == [(token, "engine")]
        assert not any(each.finish for each in place.tracker.said(token))
        assert len(await answered(place)) > 4


@pytest.mark.parametrize("file", [b"", b"GGUF", GGUF[: len(GGUF) // 2], b"MZ" + GGUF[2:]])
async def test_a_file_that_is_no_sound_model_meets_no_engine(tmp_path: Path, file: bytes) -> None:
    async with place_of(tmp_path, file=file) as place:
        token = await place.tracker.inquire(1)
        await place.tracker.until(lambda: bool(place.tracker.released))
        assert place.tracker.released == [(token, "model")]
        assert place.models.loads == 0
        warned = place.world.heard(notices.Warned)
        assert any("not sound" in str(each) for each in warned)


async def test_a_model_that_finds_no_memory_for_one_answer_gives_others(tmp_path: Path) -> None:
    models = FakeModels(room=20)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1, request=request_of(1, prompt=30))
        await place.tracker.until(lambda: bool(place.tracker.released))
        assert place.tracker.released == [(token, "memory")]
        assert len(await answered(place)) > 4


async def test_a_model_that_finds_no_memory_at_all_is_given_back(tmp_path: Path) -> None:
    async with place_of(tmp_path, models=FakeModels(room=0)) as place:
        tokens = [await place.tracker.inquire(number) for number in (1, 2)]
        await place.tracker.until(lambda: len(place.tracker.released) == 2)
        assert sorted(place.tracker.released) == [(token, "memory") for token in tokens]
        assert any("cannot be loaded" in str(each) for each in place.world.heard(notices.Warned))


async def test_an_engine_whose_image_is_missing_gives_the_units_back(tmp_path: Path) -> None:
    async with place_of(tmp_path) as place:
        place.world.sandbox.available = frozenset()
        token = await place.tracker.inquire(1)
        await place.tracker.until(lambda: bool(place.tracker.released))
        assert place.tracker.released == [(token, "image")]


@pytest.mark.parametrize("reason", ["models", "platform"])
async def test_who_runs_no_models_says_so_and_gives_them_back(tmp_path: Path, reason: str) -> None:
    async with place_of(tmp_path, no_models=reason) as place:
        assert not place.tracker.connections[-1].hello.offerings.models
        token = await place.tracker.inquire(1)
        await place.tracker.until(lambda: bool(place.tracker.released))
        assert place.tracker.released == [(token, reason)]
        assert not place.world.heard(notices.Fetching)


# -- breaks ---------------------------------------------------------------------------------


async def test_a_stream_is_told_anew_after_a_break_and_goes_on(tmp_path: Path) -> None:
    models = FakeModels(token_seconds=SLOW, length=120)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1, stream=True)
        await told(place, token, 10)
        await place.tracker.stop()
        place.tracker.heard.clear()  # it forgot what it had heard
        await place.tracker.start()
        await place.settle(token)
        assert place.tracker.spoken(token) == place.tracker.answer(token).tokens
        assert place.tracker.said(token)[0].start == 0
        assert models.answered == 1


async def test_what_was_said_comes_before_the_commit_that_is_made_again(tmp_path: Path) -> None:
    async with place_of(tmp_path) as place:
        place.tracker.acks = 0
        token = await place.tracker.inquire(1)
        await place.tracker.until(lambda: token in place.tracker.commits_seen)
        first = list(place.tracker.heard)
        await place.tracker.stop()
        place.tracker.heard.clear()
        place.tracker.acks = 1
        await place.tracker.start()
        await place.settle(token)
        assert place.tracker.heard[:2] == first
        assert isinstance(first[0], Tokens)
        assert first[1] == token


async def test_an_answer_that_the_tracker_forgot_meanwhile_is_stopped(tmp_path: Path) -> None:
    models = FakeModels(token_seconds=ENDLESS, length=1000)
    async with place_of(tmp_path, models=models) as place:
        token = await place.tracker.inquire(1, stream=True)
        await told(place, token, 2)
        await place.tracker.stop()
        place.tracker.heard.clear()
        place.tracker.held.clear()
        await place.tracker.start()
        await place.world.until_said(notices.TakenBack)
        after = await place.tracker.inquire(2, request=request_of(2, most=3))
        await place.settle(after)
        assert not place.tracker.said(token)
        assert models.loads == 1


async def test_a_volunteer_that_was_killed_says_again_what_it_had_committed_to(
    tmp_path: Path,
) -> None:
    async with place_of(tmp_path) as place:
        tracker = place.tracker
        tracker.auto_reveal, tracker.acks = False, 0
        token = await tracker.inquire(1)
        await tracker.until(lambda: token in tracker.commits_seen)
        (said, _) = tracker.heard
        await place.killed()
        tracker.heard.clear()
        place.restarted()
        await tracker.until(lambda: token in tracker.heard)
        assert isinstance(said, Tokens)
        assert tracker.heard == [replace(said, rate=0), token]


# -- what is told to people -----------------------------------------------------------------


async def test_people_are_told_how_many_tokens_and_how_fast_but_never_which(
    tmp_path: Path,
) -> None:
    models = FakeModels(
        vocabulary=1 << 20, token_seconds=0.001, oracle=lambda _, request, at: request.seed + at
    )
    async with place_of(tmp_path, models=models) as place:
        secret = replace(request_of(most=20), prompt=(700_231, 700_232), seed=987_654)
        token = await place.tracker.inquire(0, request=secret, stream=True)
        await place.settle(token)
        answer = place.tracker.answer(token).tokens
        assert answer == tuple(range(secret.seed, secret.seed + 20))
        (notice,) = place.world.heard(notices.Answered)
        assert isinstance(notice, notices.Answered)
        assert (notice.tokens, notice.checked, notice.failure) == (20, False, "")
        assert notice.rate > 10
        (seen,) = place.world.heard(notices.JobSeen)
        assert isinstance(seen, notices.JobSeen)
        assert (seen.model, seen.asked) == ("llama.cpp", True)
        secrets = {*secret.prompt, secret.seed, *answer}
        keys = {place.tracker.identity.key, place.tracker.job.id}  # any digits may be in these
        said = [each for each in parts(place.world.said) if each not in keys]
        assert not [each for each in said if gives_away(each, secrets)]


async def test_a_lease_that_is_over_leaves_nothing_of_its_answer(tmp_path: Path) -> None:
    async with place_of(tmp_path) as place:
        await answered(place)
        await place.world.until_said(notices.Revealed)
        assert len(place.volunteer._speeches) == 0
        assert len(place.volunteer._scheduler._book.asks) == 0
