"""Small GGUF files for tests: a whole header, and zeros where the weights would be."""

from workunits.models.gguf import Kind, MetaValue
from workunits.models.header import encode_header, lay_out
from workunits.models.tensors import padded

WIDTH = 32
ALIGNMENT = 32
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in a byte-level vocabulary (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("h e", "l l", "he ll", "hell o", "Ġ w", "o r")


def vocabulary() -> tuple[str, ...]:
    """Tokens of a tiny byte-level vocabulary."""
    return (*SPECIAL, *byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES))


def entries() -> dict[str, tuple[Kind, MetaValue]]:
    """Metadata of a tiny model that can chat."""
    tokens = vocabulary()
    types = (3,) * len(SPECIAL) + (1,) * (len(tokens) - len(SPECIAL))
    return {
        "general.architecture": (Kind.STRING, "llama"),
        "general.name": (Kind.STRING, "Tiny"),
        "general.license": (Kind.STRING, "apache-2.0"),
        "general.file_type": (Kind.UINT32, 7),
        "general.languages": (Kind.STRING, ("en",)),
        "llama.block_count": (Kind.UINT32, 2),
        "llama.context_length": (Kind.UINT32, 512),
        "llama.embedding_length": (Kind.UINT32, WIDTH),
        "llama.feed_forward_length": (Kind.UINT32, 64),
        "llama.attention.head_count": (Kind.UINT32, 4),
        "llama.attention.head_count_kv": (Kind.UINT32, 2),
        "llama.attention.layer_norm_rms_epsilon": (Kind.FLOAT32, 2.0**-17),
        "tokenizer.ggml.model": (Kind.STRING, "gpt2"),
        "tokenizer.ggml.pre": (Kind.STRING, "smollm"),
        "tokenizer.ggml.add_bos_token": (Kind.BOOL, False),
        "tokenizer.ggml.tokens": (Kind.STRING, tokens),
        "tokenizer.ggml.token_type": (Kind.INT32, types),
        "tokenizer.ggml.merges": (Kind.STRING, MERGES),
        "tokenizer.ggml.bos_token_id": (Kind.UINT32, 1),
        "tokenizer.ggml.eos_token_id": (Kind.UINT32, 2),
        "tokenizer.chat_template": (Kind.STRING, TEMPLATE),
    }


def head(
    changes: dict[str, tuple[Kind, MetaValue] | None] | None = None,
    shapes: tuple[tuple[str, tuple[int, ...], int], ...] | None = None,
    *,
    version: int = 3,
    alignment: int = ALIGNMENT,
) -> tuple[bytes, int]:
    """A header with ``changes`` of the metadata (None takes a key away), and how long the file is
    of which it is the beginning."""
    fields = entries()
    for key, change in (changes or {}).items():
        if change is None:
            del fields[key]
        else:
            fields[key] = change
    if shapes is None:
        tokens = fields["tokenizer.ggml.tokens"][1] if "tokenizer.ggml.tokens" in fields else ()
        count = max(len(tokens), 1) if isinstance(tokens, tuple) else 1
        shapes = (
            ("token_embd.weight", (WIDTH, count), 8),
            ("blk.0.attn_norm.weight", (WIDTH,), 0),
            ("blk.0.ffn_up.weight", (WIDTH, 64), 2),
        )
    tensors = lay_out(shapes, alignment)
    raw = encode_header(
        version,
        {key: value for key, (_, value) in fields.items()},
        {key: kind for key, (kind, _) in fields.items()},
        tensors,
        alignment,
    )
    return raw, len(raw) + sum(padded(tensor.size, alignment) for tensor in tensors)


def model(changes: dict[str, tuple[Kind, MetaValue] | None] | None = None) -> bytes:
    """A whole file."""
    raw, length = head(changes)
    return raw.ljust(length, b"\0")
