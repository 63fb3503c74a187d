"""The numbers of a model that native code trusts: what a GGUF's metadata and tensors must agree on.

An engine allocates and indexes by them, so that each is bounded here before one sees the file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from workunits.errors import LimitError, MalformedError
from workunits.models.tensors import Tensor

ARCHITECTURES = frozenset(
    {
        "apertus", "arcee", "baichuan", "bloom", "chatglm", "codeshell", "cohere2", "command-r",
        "dbrx", "deepseek", "deepseek2", "dots1", "ernie4_5", "ernie4_5-moe", "exaone", "exaone4",
        "falcon", "gemma", "gemma2", "gemma3", "glm4", "glm4moe", "gpt-oss", "gpt2", "gptneox",
        "granite", "granitemoe", "grok", "hunyuan-dense", "hunyuan-moe", "internlm2", "jais",
        "llama", "llama4", "mimo2", "minicpm", "minicpm3", "mistral3", "mpt", "nemotron", "olmo",
        "olmo2", "olmoe", "openelm", "orion", "phi2", "phi3", "phimoe", "plm", "qwen", "qwen2",
        "qwen2moe", "qwen3", "qwen3moe", "refact", "seed_oss", "smollm3", "stablelm", "starcoder",
        "starcoder2", "xverse",
    }
)  # fmt: skip
"""Text decoders of ``llama-arch.cpp`` whose only state is a cache of keys and values."""

MAX_VOCABULARY = 1 << 19
MAX_TRAINED = 1 << 24
MAX_WIDTH = 1 << 17
MAX_LAYERS = 512
MAX_HEADS = 1024
MAX_HEAD = 4096
MAX_EXPERTS = 512
MAX_INTEGER = 2**31 - 1
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
NO_TOKEN = 2**32 - 1
"""How some writers say that there is no such token."""

_TOKENS = "tokenizer.ggml.tokens"
_EMBEDDING = "token_embd.weight"


class TokenType(IntEnum):
    """``llama_token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A transformer's numbers. ``context`` is the tokens it was trained for; ``kv_heads`` has one
    number for each layer, ``key`` and ``value`` are what one head keeps of a token."""

    architecture: str
    context: int
    width: int
    layers: int
    heads: int
    kv_heads: tuple[int, ...]
    key: int
    value: int
    vocabulary: int

    def cache_bytes(self, context: int) -> int:
        """Bytes of the cache of keys and values for ``context`` tokens, 16 bits each."""
        return 2 * context * sum(self.kv_heads) * (self.key + self.value)

    @classmethod
    def of(cls, metadata: Mapping[str, object], tensors: Sequence[Tensor]) -> "Anatomy":
        """Read the numbers. Raises ``MalformedError`` or ``LimitError``."""
        field = _Fields(metadata)
        architecture = field.text("general.architecture")
        if architecture not in ARCHITECTURES:
            raise MalformedError(
                f"GGUF: the architecture {architecture[:40]!r} is not supported",
                hint="Take a text model such as llama, qwen2, qwen3, gemma3 or phi3.",
            )
        if field.integer("split.count", 0, MAX_INTEGER, 0) > 1:
            raise MalformedError(
                "GGUF: this is one part of a split model",
                hint="Merge the parts with llama-gguf-split --merge.",
            )
        own = architecture + "."
        field.bound(own)
        width = field.integer(own + "embedding_length", 1, MAX_WIDTH)
        layers = field.integer(own + "block_count", 1, MAX_LAYERS)
        heads = max(field.per_layer(own + "attention.head_count", layers, MAX_HEADS, None))
        if not heads:
            raise MalformedError("GGUF: the model has no attention heads")
        kv_heads = field.per_layer(own + "attention.head_count_kv", layers, MAX_HEADS, heads)
        if any(some and heads % some for some in kv_heads):
            raise MalformedError("GGUF: the heads are no multiple of those of the cache")
        size = width // heads
        if size * heads != width and own + "attention.key_length" not in metadata:
            raise MalformedError("GGUF: the embedding is no multiple of the heads")
        experts = field.integer(own + "expert_count", 0, MAX_EXPERTS, 0)
        field.integer(own + "expert_used_count", 0, experts, 0)
        vocabulary = _check_vocabulary(field)
        _check_embedding(tensors, width, vocabulary)
        return cls(
            architecture,
            field.integer(own + "context_length", 1, MAX_TRAINED),
            width,
            layers,
            heads,
            kv_heads,
            field.integer(own + "attention.key_length", 1, MAX_HEAD, max(size, 1)),
            field.integer(own + "attention.value_length", 1, MAX_HEAD, max(size, 1)),
            vocabulary,
        )


class _Fields:
    """Typed, bounded access to metadata."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._metadata = metadata

    def text(self, key: str) -> str:
        value = self._metadata.get(key)
        if not isinstance(value, str):
            raise MalformedError(f"GGUF: {key} is missing, or no text")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._metadata.get(key, default)
        if value is None:
            raise MalformedError(f"GGUF: {key} is missing")
        if not isinstance(value, int) or isinstance(value, bool):
            raise MalformedError(f"GGUF: {key} is no whole number")
        if not low <= value <= high:
            raise LimitError(f"GGUF: {key} is {value}, which is not in {low} to {high}")
        return value

    def array(self, key: str, kind: type) -> tuple[object, ...] | None:
        """The array ``key`` of ``kind``, or None if there is none."""
        value = self._metadata.get(key)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(type(item) is kind for item in value):
            raise MalformedError(f"GGUF: {key} is no list of {kind.__name__}")
        return value

    def keys(self, start: str, end: str) -> list[str]:
        return [key for key in self._metadata if key.startswith(start) and key.endswith(end)]

    def per_layer(self, key: str, layers: int, high: int, default: int | None) -> tuple[int, ...]:
        """A number for every layer; one number stands for all."""
        if not isinstance(self._metadata.get(key), tuple):
            return (self.integer(key, 1, high, default),) * layers
        values = self.array(key, int)
        assert values is not None
        if len(values) != layers:
            raise MalformedError(f"GGUF: {key} has {len(values)} numbers for {layers} layers")
        found = tuple(value for value in values if isinstance(value, int))
        if not all(0 <= value <= high for value in found):
            raise LimitError(f"GGUF: {key} has a number that is not in 0 to {high}")
        return found

    def bound(self, prefix: str) -> None:
        """Bound every number under ``prefix``: engines put them into 32 bits."""
        for key, value in self._metadata.items():
            if not key.startswith(prefix):
                continue
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, int) and not -1 <= item <= MAX_INTEGER:
                    raise LimitError(f"GGUF: {key} is {item}, beyond 31 bits")


