"""The ``Language`` of a model, from its card: its vocabulary and its chat template."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tracker.endpoint import language
from tracker.endpoint.parlour import Served
from tracker.endpoint.wishes import Turn
from workunits.errors import SwarmError
from workunits.models.card import ModelCard
from workunits.models.template import Guard, Message, render
from workunits.models.tokenizer import Decoder, Tokenizer


class Dialect:
    """One model's. Safe to use from several threads."""

    def __init__(self, card: ModelCard) -> None:
        """Raises ``MalformedError`` for a vocabulary that cannot be used."""
        vocabulary = card.vocabulary
        self._tokenizer = Tokenizer(vocabulary)
        self._guard = Guard(self._tokenizer)
        self._template = card.template
        named = {"bos_token": vocabulary.bos, "eos_token": vocabulary.eos}
        self._named = {name: vocabulary.tokens[at] if at >= 0 else "" for name, at in named.items()}
        self._start = (vocabulary.bos,) if vocabulary.add_bos else ()
        self.card = card
        self.ends = vocabulary.ends
        self.size = len(vocabulary)
        self.longest = max(1, *(len(self.piece(at)) for at in range(self.size)))

    def chat(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        """A conversation, up to where the model is to go on."""
        messages = [Message(turn.role, turn.content) for turn in turns]
        text = render(self._template, messages, tokens=self._named, guard=self._guard)
        return self._begun(self._guard.encode(text))

    def plain(self, text: str) -> tuple[int, ...]:
        """A text as it stands; the model's own marks in it count as such."""
        return self._begun(self._tokenizer.encode(text, special=True)) if text else ()

    def piece(self, id_: int) -> bytes:
        """The bytes of one token."""
        return self._tokenizer.piece(id_)

    def decoder(self) -> language.Decoder:
        """A new one."""
        return Decoder(self._tokenizer)

    def _begun(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        return ids if ids[:1] == self._start else self._start + ids


class Dialects:
    """The dialects of all models; each is made in a thread when it is first needed."""

    def __init__(self) -> None:
        self._made: dict[str, Dialect] = {}
        self._making = asyncio.Lock()

    async def __call__(self, served: Served) -> Dialect:
        """That of a model. Raises ``MalformedError``."""
        card = served.card
        if made := self._known(card):
            return made
        async with self._making:
            if made := self._known(card):
                return made
            found = await asyncio.to_thread(_warmed, card)
            self._made[card.name] = found
            return found

    def _known(self, card: ModelCard) -> Dialect | None:
        made = self._made.get(card.name)
        return made if made is not None and made.card is card else None


def _warmed(card: ModelCard) -> Dialect:
    dialect = Dialect(card)
    with suppress(SwarmError):  # what is wrong with a template is for whoever asks
        dialect.chat([Turn("user", "Hello")])
    return dialect
