"""Images as blobs: their layers make their name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.strategies import hashes, image_layers
from workunits.canonical import Fields, decode, encode
from workunits.errors import MalformedError, RemoteError
from workunits.ids import BlobRef
from workunits.images import MAX_IMAGE, Image, Layer, chain_id

A, B = bytes([0xAA]) * 32, bytes([0xBB]) * 32


def layer(diff: bytes, length: int = 10240) -> Layer:
    return Layer(diff, BlobRef(diff, diff[:20], length))


def test_one_layer_is_the_image() -> None:
    assert chain_id([A]) == "sha256:" + A.hex()


def test_the_order_of_layers_makes_the_name() -> None:
    # sha256sum of the two diff ids with a space between.
    want = "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert chain_id([A, B]) == want
    assert chain_id([B, A]) != want


def test_without_layers_there_is_no_image() -> None:
    with pytest.raises(MalformedError):
        chain_id([])


def test_layers_of_another_image_are_refused() -> None:
    with pytest.raises(MalformedError, match="not those of the image"):
        Image(chain_id([A]), (layer(B),)).check()


def test_a_layer_that_comes_twice_is_one_blob() -> None:
    image = Image(chain_id([A, B, A]), (layer(A), layer(B), layer(A)))
    image.check()
    assert image.refs == (layer(A).ref, layer(B).ref)
    assert image.length == 2 * 10240
    odd = replace(image, layers=(layer(A), layer(B), layer(A, 512)))
    with pytest.raises(MalformedError, match="two different blobs"):
        odd.check()


def test_an_image_has_a_largest_size() -> None:
    with pytest.raises(MalformedError, match="bytes, more than"):
        Image(chain_id([A, B]), (layer(A, MAX_IMAGE), layer(B))).check()


@given(image_layers())
def test_a_layer_survives_its_canonical_form(layer: Layer) -> None:
    raw = encode(layer.value())
    assert Layer.parse(Fields.of(decode(raw, limit=1000), "layer")) == layer


@given(
    st.dictionaries(
        st.sampled_from(["diff", "length", "v1", "v2", "more"]),
        st.integers(-5, 5) | hashes | st.binary(max_size=32),
    )
)
def test_what_is_no_layer_is_a_remote_error(found: dict[str, object]) -> None:
    with pytest.raises(RemoteError):
        Layer.parse(Fields.of(decode(encode(found), limit=1000), "layer"))
