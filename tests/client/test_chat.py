"""Chunks of an answer from a tracker that may send anything."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import chat
from client.chat import Events, More, Verdict, read_chunk
from workunits.errors import LimitError, SwarmError, UnavailableError

VERDICT: dict[str, Any] = {
    "verified": True,
    "same": False,
    "validators": ["ab" * 32],
    "worker": "cd" * 32,
    "unit": "j/0",
    "ledger_entry": 9,
    "cost": 3,
    "text": "right",
}


def chunk(delta: object, finish: str | None = None, **swarm: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"choices": [choice], "swarm": {"verified": False} | swarm}).encode()


@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.hex().encode())), st.data())
def test_events_are_the_same_however_they_are_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    raw = b"".join(b": still here\n\ndata: %b\r\n\r\n" % payload for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    events = Events()
    pieces = [raw[low:high] for low, high in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert [found for piece in pieces for found in events.feed(piece)] == payloads


def test_an_event_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_EVENT", 100)
    events = Events()
    list(events.feed(b"data: " + b"x" * 50))
    with pytest.raises(LimitError):
        list(events.feed(b"x" * 50))


def test_text_and_verdict_are_read() -> None:
    assert list(read_chunk(chunk({"content": "a\x1bb"}))) == [More("ab", False)]
    assert list(read_chunk(chunk({"role": "assistant", "content": ""}))) == []
    (found,) = read_chunk(chunk({}, "stop", **VERDICT))
    assert isinstance(found, Verdict)
    assert (found.entry, found.corrected, found.validators) == (9, "right", (b"\xab" * 32,))


def test_an_error_in_mid_stream_is_raised() -> None:
    with pytest.raises(UnavailableError, match="gone"):
        list(read_chunk(b'{"error": {"message": "gone"}}'))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*VERDICT, "choices", "swarm", "delta", "content"]), inner
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_nothing_that_a_tracker_sends_breaks_the_reader(value: object) -> None:
    raw = json.dumps(value).encode()
    for hostile in (raw, chunk(value, "stop", **VERDICT), chunk({}, "stop", text=value)):
        with contextlib.suppress(SwarmError):
            list(read_chunk(hostile))
