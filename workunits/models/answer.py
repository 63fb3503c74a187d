"""What a model answered: the output ``answer`` of a unit, and what it is worth."""

from dataclasses import dataclass
from enum import StrEnum

from workunits import canonical
from workunits.errors import MalformedError
from workunits.models.request import MAX_NEW, NONCE_SIZE, Request, pack_ids, read_ids
from workunits.verification import member

OUTPUT = "answer"
"""Name of the only output of a unit that asks a model."""

MODEL_FILE = "model.gguf"
"""Name of the program's file that is the model."""

REQUESTS_FILE = "requests"
"""Name of the input that has the requests of a job, one for each unit."""

MAX_ANSWER = 4 * MAX_NEW + 256
PROMPT_SHARE = 16
"""Tokens of a prompt that cost as much as one of an answer."""

REJECTED = 3
"""Exit status of an execution that refuses a claimed answer, under a comparison by margins."""


class Finish(StrEnum):
    """Why an answer ends."""

    STOP = "stop"
    """Its last token is an end of text."""

    LENGTH = "length"
    """It has as many tokens as were asked for, or the context is full."""

    HALTED = "halted"
    """Whoever asked needed no more of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Token ids, the end of text included where there is one, and why they end."""

    tokens: tuple[int, ...]
    finish: Finish
    nonce: bytes

    def encode(self) -> bytes:
        """The canonical bytes, which are the output file."""
        return canonical.encode(
            {"finish": self.finish.value, "nonce": self.nonce, "tokens": pack_ids(self.tokens)}
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Answer":
        """Read an answer strictly. Raises ``MalformedError`` or ``LimitError``."""
        fields = canonical.decode_fields(raw, limit=MAX_ANSWER, what="answer")
        answer = cls(
            finish=member(Finish, fields.text("finish", limit=10), "finish"),
            nonce=fields.octets("nonce", length=NONCE_SIZE),
            tokens=read_ids(fields.octets("tokens", limit=4 * MAX_NEW)),
        )
        fields.end()
        if not answer.tokens and answer.finish is not Finish.HALTED:
            raise MalformedError("answer: it has no token, not even an end of text")
        return answer


def meter(request: Request, generated: int) -> int:
    """What an answer of ``generated`` tokens counts: those, and a share of the prompt's."""
    return generated + len(request.prompt) // PROMPT_SHARE


def most_metered(most: int, context: int) -> int:
    """The most that a unit of at most ``most`` tokens in a ``context`` can count."""
    return most + context // PROMPT_SHARE
