"""The vocabulary of a model: its tokens, what they are, and which of them end a text."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from workunits.canonical import Fields
from workunits.errors import LimitError, MalformedError
from workunits.models.anatomy import MAX_VOCABULARY, NO_TOKEN, TokenType
from workunits.models.gguf import Gguf, MetaValue

MAX_TOKEN = 2048
MAX_MERGES = 1 << 20
BYTE_LEVEL = "gpt2"
SENTENCE_PIECE = "llama"
MODELS = (BYTE_LEVEL, SENTENCE_PIECE)
NONE = -1

_ENDS = frozenset(
    {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
        "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
        "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
        "<\uff5cend▁of▁sentence\uff5c>", "[e~[",
    }
)  # fmt: skip
"""Tokens that end a text, wherever they are (``llama-vocab.cpp``)."""

_FILL_ENDS = (
    ("fim_pad", ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]")),
    ("fim_rep", ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>")),
    ("fim_sep", ("<|file_sep|>",)),
)
_FILLS = frozenset(
    {
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "▁<MID>", "<|code_middle|>",
        "<\uff5cfim▁begin\uff5c>", "<\uff5cfim▁hole\uff5c>", "<\uff5cfim▁end\uff5c>",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, and what a tokenizer must know of them.

    ``model`` is ``gpt2`` (byte-level BPE with ``merges``, split by ``pre`` before) or ``llama``
    (SentencePiece with ``scores``). ``types`` has a ``TokenType`` for each token. ``bos`` is
    -1 where there is none; ``ends`` are all tokens that end a text, ``eos`` among them. ``prefix``
    is whether a text begins with a space.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: bytes
    merges: tuple[str, ...]
    scores: tuple[float, ...]
    bos: int
    eos: int
    ends: frozenset[int]
    add_bos: bool
    prefix: bool

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def control(self) -> frozenset[int]:
        """Tokens that text of a person never has."""
        hidden = (TokenType.CONTROL, TokenType.UNKNOWN)
        return frozenset(at for at, number in enumerate(self.types) if number in hidden)

    @classmethod
    def of(cls, gguf: Gguf) -> "Vocabulary":
        """The vocabulary of a checked header. Raises ``MalformedError``."""
        data = gguf.metadata
        model = data.get("tokenizer.ggml.model")
        if model not in MODELS:
            raise MalformedError(
                f"the tokenizer {str(model)[:40]!r} is not supported",
                hint="Take a model with a byte-level BPE (gpt2) or a SentencePiece (llama) one.",
            )
        pieces = model == SENTENCE_PIECE
        tokens = _texts(data.get("tokenizer.ggml.tokens", ()))
        numbers = _numbers(data.get("tokenizer.ggml.token_type", ()))
        types = bytearray(numbers or (TokenType.NORMAL,) * len(tokens))
        places = {token: at for at, token in enumerate(tokens)}
        ends = _ends(data, places, types)
        pre = data.get("tokenizer.ggml.pre", "")
        bos, eos = _special(data, "bos", 1 if pieces else NONE), _special(data, "eos", NONE)
        if eos == NONE:
            raise MalformedError("GGUF: the vocabulary does not say which token ends a text")
        ends.add(eos)
        add_bos = data.get("tokenizer.ggml.add_bos_token", pieces or pre in _BEGUN)
        prefix = data.get("tokenizer.ggml.add_space_prefix", pieces)
        scores = data.get("tokenizer.ggml.scores", ()) if pieces else ()
        assert isinstance(scores, tuple)
        vocabulary = cls(
            model=str(model),
            pre="" if pieces else str(pre),
            tokens=tuple(token or f"[EMPTY_{at}]" for at, token in enumerate(tokens)),
            types=bytes(types),
            merges=() if pieces else _texts(data.get("tokenizer.ggml.merges", ())),
            scores=tuple(float(score) for score in scores),
            bos=bos,
            eos=eos,
            ends=frozenset(ends),
            add_bos=add_bos is True and bos != NONE,
            prefix=prefix is True,
        )
        vocabulary.check()
        return vocabulary

    def check(self) -> None:
        """Raise ``MalformedError`` or ``LimitError`` unless the parts fit together."""
        count = len(self.tokens)
        if not 0 < count <= MAX_VOCABULARY or len(self.merges) > MAX_MERGES:
            raise LimitError("the vocabulary is empty, or too large")
        if len(self.types) != count or not set(self.types) <= set(TokenType):
            raise MalformedError("the vocabulary does not say what each token is")
        if len(set(self.tokens)) != count:
            raise MalformedError("the vocabulary has one token twice")
        if self.model == SENTENCE_PIECE and len(self.scores) != count:
            raise MalformedError("the vocabulary has no score for each token")
        if self.model == BYTE_LEVEL and not self.merges:
            raise MalformedError("the vocabulary has no merges")
        ids = (self.bos, self.eos, *self.ends)
        if not all(NONE <= number < count for number in ids) or NONE in self.ends:
            raise MalformedError("the vocabulary names a token that it does not have")
        if self.eos not in self.ends or (self.add_bos and self.bos == NONE):
            raise MalformedError("the vocabulary lacks a token that begins or ends a text")
        for texts in (self.tokens, self.merges):
            if max(map(len, texts), default=0) > MAX_TOKEN:
                raise LimitError(f"a token has more than {MAX_TOKEN} characters")

    def value(self) -> dict[str, object]:
        """The canonical form. Scores are 32-bit floats, big-endian."""
        return {
            "add_bos": int(self.add_bos),
            "bos": self.bos,
            "ends": sorted(self.ends),
            "eos": self.eos,
            "merges": list(self.merges),
            "model": self.model,
            "pre": self.pre,
            "prefix": int(self.prefix),
            "scores": struct.pack(f">{len(self.scores)}f", *self.scores),
            "tokens": list(self.tokens),
            "types": self.types,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Vocabulary":
        """Read it strictly."""
        ends = fields.items("ends", 256)
        numbers = [end for end in ends if isinstance(end, int)]
        if len(numbers) != len(ends) or numbers != sorted(set(numbers)):
            raise MalformedError("the vocabulary: ends must be ids, in order, each once")
        model = fields.text("model", limit=10)
        if model not in MODELS:
            raise MalformedError(f"the vocabulary is of the unknown kind {model!r}")
        scores = fields.octets("scores", limit=4 * MAX_VOCABULARY)
        if len(scores) % 4:
            raise MalformedError("the vocabulary: scores are cut off")
        vocabulary = cls(
            model=model,
            pre=fields.text("pre", limit=40),
            tokens=fields.texts("tokens", count=MAX_VOCABULARY, limit=4 * MAX_TOKEN),
            types=fields.octets("types", limit=MAX_VOCABULARY),
            merges=fields.texts("merges", count=MAX_MERGES, limit=4 * MAX_TOKEN),
            scores=struct.unpack(f">{len(scores) // 4}f", scores),
            bos=fields.integer("bos", NONE, MAX_VOCABULARY),
            eos=fields.integer("eos", 0, MAX_VOCABULARY),
            ends=frozenset(numbers),
            add_bos=fields.flag("add_bos"),
            prefix=fields.flag("prefix"),
        )
        fields.end()
        if any(score - score for score in vocabulary.scores):  # neither infinite nor NaN
            raise MalformedError("the vocabulary: a score is not a finite number")
        vocabulary.check()
        return vocabulary


_BEGUN = frozenset(
    {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2", "tekken"}
)
"""Pre-tokenizers whose models want a first token that says where a text begins."""


def _ends(data: Mapping[str, MetaValue], places: dict[str, int], types: bytearray) -> set[int]:
    """The tokens that end a text, by llama.cpp's rules; ``types`` is put right on the way."""
    ends = {places[text] for text in _ENDS & places.keys()}
    for name, texts in _FILL_ENDS:
        found = _special(data, name, next((places[t] for t in texts if t in places), NONE))
        if found != NONE:
            ends.add(found)
    for at in ends | {places[text] for text in _FILLS & places.keys()}:
        types[at] = TokenType.CONTROL
    ends |= {found for name in ("eot", "eom") if (found := _special(data, name, NONE)) != NONE}
    calls = "<|call|>" in places or "<|calls|>" in places
    if "<|end|>" in places and calls and ("<|return|>" in places or "<|flush|>" in places):
        ends.discard(places["<|end|>"])
    if "</s>" in places and {"<|tool_response>", "<|plamo:eos|>"} & places.keys():
        ends.discard(places["</s>"])
        types[places["</s>"]] = TokenType.NORMAL
    return ends


def _special(data: Mapping[str, MetaValue], name: str, default: int) -> int:
    found = data.get(f"tokenizer.ggml.{name}_token_id")
    if not isinstance(found, int) or found in (NONE, NO_TOKEN):
        return default
    return found


def _texts(value: MetaValue) -> tuple[str, ...]:
    return tuple(str(item) for item in _items(value))


def _numbers(value: MetaValue) -> tuple[int, ...]:
    return tuple(item for item in _items(value) if isinstance(item, int))


def _items(value: MetaValue) -> Iterable[object]:
    return value if isinstance(value, tuple) else ()
