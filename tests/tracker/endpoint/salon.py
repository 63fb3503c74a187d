"""A parlour over a real desk, with peers that tests move by hand."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

from tests.tracker.endpoint.tiny import card
from tests.tracker.work.chat import DISK, Chat, a_request
from tests.tracker.work.world import OPERATOR, SUBMITTER, Actor, World
from tracker.endpoint.call import SwarmCall
from tracker.endpoint.catalogue import Catalogue, Published
from tracker.endpoint.keys import Keys
from tracker.endpoint.parlour import Event, Heard, Served, Settled
from tracker.endpoint.swarm_parlour import SwarmParlour
from tracker.sessions import Sessions
from tracker.settings import Waiting
from tracker.work.desk import Desk
from tracker.work.state import Job
from workunits.ids import BlobRef
from workunits.models.card import ModelCard
from workunits.models.request import Request
from workunits.statements import OpenKey, Publish, Statement
from workunits.verification import Policy

HASH = b"k" * 32
BUDGET = 100_000
SECONDS = 20.0


@dataclass(eq=False)
class Line:
    """What a parlour needs of sessions, over a world: rows are kept and told at once."""

    world: World

    @property
    def desk(self) -> Desk:
        return self.world.desk

    def clock(self) -> float:
        return self.world.now

    def wall(self) -> float:
        return self.world.now

    def apply(self) -> None:
        self.world.pump()


@dataclass(eq=False)
class Salon:
    """A world with one published model, a key with a budget, and peers who answer."""

    policy: Policy = Policy.PAIR
    price: int = 2
    world: World = field(default_factory=World)
    keys: Keys = field(default_factory=Keys)
    parlour: SwarmParlour = field(init=False)
    chat: Chat = field(init=False)
    nonces: int = 0

    def __post_init__(self) -> None:
        self.chat = Chat(self.world)  # for the ways in which its peers answer
        self.open()
        self.key = self.keys.open(SUBMITTER.key, HASH, "key", BUDGET, 1000, 1)
        claim = OpenKey(HASH, "key", BUDGET, 1000)
        said = Statement.sign(SUBMITTER, claim, time=0, nonce=bytes(16))
        self.world.desk.book.transfer(OPERATOR.key, BUDGET, said)
        self.publish(card(price=self.price))

    def open(self) -> None:
        """Make the parlour."""
        catalogue = Catalogue(trusted=lambda _: False, operator=OPERATOR.key)
        self.parlour = SwarmParlour(
            cast("Sessions", Line(self.world)),
            *(OPERATOR, self.keys, catalogue),
            policy=self.policy,
            waiting=Waiting(verdict=30.0),
            nonce=self.nonce,
        )

    def nonce(self) -> bytes:
        self.nonces += 1
        return self.nonces.to_bytes(16, "big")

    def publish(self, made: ModelCard) -> Published:
        """Publish a model."""
        catalogue = self.parlour.catalogue
        claim = Publish(made.name, BlobRef(b"c" * 32, b"d" * 20, 5))
        published, row = catalogue.publish(OPERATOR.key, claim, made, self.nonces)
        self.world.desk.floor.outbox.rows.append(row)
        self.parlour.opened(published)
        self.world.pump()
        return published

    def peer(self, name: str, *, cores: int = 1) -> Actor:
        """A peer that holds the model."""
        made = card()
        actor = self.world.actor(name, connect=False)
        actor.connect(hold=2, cores=cores, disk=DISK, images=(made.image.name,), held=(made.file,))
        return actor

    @property
    def served(self) -> Served:
        found = self.parlour.find("tiny")
        assert found is not None
        return found

    @property
    def job(self) -> Job:
        job = self.parlour.job("tiny")
        assert job is not None
        return job

    def ask(
        self,
        request: Request | None = None,
        *,
        stream: bool = True,
        top: int = 0,
        urgent: bool = True,
        checked: bool = False,
    ) -> SwarmCall:
        request = request or a_request()
        return self.parlour.ask(
            *(self.key, self.served, request),
            stream=stream,
            top=top,
            urgent=urgent,
            checked=checked,
        )

    def look(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.world.tick(seconds)
        self.parlour.look(self.world.now)
        self.world.pump()


async def all_of(call: SwarmCall) -> list[Event]:
    """Everything that is told, to the end."""
    async with asyncio.timeout(SECONDS):
        return [event async for event in call.events()]


async def following(events: AsyncIterator[Event]) -> Event:
    """The next event, which must be there."""
    async with asyncio.timeout(SECONDS):
        return await anext(events)


def heard(events: list[Event]) -> tuple[int, ...]:
    return tuple(id_ for event in events if isinstance(event, Heard) for id_ in event.tokens)


def verdict(events: list[Event]) -> Settled:
    (last,) = [event for event in events if isinstance(event, Settled)]
    assert events[-1] is last
    return last


def first_of(*actors: Actor) -> tuple[Actor, Actor]:
    """Who has the lease, and who has none."""
    (one,) = [actor for actor in actors if actor.leases]
    (other,) = [actor for actor in actors if not actor.leases]
    return one, other
