"""The card of a model that can be published: nobody has the model or its image."""

from tests.tracker.endpoint.tiny import TEMPLATE, vocabulary
from workunits.ids import BlobRef
from workunits.images import Image, Layer, chain_id
from workunits.models.card import ModelCard
from workunits.models.program import Engine

CONTEXT = 1024
MEMORY = 64 << 20
_DIFF = b"d" * 32


def card(
    name: str = "tiny", *, price: int = 2, context: int = CONTEXT, gaps: tuple[int, int] = (0, 0)
) -> ModelCard:
    """A card with an image that has a layer."""
    layer = Layer(_DIFF, BlobRef(b"L" * 32, b"l" * 20, 1024))
    return ModelCard(
        name=name,
        file=BlobRef(b"M" * 32, b"m" * 20, 4096),
        architecture="llama",
        quantisation="Q4_1",
        context=context,
        licence="Apache-2.0",
        parameters=135_000_000,
        engine=Engine.LLAMA_CPP,
        image=Image(chain_id([_DIFF]), (layer,)),
        template=TEMPLATE,
        vocabulary=vocabulary(),
        price=price,
        mean_gap=gaps[0],
        most_gap=gaps[1],
        memory_bytes=MEMORY,
    )
