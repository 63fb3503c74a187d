"""Stop sequences: nothing of one is ever shown, and nothing before it is lost."""

from hypothesis import given
from hypothesis import strategies as st

from tracker.endpoint.stops import Stops

letters = st.text("ab\u00e9", max_size=30)
sequences = st.lists(st.text("ab\u00e9", min_size=1, max_size=4), max_size=4)


def slowly(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Letter by letter: the text before the first stop sequence that is complete."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


def parts(text: str, cuts: list[int]) -> list[str]:
    places = sorted(cut % (len(text) + 1) for cut in cuts)
    return [text[low:high] for low, high in zip([0, *places], [*places, len(text)], strict=True)]


@given(letters, sequences, st.lists(st.integers(0, 100), max_size=10))
def test_the_text_ends_before_the_first_stop_however_it_comes(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    matcher = Stops(stops)
    shown = ""
    wanted, found = slowly(text, stops)
    for part in parts(text, cuts):
        shown += matcher.feed(part)
        assert wanted.startswith(shown)
    assert shown + matcher.end() == wanted
    assert matcher.found == found


@given(letters, sequences, st.lists(st.integers(0, 100), max_size=10))
def test_only_what_may_begin_a_stop_is_held_back(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    matcher = Stops(stops)
    taken = shown = ""
    for part in parts(text, cuts):
        taken += part
        shown += matcher.feed(part)
        if matcher.found is not None:
            return
        held = taken[len(shown) :]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_after_a_stop_there_is_nothing() -> None:
    matcher = Stops(["."])
    assert matcher.feed("one. two") == "one"
    assert matcher.feed("three") == ""
    assert matcher.end() == ""
    assert matcher.found == "."
