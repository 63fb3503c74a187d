"""The two engines of the data plane behind one interface, and which one to use.

``aiortc`` is ours, on pure Python, and always there: ``client.peers.swarm``. ``libtorrent`` is the
library that many BitTorrent clients are made of, installed as the extra ``fast``:
``client.peers.native``. Both take part in the same swarms.
"""

from collections.abc import Mapping
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from client.blobs import BlobStore
from client.peers.network import Network
from client.peers.stats import Progress, SwarmStats
from client.peers.throttle import Rates
from workunits.errors import LocalError
from workunits.ids import BlobRef
from workunits.torrents import TorrentInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.peers.extensions import Gossip
    from workunits.links import Target
    from workunits.signing import Identity

AUTO, AIORTC, LIBTORRENT = "auto", "aiortc", "libtorrent"
ENGINES = (AUTO, AIORTC, LIBTORRENT)
VARIABLE = "SWARM_ENGINE"
"""Environment variable that names the engine."""

SEED_REASON = "seed"
"""Why the store holds a blob that is seeded."""

EVERYWHERE = Network()
GRACE = 5.0
"""Seconds without content from any peer, after which the web seed is asked; at once if alone."""

PATIENCE = 300.0
"""Seconds without content from anywhere, after which a fetch fails."""

_INSTALL = "Install it: pip install 'openswarm[fast]', or use the engine aiortc."


class Engine(Protocol):
    """Fetches and serves among peers; an async context manager, nothing is left when it exits."""

    async def __aenter__(self) -> Self:
        """Start."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""

    @property
    def stats(self) -> SwarmStats:
        """Counters and what is open now."""

    @property
    def limits(self) -> Rates:
        """Bandwidth over everything; may be changed at any time."""

    @limits.setter
    def limits(self, rates: Rates) -> None:
        """Change it."""

    async def fetch(
        self, ref: BlobRef, *, progress: "Callable[[Progress], None] | None" = None
    ) -> Path:
        """The file of ``ref`` in the store, fetched unless it is here; it is seeded from then on.

        Callers of the same blob share one download; it stops when the last of them is cancelled.

        Raises ``UnavailableError`` when no content came for the engine's patience, ``LimitError``
        or ``LocalError`` when it does not fit, and ``MalformedError`` when ``ref`` is inconsistent.
        """

    def seed(self, ref: BlobRef) -> None:
        """Serve ``ref``, and keep it from eviction, until ``unseed``; said again, announce it at
        once where the tracker refused it.

        Raises ``UnavailableError`` when it is not in the store.
        """

    def unseed(self, ref: BlobRef) -> None:
        """Serve ``ref`` no longer; unknown ones are no error. A fetch under way goes on."""

    async def download(
        self,
        target: "Target",
        folder: Path,
        *,
        progress: "Callable[[Progress], None] | None" = None,
        sequential: bool = False,
    ) -> TorrentInfo:
        """Fetch any torrent into ``folder``, with an earlier part of it; served until the end.

        Files go where ``client.folders.places_of`` says, by the target's name. Errors as for
        ``fetch``.
        """

    async def share(
        self,
        info: TorrentInfo,
        folder: Path,
        *,
        name: str = "",
        layers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Serve files that lie in ``folder`` until the end. Raises ``UnavailableError``.

        ``name`` is what a blob is called there; ``layers`` are piece layers by pieces root.
        """


class Make(Protocol):
    """Makes an engine that is to be entered."""

    def __call__(
        self,
        store: BlobStore,
        tracker: str,
        *,
        network: Network = EVERYWHERE,
        identity: "Identity | None" = None,
        gossip: "Gossip | None" = None,
        limits: Rates | None = None,
        grace: float = GRACE,
        patience: float = PATIENCE,
    ) -> Engine:
        """``tracker`` is a base URL; ``grace`` and ``patience`` are seconds.

        ``identity`` announces where only members may; ``limits`` take the place of the network's.
        ``gossip`` hears and tells what peers saw of the tracker's ledger; libtorrent carries none.
        """


def choose(name: str = AUTO, *, gossip: bool = False, relay_only: bool = False) -> Make:
    """How to make the engine called ``name``, one of ``ENGINES``.

    ``auto`` is libtorrent where it is installed, unless checkpoints of the ledger are to be
    gossiped (its Python binding has no place for an extension of the peer protocol), or no address
    may be shown to peers (it tells them all that it has).

    Raises ``LocalError`` when there is no such engine, or it is not installed.
    """
    if name not in ENGINES:
        raise LocalError(
            f"there is no engine called {name!r}", hint=f"Use one of {', '.join(ENGINES)}."
        )
    if name == AUTO:
        name = LIBTORRENT if installed() and not (gossip or relay_only) else AIORTC
    if name == AIORTC:
        from client.peers.swarm import BlobSwarm

        return BlobSwarm
    if not installed():
        raise LocalError("the engine libtorrent is not installed", hint=_INSTALL)
    try:
        from client.peers.native import NativeSwarm
    except ImportError as error:  # a wheel for another machine, or another Python
        raise LocalError(f"libtorrent cannot be used: {error}", hint=_INSTALL) from None
    return NativeSwarm


def installed() -> bool:
    """Whether libtorrent can be imported."""
    return util.find_spec("libtorrent") is not None


def asked(environment: Mapping[str, str]) -> str:
    """The engine that ``environment`` names, ``auto`` unless it does."""
    return environment.get(VARIABLE, "").strip() or AUTO
