"""A job that is asked, peers that answer it, and ears that hear."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache

from tests.tracker.work.world import IMAGE, SUBMITTER, Actor, World, blob
from tracker.work.query import Cause, Ruling
from tracker.work.state import Job, Unit
from workunits.ids import BlobRef, LeaseToken
from workunits.manifest import Limits, Manifest, Program
from workunits.models.answer import MODEL_FILE, OUTPUT, REJECTED, Answer, Finish, meter
from workunits.models.program import COMMAND, Engine, ModelProgram
from workunits.models.request import Request
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.results import Ending, Result, commitment, seal
from workunits.verification import Comparator, Comparison, Policy
from workunits.wire.models import Ask, Likely, Tokens
from workunits.wire.work import Commit, Commits, Reveal

MODEL = BlobRef(b"m" * 32, b"m" * 20, 5 << 20)
CONTEXT, MOST, PRICE = 256, 64, 10
EXACT = Comparator(Comparison.TEXT_MODEL)
MARGIN = Comparator(Comparison.TEXT_MODEL, mean_gap=10, most_gap=1000)
DISK = 1 << 30


def chat_manifest(
    *,
    budget: int = 10**6,
    comparator: Comparator = EXACT,
    policy: Policy = Policy.PAIR,
    units: int = 1000,
    nonce: int = 0,
) -> Manifest:
    """A job that is asked; without a ``budget`` one that brings ``units`` requests."""
    asked = budget > 0
    return Manifest(
        submitter=SUBMITTER.key,
        name="chat",
        program=Program(
            IMAGE,
            COMMAND,
            (NamedBlob(MODEL_FILE, MODEL),),
            model=ModelProgram(Engine.LLAMA_CPP, CONTEXT, MOST, asked, budget),
        ),
        parameters=Sweep((Range("request", 0, 1, units),)),
        inputs=() if asked else (NamedBlob("requests", BlobRef(b"r" * 32, b"r" * 20, 100)),),
        outputs=(OUTPUT,),
        limits=Limits(600, 600, 512 << 20, 200_000),
        price=PRICE,
        policy=policy,
        comparator=comparator,
        nonce=nonce.to_bytes(16, "big"),
    )


def a_request(seed: int = 7, *, most: int = 5, prompt: int = 32) -> Request:
    """A question; its right answer is ``most`` tokens that follow from ``seed``."""
    return Request(tuple(range(1, prompt + 1)), most, seed, seed.to_bytes(16, "big"))


@cache
def truth(request: Request, halt: int = 0) -> Answer:
    """What an honest peer answers."""
    count = min(request.most, halt or request.most)
    tokens = tuple(1000 * (request.seed + 1) + at for at in range(count))
    finish = Finish.HALTED if count < request.most else Finish.LENGTH
    return Answer(tokens, finish, request.nonce)


@cache
def lie(request: Request) -> Answer:
    """What another model answers."""
    return replace(truth(replace(request, seed=request.seed + 5000)), nonce=request.nonce)


@cache
def answered(request: Request, answer: Answer, counted: int | None = None) -> Reveal:
    """The result that says ``answer``; the token is filled in later."""
    raw = answer.encode()
    counts = meter(request, len(answer.tokens)) if counted is None else counted
    result = Result(Ending.EXITED, 0, (blob(raw, OUTPUT),), counts)
    return Reveal(LeaseToken(0), result.encode(), (raw,))


REFUSAL = Reveal(LeaseToken(0), Result(Ending.EXITED, REJECTED, ()).encode())


@dataclass(eq=False)
class Ears:
    """A listener that remembers."""

    heard: list[int] = field(default_factory=list)
    likely: list[tuple[Likely, ...]] = field(default_factory=list)
    finish: Finish | None = None
    ruling: Ruling | None = None
    failure: Cause | None = None
    ends: int = 0

    def tokens(self, ids: tuple[int, ...], likely: tuple[tuple[Likely, ...], ...]) -> None:
        assert not self.ends, "tokens after the end"
        assert ids
        self.heard += ids
        self.likely += likely

    def spoke(self, finish: Finish) -> None:
        assert self.finish is None
        assert not self.ends
        self.finish = finish

    def settled(self, ruling: Ruling) -> None:
        self.ends += 1
        self.ruling = ruling

    def failed(self, cause: Cause) -> None:
        self.ends += 1
        self.failure = cause


@dataclass(eq=False)
class Chat:
    """A world with one job that is asked."""

    world: World = field(default_factory=World)
    comparator: Comparator = EXACT
    policy: Policy = Policy.PAIR
    budget: int = 10**6
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        self.job = self.world.submit(
            chat_manifest(comparator=self.comparator, policy=self.policy, budget=self.budget)
        )

    def peer(
        self,
        name: str,
        *,
        hold: int = 2,
        cores: int = 1,
        held: bool = True,
        validator: bool = False,
        memory: int = 1 << 30,
    ) -> Actor:
        """A peer that is connected, and mostly has the model."""
        actor = self.world.actor(name, validator=validator, connect=False)
        return self.join(actor, hold=hold, cores=cores, held=held, memory=memory)

    @staticmethod
    def join(
        actor: Actor, *, hold: int = 2, cores: int = 1, held: bool = True, memory: int = 1 << 30
    ) -> Actor:
        """Connect a peer."""
        refs = (MODEL,) if held else ()
        return actor.connect(hold=hold, cores=cores, disk=DISK, held=refs, memory=memory)

    def ask(
        self,
        request: Request | None = None,
        *,
        stream: bool = True,
        top: int = 0,
        urgent: bool = True,
    ) -> tuple[Unit, Ears]:
        """Ask the job."""
        ears, world = Ears(), self.world
        unit = world.desk.ask(
            *(self.job, request or a_request(), ears, world.now),
            stream=stream,
            top=top,
            urgent=urgent,
        )
        world.pump()
        return unit, ears

    def halt(self, unit: Unit, after: int) -> None:
        """Need no more."""
        self.world.desk.halt(unit, after, self.world.now)
        self.world.pump()

    def dismiss(self, unit: Unit) -> None:
        """Listen no more."""
        self.world.desk.dismiss(unit, self.world.now)
        self.world.pump()

    def say(
        self,
        actor: Actor,
        ids: Iterable[int],
        *,
        start: int = 0,
        finish: Finish | None = None,
        rate: int = 0,
        token: LeaseToken | None = None,
        likely: tuple[tuple[Likely, ...], ...] = (),
    ) -> None:
        """Say some tokens, under the only lease if no ``token`` is given."""
        at = only(actor) if token is None else token
        actor.speak(Tokens(at, start, tuple(ids), finish, likely, rate))

    def commit(self, actor: Actor, shown: Reveal, token: LeaseToken | None = None) -> LeaseToken:
        """Commit to a result, under the only lease if no ``token`` is given."""
        token = only(actor) if token is None else token
        unit = actor.leases[token]
        actor.results[token] = replace(shown, token=token)
        digest = Result.digest_of(shown.result)
        made = Commit(unit.index, token, commitment(unit, digest), seal(actor.key, unit, digest))
        signed = Commits.sign(actor.identity, unit.job, (made,))
        self.world.desk.commit(actor.key, signed, self.world.now)
        self.world.pump()
        return token

    def answer(
        self,
        actor: Actor,
        make: Callable[[Ask], Answer] | None = None,
        token: LeaseToken | None = None,
    ) -> Answer:
        """Say all tokens and commit, under the only lease if no ``token`` is given."""
        token = only(actor) if token is None else token
        ask = actor.asks[token]
        assert ask.request is not None
        halt = actor.halts.get(token, ask.halt)
        said = make(ask) if make else truth(ask.request, halt)
        self.say(actor, said.tokens, finish=said.finish, token=token)
        self.commit(actor, answered(ask.request, said), token)
        return said

    def finish_from(self, actor: Actor, start: int) -> None:
        """Say the rest of the right answer, of which ``start`` tokens were said, and commit."""
        request = actor.asks[only(actor)].request
        assert request is not None
        said = truth(request)
        self.say(actor, said.tokens[start:], start=start, finish=said.finish)
        self.commit(actor, answered(request, said))

    def finish(self, *actors: Actor) -> None:
        """Everybody answers honestly until nobody has anything to do."""
        for _ in range(20):
            for actor in actors:
                for token in list(actor.leases):
                    self.answer(actor, token=token)
            for actor in actors:
                actor.reveal()


def only(actor: Actor) -> LeaseToken:
    """The only lease of an actor."""
    (token,) = actor.leases
    return token


def trusted() -> Chat:
    """A chat whose answers nobody checks."""
    return Chat(policy=Policy.TRUSTED)
