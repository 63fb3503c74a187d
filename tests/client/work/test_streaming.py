"""When tokens of an answer are told."""

import asyncio

import pytest

from client.work import streaming
from client.work.speech import Speeches
from client.work.streaming import Streams
from sandbox.models.runtime import Spoken
from workunits.ids import LeaseToken
from workunits.wire.models import Tokens

ONE, TWO = LeaseToken(1), LeaseToken(2)


class Ear:
    """Hears what is said."""

    def __init__(self) -> None:
        self.heard: list[Tokens] = []
        self.news = asyncio.Event()
        self.speeches = Speeches(self.hear)
        self.streams = Streams(self.speeches)

    def hear(self, tokens: Tokens) -> None:
        self.heard.append(tokens)
        self.news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()


async def test_the_first_tokens_are_told_in_the_same_turn_together() -> None:
    ear = Ear()
    ear.speeches.begin(ONE, stream=True)
    ear.streams.hear(ONE, Spoken(0, (1,)))
    ear.streams.hear(ONE, Spoken(1, (2, 3)))
    assert not ear.heard
    await asyncio.sleep(0)
    assert [each.ids for each in ear.heard] == [(1, 2, 3)]


async def test_later_ones_are_gathered_and_other_answers_do_not_wait_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "PAUSE", 0.2)
    ear = Ear()
    for token in (ONE, TWO):
        ear.speeches.begin(token, stream=True)
    ear.streams.hear(ONE, Spoken(0, (1,)))
    await asyncio.sleep(0)
    for place in (1, 2, 3):
        ear.streams.hear(ONE, Spoken(place, (place + 1,)))
        await asyncio.sleep(0)
    ear.streams.hear(TWO, Spoken(0, (9,)))
    await ear.until(3)
    assert [(each.token, each.ids) for each in ear.heard] == [
        (ONE, (1,)),
        (TWO, (9,)),
        (ONE, (2, 3, 4)),
    ]


async def test_nothing_is_told_from_here_after_the_end() -> None:
    ear = Ear()
    ear.speeches.begin(ONE, stream=True)
    ear.streams.hear(ONE, Spoken(0, (1,)))
    ear.streams.close(ONE)
    ear.streams.close(ONE)
    await asyncio.sleep(0)
    assert not ear.heard


async def test_what_is_not_wanted_as_it_comes_is_only_kept() -> None:
    ear = Ear()
    ear.speeches.begin(ONE, stream=False)
    ear.streams.hear(ONE, Spoken(0, (1,)))
    await asyncio.sleep(0)
    assert not ear.heard
