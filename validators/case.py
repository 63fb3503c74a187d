"""One job in the audit: what was committed, who was drawn, what was decided, what is final."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from validators import policies
from validators.draw import lot
from validators.electorate import Electorate, Seat
from validators.policies import Accept, By, Demand
from validators.record import Record
from validators.reputation import STRIKES, trust_of
from validators.settings import Settings, settings_of
from workunits import entries
from workunits.entries import Commits, Draws, Final, Move, Verdict
from workunits.errors import AuditError
from workunits.ids import NOBODY, Digest, JobId, LeaseToken, PeerKey, UnitId, short
from workunits.manifest import Manifest
from workunits.models import answer
from workunits.results import Result, commitment, seal
from workunits.ringers import Ringers
from workunits.wire import work


@dataclass(frozen=True, slots=True)
class Vote:
    """A commitment, and what held when it was made."""

    order: int
    peer: PeerKey
    owner: PeerKey
    commitment: bytes
    seal: bytes
    lot: int
    proven: bool
    referee: bool
    platform: str
    drawn: bool


@dataclass(slots=True)
class Unit:
    """A unit that was committed to and is not final."""

    votes: dict[LeaseToken, Vote] = field(default_factory=dict)
    taken: set[PeerKey] = field(default_factory=set)
    asked: set[PeerKey] = field(default_factory=set)
    right: list[LeaseToken] = field(default_factory=list)
    reopened: bool = False
    confirmed: bool = False
    meter: int = 0
    """What the accepted result counts, where a model is asked."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """``shown`` is whether the log alone shows that a verdict is right; ``cheats`` are those whom
    it proves wrong, ``private`` whether with the submitter alone, on whose word it rests."""

    shown: bool
    cheats: list[PeerKey]
    private: bool


class Claim(NamedTuple):
    """What the answer to a unit is and is not, if an answer that the submitter knew decided."""

    unit: int
    right: frozenset[Digest]
    wrong: frozenset[Digest]


@dataclass(slots=True)
class Case:
    """A job that is open in the log. Raises ``AuditError`` for what it does not allow."""

    id: JobId
    manifest: Manifest
    electorate: Electorate
    record: Record
    units: dict[int, Unit] = field(default_factory=dict)
    final: set[int] = field(default_factory=set)
    claims: list[Claim] = field(default_factory=list)
    """Units that a known answer is said to have decided."""

    votes: int = 0
    settings: Settings = field(init=False)
    trust: bytes = field(init=False)
    is_exact: bool = field(init=False)
    is_repeatable: bool = field(init=False)

    def __post_init__(self) -> None:
        self.settings = settings_of(self.manifest)
        self.trust = trust_of(self.manifest)
        self.is_exact = self.manifest.comparator.by_digest
        self.is_repeatable = self.manifest.comparator.is_repeatable

    def commits(self, entry: Commits) -> None:
        """A peer committed; its signature is checked here."""
        peer, void = entry.peer, set(entry.void)
        if len(entry.packed) % work.COMMIT_SIZE:
            raise AuditError("the commitments are cut off")
        batch = work.Commits(entry.job, entry.packed, entry.signature)
        batch.check(peer)
        member = self.electorate.members.get(peer)
        if member is None or peer in self.record.banned:
            raise AuditError(f"{short(peer)} never joined, or is banned, and commits")
        proven = self._is_proven(peer)
        referee = self.electorate.is_referee(peer, self.manifest)
        for at, each in enumerate(batch):
            if at in void:
                continue
            unit = self._unit(each.index)
            if (
                each.token in unit.votes
                or unit.right
                or not unit.taken.isdisjoint((peer, member.owner))
            ):
                raise AuditError(f"{short(peer)} or its owner has a second vote on {each.index}")
            self.votes += 1
            unit.votes[each.token] = Vote(
                *(self.votes, peer, member.owner, each.commitment, each.seal),
                *(lot(entry.link, UnitId(self.id, each.index)), proven, referee),
                *(member.platform, peer in unit.asked),
            )
            unit.taken |= {peer, member.owner}

    def draws(self, entry: Draws) -> None:
        """Peers were drawn: draw again. Only a referee's draw may find nobody."""
        for index, referee, peer in entry.draws:
            unit = self._unit(index)
            platforms = {""}
            if self.manifest.demands.same_platform:
                platforms = {each.platform for each in unit.votes.values()} or platforms
            by = By.REFEREE if referee else By.PEER
            for platform in platforms:
                seat = Seat(UnitId(self.id, index), by, unit.taken, unit.asked, platform)
                drawn = self.electorate.draw(entry.link, self.manifest, seat)
                if (drawn or NOBODY) == peer and (drawn or referee):
                    break
            else:
                raise AuditError(f"{short(peer)} was not drawn for unit {index}")
            unit.asked.add(peer)

    def verdict(self, entry: Verdict) -> Ruling:
        """A unit was decided."""
        unit = self._unit(entry.index)
        if unit.right:
            raise AuditError(f"unit {entry.index} was decided before")
        votes = self._cast(unit, entry)
        shown = self.is_exact or entry.known
        if entry.known:
            digests = [Result.digest_of(raw) for raw in entry.results]
            self.claims.append(
                Claim(
                    entry.index,
                    frozenset(digests[entry.cast[at].result] for at in entry.right),
                    frozenset(digests[entry.cast[at].result] for at in entry.wrong),
                )
            )
            if sorted((*entry.right, *entry.wrong)) != list(range(len(votes))):
                raise AuditError("a known answer leaves nobody out")
        elif self.is_exact:
            self._decide(unit, entry, votes)
        else:
            self._plausible(self._demand(unit, votes), entry, votes)
        if self.manifest.program.model and entry.right:
            unit.meter = self._meter(entry)
        cheats, private = self._settle(unit, entry, votes)
        return Ruling(shown, cheats, private)

    def failed(self, index: int) -> None:
        """A unit ended without a result."""
        unit = self._unit(index)
        if unit.right:
            raise AuditError(f"unit {index} fails, and has a verdict")
        del self.units[index]
        self.final.add(index)

    def finish(self, entry: Final) -> list[Move]:
        """Units became final; returns what has to be paid for them."""
        paid: dict[PeerKey, int] = {}
        for index in entry.indices:
            unit = self.units.get(index)
            if unit is None or not unit.right:
                raise AuditError(f"unit {index} is final without a verdict")
            for peer, amount in self._awards(unit):
                paid[peer] = paid.get(peer, 0) + amount
            self._close(index, unit)
        source = entries.escrow_account(self.id)
        return [Move(source, peer, amount) for peer, amount in paid.items()]

    def known(self, ringers: Ringers) -> None:
        """The answers that the submitter knew: every claim about them must hold."""
        if ringers.hash != self.manifest.demands.ringers:
            raise AuditError("these are not the known answers that the manifest names")
        answers = dict(ringers.answers)
        for index, right, wrong in self.claims:
            answer = answers.get(index)
            if answer is None or not right <= {answer} or answer in wrong:
                raise AuditError(f"the known answer of unit {index} says otherwise")
        self.claims.clear()

    def close(self, *, cancelled: bool) -> None:
        """The job is over."""
        if not cancelled and len(self.final) < self.manifest.units:
            raise AuditError("the job is over, and units of it were not decided")
        if self.claims:
            raise AuditError("a known answer decided, and was never shown")
        if any(unit.right for unit in self.units.values()):
            raise AuditError("the job is over, and units with a verdict were not made final")
        self.units.clear()
        self.final.clear()

    def reopen(self, index: int, cheats: Sequence[PeerKey]) -> None:
        """A settled unit rests on the word of ``cheats``: it is undone."""
        unit = self.units[index]
        right, unit.right = unit.right, []
        self.record.let_go([unit.votes[token].peer for token in right], UnitId(self.id, index))
        left = [token for token in right if unit.votes[token].peer not in cheats]
        unit.reopened = self.is_repeatable and bool(left)
        for token in right:
            if not self.is_repeatable or token not in left:
                del unit.votes[token]

    def _unit(self, index: int) -> Unit:
        if index >= self.manifest.units or index in self.final:
            raise AuditError(f"unit {index} does not exist, or is final")
        return self.units.setdefault(index, Unit())

    def _is_proven(self, peer: PeerKey) -> bool:
        return self.record.is_proven(
            peer, self.trust, self.manifest.submitter, self.settings.probation
        )

    def _cast(self, unit: Unit, entry: Verdict) -> list[Vote]:
        found, order, undrawn = [], 0, 0
        name = UnitId(self.id, entry.index)
        digests = [Result.digest_of(raw) for raw in entry.results]
        commitments = [commitment(name, digest) for digest in digests]
        for peer, token, result in entry.cast:
            vote = unit.votes.get(token)
            if (
                vote is None
                or vote.peer != peer
                or vote.commitment != commitments[result]
                or vote.seal != seal(peer, name, digests[result])
            ):
                raise AuditError(f"{short(peer)} did not commit to its result of {name}")
            if vote.order <= order:
                raise AuditError(f"the votes on unit {name} are out of order")
            order = vote.order
            undrawn += not vote.drawn
            found.append(vote)
        if undrawn > 1 or not found:
            raise AuditError(f"{undrawn} votes on unit {name} are of peers that were not drawn")
        return found

    def _demand(self, unit: Unit, votes: Sequence[Vote]) -> Demand:
        first = votes[0]
        proven = first.proven and self._is_proven(first.peer)
        return policies.demand(
            self.settings,
            first.lot,
            proven=proven,
            reopened=unit.reopened,
            lapsed=NOBODY in unit.asked,
        )

    def _decide(self, unit: Unit, entry: Verdict, votes: Sequence[Vote]) -> None:
        results = [each.result for each in entry.cast]
        groups = [tuple(at for at, other in enumerate(results) if other == one) for one in results]
        verdict = policies.decide(
            self.settings, self._demand(unit, votes), groups, [each.referee for each in votes]
        )
        if verdict != Accept(entry.right, entry.wrong):
            raise AuditError(f"the policy decides unit {entry.index} differently")

    def _plausible(self, wanted: Demand, entry: Verdict, votes: Sequence[Vote]) -> None:
        right, wrong = len(entry.right), len(entry.wrong)
        judged = any(votes[at].referee for at in entry.right)
        led = right >= max(wanted.copies, 2) and right > self.settings.lead
        if right + wrong != len(votes) or not right:
            raise AuditError(f"votes on unit {entry.index} are neither right nor wrong")
        if right < wanted.votes if not wrong else not (judged or led):
            raise AuditError(f"unit {entry.index} has too few votes: {right}")

    def _settle(
        self, unit: Unit, entry: Verdict, votes: Sequence[Vote]
    ) -> tuple[list[PeerKey], bool]:
        submitter = self.manifest.submitter
        right = [votes[at] for at in entry.right]
        judges = [each for each in right if each.referee]
        verified = entry.known or policies.is_verified(
            entry.right, [each.referee for each in votes]
        )
        if verified:
            for each in right:
                self.record.verify(each.peer, self.trust)
        own = policies.is_private(
            [each.owner for each in judges], self.electorate.operator, known=entry.known
        )
        if entry.silent and not verified:
            raise AuditError(f"nobody confirmed the verdict on unit {entry.index}")
        silent = self._silent(unit, entry)
        if verified and self.is_repeatable and entry.right:
            self._nobody_left_out(unit, entry)
        for peer in (*(votes[at].peer for at in entry.wrong), *silent):
            self.record.strike(peer, submitter if own else None)
            if own and self.record.struck[peer, submitter] >= STRIKES:
                self.electorate.shun(peer, submitter)
        tokens = [entry.cast[at].token for at in entry.right]
        for token in (*(entry.cast[at].token for at in entry.wrong), *entry.silent):
            del unit.votes[token]
        unit.right, unit.confirmed = tokens, entry.known or bool(judges)
        return [*(votes[at].peer for at in entry.wrong), *silent], own

    def _nobody_left_out(self, unit: Unit, entry: Verdict) -> None:
        said = {each.token for each in entry.cast} | set(entry.silent)
        right = unit.votes[entry.cast[entry.right[0]].token].commitment
        for token, vote in unit.votes.items():
            wrong = token not in said and vote.commitment != right
            if wrong and vote.peer not in self.record.banned:
                raise AuditError(f"a wrong vote on unit {entry.index} was left out")

    def _silent(self, unit: Unit, entry: Verdict) -> list[PeerKey]:
        cast = {each.token for each in entry.cast}
        right = unit.votes[entry.cast[entry.right[0]].token] if entry.right else None
        found = []
        for token in entry.silent:
            vote = unit.votes.get(token)
            if (
                not self.is_repeatable
                or vote is None
                or token in cast
                or right is None
                or vote.commitment == right.commitment
            ):
                raise AuditError(f"nothing shows that who withheld unit {entry.index} was wrong")
            found.append(vote.peer)
        return found

    def paid(self, entry: Verdict) -> list[Move]:
        """What a verdict that is final at once has to pay, which ends the unit; any other is held
        against the peers on whose word alone it rests, until it is final."""
        unit = self.units[entry.index]
        if not unit.right:
            return []
        if not self.settings.at_once:
            if not unit.confirmed:
                peers = [unit.votes[token].peer for token in unit.right]
                self.record.hold(peers, UnitId(self.id, entry.index))
            return []
        source = entries.escrow_account(self.id)
        moves = [Move(source, peer, amount) for peer, amount in self._awards(unit)]
        self._close(entry.index, unit)
        return moves

    def _awards(self, unit: Unit) -> list[tuple[PeerKey, int]]:
        votes = [unit.votes[token] for token in unit.right]
        peers = [each.peer for each in votes if not each.referee]
        return [
            (peer, self.manifest.award(unit.meter, place))
            for place, peer in enumerate(peers[: self.manifest.executions])
        ]

    def _meter(self, entry: Verdict) -> int:
        """What the accepted result of a model's unit counts: nothing if it has no answer."""
        result = Result.parse(entry.results[entry.cast[entry.right[0]].result])
        model = self.manifest.program.model
        assert model is not None
        most = answer.most_metered(model.most, model.context)
        failed = bool(result.failure(self.manifest.outputs))
        if result.meter > most or failed == (result.meter > 0):
            raise AuditError(
                f"the answer of unit {entry.index} counts {result.meter:,} tokens"
                + (", and there is none" if failed else f"; it may count 1 to {most:,}")
            )
        return result.meter

    def _close(self, index: int, unit: Unit) -> None:
        if not unit.confirmed and not self.settings.at_once:
            self.record.let_go(
                [unit.votes[token].peer for token in unit.right], UnitId(self.id, index)
            )
        del self.units[index]
        self.final.add(index)
