"""A GGUF file of today as one that ctransformers reads, which knows those of September 2023.

Version 2, an output matrix of its own, a vocabulary in plain text with scores, no arrays that it
does not know. The weights are copied byte for byte; equal files become equal files. Text is
tokenized outside (``workunits.models.tokenizer``), so that the file's own vocabulary only has to
be there: parts of characters, which are no text, are named by their bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from workunits.errors import LocalError, MalformedError
from workunits.models.gguf import Gguf, Kind, MetaValue, read_header
from workunits.models.header import encode_header, lay_out
from workunits.models.tensors import Tensor, padded
from workunits.models.tokenizer import byte_alphabet

VERSION = 2
ARCHITECTURES = ("llama", "falcon")
TYPES = frozenset(
    ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
)
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"
_TOKENIZER = "tokenizer.ggml."
_ARRAYS = tuple(_TOKENIZER + name for name in ("tokens", "token_type", "merges"))
_READ = 4 << 20

Watch = Callable[[int, int], None]
"""Takes bytes done and bytes in all."""


def convert(source: Path, target: Path, watch: Watch = lambda done, total: None) -> None:
    """Write what ctransformers can read of ``source`` to ``target``.

    Raises ``MalformedError`` or ``LimitError`` for a file that is none, or that ctransformers has
    no code for, and ``OSError``.
    """
    gguf = read_header(source)
    check(gguf)
    metadata, kinds = plain_metadata(gguf)
    origins = [*gguf.tensors]
    names = [tensor.name for tensor in origins]
    if _OUTPUT not in names:
        origins.append(origins[names.index(_EMBEDDING)])
        names.append(_OUTPUT)
    shapes = ((name, each.shape, each.number) for name, each in zip(names, origins, strict=True))
    tensors = lay_out(shapes, gguf.alignment)
    total = sum(tensor.size for tensor in tensors)
    done = 0
    with source.open("rb") as read, target.open("wb") as written:
        written.write(encode_header(VERSION, metadata, kinds, tensors, gguf.alignment))
        for origin in origins:
            _copy(read, written, gguf.data_offset, origin)
            written.write(bytes(padded(origin.size, gguf.alignment) - origin.size))
            done += origin.size
            watch(done, total)


def check(gguf: Gguf) -> None:
    """Raise ``MalformedError`` if ctransformers has no code for a model."""
    hint = "Use the engine llama.cpp."
    if gguf.anatomy.architecture not in ARCHITECTURES:
        raise MalformedError(
            f"ctransformers does not know the architecture {gguf.anatomy.architecture}", hint=hint
        )
    for tensor in gguf.tensors:
        if tensor.type.name not in TYPES:
            raise MalformedError(
                f"ctransformers does not know weights of the type {tensor.type.name}", hint=hint
            )


def plain_metadata(gguf: Gguf) -> tuple[dict[str, MetaValue], dict[str, Kind]]:
    """The metadata of the file that ctransformers reads."""
    metadata: dict[str, MetaValue] = {}
    kinds: dict[str, Kind] = {}
    byte_level = gguf.metadata.get(_TOKENIZER + "model") == "gpt2"
    for key, value in gguf.metadata.items():
        array = isinstance(value, tuple)
        if key == _TOKENIZER + "pre" or (array and key not in _ARRAYS):
            continue
        metadata[key], kinds[key] = value, gguf.kinds[key]
    if byte_level:
        tokens, merges = (_texts(metadata, name) for name in ("tokens", "merges"))
        spelled = _spelled(tokens)
        metadata[_TOKENIZER + "tokens"] = tuple(spelled.values())
        metadata[_TOKENIZER + "merges"] = tuple(_merge(merge, spelled) for merge in merges)
        scores: MetaValue = (0.0,) * len(tokens)
    else:
        scores = gguf.metadata.get(_TOKENIZER + "scores", ())
    metadata[_TOKENIZER + "scores"] = scores
    kinds[_TOKENIZER + "scores"] = Kind.FLOAT32
    return metadata, kinds


def _copy(read: BinaryIO, written: BinaryIO, start: int, tensor: Tensor) -> None:
    read.seek(start + tensor.offset)
    left = tensor.size
    while left:
        data = read.read(min(left, _READ))
        if not data:
            raise LocalError("the model became shorter while it was read", hint="Try again.")
        written.write(data)
        left -= len(data)


def _texts(metadata: dict[str, MetaValue], name: str) -> tuple[str, ...]:
    found = metadata.get(_TOKENIZER + name, ())
    return tuple(map(str, found)) if isinstance(found, tuple) else ()


def _spelled(tokens: tuple[str, ...]) -> dict[str, str]:
    """Each token in plain text, all of them different; what is no text as ``<0xE2><0x82>``."""
    alphabet = byte_alphabet()
    spelled: dict[str, str] = {}
    taken: set[str] = set()
    for token in tokens:
        try:
            raw = bytes([alphabet[char] for char in token])
        except KeyError:
            raw = token.encode()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = ""
        if not text or "\0" in text or text in taken:
            text = "".join(f"<0x{byte:02X}>" for byte in raw)
        while text in taken:
            text += "\u200b"
        taken.add(text)
        spelled[token] = text
    return spelled


def _merge(merge: str, spelled: dict[str, str]) -> str:
    start, _, right = merge[1:].partition(" ")
    left = merge[:1] + start
    return f"{spelled.get(left, left)} {spelled.get(right, right)}"
