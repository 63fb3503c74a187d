"""A pushdown automaton over bytes that accepts the JSON texts that a form's rules allow.

This file is copied into the engine images: standard library only. A thread is a stack, ``()`` or
``(frame, thread)``, whose top frame says what comes next; a state is several threads, one for each
way in which the bytes so far can be understood. States are made when they are first reached and
know where each byte leads, so what is asked again costs one look-up for each byte.

No thread is without a way to its end: what would nest deeper than ``MAX_DEPTH`` is not begun.
White space, numbers and escapes are bounded, so that only strings and arrays can go on and on.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TypeAlias

from workunits.models.rules import (
    MAX_DEPTH,
    Array,
    Choice,
    Form,
    Literals,
    Map,
    Number,
    Object,
    Rule,
    Text,
)

Frame: TypeAlias = tuple[Any, ...]
Thread: TypeAlias = tuple[()] | tuple[Frame, Any]
Out: TypeAlias = list[Thread]

MAX_THREADS = 64
"""Ways to understand one text that are followed; those of later alternatives are dropped."""

_ENOUGH = 2 * MAX_THREADS
"""Threads after one byte, some of them alike, at which no more are looked for."""

MAX_STATES = 4096
"""States that are kept. Then all are forgotten, and made again as they are reached."""

MAX_TABLES = 512
"""Lists of the names that can come next that are kept."""

MAX_DIGITS = 32
"""Digits before a point, and after it."""

MAX_POWER = 3
"""Digits of an exponent."""

INDENT = 4
"""Most white space for each level of nesting where a line may end."""

_SPACE = frozenset(b" \t\n\r")
_DIGITS = frozenset(b"0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_ESCAPES = frozenset(b'"\\/bfnrt')

(VALUE, OPEN, AFTER, COMMA, KEY, COLON, FIRST, NEXT, TEXT, NUMBER, WORD) = range(11)
(PLAIN, TAIL, ESCAPE, CODE, PAIR, PAIR_U, LOW) = range(7)
(MINUS, ZERO, WHOLE, POINT, FRACTION, MARK, SIGN, POWER) = range(8)
_COMPLETE = frozenset({ZERO, WHOLE, FRACTION, POWER})
_TAILS = {
    **dict.fromkeys(range(0xC2, 0xE0), (TAIL, 0x80, 0xBF, 0)),
    **dict.fromkeys(range(0xE1, 0xF0), (TAIL, 0x80, 0xBF, 1)),
    0xE0: (TAIL, 0xA0, 0xBF, 1),
    0xED: (TAIL, 0x80, 0x9F, 1),
    **dict.fromkeys(range(0xF1, 0xF4), (TAIL, 0x80, 0xBF, 2)),
    0xF0: (TAIL, 0x90, 0xBF, 2),
    0xF4: (TAIL, 0x80, 0x8F, 2),
}
"""What must follow the first byte of a character beyond ASCII (Unicode, table 3-7)."""


class State:
    """A place in a text. Equal states allow the same; ``done`` is whether the text can end."""

    __slots__ = ("_hash", "done", "steps", "threads")

    def __init__(self, threads: tuple[Thread, ...]) -> None:
        self.threads = threads
        self.steps: dict[int, State] = {}
        self.done = any(_is_done(thread) for thread in threads)
        self._hash = hash(threads)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, State) and self.threads == other.threads)

    def __hash__(self) -> int:
        return self._hash


class Automaton:
    """The automaton of one form."""

    def __init__(self, form: Form) -> None:
        self._rules = form.rules
        self._heights = form.heights
        self._states: dict[tuple[Thread, ...], State] = {}
        self._names: dict[tuple[int, int, int], tuple[list[bytes], list[int]]] = {}
        self._starts: dict[int, dict[int, list[int]]] = {}
        self._steps: tuple[Callable[[Frame, Thread, int, Out], None], ...] = (
            self._value,
            self._open,
            self._after,
            self._comma,
            self._key,
            self._colon,
            self._first,
            self._next,
            self._text,
            self._number,
            self._word,
        )
        self._start = State((((VALUE, form.root, 0, 1), ()),))

    def start(self) -> State:
        """Before the first byte."""
        return self._start

    def walk(self, state: State, data: bytes) -> State | None:
        """The state after ``data``, or None if it is not allowed."""
        for byte in data:
            found = state.steps.get(byte)
            if found is None:
                found = self._step(state, byte)
            if not found.threads:
                return None
            state = found
        return state

    def _step(self, state: State, byte: int) -> State:
        out: Out = []
        for thread in state.threads:
            self._feed(thread, byte, out)
            if len(out) >= _ENOUGH:
                break
        threads = tuple(dict.fromkeys(out))[:MAX_THREADS]
        found = self._states.get(threads)
        if found is None:
            if len(self._states) >= MAX_STATES:
                for each in self._states.values():
                    each.steps.clear()
                self._states.clear()
                self._start.steps.clear()
            found = self._states[threads] = State(threads)
        state.steps[byte] = found
        return found

    def _feed(self, thread: Thread, byte: int, out: Out) -> None:
        if thread:
            frame, rest = thread
            self._steps[frame[0]](frame, rest, byte, out)

    def _fits(self, rule: int, depth: int) -> bool:
        return depth + self._heights[rule] <= MAX_DEPTH

    # Each of these takes one byte for its frame; out gets the threads that can follow.

    def _value(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, rule, depth, left = frame
        if byte not in _SPACE:
            self._begin(rule, depth, byte, rest, out)
        elif left:
            out.append(((VALUE, rule, depth, left - 1), rest))

    def _begin(self, index: int, depth: int, byte: int, rest: Thread, out: Out) -> None:
        """The first byte of a value."""
        rule = self._rules[index]
        match rule:
            case Choice():
                for option in self._starting(index).get(byte, ()):
                    if self._fits(option, depth) and len(out) < _ENOUGH:
                        self._begin(option, depth, byte, rest, out)
            case Object() | Map() if byte == 0x7B:
                out.append(((OPEN, index, depth + 1, _gap(depth + 1)), rest))
            case Array() if byte == 0x5B:
                out.append(((FIRST, index, depth + 1, _gap(depth + 1)), rest))
            case Text() if byte == 0x22:
                out.append(((TEXT, rule.least, rule.most, 0, (PLAIN,)), rest))
            case Number():
                phase = MINUS if byte == 0x2D else ZERO if byte == 0x30 else WHOLE
                if phase == MINUS or byte in _DIGITS:
                    out.append(((NUMBER, rule.whole, phase, 1), rest))
            case Literals():
                self._word((WORD, index, 0, len(rule.texts), 0, False), rest, byte, out)

    def _starting(self, index: int) -> dict[int, list[int]]:
        """The options of a choice by their first byte."""
        known = self._starts.get(index)
        if known is None:
            known, rule = {}, self._rules[index]
            assert isinstance(rule, Choice)
            for option in rule.options:
                for byte in _first_bytes(self._rules[option]):
                    known.setdefault(byte, []).append(option)
            self._starts[index] = known
        return known

    def _open(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, depth, left = frame
        if byte in _SPACE:
            if left:
                out.append(((OPEN, index, depth, left - 1), rest))
        elif byte == 0x7D:
            if not self._needs(index, 0):
                out.append(rest)
        elif byte == 0x22:
            self._name(index, depth, 0, rest, out)

    def _after(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, depth, place, left = frame
        if byte in _SPACE:
            if left:
                out.append(((AFTER, index, depth, place, left - 1), rest))
        elif byte == 0x7D:
            if not self._needs(index, place):
                out.append(rest)
        elif byte == 0x2C and self._has_more(index, depth, place):
            out.append(((COMMA, index, depth, place, _gap(depth)), rest))

    def _comma(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, depth, place, left = frame
        if byte == 0x22:
            self._name(index, depth, place, rest, out)
        elif byte in _SPACE and left:
            out.append(((COMMA, index, depth, place, left - 1), rest))

    def _needs(self, index: int, place: int) -> bool:
        rule = self._rules[index]
        return isinstance(rule, Object) and any(each.required for each in rule.properties[place:])

    def _has_more(self, index: int, depth: int, place: int) -> bool:
        rule = self._rules[index]
        if isinstance(rule, Map):
            return self._fits(rule.value, depth)
        return bool(self._table(index, depth, place)[0])

    def _table(self, index: int, depth: int, place: int) -> tuple[list[bytes], list[int]]:
        """Names that can come from ``place`` on, sorted, and which property each is."""
        known = self._names.get((index, depth, place))
        if known is not None:
            return known
        rule, found = self._rules[index], []
        assert isinstance(rule, Object)
        for at, each in enumerate(rule.properties[place:], place):
            if self._fits(each.value, depth):
                found += [(name, at) for name in each.names]
            if each.required:
                break
        found.sort()
        table = [name for name, _ in found], [at for _, at in found]
        if len(self._names) >= MAX_TABLES:
            self._names.clear()
        self._names[index, depth, place] = table
        return table

    def _name(self, index: int, depth: int, place: int, rest: Thread, out: Out) -> None:
        """The quotation mark that begins a name."""
        rule = self._rules[index]
        if isinstance(rule, Map):
            if self._fits(rule.value, depth):
                value = self._member(index, rule.value, depth, 0, rest)
                out.append(((TEXT, 0, -1, 0, (PLAIN,)), value))
        elif names := self._table(index, depth, place)[0]:
            out.append(((KEY, index, depth, place, 0, len(names), 1), rest))

    def _member(self, index: int, value: int, depth: int, place: int, rest: Thread) -> Thread:
        """What follows a name, to the end of its object."""
        after = ((AFTER, index, depth, place, _gap(depth)), rest)
        return ((COLON, 1), ((VALUE, value, depth, 1), after))

    def _key(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, depth, place, low, high, at = frame
        names, targets = self._table(index, depth, place)
        low, high = _narrow(names, low, high, at, byte)
        if low == high:
            return
        if len(names[low]) > at + 1:
            out.append(((KEY, index, depth, place, low, high, at + 1), rest))
            return
        rule = self._rules[index]
        assert isinstance(rule, Object)
        target = targets[low]
        value = rule.properties[target].value
        out.append(self._member(index, value, depth, target + 1, rest))

    def _colon(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        if byte == 0x3A:
            out.append(rest)
        elif byte in _SPACE and frame[1]:
            out.append(((COLON, frame[1] - 1), rest))

    def _first(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, depth, left = frame
        rule = self._rules[index]
        assert isinstance(rule, Array)
        if byte in _SPACE:
            if left:
                out.append(((FIRST, index, depth, left - 1), rest))
        elif byte == 0x5D:
            if rule.least == 0:
                out.append(rest)
        elif (item := self._item(rule, 0, depth)) >= 0:
            self._begin(item, depth, byte, ((NEXT, index, depth, 1, _gap(depth)), rest), out)

    def _next(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, depth, count, left = frame
        rule = self._rules[index]
        assert isinstance(rule, Array)
        if byte in _SPACE:
            if left:
                out.append(((NEXT, index, depth, count, left - 1), rest))
        elif byte == 0x5D:
            if count >= rule.least:
                out.append(rest)
        elif byte == 0x2C and (item := self._item(rule, count, depth)) >= 0:
            more = count + 1
            if rule.most < 0:  # then it does not matter how many there are beyond these
                more = min(more, max(rule.least, len(rule.prefix)))
            after = ((NEXT, index, depth, more, _gap(depth)), rest)
            out.append(((VALUE, item, depth, _gap(depth)), after))

    def _item(self, rule: Array, place: int, depth: int) -> int:
        """The rule for the value at ``place``, -1 if there cannot be one."""
        if 0 <= rule.most <= place:
            return -1
        item = rule.prefix[place] if place < len(rule.prefix) else rule.item
        return item if self._fits(item, depth) else -1

    def _text(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, least, most, count, mode = frame
        after: tuple[int, ...] | None
        if mode[0] == PLAIN:
            if byte == 0x22:
                if count >= least:
                    out.append(rest)
                return
            if byte < 0x20 or 0 <= most <= count:
                return
            count = min(count + 1, least) if most < 0 else count + 1
            after = (ESCAPE,) if byte == 0x5C else (PLAIN,) if byte < 0x80 else _TAILS.get(byte)
        else:
            after = _within(mode, byte)
        if after is not None:
            out.append(((TEXT, least, most, count, after), rest))

    def _number(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, whole, phase, count = frame
        after = _digit(phase, count, byte)
        if after is not None and not (whole and after[0] not in (ZERO, WHOLE)):
            out.append(((NUMBER, whole, *after), rest))
        elif phase in _COMPLETE:
            self._feed(rest, byte, out)

    def _word(self, frame: Frame, rest: Thread, byte: int, out: Out) -> None:
        _, index, low, high, at, complete = frame
        rule = self._rules[index]
        assert isinstance(rule, Literals)
        if complete:  # a number of which others are continuations
            self._feed(rest, byte, out)
        low, high = _narrow(rule.texts, low, high, at, byte)
        if low == high:
            return
        complete = len(rule.texts[low]) == at + 1
        if complete and high - low == 1:
            out.append(rest)
        else:
            out.append(((WORD, index, low, high, at + 1, complete), rest))


def _first_bytes(rule: Rule) -> set[int]:
    match rule:
        case Object() | Map():
            return {0x7B}
        case Array():
            return {0x5B}
        case Text():
            return {0x22}
        case Number():
            return {0x2D, *_DIGITS}
        case Literals(texts):
            return {text[0] for text in texts}
    return set()


def _gap(depth: int) -> int:
    """How much white space may be between the parts of an object or an array."""
    return 1 + INDENT * depth


def _is_done(thread: Thread) -> bool:
    if not thread:
        return True
    frame, rest = thread
    if rest:
        return False
    return (frame[0] == NUMBER and frame[2] in _COMPLETE) or (frame[0] == WORD and frame[5])


def _narrow(
    texts: tuple[bytes, ...] | list[bytes], low: int, high: int, at: int, byte: int
) -> tuple[int, int]:
    """Of sorted ``texts`` that begin alike, those that go on with ``byte``."""

    def here(text: bytes) -> int:
        return text[at] if at < len(text) else -1

    low = bisect_left(texts, byte, low, high, key=here)
    return low, bisect_left(texts, byte + 1, low, high, key=here)


def _within(mode: tuple[int, ...], byte: int) -> tuple[int, ...] | None:
    """What comes after ``byte`` inside a character of a string; half pairs are no characters."""
    kind = mode[0]
    if kind == TAIL:
        _, low, high, more = mode
        if not low <= byte <= high:
            return None
        return (TAIL, 0x80, 0xBF, more - 1) if more else (PLAIN,)
    if kind == ESCAPE:
        return (PLAIN,) if byte in _ESCAPES else (CODE, 0, 0) if byte == 0x75 else None
    if kind == PAIR:
        return (PAIR_U,) if byte == 0x5C else None
    if kind == PAIR_U:
        return (LOW, 0) if byte == 0x75 else None
    if byte not in _HEX:
        return None
    digit = int(chr(byte), 16)
    if kind == LOW:
        place = mode[1]
        if (place == 0 and digit != 0xD) or (place == 1 and digit < 0xC):
            return None
        return (LOW, place + 1) if place < 3 else (PLAIN,)
    _, place, surrogate = mode  # 1: it may be one, 2: it is the first half of a pair
    if place == 0:
        surrogate = int(digit == 0xD)
    elif place == 1 and surrogate:
        if digit >= 0xC:
            return None
        surrogate = 2 if digit >= 8 else 0
    if place < 3:
        return (CODE, place + 1, surrogate)
    return (PAIR,) if surrogate else (PLAIN,)


def _digit(phase: int, count: int, byte: int) -> tuple[int, int] | None:
    """What comes after ``byte`` inside a number: the phase, and how many digits it has."""
    if byte in _DIGITS:
        if phase == MINUS:
            return (ZERO, 1) if byte == 0x30 else (WHOLE, 1)
        if phase in (POINT, MARK, SIGN):
            return (FRACTION if phase == POINT else POWER, 1)
        limit = MAX_POWER if phase == POWER else MAX_DIGITS
        return (phase, count + 1) if phase != ZERO and count < limit else None
    if byte == 0x2E and phase in (ZERO, WHOLE):
        return (POINT, 0)
    if byte in b"eE" and phase in (ZERO, WHOLE, FRACTION):
        return (MARK, 0)
    if byte in b"+-" and phase == MARK:
        return (SIGN, 0)
    return None
