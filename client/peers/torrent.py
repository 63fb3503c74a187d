"""One torrent in the swarm: the peers that share it, what is fetched from and served to them.

Wires, pure state and files meet here. Nothing in here opens a connection; see ``swarm``.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from random import Random

from client.peers import download, events, extensions, protocol
from client.peers.checking import block_digests, check
from client.peers.company import SILENCE_TIMEOUT, Company
from client.peers.connection import Connection, run, spelled
from client.peers.download import Download
from client.peers.exchange import Exchange
from client.peers.extensions import METADATA_BLOCK, Address, Gossip
from client.peers.layout import Block, Layout
from client.peers.lending import Lending
from client.peers.picker import Picker
from client.peers.protocol import PeerWire
from client.peers.stats import Traffic
from client.peers.storage import Shelf, Storage, begin
from client.peers.transport import Channel
from client.peers.trees import Trees
from client.peers.upload import Turn, Upload
from workunits.errors import LimitError, MalformedError, SwarmError, UnavailableError
from workunits.ids import BlobRef
from workunits.links import Target
from workunits.torrents import MAX_INFO, TorrentInfo, parse_torrent_info

log = logging.getLogger(__name__)

TOLD_PAUSE = 20.0
"""Seconds from one message about other peers that is read to the next (BEP 11: a minute)."""

MAX_PARTS = MAX_INFO // METADATA_BLOCK
"""Parts of the info dictionary that a peer may have asked for and not been sent."""

Clock = Callable[[], float]
Acquaint = Callable[[bytes, tuple[Address, ...]], None]
"""Hears of addresses that a peer says it is connected to: what the peer is known by, and they."""


class Torrent:
    """The state of one torrent that is fetched, served, or both."""

    def __init__(
        self,
        target: Target,
        shelf: Shelf,
        peer_id: bytes,
        *,
        rng: Random,
        clock: Clock,
        gossip: Gossip | None = None,
        port: int = 0,
        acquaint: Acquaint | None = None,
        sequential: bool = False,
        ref: BlobRef | None = None,
    ) -> None:
        """Start as a seed when ``shelf`` is complete, and else as a download.

        ``ref`` is the blob, if it is one of the store's. ``port`` is where we listen on TCP, 0 for
        nowhere. Without ``acquaint`` no addresses are exchanged with peers.
        """
        self.target = target
        self.ref = ref
        self.traffic = Traffic()
        self.failure: SwarmError | None = None
        self._known = asyncio.Event()
        self.complete = asyncio.Event()
        """Set when every piece is verified, or ``failure`` says why that will never be."""

        self._shelf = shelf
        self._peer_id = peer_id
        self._gossip = gossip
        self._clock = clock
        self._port = port
        self._acquaint = acquaint
        self._exchange = Exchange()
        self._upload = Upload(seeding=shelf.complete)
        self.company = Company(clock)
        self._storage: Storage | None = None
        self.lending = Lending(lambda: self._picker, self._supplied, clock)
        self._info: TorrentInfo | None = None
        self._layout: Layout | None = None
        self._download: Download | None = None
        self._trees: Trees | None = None
        self.progressed = clock()
        """When content last came."""

        if shelf.complete:
            self._seed()
            self.complete.set()
        else:
            self._download = Download(self._parse, rng, sequential=sequential)
            if shelf.info is not None:
                self.know(shelf.info)

    # -- state ------------------------------------------------------------------------------

    @property
    def seeding(self) -> bool:
        """Whether all of the content is here."""
        return self._download is None

    @property
    def info(self) -> TorrentInfo | None:
        """The metainfo, once it is known."""
        return self._info

    @property
    def peers(self) -> int:
        """Open connections."""
        return len(self.company)

    @property
    def length(self) -> int | None:
        """Bytes of content, padding included; ``None`` while nobody said so."""
        return self._info.length if self._info is not None else self.target.length

    @property
    def done(self) -> int:
        """Bytes that are verified; the last piece counts like the others until all are there."""
        if self._layout is None:
            return 0
        missing = self._picker.missing if self._picker is not None else 0
        verified = (self._layout.count - missing) * self._layout.piece_length
        return min(self._layout.length, verified)

    def connections(self, remote: bytes, within: float = SILENCE_TIMEOUT) -> int:
        """Connections to the peer of this tracker id that sent something in ``within`` seconds."""
        return self.company.heard(remote, within)

    # -- connections ------------------------------------------------------------------------

    async def attach(
        self, channel: Channel, remote: bytes, *, address: Address | None = None
    ) -> None:
        """Run a connection to its end. Never raises for what the peer does; closes it.

        ``address`` is where the peer can be dialled over TCP; its port is 0 when it dialled us.
        """
        now = self._clock()
        names = (self.target.v1, self.target.v2)
        size = len(self._info.raw) if self._info is not None else None
        wire = PeerWire(names, self._peer_id, self._layout, size, now, port=self._port)
        connection = Connection(channel, wire, remote, heard=now, useful=now, address=address)
        self.company.add(connection)
        try:
            await run(connection, self, self._clock)
        except* (SwarmError, OSError) as errors:
            for error in errors.exceptions:
                log.debug("peer of %s: %s", self.target, error)
        finally:
            self.company.remove(connection)
            self._gone(connection)
            await channel.close()

    def next_part(self, connection: Connection) -> bytes | None:
        """See ``connection.Owner``."""
        raw = self._info.raw if self._info is not None else None
        parts = connection.parts
        return connection.wire.give_metadata(parts.popleft(), raw) if parts else None

    def next_block(self, connection: Connection) -> bytes | None:
        """See ``connection.Owner``."""
        block = self._upload.next(connection)
        return protocol.serve(block, self._content(block)) if block is not None else None

    def served(self, connection: Connection, size: int) -> None:
        """See ``connection.Owner``."""
        self.traffic.sent += size
        now = self._clock()
        self._upload.took(connection, size, now)
        if self.seeding:
            connection.useful = now

    def handle(self, connection: Connection, event: events.Event, now: float) -> None:
        """See ``connection.Owner``."""
        wire = connection.wire
        match event:
            case events.Handshaken():
                self._greet(connection, event, now)
            case events.Interested(on):
                connection.interested = on
                self._turn(self._upload.interest(connection, on, now))
            case events.Requested(block):
                if not (self._has(block.piece) and self._upload.request(connection, block)):
                    wire.charge()
                    connection.send(wire.reject(block))
                else:
                    connection.wake.set()
            case events.Cancelled(block):
                if self._upload.cancel(connection, block):
                    connection.send(wire.reject(block))
            case events.HashesRequested(request):
                hashes = b""
                if self._trees is not None:
                    wire.charge(self._trees.cost(request))
                    hashes = self._trees.answer(request)
                connection.send(protocol.give_hashes(request, hashes))
            case extensions.MetadataRequested(part):
                # Later, as it can be read: all parts together are more than may wait.
                if len(connection.parts) < MAX_PARTS:
                    connection.parts.append(part)
                    connection.wake.set()
            case extensions.CheckpointTold(signed):
                if self._gossip is not None:
                    self._gossip.hear(signed)
            case extensions.PeersTold(added, _):
                if self._acquaint is not None and now - connection.told >= TOLD_PAUSE:
                    connection.told = now
                    self._acquaint(connection.remote, added)
            case _:
                self._hear(connection, event, now)
        if self.seeding and connection.every:
            connection.ended.set()  # two seeds have nothing to say to each other

    def _hear(self, connection: Connection, event: events.Event, now: float) -> None:
        """Take an event that matters to the download too."""
        if isinstance(event, events.HasAll):
            connection.every = True
        if isinstance(event, extensions.Introduced):
            if self._gossip is not None:
                head = self._gossip.head()
                connection.send(connection.wire.tell(head) if head is not None else b"")
            if connection.address is not None:
                host, port = connection.address
                connection.address = (host, event.port or port)
                # Not before: it must have said that it takes such messages.
                self._exchange.join(connection, host, now)
        if self._download is not None:
            fast = connection.wire.fast
            self._run(self._download.handle(connection, event, now, fast=fast), now)

    def _greet(self, connection: Connection, shaken: events.Handshaken, now: float) -> None:
        wire = connection.wire
        connection.joined = True
        connection.extended = shaken.extended
        have = None
        if self._download is not None:
            window = connection.channel.window
            self._download.join(connection, now, window=window, hashes=shaken.hashes)
            if self._layout is not None:
                count = self._layout.count
                gained = [piece for piece in range(count) if self._has(piece)]
                have = protocol.bitfield_of(gained, count) if gained else None
        self._upload.join(connection, now)
        connection.send(wire.possess(have, every=self.seeding))
        if shaken.extended:
            connection.send(wire.introduce(metadata=self._info is not None))

    def _gone(self, connection: Connection) -> None:
        if not connection.joined:
            return
        connection.joined = False
        now = self._clock()
        self._exchange.leave(connection)
        self._turn(self._upload.leave(connection, now))
        if self._download is not None:
            self._run(self._download.leave(connection, now), now)

    def _turn(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            connection = turn.peer
            assert isinstance(connection, Connection)
            kind = protocol.CHOKE if turn.on else protocol.UNCHOKE
            connection.send(protocol.message(kind))
            for block in turn.lost:
                connection.send(connection.wire.reject(block))

    # -- the download ---------------------------------------------------------------------

    async def receive(self) -> None:
        """Fetch the content until ``complete``; ``finish`` comes after it. Call it once."""
        await self._known.wait()
        if self._info is None or self._download is None:
            return
        try:
            storage = await begin(self._shelf, self._info)
        except SwarmError as error:
            self.fail(error)
            return
        if self.failure is not None:
            storage.close()
            return
        self._begin(self._info, storage)
        await self.complete.wait()

    def _begin(self, info: TorrentInfo, storage: Storage) -> None:
        """There is room for the content: understand what peers said of it so far."""
        assert self._download is not None
        now = self._clock()
        self._storage, self._layout = storage, Layout.of_torrent(info)
        self.progressed = now
        commands = self._download.begun(storage.verified, now)
        self.lending.begun()
        have = protocol.gained(storage.verified, self._layout.count)
        for connection in self.company:  # also those whose handshake is still to come
            if connection.joined:
                connection.send(have)
            try:
                said = connection.wire.learn(self._layout, len(info.raw))
            except (MalformedError, LimitError) as error:
                self.expel(connection, error.message)
                continue
            for event in said:
                connection.every |= isinstance(event, events.HasAll)
                fast = connection.wire.fast
                commands += self._download.handle(connection, event, now, fast=fast)
        self._run(commands, now)

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
                assert self._storage is not None and self._layout is not None
                self._storage.write(self._layout.offset_of(block), data)
                self.progressed = now
                if isinstance(peer, Connection):
                    peer.useful = now
                    self.traffic.peers += len(data)
                    self._upload.gave(peer, len(data), now)
                else:
                    self.traffic.webseed += len(data)
            case download.Check(piece, root):
                return self._check(piece, root, now)
            case download.Begin(info):
                self._info = info
                self._known.set()
            case download.Gained(piece):
                for peer in self.company.joined:
                    peer.send(protocol.have(piece))
            case download.Finished():
                self.complete.set()
            case _:
                self._tell(command)
        return []

    def _tell(self, command: download.Ordinary) -> None:
        peer = command.peer
        if not isinstance(peer, Connection):
            if isinstance(command, download.Drop) and command.ban:
                self.lending.distrust(peer)
            return
        match command:
            case download.Unwanted():
                try:
                    peer.wire.charge()
                except LimitError as error:
                    # Not raised: the commands after this one are about other peers too.
                    self.expel(peer, error.message)
            case download.Drop(_, reason, ban):
                self.expel(peer, reason, ban=ban)
            case _:
                peer.send(spelled(command, peer.wire))

    def expel(self, connection: Connection, reason: str, *, ban: bool = True) -> None:
        """See ``connection.Owner``."""
        log.info("closing a peer of %s: %s", self.target, reason)
        if ban:
            self.company.ban(connection.remote)
        connection.ended.set()

    def _check(self, piece: int, root: bytes, now: float) -> list[download.Command]:
        assert self._storage is not None and self._layout is not None
        assert self._info is not None and self._download is not None
        offset = piece * self._layout.piece_length
        data = self._storage.read(offset, self._layout.size_of(piece))
        ok, digest = check(data, self._info, piece, root)
        if ok:
            self._storage.keep(piece, digest)
        wanted = self._download.needs_digests(piece, ok)
        digests = block_digests(data, self._layout, piece) if wanted else []
        return self._download.checked(piece, ok, digests, now)

    # -- sources without a wire (web seeds) -------------------------------------------------

    def know(self, info: TorrentInfo) -> None:
        """Take the info dictionary from elsewhere; it was checked against the target."""
        if self._download is not None:
            self._run(self._download.know(info), self._clock())

    def _supplied(self, source: Hashable, event: events.Received) -> None:
        if self._download is not None:
            now = self._clock()
            self._run(self._download.handle(source, event, now, fast=True), now)

    # -- the end of the download ------------------------------------------------------------

    async def finish(self) -> Path:
        """After ``complete``: put the whole under its name, go on as a seed.

        Raises what made the download fail.
        """
        try:
            if self.failure is not None:
                raise self.failure
            storage = self._storage
            assert storage is not None
            path = await asyncio.to_thread(storage.commit)
            self._seed()
            storage.close()
        except SwarmError as error:
            if isinstance(error, MalformedError) and self._storage is not None:
                self._storage.discard()  # what is there can never become the content
            self.fail(error)
            raise
        self._download = None
        self._upload.seeding = True
        for connection in self.company.joined:
            if connection.every:
                connection.ended.set()
            elif connection.extended:
                connection.send(connection.wire.introduce(metadata=True))
        return path

    def fail(self, error: SwarmError) -> None:
        """Give up the download."""
        if self.failure is None:
            self.failure = error
        self._known.set()
        self.complete.set()
        self.company.end()

    def tick(self) -> None:
        """Give up on what takes too long. Call about once a second."""
        now = self._clock()
        self.company.tick()
        self._turn(self._upload.tick(now))
        self._introduce_peers(now)
        if self._download is not None and not self.complete.is_set():
            self._run(self._download.tick(now), now)

    def close(self) -> None:
        """End all connections and close files. ``attach`` returns a little later."""
        self.company.end()
        if self._storage is not None:
            self._storage.close()
            self._storage = None

    # -- inside -----------------------------------------------------------------------------

    def _parse(self, raw: bytes) -> TorrentInfo:
        return parse_torrent_info(raw, v1=self.target.v1, v2=self.target.v2)

    def _seed(self) -> None:
        self._storage = self._shelf.open()
        self._info = self._shelf.info
        assert self._info is not None
        self._layout = Layout.of_torrent(self._info)
        if self._info.v2 is not None:
            self._trees = Trees(self._info, self._storage.digests, self._storage.read)

    @property
    def _picker(self) -> Picker | None:
        return self._download.picker if self._download is not None else None

    def _has(self, piece: int) -> bool:
        if self._download is None:
            return True
        return self._picker is not None and self._picker.has_piece(piece)

    def _content(self, block: Block) -> bytes:
        if self._storage is None or self._layout is None:
            raise UnavailableError(f"{self.target} was left", hint="Join its swarm again.")
        return self._storage.read(self._layout.offset_of(block), block.length)

    def _introduce_peers(self, now: float) -> None:
        if self._acquaint is None or self._info is None or self._info.private:
            return
        known = [
            (c, c.address) for c in self.company.joined if c.address is not None and c.address[1]
        ]
        for tell in self._exchange.tick(known, now):
            assert isinstance(tell.peer, Connection)
            tell.peer.send(tell.peer.wire.tell_peers(tell.added, tell.dropped))
