"""What somebody wants of a model, whichever API they speak. Still text; nothing is checked against
a model yet."""

from dataclasses import dataclass
from typing import TypeAlias

from workunits.models.request import MAX_SEED, THOUSAND, Sampling

MAX_NAME = 200
MAX_CHOICES = 8
MAX_STOP = 512
"""Letters of one stop sequence."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation. ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation that the model goes on with."""

    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that the model goes on with, as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Ids:
    """Token ids that the model goes on with."""

    ids: tuple[int, ...]


Prompt: TypeAlias = Talk | Text | Ids


@dataclass(frozen=True, slots=True)
class Wish:
    """The settings of a request.

    ``most`` are tokens of one answer, None for the default; ``fit`` lets it be cut to what the
    context has left. ``seed`` None is drawn. ``count`` is how many answers to each prompt;
    ``usage`` whether a stream ends with counts; ``top`` how many probabilities are wanted with
    each token (itself and its alternatives), 0 for none; ``form`` as in ``Request``.
    """

    model: str
    sampling: Sampling
    most: int | None = None
    fit: bool = False
    seed: int | None = None
    count: int = 1
    stops: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    top: int = 0
    form: str = ""


def sampling(
    temperature: float | None, top_p: float | None, top_k: int | None, repetition: float | None
) -> Sampling:
    """Settings in fractions, as the APIs give them, in thousandths; None is the APIs' default.

    A ``temperature`` that is not 0 stays so, and so does a ``top_p``.
    """

    def thousandths(value: float | None) -> int:
        if value is None:
            return THOUSAND
        return max(1, round(value * THOUSAND)) if value else 0

    return Sampling(
        temperature=thousandths(temperature),
        top_p=max(1, thousandths(top_p)),
        top_k=max(0, top_k or 0),
        repetition=thousandths(repetition),
    )


def seeds(first: int, count: int) -> tuple[int, ...]:
    """The seeds of ``count`` answers; ``first`` may be any integer."""
    return tuple((first + at) % MAX_SEED for at in range(count))
