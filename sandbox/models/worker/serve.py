"""Process 1 of an engine's container: answers questions on standard input, one after the other.

Its words are engine, context and threads; the model is ``/job/model.gguf``. It is inside of the
container and may be taken over by a hostile model; the host believes nothing that it says. When
anything fails it dies, and the host begins a new one.
"""

import os
import select
import struct
import sys
from pathlib import Path

from sandbox.models.worker.answer import Ask, Engine, LeftError, Turn

MODEL = "/job/model.gguf"
VERSION = 1
FLAGS = {"avx2", "bmi2", "f16c", "fma"}

_header = struct.Struct(">cI")
_ready = struct.Struct(">BII")
_question = struct.Struct(">IQHHHHBBBIIII")
_halt = struct.Struct(">I")
_spoken = struct.Struct(">IH")
_likely = struct.Struct(">If")
_end = struct.Struct(">BIIddddd")
_CHUNK = 1 << 20


class Line:
    """Frames from and to the host. ``halt`` is looked for between tokens, never waited for."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._buffer = bytearray()
        self._after = 0

    def send(self, kind: bytes, payload: bytes) -> None:
        """Write one frame."""
        data = memoryview(_header.pack(kind, len(payload)) + payload)
        while data:
            data = data[os.write(self._target, data) :]

    def question(self) -> bytes:
        """Wait for the next question. Halts that came too late are forgotten."""
        while True:
            frame = self._frame()
            if frame is None:
                self._read()
            elif frame[0] == b"Q":
                self._after = 0
                return frame[1]

    def halt(self) -> int:
        """See ``answer.Line``."""
        while select.select([self._source], [], [], 0)[0]:
            self._read()
        while (frame := self._frame()) is not None:
            if frame[0] == b"H":
                (after,) = _halt.unpack(frame[1])
                if not after:
                    raise LeftError
                self._after = min(self._after or after, after)
        return self._after

    def speak(self, start: int, tokens: list[int], likely: list[list[tuple[int, float]]]) -> None:
        """See ``answer.Line``."""
        parts = [_spoken.pack(start, len(tokens)), struct.pack(f">{len(tokens)}I", *tokens)]
        for some in likely:
            parts.append(bytes((len(some),)))
            parts.extend(_likely.pack(*each) for each in some)
        self.send(b"S", b"".join(parts))

    def _read(self) -> None:
        data = os.read(self._source, _CHUNK)
        if not data:
            os._exit(0)  # the host hung up
        self._buffer += data

    def _frame(self) -> tuple[bytes, bytes] | None:
        if len(self._buffer) < _header.size:
            return None
        kind, length = _header.unpack_from(self._buffer)
        end = _header.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_header.size : end])
        del self._buffer[:end]
        return kind, payload


def read_question(payload: bytes) -> Ask:
    """What the host asks."""
    (most, seed, *sampling, top, margins, finish, halt, prompt, given, form) = (
        _question.unpack_from(payload)
    )
    ids = struct.unpack_from(f">{prompt + given}I", payload, _question.size)
    text = payload[_question.size + 4 * len(ids) :]
    if len(text) != form:
        raise ValueError("a question whose counts do not match")
    temperature, top_p, top_k, repetition = sampling
    return Ask(
        list(ids[:prompt]),
        most,
        seed,
        (temperature, top_p, top_k, repetition),
        text.decode(),
        list(ids[prompt:]),
        finish,
        bool(margins),
        halt,
        top,
    )


def check_processor() -> None:
    """The engines are built for one instruction set, on which the numbers depend."""
    rows = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((row.split() for row in rows if row.startswith("flags")), ["flags", *FLAGS])
    missing = FLAGS.difference(flags)
    if missing:
        raise SystemExit(f"this processor lacks {', '.join(sorted(missing))}")


def load(engine: str, context: int, threads: int) -> Engine:
    """Load the model."""
    if engine == "llama.cpp":
        from sandbox.models.worker.llama import Llama

        return Llama(MODEL, context, threads)
    from sandbox.models.worker.ctransformers import Ctransformers

    return Ctransformers(MODEL, context, threads)


def main() -> None:
    # What libraries print must not get between the frames.
    target = os.dup(1)
    os.dup2(2, 1)
    line = Line(0, target)
    sys.tracebacklimit = 3
    check_processor()
    engine = load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    line.send(b"R", _ready.pack(VERSION, engine.vocabulary, engine.context))
    while True:
        end = Turn(engine, read_question(line.question()), line).run()
        line.send(
            b"E",
            _end.pack(
                end.finish,
                end.count,
                end.agreed,
                end.mean,
                end.largest,
                end.prompt_seconds,
                end.wall_seconds,
                end.cpu_seconds,
            ),
        )


if __name__ == "__main__":
    main()
