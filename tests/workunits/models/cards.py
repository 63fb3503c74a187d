"""A card of the tiny model of ``ggufs``."""

import hashlib
from typing import Any

from tests.workunits.models import ggufs
from workunits.ids import BlobRef
from workunits.images import Image, Layer, chain_id
from workunits.models.card import ModelCard
from workunits.models.gguf import parse_header
from workunits.models.program import Engine

DIFF = hashlib.sha256(b"layer").digest()
IMAGE = Image(chain_id([DIFF]), (Layer(DIFF, BlobRef(b"l" * 32, b"l" * 20, 1024)),))


def card_of(changes: dict[str, Any] | None = None, **words: Any) -> ModelCard:
    """A card of the tiny model with ``changes`` of its metadata."""
    gguf = parse_header(*ggufs.head(changes))
    file = BlobRef(b"m" * 32, b"m" * 20, gguf.length)
    words = {"engine": Engine.LLAMA_CPP, "image": IMAGE, **words}
    return ModelCard.of(gguf, file, **words)
