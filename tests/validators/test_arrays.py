"""Arrays: NumPy writes them, and strangers forge them."""

import math
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from validators.arrays import MAX_DIMENSIONS, MAX_HEADER, Array, Kind, close, parse
from validators.closeness import Tolerance
from workunits.errors import MalformedError

SOME = Tolerance(1e-6, 1e-9)
NONE = Tolerance(0.0, 0.0)
NAMES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "c": "complex"}
VERSIONS = ((1, 0), (2, 0), (3, 0))
dtypes = st.builds(
    lambda order, name: np.dtype(order + name), st.sampled_from("<>"), st.sampled_from(NAMES)
)
shapes = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
arrays = arrays_of.arrays(dtypes, shapes)


def written(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    """The file that NumPy writes."""
    out = BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), version)
    return out.getvalue()


def forged(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A file with any header."""
    text = header.encode("latin-1") if isinstance(header, str) else header
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + data


def head(descr: str = "'<f8'", fortran: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


@given(arrays, st.sampled_from("CF"), st.sampled_from(VERSIONS))
def test_what_numpy_writes_is_read_as_it_was(
    array: Any, order: Any, version: tuple[int, int]
) -> None:
    found = parse(written(np.asarray(array, order=order), version))
    assert found.kind.value == KINDS[array.dtype.kind]
    assert found.shape == array.shape
    wanted = array.ravel(order="C").tolist()
    assert list(map(repr, found.values)) == list(map(repr, wanted))


@given(arrays)
def test_byte_order_memory_order_and_version_do_not_matter(array: Any) -> None:
    swapped = array.astype(array.dtype.newbyteorder("S"))
    raw = written(array)
    for other in (
        written(swapped),
        written(np.asfortranarray(array).reshape(array.shape, order="F")),
        written(array, (3, 0)),
    ):
        assert close(raw, other, NONE)
        assert close(other, raw, NONE)


@given(arrays, arrays)
def test_comparison_is_symmetric_and_reflexive(one: Any, other: Any) -> None:
    left, right = written(one), written(other)
    assert close(left, right, SOME) == close(right, left, SOME)
    assert close(left, left, NONE)


@given(
    arrays_of.arrays(np.float64, shapes, elements=st.floats(-1e6, 1e6)),
    st.floats(-1e-3, 1e-3),
)
def test_floats_are_close_where_numpy_says_so(array: Any, noise: float) -> None:
    noisy = array + noise
    difference = np.abs(array - noisy)
    allowed = np.maximum(1e-6 * np.maximum(np.abs(array), np.abs(noisy)), 1e-9)
    if np.isclose(difference, allowed, rtol=1e-9, atol=0).any():
        return  # on the edge rounding decides
    assert close(written(array), written(noisy), SOME) == bool((difference <= allowed).all())


def test_width_does_not_matter_but_the_value_does() -> None:
    halves = np.array([0.5, 1.5])
    assert close(written(halves), written(halves.astype("f4")), NONE)
    assert close(written(np.array([0.1])), written(np.array([0.1], "f4")), SOME)
    assert not close(written(np.array([0.1])), written(np.array([0.1], "f4")), NONE)
    assert close(written(np.array([7], "u1")), written(np.array([7], "i8")), NONE)


def test_integers_are_compared_exactly_within_the_tolerance() -> None:
    one, other = np.array([2**63 - 1]), np.array([2**63 - 2])
    assert not close(written(one), written(other), NONE)
    assert close(written(one), written(other), SOME)
    assert not close(written(one), written(one.astype("u8") + 1), NONE)


def test_kinds_do_not_mix() -> None:
    ones = [np.ones(2, name) for name in ("b1", "i8", "f8", "c16")]
    for at, one in enumerate(ones):
        for other in ones[at + 1 :]:
            assert not close(written(one), written(other), SOME)


def test_booleans_are_equal_or_not() -> None:
    wide = Tolerance(1, 1)
    assert not close(written(np.array([True])), written(np.array([False])), wide)


def test_shape_and_order_are_part_of_the_array() -> None:
    values = np.arange(6.0)
    assert not close(written(values), written(values.reshape(2, 3)), SOME)
    assert not close(written(values.reshape(2, 3)), written(values.reshape(3, 2)), SOME)
    assert not close(written(values), written(values[::-1].copy()), SOME)
    assert not close(written(np.float64(1)), written(np.ones(1)), SOME)
    assert not close(written(np.ones((0, 2))), written(np.ones((2, 0))), SOME)


def test_nan_infinities_and_zero_follow_the_rules_of_all_numbers() -> None:
    one = np.array([math.nan, math.inf, 0.0])
    assert close(written(one), written(np.array([-math.nan, math.inf, -0.0])), NONE)
    assert not close(written(one), written(np.array([1.0, math.inf, 0.0])), SOME)
    assert not close(written(one), written(np.array([math.nan, -math.inf, 0.0])), SOME)


def test_complex_numbers_are_close_by_their_distance() -> None:
    assert close(written(np.array([1 + 0j])), written(np.array([1 + 1e-8j])), SOME)
    assert not close(written(np.array([1 + 0j])), written(np.array([1 + 1e-5j])), SOME)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["a"]),
        np.array([b"a"]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([1], dtype="m8[s]"),
        np.array([1], dtype=np.longdouble),
        np.array([b"a"], dtype="V3"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_other_types_are_not_read(array: Any) -> None:
    out = BytesIO()
    np.save(out, array, allow_pickle=True)
    with pytest.raises(MalformedError):
        parse(out.getvalue())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}\n",
        head()[:-1],
        head() + "\n",
        head() + "#\n",
        head(descr='"<f8"'),
        head(descr="'f8'"),
        head(descr="'=f8'"),
        head(descr="'|f8'"),
        head(descr="'<f16'"),
        head(descr="'|O'"),
        head(descr="'<c4'"),
        head(descr="'<f8\\x00'"),
        head(descr="[('a', '<f8')]"),
        head(descr="True"),
        head(fortran="0"),
        head(fortran="'False'"),
        head(fortran="(2,)"),
        head(shape="(2)"),
        head(shape="[2]"),
        head(shape="2"),
        head(shape="(-2,)"),
        head(shape="(2.0,)"),
        head(shape="(02,)"),
        head(shape="(2L,)"),
        head(shape="(2,,)"),
        head(shape="(,)"),
        head(shape="(True,)"),
        head(shape="(1 1,)"),
        head(shape="(2, 1"),
        head(shape="(__import__('os').abort(),)"),
        head().replace("'shape'", "'descr'"),
        head().replace("'shape'", "'extra'"),
        head().replace("}", "'extra': True}"),
        head().replace("'shape': (2,), ", ""),
        "(" * 4000 + "\n",
        head().replace("}", " " * 4000),
        head().replace("False", "False" + " " * 4000 + "x"),
        head(shape="(" + "1, " * MAX_DIMENSIONS + "2)"),
        head().replace("\n", " " * MAX_HEADER + "\n"),
        head().replace("\n", "\xa0\n"),
    ],
    ids=lambda header: repr(header[:70]),
)
def test_a_header_that_numpy_would_not_write_is_malformed(header: str) -> None:
    assert parse(forged(head(), bytes(16))).values == (0.0, 0.0)
    for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        with pytest.raises(MalformedError):
            parse(forged(header, bytes(16), version))


@pytest.mark.parametrize(
    "header",
    [
        "{'shape': (2,), 'fortran_order': False, 'descr': '<f8'}\n",
        "{ 'descr' :'<f8','fortran_order':False,'shape':(2,)  , }    \n",
        head(shape="(2, 1)"),
        head(shape="(1,2,)"),
        head(shape="(" + "1, " * (MAX_DIMENSIONS - 1) + "2)"),
    ],
)
def test_order_and_spaces_of_the_header_are_free(header: str) -> None:
    assert parse(forged(header, bytes(16))).values == (0.0, 0.0)


@pytest.mark.parametrize(
    "shape",
    [
        "(9223372036854775807,)",
        "(4294967296, 4294967296)",
        "(2305843009213693952, 8)",
        "(4611686018427387904, 4, 2)",
        "(" + ", ".join(["9999999999999999999"] * 64) + ")",
        "(99999999999999999999,)",
        "(3,)",
        "()",
        "(0,)",
    ],
)
@pytest.mark.parametrize("fortran", ["True", "False"])
def test_a_shape_must_match_the_data_even_where_machine_words_would_overflow(
    shape: str, fortran: str
) -> None:
    with pytest.raises(MalformedError):
        parse(forged(head(fortran=fortran, shape=shape), bytes(16)))


@pytest.mark.parametrize("fortran", ["True", "False"])
def test_an_empty_array_costs_nothing_whatever_its_other_extents(fortran: str) -> None:
    shape = (9999999999999999999, 0, 9999999999999999999)
    raw = forged(head(fortran=fortran, shape=str(shape)))
    assert parse(raw) == Array(Kind.FLOAT, shape, ())


def test_truncated_and_prolonged_files_are_malformed() -> None:
    for version in VERSIONS:
        raw = written(np.arange(3.0), version)
        for end in range(len(raw)):
            with pytest.raises(MalformedError):
                parse(raw[:end])
        with pytest.raises(MalformedError):
            parse(raw + b"\x00")


@pytest.mark.parametrize("version", [b"\x00\x00", b"\x01\x01", b"\x04\x00", b"\x00\x01"])
def test_other_versions_are_malformed(version: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(forged(head(), bytes(16), version))


def test_a_boolean_is_zero_or_one() -> None:
    with pytest.raises(MalformedError):
        parse(forged(head(descr="'|b1'"), b"\x01\x02"))


@given(st.binary(max_size=80), st.binary(max_size=20), st.sampled_from([1, 2, 3]))
def test_any_bytes_are_an_array_or_malformed(text: bytes, data: bytes, version: int) -> None:
    for raw in (text, b"\x93NUMPY" + text, forged(text, data, bytes((version, 0)))):
        try:
            parse(raw)
        except MalformedError:
            continue


@given(arrays, st.data())
def test_a_file_with_bytes_changed_is_an_array_or_malformed(array: Any, data: Any) -> None:
    raw = bytearray(written(array))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    try:
        found = parse(bytes(raw))
    except MalformedError:
        return
    assert len(found.values) == math.prod(found.shape)
    assert close(bytes(raw), bytes(raw), NONE)
