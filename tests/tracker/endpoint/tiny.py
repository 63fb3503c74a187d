"""A model that needs no weights: a token for each byte, and the marks of a chat."""

from dataclasses import replace

from tracker.endpoint.dialects import Dialect
from workunits.ids import BlobRef
from workunits.images import Image
from workunits.models.anatomy import TokenType
from workunits.models.card import ModelCard
from workunits.models.program import Engine
from workunits.models.tokenizer import byte_alphabet
from workunits.models.vocabulary import Vocabulary

START, END, THE = 256, 257, 258
NAME = "tiny-1"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vocabulary() -> Vocabulary:
    """Bytes in their order, so that most ids can be read as letters; one merge, because there must
    be one."""
    by_byte = {byte: letter for letter, byte in byte_alphabet().items()}
    tokens = (*(by_byte[byte] for byte in range(256)), "<|im_start|>", "<|im_end|>", "~}")
    return Vocabulary(
        model="gpt2",
        pre="gpt-2",
        tokens=tokens,
        types=bytes([TokenType.NORMAL] * 256 + [TokenType.CONTROL] * 2 + [TokenType.NORMAL]),
        merges=("~ }",),
        scores=(),
        bos=-1,
        eos=END,
        ends=frozenset({END}),
        add_bos=False,
        prefix=False,
    )


CARD = ModelCard(
    name=NAME,
    file=BlobRef(b"\x11" * 32, b"\x22" * 20, 1000),
    architecture="llama",
    quantisation="Q4_1",
    context=4096,
    licence="Apache-2.0",
    parameters=1000,
    engine=Engine.LLAMA_CPP,
    image=Image("0" * 64, ()),
    template=TEMPLATE,
    vocabulary=vocabulary(),
    price=2,
    mean_gap=10,
    most_gap=1000,
    memory_bytes=1 << 20,
)
OTHER = replace(CARD, name="other-1", context=200)
DIALECT = Dialect(CARD)


def ids(text: str, *, end: bool = True) -> tuple[int, ...]:
    """An answer that says ``text``."""
    return (*text.encode(), END) if end else tuple(text.encode())
