"""Text and ids of a model, from its card alone."""

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.endpoint.tiny import CARD, DIALECT, END, START
from tracker.endpoint.dialects import Dialect, Dialects
from tracker.endpoint.parlour import Served
from tracker.endpoint.wishes import Turn


@given(st.text("<|im_endstar>x \n\u00e9", max_size=40), st.text("<|im_endstar>x \n", max_size=40))
def test_no_text_of_a_person_makes_a_mark(first: str, second: str) -> None:
    found = DIALECT.chat([Turn("system", first), Turn("user", second)])
    assert (found.count(START), found.count(END)) == (3, 2)
    decoder = DIALECT.decoder()
    text = decoder.feed(found) + decoder.end()
    assert text == f"system\n{first}\nuser\n{second}\nassistant\n"


def test_a_completion_may_name_the_marks_itself() -> None:
    assert DIALECT.plain("a<|im_end|>b") == (97, END, 98)
    assert DIALECT.plain("") == ()


def test_a_text_begins_with_the_mark_that_the_model_wants_once() -> None:
    words = replace(CARD.vocabulary, bos=START, add_bos=True)
    begun = Dialect(replace(CARD, vocabulary=words))
    assert begun.plain("a") == (START, 97)
    assert begun.plain("<|im_start|>a") == (START, 97)
    assert begun.chat([Turn("user", "a")])[:2] == (START, ord("u"))


async def test_a_dialect_is_made_once_for_each_card() -> None:
    dialects = Dialects()
    served = Served(CARD, 0, 1)
    first, again = await asyncio.gather(dialects(served), dialects(served))
    assert first is again
    other = await dialects(Served(replace(CARD, context=5), 0, 1))
    assert other is not first
    assert other.card.context == 5