def _check_vocabulary(field: _Fields) -> int:
    tokens = field.array(_TOKENS, str)
    if not tokens:
        raise MalformedError(
            "GGUF: the file has no vocabulary",
            hint="Take a model with a tokenizer, not an adapter.",
        )
    count = len(tokens)
    if count > MAX_VOCABULARY:
        raise LimitError(f"GGUF: a vocabulary of {count} is over {MAX_VOCABULARY}")
    for key, kind in (("token_type", int), ("scores", float)):
        column = field.array(f"tokenizer.ggml.{key}", kind)
        if column is not None and len(column) != count:
            raise MalformedError(f"GGUF: {len(column)} of {key} for {count} tokens")
    # Engines give an empty token a name, and die of a name that is there twice.
    if len({token or f"[EMPTY_{at}]" for at, token in enumerate(tokens)}) != count:
        raise MalformedError("GGUF: the vocabulary has one token twice")
    types = field.array("tokenizer.ggml.token_type", int) or ()
    if not set(types) <= set(TokenType):
        raise MalformedError("GGUF: a token has an unknown type")
    if not all(
        BYTE_TOKEN.fullmatch(str(token))
        for token, number in zip(tokens, types, strict=False)
        if number == TokenType.BYTE
    ):
        raise MalformedError("GGUF: a token that is a byte does not say which")
    field.array("tokenizer.ggml.merges", str)
    for key in field.keys("tokenizer.ggml.", "_token_id"):
        number = field.integer(key, -1, NO_TOKEN)
        if number not in (-1, NO_TOKEN) and number >= count:
            raise MalformedError(f"GGUF: {key} is {number}, and there are {count} tokens")
    return count


def _check_embedding(tensors: Sequence[Tensor], width: int, vocabulary: int) -> None:
    found = next((tensor for tensor in tensors if tensor.name == _EMBEDDING), None)
    if found is None:
        raise MalformedError(f"GGUF: the tensor {_EMBEDDING} is missing")
    if found.shape != (width, vocabulary):
        raise MalformedError(
            f"GGUF: {_EMBEDDING} is {found.shape}, for {vocabulary} tokens of width {width}"
        )
