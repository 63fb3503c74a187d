"""One blob in the swarm: the peers that share it, what is fetched from and served to them.

Wires, pure state and files meet here. Nothing in here opens a connection; see ``swarm``.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from random import Random
from typing import BinaryIO

from client.blobs import BlobStore, Incoming
from client.peers import download, extensions, protocol
from client.peers.download import Download
from client.peers.extensions import Gossip
from client.peers.layout import Block, Layout
from client.peers.protocol import PeerWire
from client.peers.stats import Traffic
from client.peers.transport import Channel
from client.peers.upload import Turn, Upload
from workunits.errors import LimitError, MalformedError, SwarmError, UnavailableError
from workunits.ids import BlobRef
from workunits.metainfo import Metainfo, info_size_of

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 20.0
KEEPALIVE = 90.0
SILENCE_TIMEOUT = 240.0
"""Seconds: for the handshake, between our keepalives, and without a byte from a peer."""

OUTBOX_LIMIT = 1024 * 1024
"""Bytes of small messages that may wait for a peer that does not read."""

Clock = Callable[[], float]


@dataclass(slots=True, eq=False)
class Connection:
    """One peer of one blob."""

    channel: Channel
    wire: PeerWire
    remote: bytes
    """The id under which the tracker knows the peer."""

    heard: float
    joined: bool = False
    extended: bool = False
    every: bool = False
    interested: bool = False
    spoke: float = 0.0
    outbox: list[bytes] = field(default_factory=list)
    waiting: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Torrent:
    """The state of one blob that is fetched, served, or both."""

    def __init__(
        self,
        ref: BlobRef,
        store: BlobStore,
        peer_id: bytes,
        *,
        rng: Random,
        clock: Clock,
        gossip: Gossip | None = None,
    ) -> None:
        """Start as a seed when ``store`` has the blob, and else as a download."""
        self.ref = ref
        self.traffic = Traffic()
        self.banned: set[bytes] = set()
        self.failure: SwarmError | None = None
        self.complete = asyncio.Event()
        """Set when every piece is verified, or ``failure`` says why that will never be."""

        self._store = store
        self._peer_id = peer_id
        self._gossip = gossip
        self._clock = clock
        self._layout = Layout.of(ref.length)
        self._metadata_size = info_size_of(ref.length)
        self._upload = Upload()
        self._peers: dict[Connection, None] = {}
        self._incoming: Incoming | None = None
        self._file: BinaryIO | None = None
        self._distrusted: set[Hashable] = set()
        self._info: Metainfo | None = store.info_of(ref)
        self._download: Download | None = None
        self.progressed = clock()
        """When content last came."""

        if self._info is not None:
            self._file = store.open(ref)
            self.complete.set()
        else:
            self._download = Download(ref, rng)

    # -- state ------------------------------------------------------------------------------

    @property
    def seeding(self) -> bool:
        """Whether the whole blob is in the store."""
        return self._download is None

    @property
    def info(self) -> Metainfo | None:
        """The metainfo, once it is known."""
        return self._info

    @property
    def peers(self) -> int:
        """Open connections."""
        return len(self._peers)

    @property
    def done(self) -> int:
        """Bytes that are verified; the last piece counts like the others until all are there."""
        if self._download is None:
            return self.ref.length
        verified = self._layout.count - self._download.picker.missing
        return min(self.ref.length, verified * self._layout.piece_length)

    def connections(self, remote: bytes, within: float = SILENCE_TIMEOUT) -> int:
        """Connections to the peer of this tracker id that sent something in ``within`` seconds."""
        since = self._clock() - within
        return sum(c.remote == remote and c.heard >= since for c in self._peers)

    # -- connections ------------------------------------------------------------------------

    async def attach(self, channel: Channel, remote: bytes) -> None:
        """Run a connection to its end. Never raises for what the peer does; closes it."""
        now = self._clock()
        wire = PeerWire(self.ref.v1, self._peer_id, self._layout, self._metadata_size, now)
        connection = Connection(channel, wire, remote, heard=now)
        self._peers[connection] = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read(connection)),
                    group.create_task(self._write(connection)),
                ]
                await connection.ended.wait()
                for task in tasks:
                    task.cancel()
        except* (SwarmError, OSError) as errors:
            for error in errors.exceptions:
                log.debug("peer of blob %s: %s", self.ref, error)
        finally:
            self._peers.pop(connection, None)
            self._gone(connection)
            await channel.close()

    async def _read(self, connection: Connection) -> None:
        wire = connection.wire
        self._send(connection, wire.handshake())
        while data := await connection.channel.receive():
            now = connection.heard = self._clock()
            try:
                for event in wire.receive(data, now):
                    if not connection.ended.is_set():
                        self._handle(connection, event, now)
            except (MalformedError, LimitError) as error:
                self._expel(connection, error.message)
                return
        connection.ended.set()

    async def _write(self, connection: Connection) -> None:
        channel, outbox = connection.channel, connection.outbox
        while True:
            await connection.wake.wait()
            connection.wake.clear()
            while True:
                if outbox:
                    data = b"".join(outbox)
                    outbox.clear()
                    connection.waiting = 0
                    connection.spoke = self._clock()
                    await channel.send(data)
                    continue
                block = self._upload.next(connection)
                if block is None:
                    break
                data = self._content(block)
                await channel.send(protocol.serve(block, data))
                self.traffic.sent += len(data)

    def _handle(self, connection: Connection, event: protocol.Event, now: float) -> None:
        wire = connection.wire
        match event:
            case protocol.Handshaken(_, _, extended):
                self._greet(connection, extended, now)
            case protocol.Interested(on):
                connection.interested = on
                self._turn(self._upload.interest(connection, on, now))
            case protocol.Requested(block):
                if not (self._has(block.piece) and self._upload.request(connection, block)):
                    wire.charge()
                    self._send(connection, wire.reject(block))
                else:
                    connection.wake.set()
            case protocol.Cancelled(block):
                if self._upload.cancel(connection, block):
                    self._send(connection, wire.reject(block))
            case extensions.MetadataRequested(part):
                raw = self._info.raw if self._info is not None else None
                self._send(connection, wire.give_metadata(part, raw))
            case extensions.CheckpointTold(signed):
                if self._gossip is not None:
                    self._gossip.hear(signed)
            case _:
                if isinstance(event, protocol.HasAll):
                    connection.every = True
                if isinstance(event, extensions.Introduced) and self._gossip is not None:
                    head = self._gossip.head()
                    self._send(connection, wire.tell(head) if head is not None else b"")
                if self._download is not None:
                    fast = wire.fast
                    self._run(self._download.handle(connection, event, now, fast=fast), now)
        if self.seeding and connection.every:
            connection.ended.set()  # two seeds have nothing to say to each other

    def _greet(self, connection: Connection, extended: bool, now: float) -> None:
        wire = connection.wire
        connection.joined = True
        connection.extended = extended
        have = None
        if self._download is not None:
            self._download.join(connection, now, window=connection.channel.window)
            count = self._layout.count
            gained = {piece for piece in range(count) if self._has(piece)}
            have = protocol.bitfield_of(gained, count) if gained else None
        self._upload.join(connection, now)
        self._send(connection, wire.possess(have, every=self.seeding))
        if extended:
            self._send(connection, wire.introduce(metadata=self._info is not None))

    def _gone(self, connection: Connection) -> None:
        if not connection.joined:
            return
        connection.joined = False
        now = self._clock()
        self._turn(self._upload.leave(connection, now))
        if self._download is not None:
            self._run(self._download.leave(connection, now), now)

    def _send(self, connection: Connection, data: bytes) -> None:
        if not data or connection.ended.is_set():
            return
        connection.outbox.append(data)
        connection.waiting += len(data)
        if connection.waiting > OUTBOX_LIMIT:
            connection.ended.set()
        connection.wake.set()

    def _turn(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            connection = turn.peer
            assert isinstance(connection, Connection)
            kind = protocol.CHOKE if turn.on else protocol.UNCHOKE
            self._send(connection, protocol.message(kind))
            for block in turn.lost:
                self._send(connection, connection.wire.reject(block))

    # -- the download's commands ------------------------------------------------------------

    def _run(self, commands: Sequence[download.Command], now: float) -> None:
        """Carry out commands; a disk that fails ends the download, not the peer."""
        queue = list(commands)
        try:
            for command in queue:  # grows while it is walked
                queue += self._step(command, now)
        except SwarmError as error:  # of the store: too big for it, no room, a bad disk
            self.fail(error)

    def _step(self, command: download.Command, now: float) -> list[download.Command]:
        match command:
            case download.Keep(peer, block, data):
                assert self._incoming is not None
                self._incoming.write(self._layout.offset_of(block), data)
                self.progressed = now
                if isinstance(peer, Connection):
                    self.traffic.peers += len(data)
                else:
                    self.traffic.webseed += len(data)
            case download.Check(piece):
                return self._check(piece, now)
            case download.Begin(info):
                self._info = info
                self._incoming = self._store.begin(info)
            case download.Gained(piece):
                for peer in self._joined():
                    self._send(peer, protocol.have(piece))
            case download.Finished():
                self.complete.set()
            case _:
                return self._tell(command, now)
        return []

    def _tell(self, command: download.Command, now: float) -> list[download.Command]:
        assert not isinstance(
            command, (download.Begin, download.Check, download.Gained, download.Finished)
        )
        peer = command.peer
        if not isinstance(peer, Connection):
            if isinstance(command, download.Drop):
                self._distrusted.add(peer)
            return []
        match command:
            case download.Ask(_, blocks):
                self._send(peer, b"".join(map(protocol.request, blocks)))
            case download.Withdraw(_, block):
                self._send(peer, protocol.cancel(block))
            case download.Interest(_, on):
                kind = protocol.INTERESTED if on else protocol.NOT_INTERESTED
                self._send(peer, protocol.message(kind))
            case download.AskMetadata(_, part):
                self._send(peer, peer.wire.ask_metadata(part))
            case download.Unwanted():
                try:
                    peer.wire.charge()
                except LimitError as error:
                    # Not raised: the commands after this one are about other peers too.
                    self._expel(peer, error.message)
            case download.Drop(_, reason, ban):
                self._expel(peer, reason, ban=ban)
        return []

    def _expel(self, connection: Connection, reason: str, *, ban: bool = True) -> None:
        log.info("closing a peer of blob %s: %s", self.ref, reason)
        if ban:
            self.banned.add(connection.remote)
        connection.ended.set()

    def _check(self, piece: int, now: float) -> list[download.Command]:
        assert self._incoming is not None and self._download is not None and self._info is not None
        offset = piece * self._layout.piece_length
        data = self._incoming.read(offset, self._layout.size_of(piece))
        ok = sha1(data, usedforsecurity=False).digest() == self._info.hash_of(piece)
        digests: list[bytes] = []
        if self._download.needs_digests(piece, ok):
            view = memoryview(data)
            digests = [
                sha256(view[block.begin : block.begin + block.length]).digest()
                for block in self._layout.blocks_of(piece)
            ]
        return self._download.checked(piece, ok, digests, now)

    # -- the web seed -----------------------------------------------------------------------

    def know(self, info: Metainfo) -> None:
        """Take the info dictionary from elsewhere; it was checked against the reference."""
        if self._download is not None:
            now = self._clock()
            self._run(self._download.know(info, now), now)

    def lend(self, source: Hashable) -> None:
        """Let a source without a wire (the web seed) take part; it has everything."""
        if self._download is not None:
            self._download.picker.join(source, self._clock())
            self._download.picker.has_all(source)
            self._download.picker.choke(source, on=False)

    def borrow(self, source: Hashable) -> list[Block]:
        """The next blocks for such a source to fetch."""
        return self._download.picker.pick(source, self._clock()) if self._download else []

    def supply(self, source: Hashable, block: Block, data: bytes) -> bool:
        """A block from such a source; False once it has sent wrong bytes."""
        if self._download is None:
            return True
        now = self._clock()
        event = protocol.Received(block, data)
        self._run(self._download.handle(source, event, now, fast=True), now)
        return source not in self._distrusted

    def unlend(self, source: Hashable) -> None:
        """Such a source takes no more part."""
        if self._download is not None:
            self._download.picker.leave(source)

    # -- the end of the download ------------------------------------------------------------

    async def finish(self) -> Path:
        """After ``complete``: check the whole, move it into the store, go on as a seed.

        Raises what made the download fail.
        """
        try:
            if self.failure is not None:
                raise self.failure
            assert self._incoming is not None
            path = await asyncio.to_thread(self._incoming.commit)
            self._file = self._store.open(self.ref)
        except SwarmError as error:
            self.fail(error)
            raise
        self._download = None
        self._incoming.close()
        self._incoming = None
        for connection in self._joined():
            if connection.every:
                connection.ended.set()
            elif connection.extended:
                self._send(connection, connection.wire.introduce(metadata=True))
        return path

    def fail(self, error: SwarmError) -> None:
        """Give up the download."""
        if self.failure is None:
            self.failure = error
        self.complete.set()
        for connection in self._peers:
            connection.ended.set()

    def tick(self) -> None:
        """Give up on what takes too long. Call about once a second."""
        now = self._clock()
        for connection in self._peers:
            limit = SILENCE_TIMEOUT if connection.joined else HANDSHAKE_TIMEOUT
            if now - connection.heard > limit:
                connection.ended.set()
            elif connection.joined and now - connection.spoke > KEEPALIVE:
                self._send(connection, bytes(4))
        self._turn(self._upload.tick(now))
        if self._download is not None and not self.complete.is_set():
            self._run(self._download.tick(now), now)

    def close(self) -> None:
        """End all connections and close files. ``attach`` returns a little later."""
        for connection in self._peers:
            connection.ended.set()
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None
        if self._file is not None:
            self._file.close()
            self._file = None

    # -- inside -----------------------------------------------------------------------------

    def _joined(self) -> list[Connection]:
        return [connection for connection in self._peers if connection.joined]

    def _has(self, piece: int) -> bool:
        return self._download is None or self._download.picker.has_piece(piece)

    def _content(self, block: Block) -> bytes:
        offset = self._layout.offset_of(block)
        if self._incoming is not None:
            return self._incoming.read(offset, block.length)
        if self._file is None:
            raise UnavailableError(f"blob {self.ref} was left", hint="Join its swarm again.")
        self._file.seek(offset)
        return self._file.read(block.length)
