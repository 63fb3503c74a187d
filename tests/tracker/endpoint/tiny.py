"""A model that needs no weights: a token for each byte, and the marks of a chat."""

from dataclasses import replace

from tests.workunits.models.cards import card_of
from tests.workunits.models.ggufs import byte_alphabet
from tracker.endpoint.dialects import Dialect
from workunits.models.anatomy import TokenType
from workunits.models.card import ModelCard
from workunits.models.gguf import Kind

START, END = 256, 257
NAME = "tiny-1"
CONTEXT = 1024
_TYPES = (TokenType.NORMAL,) * 256 + (TokenType.CONTROL,) * 2 + (TokenType.NORMAL,)
_VOCABULARY = {
    "tokenizer.ggml.tokens": (Kind.STRING, (*byte_alphabet(), "<|im_start|>", "<|im_end|>", "~}")),
    "tokenizer.ggml.token_type": (Kind.INT32, tuple(map(int, _TYPES))),
    "tokenizer.ggml.merges": (Kind.STRING, ("~ }",)),
    "tokenizer.ggml.pre": (Kind.STRING, "gpt-2"),
    "tokenizer.ggml.bos_token_id": None,
    "tokenizer.ggml.eos_token_id": (Kind.UINT32, END),
}
"""Bytes in their order, so that most ids can be read as letters; one merge, because there must be
one."""


def card(
    name: str = "tiny", *, price: int = 2, context: int = CONTEXT, gaps: tuple[int, int] = (0, 0)
) -> ModelCard:
    """Its card; nobody has the model or its image."""
    changes = _VOCABULARY | {"llama.context_length": (Kind.UINT32, context)}
    return card_of(changes, name=name, price=price, context=context, gaps=gaps)


CARD = card(NAME, context=4096, gaps=(10, 1000))
OTHER = replace(CARD, name="other-1", context=200)
DIALECT = Dialect(CARD)


def ids(text: str, *, end: bool = True) -> tuple[int, ...]:
    """An answer that says ``text``."""
    return (*text.encode(), END) if end else tuple(text.encode())
