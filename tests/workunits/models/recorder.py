"""Records what llama.cpp makes of texts, which ``test_tokenizer`` compares with.

Run it with a Python that has llama-cpp-python: ``python -m tests.workunits.models.recorder``. The
vocabularies are made of the texts themselves; merges join everything, over words and lines, so that
only the way to split a text keeps its parts apart.
"""

import ctypes
import json
import tempfile
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.workunits.models import ggufs
from workunits.models.gguf import Kind, MetaValue

VECTORS = Path(__file__).with_name("vectors.json")
TEXTS = tuple(json.loads(VECTORS.with_name("texts.json").read_text()))
SPLITS = (
    "gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "qwen35", "tekken", "gpt-4o", "deepseek-v3",
)  # fmt: skip
PREFIXES = {"llama": True, "llama without prefix": False}
MERGES = 500
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
OWN = "<think>"
PIECES = 400
SPACE = "\u2581"


@cache
def merges() -> tuple[str, ...]:
    """The most frequent pairs of the texts, one after the other."""
    alphabet = ggufs.byte_alphabet()
    parts = [[alphabet[byte] for byte in text.encode()] for text in TEXTS]
    made = []
    for _ in range(MERGES):
        pairs = Counter(
            pair
            for some in parts
            for pair in pairwise(some)
            if "".join(pair) not in (*CONTROL, OWN, "</s>")
        )
        left, right = min(pairs, key=lambda pair: (-pairs[pair], len("".join(pair)), pair))
        made.append(f"{left} {right}")
        for some in parts:
            for at in range(len(some) - 2, -1, -1):
                if some[at : at + 2] == [left, right]:
                    some[at : at + 2] = [left + right]
    return tuple(made)


def bpe(pre: str) -> dict[str, tuple[Kind, MetaValue] | None]:
    """Metadata of a byte-level vocabulary."""
    made = dict.fromkeys(merge.replace(" ", "") for merge in merges())
    tokens = (*CONTROL, OWN, *ggufs.byte_alphabet(), *made)
    types = [1] * len(tokens)
    types[: len(CONTROL) + 1] = [3] * len(CONTROL) + [4]
    return {
        "tokenizer.ggml.pre": (Kind.STRING, pre),
        "tokenizer.ggml.tokens": (Kind.STRING, tokens),
        "tokenizer.ggml.token_type": (Kind.INT32, tuple(types)),
        "tokenizer.ggml.merges": (Kind.STRING, merges()),
    }


def pieces(prefix: bool) -> dict[str, tuple[Kind, MetaValue] | None]:
    """Metadata of a SentencePiece vocabulary, of pieces of the texts."""
    text = " ".join(text for text in TEXTS if text.isprintable())
    parts: Counter[str] = Counter()
    for word in text.split():
        marked = SPACE + word
        for start in range(len(marked)):
            for end in range(start + 2, min(len(marked), start + 6) + 1):
                parts[marked[start:end]] += 1
    known = [part for part, _ in sorted(parts.items(), key=lambda item: (-item[1], item[0]))]
    known = [*known[:PIECES], *(SPACE * size for size in (2, 4)), *map(chr, range(33, 127)), SPACE]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    known = [part for part in known if part not in first and part != OWN]
    tokens = [*first, *known, OWN]
    types = [2, 3, 3] + [6] * 256 + [1] * len(known) + [4]
    scores = [0.0] * 259 + [float(-at) for at in range(len(known))] + [0.0]
    return {
        "tokenizer.ggml.model": (Kind.STRING, "llama"),
        "tokenizer.ggml.pre": None,
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.add_bos_token": None,
        "tokenizer.ggml.tokens": (Kind.STRING, tuple(tokens)),
        "tokenizer.ggml.token_type": (Kind.INT32, tuple(types)),
        "tokenizer.ggml.scores": (Kind.FLOAT32, tuple(scores)),
        "tokenizer.ggml.add_space_prefix": (Kind.BOOL, prefix),
    }


def record(raw: bytes, length: int) -> dict[str, Any]:
    """What llama.cpp says of a vocabulary."""
    import llama_cpp

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(raw)
        file.truncate(length)
        file.flush()
        model = llama_cpp.Llama(file.name, vocab_only=True, verbose=False)
    vocabulary = llama_cpp.llama_model_get_vocab(model._model.model)
    count = llama_cpp.llama_vocab_n_tokens(vocabulary)

    def piece(token: int) -> str:
        room = ctypes.create_string_buffer(256)
        size = llama_cpp.llama_token_to_piece(vocabulary, token, room, 256, 0, False)
        return room.raw[:size].hex()

    def ids(text: str, special: bool) -> list[int]:
        return list(model.tokenize(text.encode(), add_bos=False, special=special))

    return {
        "add_bos": bool(llama_cpp.llama_vocab_get_add_bos(vocabulary)),
        "ends": [at for at in range(count) if llama_cpp.llama_vocab_is_eog(vocabulary, at)],
        "pieces": [piece(at) for at in range(0, count, 7)],
        "plain": [ids(text, False) for text in TEXTS],
        "special": [ids(text, True) for text in TEXTS],
    }


def main() -> None:
    """Write the vectors."""
    vectors: dict[str, Any] = {}
    for pre in SPLITS:
        vectors[pre] = record(*ggufs.head(bpe(pre)))
    for name, prefix in PREFIXES.items():
        vectors[name] = record(*ggufs.head(pieces(prefix)))
    VECTORS.write_text(json.dumps(vectors, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
