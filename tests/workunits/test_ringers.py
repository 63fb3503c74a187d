"""Known answers: one spelling, strict limits, and a hash that tells nothing."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import ringers
from workunits.canonical import encode
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.ids import Digest
from workunits.parameters import MAX_UNITS
from workunits.ringers import MAX_ANSWERS, MAX_RINGERS, Ringers

SALT = b"s" * 32
ANSWER = bytes(7) + b"\3" + b"d" * 32


@given(ringers())
def test_known_answers_round_trip(known: Ringers) -> None:
    again = Ringers.parse(known.encode())
    assert again == known
    assert again.hash == known.hash == sha256(known.encode()).digest()


@given(ringers(), st.data())
def test_mutated_answers_are_others_or_a_remote_error(known: Ringers, data: st.DataObject) -> None:
    raw = bytearray(known.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        parsed = Ringers.parse(bytes(raw))
    except RemoteError:
        return
    assert parsed.encode() == bytes(raw)
    assert parsed.hash != known.hash


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_answers(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Ringers.parse(raw)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"answers": b""}, MalformedError),
        ({"answers": ANSWER[:-1]}, MalformedError),
        ({"answers": ANSWER + ANSWER}, MalformedError),
        ({"answers": ANSWER + bytes(40)}, MalformedError),
        ({"answers": MAX_UNITS.to_bytes(8, "big") + bytes(32)}, LimitError),
        ({"answers": b"\xff" * 40}, LimitError),
        ({"answers": bytes(40 * (MAX_ANSWERS + 1))}, LimitError),
        ({"answers": bytes(MAX_RINGERS)}, LimitError),
        ({"answers": [ANSWER]}, MalformedError),
        ({"salt": b"s" * 31}, MalformedError),
        ({"salt": 1}, MalformedError),
        ({"units": 3}, MalformedError),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused(
    changes: dict[str, object], error: type[RemoteError]
) -> None:
    good = {"answers": ANSWER, "salt": SALT}
    assert Ringers.parse(encode(good)).answers == ((3, Digest(b"d" * 32)),)
    with pytest.raises(error):
        Ringers.parse(encode(good | changes))


def test_the_most_answers_fit() -> None:
    answers = tuple((at, Digest(b"d" * 32)) for at in range(MAX_UNITS - MAX_ANSWERS, MAX_UNITS))
    known = Ringers(SALT, answers)
    assert len(Ringers.parse(known.encode())) == MAX_ANSWERS


def test_the_salt_hides_the_same_answers() -> None:
    answers = ((3, Digest(b"d" * 32)),)
    assert Ringers(SALT, answers).hash != Ringers(b"t" * 32, answers).hash
