"""Files of requests: each is found by its number, and sizes that lie are refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workunits.errors import LimitError, MalformedError
from workunits.models.request import Request
from workunits.models.requests import count_requests, pack_requests, read_request

REFUSED = (MalformedError, LimitError)
REQUESTS = [Request(tuple(range(1, size + 2)), 5, size, bytes([size]) * 16) for size in range(5)]
RAW = pack_requests(REQUESTS)


def test_every_request_is_found_by_its_number() -> None:
    assert count_requests(RAW) == 5
    assert [read_request(RAW, at) for at in range(5)] == REQUESTS


@pytest.mark.parametrize("index", [-1, 5, 2**32])
def test_there_are_no_others(index: int) -> None:
    with pytest.raises(MalformedError, match="no request"):
        read_request(RAW, index)


def test_no_requests_are_no_file() -> None:
    with pytest.raises(LimitError):
        pack_requests([])


@pytest.mark.parametrize("end", [0, 3, 4, 10, 24, len(RAW) - 1])
def test_a_file_that_is_cut_off_is_refused(end: int) -> None:
    with pytest.raises(REFUSED):
        read_request(RAW[:end], 0)


@pytest.mark.parametrize(
    "raw",
    [
        RAW + b"x",
        struct.pack(">I", 0),
        struct.pack(">I", 2**32 - 1),
        struct.pack(">III", 2, 2**32 - 1, 1) + b"x",
        struct.pack(">II", 1, 3) + b"de ",
    ],
)
def test_sizes_that_lie_are_refused(raw: bytes) -> None:
    with pytest.raises(REFUSED):
        read_request(raw, 0)


@given(st.binary(max_size=100), st.integers(0, 10))
def test_random_bytes_are_refused(raw: bytes, index: int) -> None:
    with pytest.raises(REFUSED):
        read_request(raw, index)
