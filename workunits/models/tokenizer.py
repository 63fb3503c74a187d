"""Text to token ids and back, outside of any engine: ids are what travels, never text.

Text of a person is encoded as text whatever it says: the tokens that mark turns, roles and ends are
not in the vocabulary that it is encoded with.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Sequence

from tokenizers import AddedToken, Regex
from tokenizers import Tokenizer as Encoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Splits

from workunits.errors import LimitError, MalformedError
from workunits.models.anatomy import TokenType
from workunits.models.pieces import Pieces
from workunits.models.splits import SPLITS
from workunits.models.vocabulary import SENTENCE_PIECE, Vocabulary

MAX_TEXT = 4 << 20
"""Most characters that are encoded at once."""


class Tokenizer:
    """The tokenizer of one vocabulary. Safe to use from several threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Build it. Raises ``MalformedError`` for a vocabulary that nobody knows how to split."""
        self.vocabulary = vocabulary
        self.ends = vocabulary.ends
        if vocabulary.model == SENTENCE_PIECE:
            self._encode: Callable[[str], Sequence[int]] = Pieces(vocabulary).encode
            table = _piece_bytes(vocabulary)
        else:
            encoder = _byte_level(vocabulary)
            self._encode = lambda text: encoder.encode(text, add_special_tokens=False).ids
            table = _byte_level_bytes(vocabulary)
        self._table = table
        texts = sorted((vocabulary.tokens[at] for at in vocabulary.control), key=len, reverse=True)
        self._control = {vocabulary.tokens[at]: at for at in vocabulary.control}
        # No text matches an empty class, so that a vocabulary without such tokens is none either.
        self._marks = re.compile("|".join(map(re.escape, texts)) or r"[^\s\S]")

    def encode(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """The ids of ``text``.

        Only with ``special``, for what a template made, names of control tokens are those tokens.
        Raises ``LimitError`` above ``MAX_TEXT`` characters.
        """
        if len(text) > MAX_TEXT:
            raise LimitError(
                f"a text of {len(text):,} characters is over the limit of {MAX_TEXT:,}",
                hint="Ask with a shorter prompt.",
            )
        text = text.encode(errors="replace").decode()
        if not special:
            return tuple(self._encode(text))
        found: list[int] = []
        at = 0
        for match in self._marks.finditer(text):
            found += self._encode(text[at : match.start()]) if at < match.start() else ()
            found.append(self._control[match[0]])
            at = match.end()
        return (*found, *(self._encode(text[at:]) if at < len(text) else ()))

    def marks(self, text: str) -> Iterable[re.Match[str]]:
        """Where ``text`` has names of control tokens."""
        return self._marks.finditer(text)

    @property
    def control(self) -> Iterable[str]:
        """The names of control tokens."""
        return self._control

    def piece(self, token: int) -> bytes:
        """The bytes of a token; none for a control token, and for ids that there are not."""
        return self._table[token] if 0 <= token < len(self._table) else b""

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of all of them."""
        return b"".join(map(self.piece, ids))

    def text(self, ids: Iterable[int]) -> str:
        """The same as text; what is not UTF-8 becomes U+FFFD."""
        return self.decode(ids).decode(errors="replace")


class Decoder:
    """Tokens that come one by one, as text: a character is told when all of its bytes are there."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, ids: Iterable[int]) -> str:
        """The text that ``ids`` complete."""
        return self._decoder.decode(self._tokenizer.decode(ids))

    def end(self) -> str:
        """What is left: U+FFFD for a character whose end never came."""
        return self._decoder.decode(b"", final=True)


def byte_alphabet() -> dict[str, int]:
    """The characters that stand for bytes in byte-level vocabularies (GPT-2's encoder.py)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = sorted(set(range(256)).difference(shown))
    return {chr(byte): byte for byte in shown} | {
        chr(256 + at): byte for at, byte in enumerate(hidden)
    }


def _byte_level(vocabulary: Vocabulary) -> Encoder:
    split = SPLITS.get(vocabulary.pre)
    if split is None:
        raise MalformedError(
            f"nobody knows how the pre-tokenizer {vocabulary.pre!r} splits a text",
            hint="Known: " + ", ".join(sorted(SPLITS)) + ".",
        )
    known = {
        token: at for at, token in enumerate(vocabulary.tokens) if at not in vocabulary.control
    }
    hidden = {vocabulary.tokens[at] for at in vocabulary.control}
    pairs = [_pair(merge, known, hidden) for merge in vocabulary.merges]
    # A control token that merges could make, as </s> of HTML, is left to templates.
    merges = [(left, right) for left, right in pairs if not hidden & {left, right, left + right}]
    encoder = Encoder(BPE(known, merges, ignore_merges=split.whole))
    encoder.pre_tokenizer = Splits(
        [
            *(Split(Regex(pattern), "isolated") for pattern in split.patterns),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    encoder.add_tokens(
        [
            AddedToken(vocabulary.tokens[at], normalized=False)
            for at, number in enumerate(vocabulary.types)
            if number == TokenType.USER_DEFINED
        ]
    )
    return encoder


def _pair(merge: str, known: dict[str, int], hidden: set[str]) -> tuple[str, str]:
    # The first character may be a space itself.
    start, _, right = merge[1:].partition(" ")
    left = merge[:1] + start
    for token in (left, right, left + right):
        if token not in known and token not in hidden:
            raise MalformedError(f"the vocabulary merges {merge[:40]!r}, and lacks {token[:40]!r}")
    return left, right


def _byte_level_bytes(vocabulary: Vocabulary) -> list[bytes]:
    alphabet = byte_alphabet()
    table = []
    for token, number in zip(vocabulary.tokens, vocabulary.types, strict=True):
        if number == TokenType.USER_DEFINED:
            table.append(token.encode())
        elif number == TokenType.NORMAL:
            try:
                table.append(bytes([alphabet[char] for char in token]))
            except KeyError:
                table.append(token.encode())
        else:
            table.append(b"")
    return table


def _piece_bytes(vocabulary: Vocabulary) -> list[bytes]:
    table = []
    for token, number in zip(vocabulary.tokens, vocabulary.types, strict=True):
        if number == TokenType.BYTE:
            table.append(bytes([int(token[3:5], 16)]))
        elif number == TokenType.NORMAL:
            table.append(token.replace("\u2581", " ").encode())
        elif number == TokenType.USER_DEFINED:
            table.append(token.encode())
        else:
            table.append(b"")
    return table
