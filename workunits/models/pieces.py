"""SentencePiece vocabularies (``llama``): pairs are joined by score, unknown characters are bytes.

The algorithm is llama.cpp's (``llm_tokenizer_spm``), word by word where no token goes over the
beginning of a word, so that words that were seen are not worked out again.
"""

import heapq
import re
from functools import lru_cache

from workunits.errors import LimitError, MalformedError
from workunits.models.anatomy import TokenType
from workunits.models.vocabulary import Vocabulary

SPACE = "\u2581"
MAX_WORD = 1 << 16
"""Most characters that are joined as one word."""

_CACHED = 1 << 16
_CACHED_LENGTH = 64
_WORDS = re.compile(f"(?:{SPACE}+|^)[^{SPACE}]*")
_INSIDE = re.compile(f"[^{SPACE}]{SPACE}")


class Pieces:
    """Encodes text with the tokens of one vocabulary. Control tokens are never among the ids."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._prefix = vocabulary.prefix
        joined = (TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.UNUSED)
        self._ids = {
            token: at
            for at, token in enumerate(vocabulary.tokens)
            if vocabulary.types[at] in joined
        }
        self._scores = vocabulary.scores
        self._bytes = _byte_ids(vocabulary)
        self._by_word = not any(map(_INSIDE.search, self._ids))
        texts = sorted(
            (
                token
                for token, number in zip(vocabulary.tokens, vocabulary.types, strict=True)
                if number == TokenType.USER_DEFINED
            ),
            key=len,
            reverse=True,
        )
        self._own = re.compile("|".join(map(re.escape, texts))) if texts else None
        self._cached = lru_cache(_CACHED)(self._join)

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``. Raises ``LimitError`` if it has an endless word."""
        found: list[int] = []
        at = 0
        for match in self._own.finditer(text) if self._own else ():
            found += self._part(text[at : match.start()])
            found.append(self._ids[match[0]])
            at = match.end()
        return found + self._part(text[at:])

    def _part(self, text: str) -> list[int]:
        if not text:
            return []
        text = (" " + text if self._prefix else text).replace(" ", SPACE)
        found: list[int] = []
        for word in _WORDS.findall(text) if self._by_word else [text]:
            if len(word) > MAX_WORD:
                raise LimitError(
                    f"a word of {len(word):,} characters is over the limit of {MAX_WORD:,}"
                )
            found += self._cached(word) if len(word) <= _CACHED_LENGTH else self._join(word)
        return found

    def _join(self, text: str) -> tuple[int, ...]:
        """Join the best pair, the leftmost of equals, until no two make a token."""
        parts: list[str] = list(text)
        after = [*range(1, len(parts)), -1]
        before = list(range(-1, len(parts) - 1))
        queue: list[tuple[float, int, int, str]] = []

        def offer(left: int, right: int) -> None:
            if left < 0 or right < 0:
                return
            joined = parts[left] + parts[right]
            found = self._ids.get(joined)
            if found is not None:
                heapq.heappush(queue, (-self._scores[found], left, right, joined))

        for at in range(1, len(parts)):
            offer(at - 1, at)
        while queue:
            _, left, right, joined = heapq.heappop(queue)
            if not parts[left] or not parts[right] or parts[left] + parts[right] != joined:
                continue
            parts[left], parts[right] = joined, ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            offer(before[left], left)
            offer(left, after[left])
        found: list[int] = []
        for part in filter(None, parts):
            token = self._ids.get(part)
            found += (token,) if token is not None else (self._bytes[b] for b in part.encode())
        return tuple(found)


def _byte_ids(vocabulary: Vocabulary) -> list[int]:
    """The id for each byte: a byte token, or else the character of that code."""
    places = {token: at for at, token in enumerate(vocabulary.tokens)}
    found = [places.get(f"<0x{byte:02X}>", places.get(chr(byte), -1)) for byte in range(256)]
    if -1 in found:
        raise MalformedError("the vocabulary has no token for some bytes")
    return found
