"""The interface between an API and the swarm: who asks, what comes back.

The handlers of the APIs need only this. ``tracker.endpoint.swarm_parlour`` is the real one;
``tracker.endpoint.fake`` is for tests of the handlers.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tracker.endpoint.keys import ApiKey
from workunits.ids import PeerKey, UnitId
from workunits.models.answer import Finish
from workunits.models.card import ModelCard
from workunits.models.request import Request
from workunits.wire.models import Likely


@dataclass(frozen=True, slots=True)
class Served:
    """A model that can be asked, and since when (Unix seconds). ``price`` is credits per token;
    ``checked`` says whether its answers are checked by anybody."""

    card: ModelCard
    created: int
    price: int
    checked: bool = True


@dataclass(frozen=True, slots=True)
class Heard:
    """Tokens of the answer, not verified yet, in order and without gaps."""

    tokens: tuple[int, ...]
    likely: tuple[tuple[Likely, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Spoke:
    """The answer is complete, and not verified yet."""

    finish: Finish


@dataclass(frozen=True, slots=True)
class Settled:
    """The verdict, the last event. ``tokens`` are the answer that stands.

    ``verified`` is false when nobody could check it in time (``reason`` says so); ``same`` is
    whether the tokens that were heard stand. ``entry`` is the number of the ledger entry, or -1;
    ``cost`` is in credits.
    """

    tokens: tuple[int, ...]
    finish: Finish
    verified: bool
    same: bool
    validators: tuple[PeerKey, ...]
    worker: PeerKey
    entry: int
    unit: UnitId
    cost: int
    reason: str = ""


Event: TypeAlias = Heard | Spoke | Settled


class Call(Protocol):
    """One request on its way. Iterate it to its end, or close it: then its work is cancelled, and
    paid for as far as it was done."""

    def events(self) -> AsyncIterator[Event]:
        """What happens, ``Settled`` last. Raises ``RefusedError`` when no answer can be had."""

    def halt(self, after: int) -> None:
        """No more than ``after`` tokens are needed (a stop sequence was seen)."""

    async def close(self) -> None:
        """Nobody listens any more. Safe to call twice, and after the end."""


class Parlour(Protocol):
    """The models of a tracker and the way to ask them."""

    def models(self) -> list[Served]:
        """All that can be asked, oldest first."""

    def find(self, name: str) -> Served | None:
        """The model of that name (or of that alias)."""

    def ask(
        self,
        key: ApiKey,
        served: Served,
        request: Request,
        *,
        stream: bool,
        top: int = 0,
        urgent: bool = True,
        again: bool = False,
        checked: bool = False,
    ) -> Call:
        """Begin a request; one that is not ``urgent`` comes after all that are, and one that is
        asked ``again``, because it failed, counts once for the key's rate. One that is to be
        ``checked`` is of no use unverified.

        Raises ``BrokeError`` when the key's budget does not cover it, ``CrowdedError`` (with
        ``seconds`` to wait) when its rate is over, and its kind ``AbsentError`` when nobody is
        there to answer, or to check the answer if it is to be ``checked``.
        """
