"""The host's parsers: right words arrive, wrong ones are refused, nothing grows."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import harness
from sandbox.frames import (
    MAX_CHUNK,
    VERSION,
    Ended,
    EngineFrames,
    Event,
    FileBegins,
    FileData,
    Ready,
    Replies,
    encode_task,
)
from sandbox.runner import STDERR_TAIL, Ending, Limits, Task
from workunits.errors import MalformedError, RemoteError


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">cI", kind, len(payload)) + payload


def begins(index: int, size: int) -> bytes:
    return frame(b"F", struct.pack(">HQ", index, size))


def end(ending: int = 0, status: int = 0, tail: bytes = b"") -> bytes:
    return frame(b"E", struct.pack(">BBQQ", ending, status, 1_500_000, 2_000_000) + tail)


READY = frame(b"R", bytes((VERSION,)))


def feed(*pieces: bytes, files: int = 2, room: int = 100) -> list[Event]:
    replies = Replies()
    events = list(replies.feed(READY))
    replies.expect(files, room)
    for piece in pieces:
        events += replies.feed(piece)
    return events


def test_a_whole_unit_is_read_in_any_slices() -> None:
    talk = begins(1, 5) + frame(b"D", b"abc") + frame(b"D", b"de") + end(0, 3, b"oops") + READY
    for step in range(1, len(talk) + 1):
        pieces = [talk[at : at + step] for at in range(0, len(talk), step)]
        assert feed(*pieces) == [
            Ready(),
            FileBegins(1, 5),
            FileData(b"abc"),
            FileData(b"de"),
            Ended(Ending.EXITED, 3, 1.5, 2.0, b"oops"),
            Ready(),
        ]


@pytest.mark.parametrize(
    "talk",
    [
        READY,
        begins(2, 1),
        begins(0, 101),
        begins(0, 60) + frame(b"D", b"x" * 60) + begins(1, 41),
        begins(0, 1) + frame(b"D", b"a") + begins(0, 1),
        begins(0, 1) + frame(b"D", b"ab"),
        begins(0, 1) + frame(b"D"),
        begins(0, 1) + end(),
        begins(0, 1) + begins(1, 1),
        frame(b"D", b"a"),
        begins(0, 0) + frame(b"D", b"a"),
        frame(b"F", b"x"),
        frame(b"E", b"x"),
        end(5),
        end(0, 0, b"x" * (STDERR_TAIL + 1)),
        end() + end(),
        end() + READY + READY,
        end() + begins(0, 1),
        end() + frame(b"R", b"\x63"),
        end() + frame(b"R"),
        frame(b"T"),
        frame(b"\0"),
        struct.pack(">cI", b"E", 2**32 - 1),
    ],
)
def test_words_out_of_turn_or_over_the_limits_are_refused(talk: bytes) -> None:
    with pytest.raises(RemoteError):
        feed(talk)


def test_a_task_may_not_be_answered_before_it_is_asked() -> None:
    with pytest.raises(MalformedError):
        list(Replies().feed(end()))


def test_a_file_may_not_come_in_pieces_that_are_too_large() -> None:
    size = MAX_CHUNK + 1
    with pytest.raises(RemoteError):
        feed(begins(0, size) + frame(b"D", b"x" * size), room=size)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_noise_never_does_more_than_raise(pieces: list[bytes]) -> None:
    with suppress(RemoteError):
        feed(*pieces)


@given(
    st.lists(
        st.sampled_from([READY, begins(0, 3), begins(1, 99), frame(b"D", b"abc"), end(), end(4)]),
        max_size=8,
    ),
    st.integers(1, 50),
)
def test_files_are_never_larger_than_was_agreed(talk: list[bytes], step: int) -> None:
    stream = b"".join(talk)
    replies = Replies()
    replies.expect(2, 100)
    total, announced = 0, 0
    with suppress(RemoteError):
        for at in range(0, len(stream), step):
            for event in replies.feed(stream[at : at + step]):
                if isinstance(event, FileBegins):
                    assert total == announced
                    announced += event.size
                if isinstance(event, FileData):
                    total += len(event.data)
                assert total <= announced <= 100


def test_engine_frames_are_read_in_any_slices() -> None:
    stream = b"\1\0\0\0\0\0\0\3abc" + b"\2\0\0\0\0\0\0\0" + b"\2\0\0\0\0\0\0\2de"
    for step in range(1, len(stream) + 1):
        engine = EngineFrames()
        got = {1: b"", 2: b""}
        for at in range(0, len(stream), step):
            for number, piece in engine.feed(stream[at : at + step]):
                got[number] += piece
        assert got == {1: b"abc", 2: b"de"}


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_engine_noise_never_does_more_than_raise(pieces: list[bytes]) -> None:
    engine = EngineFrames()
    with suppress(MalformedError):
        for piece in pieces:
            for _, data in engine.feed(piece):
                assert len(data) <= len(piece)


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1)
    .filter(lambda words: words[0] != "")
    .map(tuple),
    st.lists(names, unique=True, max_size=5).map(tuple),
    st.booleans(),
)
def test_the_harness_reads_what_the_host_writes(
    command: tuple[str, ...], outputs: tuple[str, ...], redirect: bool
) -> None:
    stdout = outputs[-1] if outputs and redirect else None
    raw = encode_task(Task(command, (), outputs, stdout), Limits(1.5, 2.5, 1, 77))
    kind, length = struct.unpack_from(">cI", raw)
    assert (kind, length) == (b"T", len(raw) - 5)
    task = harness.Task(raw[5:])
    assert (task.cpu, task.wall, task.room) == (1.5, 2.5, 77)
    assert tuple(task.command) == command
    assert tuple(task.outputs) == outputs
    assert task.stdout == stdout


def test_host_and_harness_agree_on_their_constants() -> None:
    assert harness.VERSION == VERSION
    assert harness.CHUNK == MAX_CHUNK
    assert harness.TAIL == STDERR_TAIL
