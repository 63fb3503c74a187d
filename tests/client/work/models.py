"""Jobs that ask a model, and a tracker that leases their units, for tests."""

from dataclasses import dataclass, field, replace

from tests.client.work.tracker import IMAGE, SUBMITTER, Connection, TrackerDouble, ref_of
from workunits.ids import BlobRef, LeaseToken
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.models.answer import MODEL_FILE, OUTPUT, REQUESTS_FILE, Answer
from workunits.models.program import COMMAND, Engine, ModelProgram
from workunits.models.request import Request
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.verification import Comparator, Comparison, Policy
from workunits.wire.models import Ask, Halt, Tokens
from workunits.wire.work import Commits, Lease, Leases, Revoked, parse_from_peer

MARGINS = Comparator(Comparison.TEXT_MODEL, mean_gap=10, most_gap=1000)


def model_job(
    units: int = 10,
    *,
    asked: bool = True,
    model: BlobRef | None = None,
    requests: BlobRef | None = None,
    memory: int = 300 << 20,
    wall: int = 60,
    most: int = 128,
    output_bytes: int = 1 << 20,
    comparator: Comparator | None = None,
    name: str = "smollm2",
    image: str = IMAGE,
) -> SignedManifest:
    """A signed job whose units ask a model: with requests of its own, or those that come."""
    about = ModelProgram(Engine.LLAMA_CPP, 2048, most, asked, 10**6 if asked else 0)
    file = NamedBlob(MODEL_FILE, model or ref_of(40))
    manifest = Manifest(
        submitter=SUBMITTER.key,
        name=name,
        program=Program(image, COMMAND, (file,), model=about),
        parameters=Sweep((Range("request", 0, 1, units),)),
        inputs=() if asked else (NamedBlob(REQUESTS_FILE, requests or ref_of(41)),),
        outputs=(OUTPUT,),
        limits=Limits(60, wall, memory, output_bytes),
        price=1,
        policy=Policy.PAIR,
        comparator=comparator or Comparator(Comparison.TEXT_MODEL),
        nonce=bytes(16),
    )
    manifest.check()
    return SignedManifest.sign(manifest, SUBMITTER)


def request_of(number: int = 0, *, prompt: int = 5, most: int = 128) -> Request:
    """A made-up request; others with another ``number``."""
    ids = tuple(1 + (number + at) % 200 for at in range(prompt))
    return Request(ids, most, seed=number, nonce=number.to_bytes(16, "big"))


@dataclass(eq=False)
class ModelTracker(TrackerDouble):
    """Leases units that ask when it is told to, and hears what they say."""

    auto_lease: bool = False
    heard: list[Tokens | LeaseToken] = field(default_factory=list)
    """What came in, in order: tokens, and for each commit its lease."""

    async def inquire(self, index: int = 0, **about: object) -> LeaseToken:
        """Lease a unit to the latest connection, after saying what it asks."""
        connection = self.connections[-1]
        await self.offer(connection)
        token = LeaseToken(self.next_token)
        self.next_token += 1
        self.held[token] = self.unit_of[token] = index
        ask = replace(Ask(token, request_of(index)), **about)  # type: ignore[arg-type]
        if ask != Ask(token):
            await connection.send(ask)
        await connection.send(Leases(self.job.id, self.seconds, (Lease(index, token),)))
        return token

    async def halt(self, token: LeaseToken, after: int) -> None:
        """Need no more of an answer."""
        await self.connections[-1].send(Halt(token, after))

    async def revoke(self, token: LeaseToken) -> None:
        """Take a lease back."""
        del self.held[token]
        await self.connections[-1].send(Revoked("cancelled", (token,)))

    def said(self, token: LeaseToken) -> list[Tokens]:
        """What was said under a lease."""
        return [each for each in self.heard if isinstance(each, Tokens) and each.token == token]

    def spoken(self, token: LeaseToken) -> tuple[int, ...]:
        """The tokens under a lease, which came without a gap."""
        ids: list[int] = []
        for each in self.said(token):
            assert each.start <= len(ids)
            again = ids[each.start : each.start + len(each.ids)]
            assert tuple(again) == each.ids[: len(again)]
            ids[each.start :] = each.ids
        return tuple(ids)

    def answer(self, token: LeaseToken) -> Answer:
        """The answer that was revealed."""
        (content,) = self.revealed[token].contents
        return Answer.parse(content)

    async def _take(self, connection: Connection, frame: bytes) -> None:
        message = parse_from_peer(frame)
        if isinstance(message, Tokens):
            self.heard.append(message)
        if isinstance(message, Commits):
            self.heard += [each.token for each in message]
        await super()._take(connection, frame)
