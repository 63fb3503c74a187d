"""The card of a model: all that a tracker, a client and a volunteer must know of it before its
bytes. A card is itself a blob; its words come from the GGUF's own header.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import LimitError, MalformedError, RefusedError
from workunits.ids import HASH_SIZE, BlobRef
from workunits.images import MAX_LAYERS, Image, Layer
from workunits.models.gguf import MAX_FILE, Gguf
from workunits.models.program import MAX_CONTEXT, Engine
from workunits.models.template import MAX_TEMPLATE, Guard, Message, check_template, render
from workunits.models.tokenizer import Tokenizer
from workunits.models.vocabulary import Vocabulary
from workunits.names import plain_text
from workunits.verification import MAX_GAP

MAX_CARD = 16 << 20
MAX_PRICE = 10**9
MAX_PARAMETERS = 10**13
MAX_TEXT = 200
MAX_MEMORY = 1 << 40
UNKNOWN = "unknown"
SLACK = 128 << 20
"""Bytes that an engine takes beside the model, its cache and its logits."""

BATCH = 512
"""Tokens whose logits an engine holds at once."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")
_UNSAFE = re.compile(r"[^a-z0-9._-]+")
FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""``general.file_type`` (``llama_ftype`` of llama.h)."""


@dataclass(frozen=True)
class ModelCard:
    """A model that can be asked.

    ``context`` is tokens of prompt and answer together, ``price`` credits per token, the gaps are
    those of the comparator ``text-model`` (thousandths of a logit; 0 is exact), ``memory_bytes``
    what the engine takes with it. ``template`` is empty for a model that cannot chat.
    """

    name: str
    file: BlobRef
    architecture: str
    quantisation: str
    context: int
    licence: str
    parameters: int
    engine: Engine
    image: Image
    template: str
    vocabulary: Vocabulary
    price: int
    mean_gap: int
    most_gap: int
    memory_bytes: int

    def __hash__(self) -> int:
        return hash((self.name, self.file, self.image.name))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer. The first time takes a second for a large vocabulary."""
        return Tokenizer(self.vocabulary)

    @cached_property
    def guard(self) -> Guard:
        """What keeps messages from being control tokens."""
        return Guard(self.tokenizer)

    @cached_property
    def named(self) -> dict[str, str]:
        """The tokens that a chat template may name."""
        ids = {"bos_token": self.vocabulary.bos, "eos_token": self.vocabulary.eos}
        return {name: self.vocabulary.tokens[at] if at >= 0 else "" for name, at in ids.items()}

    @classmethod
    def of(
        cls,
        gguf: Gguf,
        file: BlobRef,
        *,
        engine: Engine,
        image: Image,
        name: str = "",
        context: int = 0,
        price: int = 1,
        gaps: tuple[int, int] = (0, 0),
        template: str | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> "ModelCard":
        """The card of the file ``file`` with the header ``gguf``.

        ``context`` 0 is as much as the model was trained for, up to 4,096. ``vocabulary`` is for a
        file that was converted and says less than its original. Raises ``MalformedError`` or
        ``LimitError`` for what nobody could ask.
        """
        anatomy = gguf.anatomy
        context = context or min(anatomy.context, 4096)
        if not 1 <= context <= min(anatomy.context, MAX_CONTEXT):
            raise LimitError(
                f"a context of {context:,} tokens is over what the model was trained for: "
                f"{min(anatomy.context, MAX_CONTEXT):,}",
                hint="Ask for a context of no more than that.",
            )
        if template is None:
            template = str(gguf.metadata.get("tokenizer.chat_template", ""))
        card = cls(
            name=name or name_of(gguf),
            file=file,
            architecture=anatomy.architecture,
            quantisation=quantisation_of(gguf),
            context=context,
            licence=_line(gguf.metadata.get("general.license")),
            parameters=sum(tensor.elements for tensor in gguf.tensors),
            engine=engine,
            image=image,
            template=template,
            vocabulary=vocabulary or Vocabulary.of(gguf),
            price=price,
            mean_gap=gaps[0],
            most_gap=gaps[1],
            memory_bytes=file.length
            + anatomy.cache_bytes(context)
            + 4 * BATCH * anatomy.vocabulary
            + SLACK,
        )
        card.check()
        return card

    def check(self) -> None:
        """Raise ``MalformedError`` or ``LimitError`` for the first rule that does not hold."""
        if not _NAME.fullmatch(self.name):
            raise MalformedError(
                f"{self.name[:80]!r} is not a name for a model",
                hint="Use letters, digits, '.', '_', ':', '/' and '-', at most 100.",
            )
        for text in (self.architecture, self.quantisation, self.licence):
            plain_text(text, "the model's card")
        if (self.mean_gap > 0) != (self.most_gap > 0):
            raise MalformedError("both gaps of a model are 0, or neither is")
        self.image.check()
        if self.template:
            check_template(self.template)
        self.vocabulary.check()

    def priced(self, price: int) -> "ModelCard":
        """The same model for another price."""
        return replace(self, price=price)

    def encode(self) -> bytes:
        """The canonical bytes, which are the blob."""
        return canonical.encode(
            {
                "architecture": self.architecture,
                "context": self.context,
                "engine": self.engine.value,
                "file": _ref_value(self.file),
                "image": {
                    "layers": [layer.value() for layer in self.image.layers],
                    "name": self.image.name,
                },
                "licence": self.licence,
                "mean_gap": self.mean_gap,
                "memory": self.memory_bytes,
                "most_gap": self.most_gap,
                "name": self.name,
                "parameters": self.parameters,
                "price": self.price,
                "quantisation": self.quantisation,
                "template": self.template,
                "vocabulary": self.vocabulary.value(),
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> "ModelCard":
        """Read a card strictly. Raises ``MalformedError`` or ``LimitError``.

        A vocabulary of 100,000 tokens takes a tenth of a second: not on an event loop.
        """
        fields = canonical.decode_fields(raw, limit=MAX_CARD, what="model card")
        engine = fields.text("engine", limit=20)
        if engine not in set(Engine):
            raise MalformedError(f"model card: the engine {engine!r} is unknown")
        card = cls(
            name=fields.text("name", limit=100),
            file=_read_ref(fields.group("file")),
            architecture=fields.text("architecture", limit=MAX_TEXT),
            quantisation=fields.text("quantisation", limit=MAX_TEXT),
            context=fields.integer("context", 1, MAX_CONTEXT),
            licence=fields.text("licence", limit=MAX_TEXT),
            parameters=fields.integer("parameters", 1, MAX_PARAMETERS),
            engine=Engine(engine),
            image=_read_image(fields.group("image")),
            template=fields.text("template", limit=4 * MAX_TEMPLATE),
            vocabulary=Vocabulary.read(fields.group("vocabulary")),
            price=fields.integer("price", 0, MAX_PRICE),
            mean_gap=fields.integer("mean_gap", 0, MAX_GAP),
            most_gap=fields.integer("most_gap", 0, MAX_GAP),
            memory_bytes=fields.integer("memory", 1, MAX_MEMORY),
        )
        fields.end()
        card.check()
        return card


def chat_ids(card: ModelCard, messages: list[Message]) -> tuple[int, ...]:
    """The ids of a conversation, up to where the model's answer begins.

    Nothing in a message makes a control token. Raises ``RefusedError`` for a model that cannot
    chat, and what ``render`` and ``Tokenizer.encode`` raise.
    """
    if not card.template:
        raise RefusedError(
            f"{card.name} has no chat template",
            hint="Ask it to complete a plain text, or take an instruct model.",
        )
    text = render(card.template, messages, tokens=card.named, guard=card.guard)
    return begun(card.vocabulary, card.guard.encode(text))


def text_ids(card: ModelCard, text: str) -> tuple[int, ...]:
    """The ids of a plain text that the model is to go on with."""
    return begun(card.vocabulary, card.tokenizer.encode(text))


def begun(vocabulary: Vocabulary, ids: tuple[int, ...]) -> tuple[int, ...]:
    """``ids`` with the token in front that begins a text, if the model wants it and has it not."""
    if not vocabulary.add_bos or ids[:1] == (vocabulary.bos,):
        return ids
    return (vocabulary.bos, *ids)


def name_of(gguf: Gguf) -> str:
    """A name for a model, from what its header says: ``smollm2-135m-q4_1``."""
    said = [gguf.metadata.get(f"general.{key}") for key in ("basename", "size_label")]
    words = [word for word in said if isinstance(word, str)]
    if len(words) < 2:
        words = [str(gguf.metadata.get("general.name", gguf.anatomy.architecture))]
    parts = [_UNSAFE.sub("-", word.lower()) for word in (*words, quantisation_of(gguf))]
    return "-".join(part.strip("-._") for part in parts)[:100].strip("-._") or "model"


def quantisation_of(gguf: Gguf) -> str:
    """How the weights are stored: what the header says, or else the type of most of them."""
    said = gguf.metadata.get("general.file_type")
    if isinstance(said, int) and said in FILE_TYPES:
        return FILE_TYPES[said]
    sizes: Counter[str] = Counter()
    for tensor in gguf.tensors:
        sizes[tensor.type.name] += tensor.elements
    return sizes.most_common(1)[0][0]


def _line(value: object) -> str:
    """A short text for people, or ``UNKNOWN``."""
    text = value if isinstance(value, str) else ""
    kept = "".join(char for char in text if char.isprintable())
    return kept.encode()[:MAX_TEXT].decode(errors="ignore") or UNKNOWN


def _ref_value(ref: BlobRef) -> dict[str, object]:
    return {"length": ref.length, "v1": ref.v1, "v2": ref.v2}


def _read_ref(fields: Fields) -> BlobRef:
    ref = BlobRef(
        v2=fields.octets("v2", length=HASH_SIZE),
        v1=fields.octets("v1", length=20),
        length=fields.integer("length", 1, MAX_FILE),
    )
    fields.end()
    return ref


def _read_image(fields: Fields) -> Image:
    layers = tuple(Layer.parse(group) for group in fields.groups("layers", MAX_LAYERS))
    image = Image(fields.text("name", limit=80), layers)
    fields.end()
    return image
