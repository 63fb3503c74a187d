"""The parlour of a swarm: published models, asked through the desk, paid from API keys.

Every published model is asked under a job of the tracker's operator (``tracker.endpoint.tab``).
What peers are paid comes from that job's escrow, and what keys are charged stays with the operator:
so its jobs are working capital that flows back. Where its balance beyond what keys have prepaid
does not cover a job, the tracker mints the difference to itself by a signed ``Grant``, which stands
in the public ledger as any other.
"""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Callable

from tracker.endpoint.call import SwarmCall
from tracker.endpoint.catalogue import Catalogue, Published
from tracker.endpoint.keys import AbsentError, ApiKey, CrowdedError, Keys, Use
from tracker.endpoint.parlour import Served
from tracker.endpoint.tab import Tab, cost, is_same, manifest_of
from tracker.rows import StatementRow
from tracker.sessions import Sessions
from tracker.settings import Waiting
from tracker.work.state import Job
from workunits.errors import RefusedError, SwarmError
from workunits.ids import short
from workunits.manifest import NONCE_SIZE, SignedManifest
from workunits.models.request import Request
from workunits.signing import Identity
from workunits.statements import Cancel, Claim, Grant, Pay, Statement
from workunits.verification import Policy

MAX_CALLS = 10_000
"""Requests under way at once: bounds memory."""

log = logging.getLogger(__name__)


