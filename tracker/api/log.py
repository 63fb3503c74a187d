"""The ledger as a log that anyone can check: checkpoints, proofs, witnesses, and all as a file."""

import logging
from asyncio import IncompleteReadError
from dataclasses import dataclass, field

from aiohttp import web

from tracker.sessions import Sessions
from tracker.store.reader import Reader
from tracker.witnesses import Cosigned, Witnesses
from workunits.archive import frame, origin
from workunits.checkpoints import MAX_NOTE, Checkpoint, SignedCheckpoint
from workunits.errors import MalformedError, RefusedError
from workunits.merkle import MAX_SIZE
from workunits.signing import Identity

PAGE = 500
log = logging.getLogger(__name__)


@dataclass
class Log:
    """What a witness or an auditor asks for.

    Nothing is signed that is not on disk, and nothing shown that could still be copied
    (``Desk.public``).
    """

    sessions: Sessions
    reader: Reader
    identity: Identity
    witnesses: Witnesses = field(default_factory=Witnesses)

    def routes(self) -> list[web.RouteDef]:
        """Everything under ``/api/v1/ledger/``."""
        return [
            web.get("/api/v1/ledger/checkpoint", self.checkpoint),
            web.get("/api/v1/ledger/export", self.export),
            web.get("/api/v1/ledger/inclusion", self.inclusion),
            web.get("/api/v1/ledger/consistency", self.consistency),
            web.get("/api/v1/ledger/witnessed", self.witnessed),
            web.post("/api/v1/ledger/cosignatures", self.cosign),
        ]

    async def checkpoint(self, _: web.Request) -> web.Response:
        """The signed checkpoint of the log as it is (C2SP tlog-checkpoint)."""
        return web.Response(body=(await self._signed()).encode(), content_type="text/plain")

    async def export(self, request: web.Request) -> web.StreamResponse:
        """The whole ledger, from a signed checkpoint on: see ``workunits.archive``."""
        signed = await self._signed()
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(request)
        await response.write(frame(signed.encode()))
        size, after = signed.checkpoint.size, 0
        while after < size:
            rows = await self.reader.entries(after, min(PAGE, size - after))
            await response.write(b"".join(frame(row.entry) for row in rows))
            after += len(rows)
        await response.write_eof()
        return response

    async def inclusion(self, request: web.Request) -> web.Response:
        """What shows that entry ``index`` is among the first ``size`` (RFC 9162, 2.1.3)."""
        index, size = _number(request, "index"), self._size(request, "size")
        proof = self.sessions.desk.book.tree.inclusion(index, size)
        return web.json_response({"proof": [each.hex() for each in proof]})

    async def consistency(self, request: web.Request) -> web.Response:
        """What shows that the first ``new`` entries begin with the first ``old``."""
        old, new = _number(request, "old"), self._size(request, "new")
        proof = self.sessions.desk.book.tree.consistency(old, new)
        return web.json_response({"proof": [each.hex() for each in proof]})

    async def witnessed(self, _: web.Request) -> web.Response:
        """The checkpoints that witnesses cosigned, as notes; the newest of each witness."""
        notes = [each.encode().decode() for each in self.witnesses.notes()]
        return web.json_response({"notes": notes})

    async def cosign(self, request: web.Request) -> web.Response:
        """Take a checkpoint of this log that a witness cosigned (C2SP tlog-cosignature)."""
        try:
            raw = await request.content.readexactly(MAX_NOTE + 1)
        except IncompleteReadError as whole:
            raw = whole.partial
        new = Cosigned.parse(raw, self.identity.key)
        peer = new.witness in self.sessions.desk.peers
        size = new.signed.checkpoint.size
        if self.witnesses.take(new, self.sessions.wall(), peer=peer) and not self._ours(new):
            log.error(
                "this tracker's key signed a checkpoint of %d entries that are not in this ledger: "
                "the database was restored, or the key is in use elsewhere",
                size,
            )
        return web.json_response({"witness": new.witness.hex(), "size": size, "time": new.time})

    def _size(self, request: web.Request, key: str) -> int:
        size = _number(request, key)
        desk = self.sessions.desk
        if desk.public(self.sessions.clock()) < size <= desk.book.entries:
            raise RefusedError(
                f"the log does not show {size} entries yet",
                hint="Ask with the size of its checkpoint.",
            )
        return size

    def _ours(self, cosigned: Cosigned) -> bool:
        tree, checkpoint = self.sessions.desk.book.tree, cosigned.signed.checkpoint
        return checkpoint.size <= tree.size and tree.root(checkpoint.size) == checkpoint.root

    async def _signed(self) -> SignedCheckpoint:
        desk, name = self.sessions.desk, origin(self.identity.key)
        size = desk.public(self.sessions.clock())
        checkpoint = Checkpoint(name, size, desk.book.tree.root(size))
        await self.sessions.durable()
        return SignedCheckpoint(checkpoint).sign(self.identity, name)


def _number(request: web.Request, key: str) -> int:
    text = request.query.get(key, "")
    if not text.isdecimal() or not text.isascii() or len(text) > 19 or int(text) > MAX_SIZE:
        raise MalformedError(f"{key} must be a number")
    return int(text)
