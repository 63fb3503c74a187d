"""Published models and API keys over REST: who offers what, and what keys have left."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from tracker.api.views import Json
from tracker.blobs import WebSeed
from tracker.endpoint.catalogue import Published
from tracker.endpoint.keys import ApiKey
from tracker.endpoint.swarm_parlour import SwarmParlour
from tracker.endpoint.tab import manifest_of
from tracker.ledger import Book
from tracker.rows import Row
from workunits.errors import LimitError, MalformedError, RefusedError, SwarmError
from workunits.ids import BlobRef, PeerKey, parse_hash
from workunits.models.card import MAX_CARD, ModelCard
from workunits.passes import MAX_AHEAD, SignedPass
from workunits.statements import CloseKey, OpenKey, Publish, Statement, Withdraw
from workunits.verification import Policy

log = logging.getLogger(__name__)

CLAIMS = (Publish, Withdraw, OpenKey, CloseKey)


@dataclass
class Models:
    """``wall`` is Unix time; ``operator`` is who may do everything."""

    parlour: SwarmParlour
    book: Book
    seed: WebSeed
    operator: PeerKey
    wall: Callable[[], float]

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        return [
            web.get("/api/v1/models", self.models),
            web.get("/api/v1/keys", self.own_keys),
            web.get("/api/v1/keys/{hash}", self.key),
        ]

    async def models(self, _: web.Request) -> web.Response:
        """Every model that can be asked, oldest first."""
        numbers = self.parlour.numbers()
        shown = [self._model(each, numbers[each.name]) for each in self.parlour.catalogue.all()]
        return web.json_response({"models": shown})

    async def own_keys(self, request: web.Request) -> web.Response:
        """The API keys of who signed the query (``workunits.passes``), oldest first."""
        signed = SignedPass.parse(request.raw_path.partition("?")[2], self.operator)
        if signed is None:
            raise MalformedError(
                "whose keys? The query lacks a pass of their owner",
                hint="Use `swarm api-key list`, or ask for one key by its hash.",
            )
        if not self.wall() < signed.until <= self.wall() + 2 * MAX_AHEAD:
            raise RefusedError("the pass is over", hint="Make a new one.")
        found = self.parlour.keys.of(signed.member)
        shown = [self._key(each) | {"usage": self._usage(each)} for each in found]
        return web.json_response({"keys": shown})

    async def key(self, request: web.Request) -> web.Response:
        """One API key, by its hash: who knows that has the secret, or opened it."""
        key = self.parlour.keys.get(parse_hash(request.match_info["hash"], "hash"))
        if key is None:
            raise web.HTTPNotFound(reason="no such API key")
        return web.json_response(self._key(key))

    async def carry_out(self, statement: Statement) -> tuple[Json, list[Row]]:
        """What a statement of ``CLAIMS`` comes to: the answer, and the rows to write."""
        author, claim = statement.author, statement.claim
        rows: list[Row] = []
        match claim:
            case Publish():
                self.parlour.catalogue.check(author, claim, statement.time)
                card = await self._fetch(claim.card)
                self.parlour.catalogue.check(author, claim, statement.time)  # again: we waited
                _check_offer(claim, card, author)
                published, row = self.parlour.catalogue.publish(author, claim, card, statement.time)
                rows.append(row)
                self.parlour.opened(published)
                job = self.parlour.job(published.name)
                return {"model": published.name, "job": job.id.hex() if job else None}, rows
            case Withdraw():
                self.parlour.catalogue.check(author, claim, statement.time)
                rows.append(self.parlour.catalogue.withdraw(claim, statement.time))
                self.parlour.withdrawn(claim.name)
                return {"withdrawn": claim.name}, rows
            case OpenKey():
                self.parlour.keys.check_open(author, claim.hash)
                self.book.transfer(self.operator, claim.amount, statement)
                key = self.parlour.keys.open(
                    *(author, claim.hash, claim.name, claim.amount, claim.per_minute),
                    statement.time,
                )
            case CloseKey():
                key = self.parlour.keys.close(author, claim.hash, self.operator)
            case _:
                raise RefusedError("this statement is about something else")
        left = key.left
        self.parlour.pay_back()
        return self._key(key) | ({"returned": left - key.left} if key.closed else {}), rows

    async def _fetch(self, ref: BlobRef) -> ModelCard:
        """The card at ``ref``, from the tracker's own blobs."""
        if ref.length > MAX_CARD:
            raise LimitError(f"a model's card has at most {MAX_CARD:,} bytes")
        card = await asyncio.to_thread(self.read, ref)
        if card is None:
            raise RefusedError(
                "the tracker does not have the model's card",
                hint="Upload it first; `swarm model add` does.",
            )
        return card

    def read(self, ref: BlobRef) -> ModelCard | None:
        """The card at ``ref``, None if the tracker lacks it. Blocks. Raises for what is none."""
        try:
            raw = self.seed.path(ref.v2).read_bytes()
        except OSError:
            return None
        return ModelCard.parse(raw)

    def read_known(self, ref: BlobRef) -> ModelCard | None:
        """The card of a model that was published before; None, and a warning, if it is broken."""
        try:
            card = self.read(ref)
        except SwarmError as error:
            log.warning("the model card %s cannot be read: %s", ref, error)
            return None
        if card is None:
            log.warning("the model card %s is gone from the tracker's blobs", ref)
        return card

    def _model(self, each: Published, numbers: dict[str, int | float]) -> Json:
        card = each.card
        return {
            "name": each.name,
            "card": _ref(each.ref),
            "file": _ref(card.file),
            "architecture": card.architecture,
            "quantisation": card.quantisation,
            "context": card.context,
            "licence": card.licence,
            "parameters": card.parameters,
            "engine": card.engine.value,
            "image": card.image.name,
            "price": card.price,
            "mean_gap": card.mean_gap,
            "most_gap": card.most_gap,
            "memory": card.memory_bytes,
            "created": each.created,
            "author": each.author.hex(),
            "holders": self.parlour.holders(each),
            "rate": float(numbers["rate"]),
        }

    def _key(self, key: ApiKey) -> Json:
        return {
            "hash": key.hash.hex(),
            "owner": key.owner.hex(),
            "name": key.name,
            "budget": key.budget,
            "spent": key.spent,
            "reserved": key.reserved,
            "left": key.left,
            "per_minute": key.per_minute,
            "created": key.created,
            "closed": key.closed,
            "requests": sum(row.requests for row in self.parlour.keys.usage(key.hash)),
        }

    def _usage(self, key: ApiKey) -> list[Json]:
        return [
            {
                "model": row.model,
                "requests": row.requests,
                "prompt": row.prompt,
                "generated": row.generated,
                "verified": row.verified,
                "cost": row.cost,
            }
            for row in self.parlour.keys.usage(key.hash)
        ]


def _check_offer(claim: Publish, card: ModelCard, author: PeerKey) -> None:
    """Raise ``MalformedError`` if no job can be made of a model."""
    offer = Published(claim.name, author, claim.card, card, 0)
    manifest_of(offer, author, Policy.PAIR)


def _ref(ref: BlobRef) -> Json:
    return {"v2": ref.v2.hex(), "v1": ref.v1.hex(), "length": ref.length}