class SwarmParlour:
    """The models of a tracker (``Parlour``). ``nonce`` gives 16 random bytes."""

    def __init__(
        self,
        sessions: Sessions,
        identity: Identity,
        keys: Keys,
        catalogue: Catalogue,
        *,
        policy: Policy = Policy.PAIR,
        waiting: Waiting | None = None,
        nonce: Callable[[], bytes] = lambda: os.urandom(NONCE_SIZE),
    ) -> None:
        self.keys = keys
        self.catalogue = catalogue
        self._sessions = sessions
        self._identity = identity
        self._policy = policy
        self._waiting = waiting or Waiting()
        self._nonce = nonce
        self._tabs: dict[str, Tab] = {}
        self._closing: list[Tab] = []
        self._calls: dict[SwarmCall, None] = {}

    def __len__(self) -> int:
        return len(self._calls)

    # -- models -----------------------------------------------------------------------------

    def models(self) -> list[Served]:
        """All that can be asked, oldest first."""
        found = (each for each in self.catalogue.all() if each.name in self._tabs)
        return [each.served(self._policy) for each in found]

    def find(self, name: str) -> Served | None:
        """The model of that name."""
        published = self.catalogue.find(name)
        return published.served(self._policy) if published and name in self._tabs else None

    def job(self, name: str) -> Job | None:
        """The job under which a model is asked now."""
        tab = self._tabs.get(name)
        return tab.job if tab else None

    def start(self) -> None:
        """Take up the jobs that the desk has, and open those that it lacks."""
        own = [
            job
            for job in self._sessions.desk.jobs.values()
            if job.manifest.is_asked and job.manifest.submitter == self._identity.key
        ]
        for published in self.catalogue.all():
            wanted = manifest_of(published, self._identity.key, self._policy)
            # One with units from before the restart may owe more than its escrow can be asked for.
            fitting = (
                job
                for job in own
                if is_same(job.manifest, wanted) and not (job.units or job.settled)
            )
            if job := next(fitting, None):
                own.remove(job)
                self._tabs[published.name] = Tab(published.name, job)
            else:
                self._begin(published)
        self._closing = [Tab(job.manifest.name, job) for job in own]
        self._close_idle()
        self.pay_back()

    def opened(self, published: Published) -> None:
        """A model was published, or replaced: it is asked under a new job from now on."""
        tab = self._tabs.get(published.name)
        wanted = manifest_of(published, self._identity.key, self._policy)
        if tab and is_same(tab.job.manifest, wanted):
            return
        self.withdrawn(published.name)
        self._begin(published)

    def withdrawn(self, name: str) -> None:
        """A model was taken back. Requests under way go on."""
        if tab := self._tabs.pop(name, None):
            self._closing.append(tab)

    # -- requests ---------------------------------------------------------------------------

    def ask(
        self,
        key: ApiKey,
        served: Served,
        request: Request,
        *,
        stream: bool,
        top: int = 0,
        urgent: bool = True,
        again: bool = False,
        checked: bool = False,
    ) -> SwarmCall:
        """Begin a request. Raises ``BrokeError``, ``CrowdedError``, ``AbsentError`` and
        ``RefusedError``. One that is not ``urgent`` does not count for the key's rate; one that is
        to be ``checked`` is refused where nobody could check it."""
        if urgent and not again:
            self.keys.pace(key, self.now())
        if len(self._calls) >= MAX_CALLS:
            raise CrowdedError("too many requests are under way", seconds=5)
        made = SwarmCall(self, key, served.card.name, request, stream, top, urgent)
        self._place(made, checked)
        return made

    def _place(self, call: SwarmCall, checked: bool) -> None:
        """Give a request to the desk: ``call`` gets its tab, hold and unit."""
        desk, now, name = self._sessions.desk, self.now(), call.model
        tab = self._tabs.get(name)
        if tab is None:
            raise RefusedError(f"the model {name!r} is not offered any more")
        if not desk.can_answer(tab.job, now):
            raise _absent(name)
        if checked and not desk.can_check(tab.job, now):
            raise _unchecked(name, tab.job)
        amount = cost(tab.job.manifest, call.request)
        if tab.used_up or tab.left < amount:
            tab = self._renew(tab)
        call.hold = self.keys.reserve(call.key, amount)
        try:
            call.unit = desk.ask(
                *(tab.job, call.request, call, now),
                stream=call.stream,
                top=call.top,
                urgent=call.urgent,
            )
        except SwarmError:
            self.keys.release(call.hold)
            raise
        call.tab = tab
        self._calls[call] = None
        self._sessions.apply()

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._sessions.clock()

    def ended(self, call: SwarmCall, use: Use | None) -> int:
        """A request came to an end (``use``), or to nothing; the credits that were charged."""
        self._calls.pop(call, None)
        charged = self.keys.settle(call.hold, use.cost if use else 0)
        if use:
            self.keys.used(call.key, use)
        self.pay_back()
        self._sessions.apply()
        return charged

    def halted(self, call: SwarmCall, after: int) -> None:
        """Tell the desk that no more than ``after`` tokens are needed."""
        self._sessions.desk.halt(call.unit, after, self.now())
        self._sessions.apply()

    def dismissed(self, call: SwarmCall) -> None:
        """Tell the desk that nobody listens."""
        self._sessions.desk.dismiss(call.unit, self.now())
        self._sessions.apply()

    def absence(self, call: SwarmCall) -> AbsentError | None:
        """What to say if nobody is there who could answer."""
        able = self._sessions.desk.can_answer(call.tab.job, self.now())
        return None if able else _absent(call.model)

    async def tick(self) -> None:
        """Let time pass, for ever."""
        while True:
            await asyncio.sleep(1.0)
            self.look(self.now())

    def look(self, now: float) -> None:
        """Do what is due: answers that nobody checks, and old jobs."""
        for call in list(self._calls):
            spoke = call.spoke_at
            if spoke is not None and now - spoke >= self._waiting.verdict:
                call.unverified("nobody who could check the answer did so in time")
        self._close_idle()
        self.pay_back()
        self._sessions.apply()

    # -- jobs and money ---------------------------------------------------------------------

    def _begin(self, published: Published) -> Tab:
        sessions, identity = self._sessions, self._identity
        manifest = manifest_of(published, identity.key, self._policy, self._nonce())
        self._cover(manifest.escrow)
        signed = SignedManifest.sign(manifest, identity)
        job = sessions.desk.submit(signed, sessions.clock(), sessions.wall())
        tab = self._tabs[published.name] = Tab(published.name, job)
        log.info("model %s is asked under job %s", published.name, short(job.id))
        return tab

    def _renew(self, tab: Tab) -> Tab:
        published = self.catalogue.find(tab.name)
        assert published is not None, "a tab is closed when its model is withdrawn"
        self._closing.append(tab)
        return self._begin(published)

    def _close_idle(self) -> None:
        rest, self._closing = self._closing, []
        for tab in rest:
            if not tab.idle:
                self._closing.append(tab)
            elif tab.job.id in self._sessions.desk.jobs:
                self._cancel(tab.job)

    def _cancel(self, job: Job) -> None:
        self._sessions.desk.cancel(job, self._say(Cancel(job.id)), self.now())

    def _cover(self, amount: int) -> None:
        """Have so much that no key has prepaid."""
        book, key = self._sessions.desk.book, self._identity.key
        lack = amount + self.keys.liable - book.balance(key)
        if lack > 0:
            book.mint(key, lack, self._say(Grant(key, lack)))
            log.info("minted %d credits of working capital for models", lack)

    def pay_back(self) -> None:
        """Pay back what is left of closed keys, and keep what changed in any.

        Where the operator has spent what it owes, it is paid when it has as much again.
        """
        desk, own = self._sessions.desk, self._identity.key
        for key in self.keys.owed():
            amount = key.left
            if key.owner != own:
                if desk.book.balance(own) < amount:
                    continue
                desk.book.transfer(key.owner, amount, self._say(Pay(key.owner, amount)))
            self.keys.refunded(key, amount)
        desk.floor.outbox.rows += self.keys.take()

    def _say(self, claim: Claim) -> Statement:
        wall = int(self._sessions.wall())
        statement = Statement.sign(self._identity, claim, time=wall, nonce=self._nonce())
        self._sessions.desk.floor.outbox.rows.append(
            StatementRow(statement.id, statement.raw, statement.signature, wall)
        )
        return statement

    # -- numbers ----------------------------------------------------------------------------

    def holders(self, published: Published) -> int:
        """How many connected peers say that they hold a model."""
        name = int.from_bytes(published.card.file.v2[:8], "big")
        peers = self._sessions.desk.peers.values()
        return sum(each.larder is not None and each.larder.holds(name) for each in peers)

    def numbers(self) -> dict[str, dict[str, int | float]]:
        """By model: requests, tokens, verified share, tokens a second, requests under way."""
        under_way: dict[str, int] = defaultdict(int)
        for call in self._calls:
            under_way[call.model] += 1
        used = self.keys.usage_of_models()
        found: dict[str, dict[str, int | float]] = {}
        for published in self.catalogue.all():
            row = used.get(published.name)
            requests = row.requests if row else 0
            seconds = row.milliseconds / 1000 if row else 0.0
            found[published.name] = {
                "requests": requests,
                "open": under_way[published.name],
                "prompt": row.prompt if row else 0,
                "generated": row.generated if row else 0,
                "verified": round(row.verified / requests, 4) if row and requests else 0.0,
                "rate": round(row.generated / seconds, 1) if row and seconds else 0.0,
                "cost": row.cost if row else 0,
            }
        return found


def _absent(name: str) -> AbsentError:
    return AbsentError(
        f"no volunteer who can answer for the model {name!r} is connected", seconds=15
    )


def _unchecked(name: str, job: Job) -> AbsentError:
    why = "no peer of another owner who can check its answers is connected"
    if job.manifest.policy is Policy.TRUSTED:
        why = "this tracker has its answers checked by nobody"
    return AbsentError(f"no verified answer of the model {name!r} can be had: {why}", seconds=15)
