"""What all downloads to a disk share: pieces that are kept for good, and an orderly end.

A piece counts as kept for good once its bytes and then its journal record are synced; both happen
in a syncer's one thread, for all pieces that came since the last time.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock

from client.journal import Kept
from client.syncer import Syncer
from workunits.errors import LocalError, UnavailableError


class Keeper(ABC):
    """The life of one download; see ``client.peers.storage.Storage``.

    ``keep``, ``close`` and ``discard`` belong to one thread, with reading and writing; commits may
    run in another. Reading works until ``close`` or ``discard``, one of which comes last.
    """

    def __init__(
        self, syncer: Syncer, digests: dict[int, bytes], fresh: Sequence[int] = ()
    ) -> None:
        """``digests`` are the verified pieces, of which the journal lacks the ``fresh`` ones."""
        self.over = Event()
        """Set when everything has ended, in whichever thread."""

        self._syncer = syncer
        self._digests = digests
        self._mutex = Lock()  # never held while the disk works
        self._pending: list[Kept] = [(piece, digests[piece]) for piece in fresh]
        self._verified = frozenset(digests)
        self._busy = 0
        self._closed = False
        self._released = False
        self._forget = False
        self._committed = False
        self._failure: LocalError | None = None

    @property
    def verified(self) -> frozenset[int]:
        """Pieces that were on disk when the download began."""
        return self._verified

    @property
    def closing(self) -> bool:
        """Whether the end has begun; ``over`` says when it is done."""
        return self._closed

    def keep(self, piece: int, digest: bytes) -> None:
        """``piece`` is verified and all of it written; ``digest`` is the root of its SHA-256 tree,
        empty in a torrent of v1 only.

        It survives a power loss soon after. Does not wait for the disk. Raises ``LocalError`` when
        the disk has failed to keep earlier ones.
        """
        self._check()
        with self._mutex:
            self._digests[piece] = digest
            self._pending.append((piece, digest))
        self._syncer.submit(self._sync)

    def flush(self) -> None:
        """Wait until what was kept is on disk. Raises ``LocalError`` when it cannot be."""
        self._syncer.wait(self._sync)
        self._check()

    def wait(self) -> None:
        """After ``close``: wait until all of it has ended."""
        self._syncer.wait(self._sync)
        self.over.wait()

    def close(self) -> None:
        """End the download. What was kept stays for the next time."""
        self._end(forget=False)

    def discard(self) -> None:
        """End the download, and forget what was kept unless it was committed."""
        self._end(forget=True)

    # -- for those who know the disk --------------------------------------------------------

    @abstractmethod
    def _write_down(self, batch: Sequence[Kept]) -> None:
        """In the syncer's thread: put pieces on disk, then their records. Raises ``LocalError``."""

    @abstractmethod
    def _release(self, *, forget: bool) -> None:
        """Let go of everything, at the very end; ``forget`` what there is of the content."""

    def _check(self) -> None:
        if self._closed:
            raise UnavailableError("the download has ended", hint="Start it again.")
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _committing(self, *, unwritten: bool) -> Iterator[None]:
        """Keep the end waiting, once nothing is being synced. Raises what ``flush`` raises.

        ``unwritten`` drops what the journal lacks: the commit makes it needless.
        """
        with self._mutex:
            self._check()
            self._busy += 1
            if unwritten:
                self._pending.clear()
        try:
            self._syncer.wait(self._sync)
            if self._failure is not None:
                raise self._failure
            yield
        finally:
            self._leave()

    def _end(self, *, forget: bool) -> None:
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._forget |= forget
            waits = self._busy or (self._pending and not self._forget and not self._committed)
            self._busy += 1
        if not waits or not self._syncer.submit(self._sync):
            with self._mutex:
                self._pending.clear()
        self._leave()

    # -- inside -----------------------------------------------------------------------------

    def _sync(self) -> None:
        """In the syncer's thread: put on disk what was kept since the last time."""
        with self._mutex:
            if self._released:
                return
            batch, self._pending = self._pending, []
            if self._failure or self._forget or self._committed:
                batch = []
            self._busy += 1
        try:
            if batch:
                self._write_down(batch)
        except LocalError as error:
            # Never tried again: after a failed sync the system forgets which bytes are not there.
            self._failure = error
        self._leave()

    def _leave(self) -> None:
        """Whoever is the last to leave after the end turns off the light."""
        with self._mutex:
            self._busy -= 1
            if self._busy or self._pending or not self._closed or self._released:
                return
            self._released = True
        self._release(forget=self._forget and not self._committed)
        self.over.set()
