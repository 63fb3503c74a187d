"""What a model is asked: one spelling, limits, and nothing but remote errors for the rest."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import requests
from workunits.errors import LimitError, MalformedError, RemoteError
from workunits.models.request import MAX_ID, MAX_NEW, Request, Sampling, pack_ids, read_ids

ASKED = Request((1, 2, 3), 10, 7, b"n" * 16)


@given(requests)
def test_a_request_survives_the_wire(request: Request) -> None:
    assert Request.parse(request.encode()) == request


@given(requests, st.data())
def test_a_mutated_request_is_another_one_or_a_remote_error(
    request: Request, data: st.DataObject
) -> None:
    raw = bytearray(request.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Request.parse(bytes(raw))
    except RemoteError:
        return
    assert found.encode() == raw


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_remote_error(raw: bytes) -> None:
    with pytest.raises(RemoteError):
        Request.parse(raw)


@pytest.mark.parametrize(
    "request_",
    [
        replace(ASKED, prompt=()),
        replace(ASKED, most=0),
        replace(ASKED, most=MAX_NEW + 1),
        replace(ASKED, nonce=b"short"),
        replace(ASKED, form="json\n"),
        replace(ASKED, sampling=Sampling(temperature=2001)),
        replace(ASKED, sampling=Sampling(top_p=0)),
        replace(ASKED, sampling=Sampling(top_k=257)),
        replace(ASKED, sampling=Sampling(repetition=999)),
    ],
    ids=["prompt", "none", "most", "nonce", "form", "heat", "nucleus", "top_k", "repetition"],
)
def test_a_request_beyond_its_limits_is_refused(request_: Request) -> None:
    with pytest.raises(RemoteError):
        Request.parse(request_.encode())


def test_ids_that_are_cut_off_or_too_large_are_refused() -> None:
    with pytest.raises(MalformedError, match="cut off"):
        read_ids(b"123")
    with pytest.raises(LimitError):
        read_ids(pack_ids([MAX_ID]))
