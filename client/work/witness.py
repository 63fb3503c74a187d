"""A validator as a witness: it watches the tracker's ledger grow, cosigns it, and meets others.

Everything that the tracker, other witnesses through it, or peers over their own connections show
of the ledger must be of one history with what was seen before. If not, the tracker lies to
somebody, and whoever is shown a ``ForkError`` should not work for it.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NoReturn

from client.forks import Forks, see
from client.ledger import Seen
from client.tracker_api import TrackerApi
from client.work import notices
from client.work.clock import Clock
from client.work.notices import Notice
from validators.witness import ForkError, Witness, verify_log
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.errors import MalformedError, RemoteError, SwarmError, UnavailableError
from workunits.ids import PeerKey, short
from workunits.signing import Identity

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between looks at the ledger, give or take a quarter."""

MAX_HEARD = 64
"""Checkpoints of peers that wait for the next look."""

MAX_MET = 1024
"""Checkpoints that are known to go together with what was seen."""

PATIENCE = 3
"""Looks in a row at which the tracker shows a checkpoint but no proof, after which people hear."""


class LedgerWitness:
    """Watches the ledger of one tracker. What was seen is kept in ``home``, for every command."""

    def __init__(
        self,
        tracker: str,
        identity: Identity,
        home: Path,
        *,
        notify: Callable[[Notice], None] = lambda _: None,
        clock: Clock,
        rng: Random,
    ) -> None:
        """``tracker`` is a base URL. ``notify`` must not block or raise."""
        self._url = tracker
        self._identity = identity
        self._seen = Seen(home)
        self._forks = Forks(home)
        self._notify = notify
        self._clock = clock
        self._rng = rng
        self._tracker: PeerKey | None = None
        self._latest: SignedCheckpoint | None = None
        self._heard: OrderedDict[Checkpoint, SignedCheckpoint] = OrderedDict()
        self._met: OrderedDict[Checkpoint, None] = OrderedDict()
        self._unshown = 0
        self._warned = ""

    # -- for the volunteer ------------------------------------------------------------------

    async def run(self) -> NoReturn:
        """Look at the ledger about once a minute until cancelled.

        Raises ``ForkError`` when the tracker has shown two histories; the evidence is in a file
        then, which the error names. Nothing else ends it.
        """
        async with TrackerApi.connect(self._url, attempts=1) as tracker:
            while True:
                await self.look(tracker)
                await self._clock.sleep(INTERVAL * self._rng.uniform(0.75, 1.25))

    def expect(self, tracker: PeerKey) -> None:
        """Only the ledger of ``tracker`` will do from now on: its sessions have this key."""
        self._tracker = tracker

    async def look(self, tracker: TrackerApi) -> None:
        """Look once; raises ``ForkError`` only."""
        try:
            await self._look(tracker)
        except ForkError:
            raise
        except UnavailableError as error:
            log.info("the ledger cannot be watched now: %s", error.message)
        except SwarmError as error:
            self._warn(f"the ledger cannot be watched: {error.message}", error.hint)
        else:
            self._warned = ""

    # -- for the swarm of peers -------------------------------------------------------------

    def head(self) -> SignedCheckpoint | None:
        """The last checkpoint that held, cosigned: what peers should be told."""
        return self._latest

    def hear(self, signed: SignedCheckpoint) -> None:
        """What a peer saw, unverified; if it is of our ledger it is met at the next look."""
        head = signed.checkpoint
        if head in self._met or head in self._heard or len(self._heard) >= MAX_HEARD:
            return
        with suppress(RemoteError):
            if verify_log(signed) == self._tracker:
                self._heard[head] = signed

    # -- inside -----------------------------------------------------------------------------

    async def _look(self, tracker: TrackerApi) -> None:
        fresh = await tracker.checkpoint()
        key = verify_log(fresh)
        if self._tracker not in (None, key):
            raise MalformedError(
                f"it is signed with the key {short(key)}, and the tracker's sessions with another",
                hint="Check who answers at that address.",
            )
        self._tracker = key
        if self._latest is None or verify_log(self._latest) != key:
            self._check_evidence(key)
        witness = Witness(key, self._seen.latest(key))
        if witness.latest is None:  # at first, or when somebody removed it meanwhile
            self._met.clear()
        witness = await self._meet(tracker, witness, fresh)
        self._latest = self._cosign(witness)
        for head, signed in list(self._heard.items()):
            witness = await self._meet(tracker, witness, signed)
            self._heard.pop(head, None)
        for signed in await tracker.witnessed():
            witness = await self._meet(tracker, witness, signed)
        self._latest = self._cosign(witness)
        await tracker.cosign(self._latest)

    def _cosign(self, witness: Witness) -> SignedCheckpoint:
        return witness.cosign(self._identity, int(self._clock.wall()))

    def _check_evidence(self, tracker: PeerKey) -> None:
        try:
            self._forks.check(tracker)
        except ForkError as error:
            raise self._report(error) from None

    async def _meet(
        self, tracker: TrackerApi, witness: Witness, theirs: SignedCheckpoint
    ) -> Witness:
        """Compare what somebody saw with what was seen here; the larger one is remembered."""
        head = theirs.checkpoint
        if head in self._met:
            return witness
        try:
            if verify_log(theirs) != witness.tracker:
                return witness
        except RemoteError:  # anybody can make up a note that the log did not sign
            return witness
        grown = await self._see(tracker, witness, theirs)
        self._met[head] = None
        if len(self._met) > MAX_MET:
            self._met.popitem(last=False)
        if grown.latest is not None and grown != witness:
            self._seen.keep(grown.tracker, grown.latest)
        return grown

    async def _see(
        self, tracker: TrackerApi, witness: Witness, theirs: SignedCheckpoint
    ) -> Witness:
        try:
            grown = await see(witness, theirs, (tracker,))
        except ForkError as error:
            raise self._report(self._forks.error(error.fork)) from None
        except SwarmError as error:
            self._unshown += 1
            if self._unshown == PATIENCE:
                self._warn(
                    "the tracker shows checkpoints of its ledger, and does not show how they go "
                    f"together: {error.message}",
                    "If that stays, ask its operator; it may hide something.",
                )
            raise
        self._unshown = 0
        return grown

    def _report(self, error: ForkError) -> ForkError:
        self._notify(notices.Forked(error.message, error.hint))
        return error

    def _warn(self, message: str, hint: str) -> None:
        if message != self._warned:
            self._warned = message
            self._notify(notices.Warned(message, hint))
