"""What ctransformers reads: an older version, an output matrix, a vocabulary in plain text."""

from pathlib import Path

import pytest

from client.models.convert import convert
from tests.workunits.models import ggufs
from workunits.errors import MalformedError
from workunits.models.gguf import Gguf, Kind, read_header

EMBEDDING = ("token_embd.weight", (ggufs.WIDTH, len(ggufs.vocabulary())), 8)


def converted(folder: Path, **words: object) -> tuple[Path, Path]:
    source, target = folder / "a.gguf", folder / "b.gguf"
    raw, length = ggufs.head(**words)  # type: ignore[arg-type]
    filled = bytes(at * 7 % 251 for at in range(length - len(raw)))
    source.write_bytes(raw + filled)
    convert(source, target)
    return source, target


def test_the_file_is_an_older_one_with_the_same_weights(tmp_path: Path) -> None:
    source, target = converted(tmp_path)
    before, after = read_header(source), read_header(target)
    assert (after.version, after.anatomy.vocabulary) == (2, before.anatomy.vocabulary)
    assert [tensor.name for tensor in after.tensors] == [
        *(tensor.name for tensor in before.tensors), "output.weight",
    ]  # fmt: skip
    old, new = source.read_bytes(), target.read_bytes()

    def data(raw: bytes, gguf: Gguf, name: str) -> bytes:
        (tensor,) = [each for each in gguf.tensors if each.name == name]
        start = gguf.data_offset + tensor.offset
        return raw[start : start + tensor.size]

    for tensor in before.tensors:
        assert data(new, after, tensor.name) == data(old, before, tensor.name)
    assert data(new, after, "output.weight") == data(old, before, "token_embd.weight")


def test_an_output_matrix_that_is_there_is_kept(tmp_path: Path) -> None:
    shapes = (EMBEDDING, ("output.weight", EMBEDDING[1], 2))
    _, target = converted(tmp_path, shapes=shapes)
    assert [tensor.number for tensor in read_header(target).tensors] == [8, 2]


def test_the_vocabulary_is_plain_text_and_every_token_another(tmp_path: Path) -> None:
    source, target = converted(tmp_path)
    before, after = (read_header(path).metadata for path in (source, target))
    tokens = after["tokenizer.ggml.tokens"]
    assert isinstance(tokens, tuple)
    assert {"\n", " ", "hello", " w", "<|im_end|>", "<0xF0>", "<0x00>"} <= set(tokens)
    assert len(set(tokens)) == len(tokens) == len(ggufs.vocabulary())
    assert after["tokenizer.ggml.merges"] == ("h e", "l l", "he ll", "hell o", "  w", "o r")
    assert after["tokenizer.ggml.scores"] == (0.0,) * len(tokens)
    assert not {"tokenizer.ggml.pre", "general.languages"} & after.keys()
    assert after["llama.context_length"] == before["llama.context_length"]


def test_equal_files_become_equal_files(tmp_path: Path) -> None:
    source, target = converted(tmp_path)
    again = tmp_path / "c.gguf"
    convert(source, again)
    assert again.read_bytes() == target.read_bytes()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"shapes": (EMBEDDING, ("x", (256,), 20))}, "IQ4_NL"),
        ({"shapes": (EMBEDDING, ("x", (256,), 30))}, "BF16"),
    ],
)
def test_weights_that_it_has_no_code_for_are_named(
    tmp_path: Path, words: dict[str, object], named: str
) -> None:
    with pytest.raises(MalformedError, match=named):
        converted(tmp_path, **words)


def test_architectures_that_it_has_no_code_for_are_named(tmp_path: Path) -> None:
    changes: dict[str, object] = {
        key.replace("llama.", "qwen2."): value
        for key, value in ggufs.entries().items()
        if key.startswith("llama.")
    }
    changes["general.architecture"] = (Kind.STRING, "qwen2")
    with pytest.raises(MalformedError, match="qwen2"):
        converted(tmp_path, changes=changes)


def test_what_is_no_model_is_not_converted(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(MalformedError):
        convert(tmp_path / "a.gguf", tmp_path / "b.gguf")
    assert not (tmp_path / "b.gguf").exists()
