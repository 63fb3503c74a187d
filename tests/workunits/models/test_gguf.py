"""GGUF headers: what is read of a good one, and that no other one passes."""

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workunits.models import ggufs
from workunits.errors import LimitError, MalformedError
from workunits.models.gguf import (
    CODES,
    MAX_ITEMS,
    MAX_STRING,
    Gguf,
    Kind,
    parse_header,
    read_header,
)
from workunits.models.header import encode_header

HEAD, LENGTH = ggufs.head()
REFUSED = (MalformedError, LimitError)


def parse_changed(key: str, kind: Kind, value: object) -> Gguf:
    return parse_header(*ggufs.head({key: (kind, value)}))  # type: ignore[dict-item]


def test_a_header_tells_metadata_tensors_and_where_the_data_begin(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(ggufs.model())
    gguf = read_header(path)
    assert (gguf.version, gguf.alignment, gguf.length) == (3, 32, LENGTH)
    assert gguf.data_offset == len(HEAD)
    assert gguf.metadata["general.name"] == "Tiny"
    assert gguf.metadata["tokenizer.ggml.merges"] == ggufs.MERGES
    assert gguf.kinds["tokenizer.ggml.merges"] is Kind.STRING
    assert [tensor.name for tensor in gguf.tensors][1] == "blk.0.attn_norm.weight"
    assert (gguf.tensors[0].size, gguf.tensors[1].offset) == (9010, 9024)
    assert gguf.anatomy.kv_heads == (2, 2)
    assert gguf.anatomy.cache_bytes(10) == 2 * 10 * 2 * 2 * (8 + 8)


def test_what_was_read_is_written_again_byte_for_byte() -> None:
    gguf = parse_header(HEAD, LENGTH)
    again = encode_header(3, gguf.metadata, gguf.kinds, gguf.tensors, gguf.alignment)
    assert again == HEAD


def test_a_header_longer_than_the_first_read_is_read_whole(tmp_path: Path) -> None:
    long = tuple("x" * 1000 for _ in range(3000))
    raw, length = ggufs.head({"general.tags": (Kind.STRING, long)})
    path = tmp_path / "long.gguf"
    path.write_bytes(raw.ljust(length, b"\0"))
    assert read_header(path).metadata["general.tags"] == long


def test_version_two_is_read_and_others_are_not() -> None:
    assert parse_header(*ggufs.head(version=2)).version == 2
    for version in (0, 1, 4, 3 << 24):
        with pytest.raises(MalformedError):
            parse_header(*ggufs.head(version=version))


def test_a_big_endian_file_is_named_as_one() -> None:
    with pytest.raises(MalformedError, match="big-endian"):
        parse_header(*ggufs.head(version=3 << 24))


@pytest.mark.parametrize("end", [0, 3, 4, 12, 23, 24, 100, len(HEAD) // 2, len(HEAD) - 32])
def test_a_header_cut_anywhere_is_refused(end: int) -> None:
    with pytest.raises(MalformedError):
        parse_header(HEAD[:end], LENGTH)
    with pytest.raises(MalformedError):
        parse_header(HEAD[:end], end)


def test_a_file_that_ends_before_its_tensors_or_goes_on_after_them_is_refused() -> None:
    for length in (len(HEAD), LENGTH - 32, LENGTH + 1, LENGTH + 32):
        with pytest.raises(MalformedError):
            parse_header(HEAD, length)


def test_a_file_without_the_last_padding_is_read() -> None:
    shapes = (("token_embd.weight", (ggufs.WIDTH, len(ggufs.vocabulary())), 8), ("end", (3,), 0))
    raw, length = ggufs.head(shapes=shapes)
    assert parse_header(raw, length - 20).tensors[1].size == 12
    with pytest.raises(MalformedError):
        parse_header(raw, length - 21)


def test_a_key_and_a_tensor_are_there_once() -> None:
    one = struct.pack("<Q", 12) + b"general.name" + struct.pack("<IQ", 8, 4) + b"Tiny"
    assert HEAD.count(one) == 1
    with pytest.raises(MalformedError, match="twice"):
        parse_header(_count(HEAD.replace(one, one + one), entries=1), LENGTH)
    shape = ("token_embd.weight", (ggufs.WIDTH, len(ggufs.vocabulary())), 8)
    with pytest.raises(MalformedError, match="twice"):
        parse_header(*ggufs.head(shapes=(shape, shape)))


def _count(raw: bytes, entries: int) -> bytes:
    (count,) = struct.unpack_from("<Q", raw, 16)
    return raw[:16] + struct.pack("<Q", count + entries) + raw[24:]


@pytest.mark.parametrize("offset", [0, 32, 1 << 40, 2**64 - 32, 9_180 + 1])
def test_tensors_that_overlap_leave_gaps_or_are_not_aligned_are_refused(offset: int) -> None:
    found = parse_header(HEAD, LENGTH).tensors[1]
    own = struct.pack("<IQIQ", 1, ggufs.WIDTH, found.number, found.offset)
    assert HEAD.count(own) == 1
    moved = struct.pack("<IQIQ", 1, ggufs.WIDTH, found.number, offset)
    with pytest.raises(MalformedError):
        parse_header(HEAD.replace(own, moved), LENGTH)


@pytest.mark.parametrize(
    "shape",
    [
        ("x", (), 0),
        ("x", (1, 1, 1, 1, 1), 0),
        ("x", (0,), 0),
        ("x", (2**32, 2**32), 0),
        ("x", (2**63, 2), 0),
        ("x", (31,), 8),
        ("x", (32,), 4),
        ("x", (32,), 9),
        ("x", (32,), 24),
        ("x", (32,), 2**31),
    ],
)
def test_senseless_shapes_and_types_are_refused(shape: tuple[str, tuple[int, ...], int]) -> None:
    name, extents, number = shape
    tail = struct.pack(
        f"<Q1sI{len(extents)}QIQ", 1, name.encode(), len(extents), *extents, number, 0
    )
    fields = ggufs.entries()
    raw = encode_header(
        3,
        {key: value for key, (_, value) in fields.items()},
        {key: kind for key, (kind, _) in fields.items()},
        (),
        1,
    )
    raw = raw[:8] + struct.pack("<Q", 1) + raw[16:] + tail
    with pytest.raises(REFUSED):
        parse_header(raw.ljust(len(raw) + 4096, b"\0"), len(raw) + 4096)


@pytest.mark.parametrize("value", [0, 1, 4, 24, 33, 8192, 2**32 - 1])
def test_an_alignment_is_a_power_of_two(value: int) -> None:
    with pytest.raises(REFUSED, match="alignment"):
        parse_changed("general.alignment", Kind.UINT32, value)


def test_another_alignment_is_heeded() -> None:
    raw, length = ggufs.head({"general.alignment": (Kind.UINT32, 64)}, alignment=64)
    assert parse_header(raw, length).alignment == 64


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [
        ("general.architecture", Kind.STRING, "clip"),
        ("general.architecture", Kind.UINT32, 3),
        ("split.count", Kind.UINT16, 2),
        ("llama.context_length", Kind.UINT32, 0),
        ("llama.context_length", Kind.UINT64, 2**40),
        ("llama.context_length", Kind.FLOAT32, 512.0),
        ("llama.embedding_length", Kind.UINT32, 64),
        ("llama.embedding_length", Kind.UINT32, 2**31),
        ("llama.block_count", Kind.UINT32, 0),
        ("llama.block_count", Kind.UINT32, 10**6),
        ("llama.attention.head_count", Kind.UINT32, 0),
        ("llama.attention.head_count", Kind.BOOL, True),
        ("llama.attention.head_count", Kind.UINT32, (4, 4, 4)),
        ("llama.attention.head_count_kv", Kind.UINT32, 3),
        ("llama.attention.head_count_kv", Kind.UINT32, 0),
        ("llama.attention.key_length", Kind.UINT32, 2**20),
        ("llama.expert_count", Kind.UINT32, 2**16),
        ("llama.expert_used_count", Kind.UINT32, 1),
        ("llama.rope.dimension_count", Kind.UINT32, 2**31),
        ("llama.anything", Kind.INT64, -(2**40)),
        ("llama.rope.freq_base", Kind.FLOAT32, float("nan")),
        ("tokenizer.ggml.tokens", Kind.STRING, ()),
        ("tokenizer.ggml.tokens", Kind.INT32, (1, 2)),
        ("tokenizer.ggml.token_type", Kind.INT32, (1,)),
        ("tokenizer.ggml.token_type", Kind.INT32, (9,) * len(ggufs.vocabulary())),
        ("tokenizer.ggml.scores", Kind.FLOAT32, (0.0,)),
        ("tokenizer.ggml.scores", Kind.FLOAT32, (float("inf"),) * len(ggufs.vocabulary())),
        ("tokenizer.ggml.merges", Kind.UINT8, (1,)),
        ("tokenizer.ggml.eos_token_id", Kind.UINT32, len(ggufs.vocabulary())),
        ("tokenizer.ggml.eos_token_id", Kind.STRING, "2"),
        ("tokenizer.ggml.eot_token_id", Kind.INT32, -5),
    ],
)
def test_numbers_that_an_engine_would_trust_are_bounded(
    key: str, kind: Kind, value: object
) -> None:
    with pytest.raises(REFUSED):
        parse_changed(key, kind, value)


@pytest.mark.parametrize(
    "key",
    [
        "general.architecture",
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.attention.head_count",
        "tokenizer.ggml.tokens",
    ],
)
def test_what_an_engine_needs_must_be_there(key: str) -> None:
    with pytest.raises(REFUSED):
        parse_header(*ggufs.head({key: None}))


def test_text_that_is_not_utf8_and_bools_that_are_not_0_or_1_are_refused() -> None:
    with pytest.raises(MalformedError, match="UTF-8"):
        parse_header(HEAD.replace(b"Tiny", b"\xffiny"), LENGTH)
    flag = b"tokenizer.ggml.add_bos_token" + struct.pack("<I", Kind.BOOL)
    with pytest.raises(MalformedError, match="0 or 1"):
        parse_header(HEAD.replace(flag + b"\0", flag + b"\2"), LENGTH)


def test_text_that_an_engine_would_read_in_part_is_refused() -> None:
    with pytest.raises(MalformedError, match="zero byte"):
        parse_changed("general.name", Kind.STRING, "Tiny\0, or not")


def test_a_token_that_is_there_twice_is_refused() -> None:
    for tokens in (("a", "a"), ("", "[EMPTY_0]")):
        with pytest.raises(MalformedError, match="twice"):
            parse_header(
                *ggufs.head(
                    {
                        "tokenizer.ggml.tokens": (Kind.STRING, (*tokens, "b", "c")),
                        "tokenizer.ggml.token_type": (Kind.INT32, (1, 1, 1, 1)),
                    }
                )
            )


def test_a_token_that_is_a_byte_says_which() -> None:
    types = [1] * len(ggufs.vocabulary())
    types[5] = 6
    with pytest.raises(MalformedError, match="byte"):
        parse_changed("tokenizer.ggml.token_type", Kind.INT32, tuple(types))


def test_arrays_of_arrays_and_enormous_counts_cost_nothing() -> None:
    start = struct.pack("<Q", 1) + b"x" + struct.pack("<I", Kind.ARRAY)
    before = HEAD[:24]
    tracemalloc.start()
    try:
        for tail in (
            struct.pack("<IQ", Kind.ARRAY, 1),
            struct.pack("<IQ", Kind.UINT8, 2**63),
            struct.pack("<IQ", Kind.STRING, 2**20),
            struct.pack("<IQQ", Kind.STRING, 1, 2**64 - 1),
            struct.pack("<IQ", Kind.FLOAT64, 2**20),
            struct.pack("<I", 13),
        ):
            with pytest.raises(REFUSED):
                parse_header(before + start + tail, 1 << 30)
        for counts in ((2**63, 1), (1, 2**63), (0, 1)):
            with pytest.raises(REFUSED):
                parse_header(HEAD[:8] + struct.pack("<QQ", *counts), 1 << 30)
        with pytest.raises(LimitError):
            parse_header(before + struct.pack("<Q", 2**62), 1 << 30)
        long = struct.pack("<Q", 1) + b"x" + struct.pack("<IQ", Kind.STRING, MAX_STRING + 1)
        with pytest.raises(LimitError):
            parse_header(before + long, 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_all_arrays_together_are_bounded() -> None:
    part = MAX_ITEMS // 4
    arrays = {f"x.{at}": (Kind.UINT8, (0,) * part) for at in range(5)}
    with pytest.raises(LimitError, match="items"):
        parse_header(*ggufs.head(arrays))  # type: ignore[arg-type]


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    for head in (raw, HEAD[:8] + raw, HEAD[:24] + raw):
        with pytest.raises(REFUSED):
            parse_header(head, len(head))


@given(
    st.lists(
        st.tuples(st.integers(0, len(HEAD) - 1), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, len(HEAD)),
    st.binary(max_size=16),
)
def test_a_mutated_header_is_read_or_refused_and_nothing_else_happens(
    edits: list[tuple[int, bytes]], at: int, inserted: bytes
) -> None:
    raw = bytearray(HEAD)
    for place, data in edits:
        raw[place : place + len(data)] = data
    raw[at:at] = inserted
    try:
        gguf = parse_header(bytes(raw), LENGTH + len(inserted))
    except REFUSED:
        return
    end = max(tensor.offset + tensor.size for tensor in gguf.tensors)
    assert gguf.data_offset + end <= gguf.length
    assert gguf.anatomy.layers > 0


@given(st.sampled_from(sorted(ggufs.entries())), st.sampled_from(Kind), st.data())
def test_any_value_of_any_kind_is_read_or_refused(
    key: str, kind: Kind, data: st.DataObject
) -> None:
    if kind is Kind.ARRAY:
        return
    one: st.SearchStrategy[object]
    if kind is Kind.STRING:
        one = st.text(max_size=20)
    elif kind in (Kind.FLOAT32, Kind.FLOAT64):
        one = st.floats(width=32)
    else:
        bits = 1 if kind is Kind.BOOL else 8 * struct.calcsize(CODES[kind])
        low = -(2 ** (bits - 1)) if CODES[kind].islower() else 0
        one = st.integers(low, low + 2**bits - 1)
    value = data.draw(st.one_of(one, st.lists(one, max_size=4).map(tuple)))
    try:
        parse_changed(key, kind, value)
    except REFUSED:
        return
