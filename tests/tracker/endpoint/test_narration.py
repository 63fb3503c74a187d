"""From tokens to text: letters are whole, stops are found at their token, nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.endpoint.tiny import DIALECT, END, START, ids
from tracker.endpoint.narration import Narrator, text_of
from tracker.endpoint.parlour import Heard
from workunits.wire.models import Likely

answers = st.lists(st.integers(0, 258), max_size=40).map(tuple)


@given(answers, st.lists(st.integers(0, 40), max_size=6), st.sampled_from([(), ("a",), ("aé",)]))
def test_the_text_is_the_same_however_tokens_come(
    tokens: tuple[int, ...], cuts: list[int], stops: tuple[str, ...]
) -> None:
    whole = text_of(DIALECT, stops, tokens)
    narrator = Narrator(DIALECT, stops)
    places = sorted(cut % (len(tokens) + 1) for cut in cuts)
    shown = ""
    for low, high in zip([0, *places], [*places, len(tokens)], strict=True):
        shown += narrator.hear(Heard(tokens[low:high])).text
    shown += narrator.end().text
    assert shown == narrator.text == whole.text
    assert narrator.needed == whole.needed
    assert narrator.stop == whole.stop


@given(st.text(max_size=30), st.text(max_size=5))
def test_text_comes_back_without_the_end_of_text(text: str, more: str) -> None:
    assert text_of(DIALECT, (), ids(text)).text == text
    assert text_of(DIALECT, (), (*ids(text), START, *ids(more))).text == text + more


def test_half_a_letter_is_held_back_until_it_is_whole() -> None:
    first, second = "é".encode()
    narrator = Narrator(DIALECT)
    assert not narrator.hear(Heard((first,)))
    assert narrator.hear(Heard((second,))).text == "é"
    narrator.hear(Heard((first,)))
    assert narrator.end().text == "\ufffd"


def test_a_stop_needs_the_tokens_up_to_its_last_letter() -> None:
    narrator = Narrator(DIALECT, ("stop",))
    narrator.hear(Heard(ids("please stop now", end=False)))
    assert narrator.needed == len("please stop")
    assert narrator.text == "please "


def test_probabilities_go_with_the_text_that_they_are_of() -> None:
    narrator = Narrator(DIALECT, ("stop",))
    shown = []
    for token in ids("a st. stop!"):
        piece = narrator.hear(Heard((token,), ((Likely(token, -0.5),),)))
        shown += [each.likely[0].id for each in piece.weighed]
        assert len(shown) <= len(narrator.text)
    shown += [each.likely[0].id for each in narrator.end().weighed]
    assert bytes(shown).decode() == narrator.text == "a st. "
    assert [each.start for each in narrator.weighed] == [0, 1, 2, 3, 4, 5]


def test_an_end_of_text_has_no_text_and_no_probability() -> None:
    narrator = Narrator(DIALECT)
    piece = narrator.hear(Heard((97, END), ((Likely(97, -1),), (Likely(END, -1),))))
    assert (piece.text, len(piece.weighed)) == ("a", 1)
    assert narrator.tokens == [97, END]
