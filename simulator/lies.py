"""The lies of a tracker: entries that pay somebody or hide something, in place of true ones.

Each is as good as its author can make it: he has the operator's key and those of his friends, knows
the whole log with every link of the beacon to come, and keeps to the form of entries.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from validators.draw import lot
from validators.settings import settings_of
from workunits import entries
from workunits.entries import (
    Ban,
    Cast,
    Commits,
    Doubt,
    Draws,
    Entry,
    Escrow,
    Failed,
    Final,
    Leave,
    Mint,
    Move,
    Refund,
    Transfer,
    Verdict,
)
from workunits.ids import LeaseToken, PeerKey, UnitId
from workunits.manifest import SignedManifest
from workunits.signing import Identity
from workunits.statements import Cancel, Claim, Grant, Pay, Statement
from workunits.wire import work

_LOOT = 5
"""Credits that a lie is about, where it can choose."""

_E = TypeVar("_E")


@dataclass(slots=True)
class Books:
    """The true log of one job, and what its tracker knows; ``friends`` are who gains by lies."""

    log: Sequence[bytes]
    operator: Identity
    friends: Sequence[Identity]
    honest: Sequence[PeerKey]
    rng: Random
    entries: list[Entry] = field(init=False)
    job: SignedManifest = field(init=False)
    links: list[tuple[int, bytes]] = field(default_factory=list)
    lots: dict[LeaseToken, int] = field(default_factory=dict)
    voted: set[tuple[PeerKey, int]] = field(default_factory=set)
    ended: dict[int, int] = field(default_factory=dict)
    """For each unit the entry that first decided it."""

    left: list[int] = field(default_factory=list)
    """What the job had set aside before each entry."""

    def __post_init__(self) -> None:
        self.entries = [entries.parse(raw) for raw in self.log]
        (manifest,) = (each.manifest for each in self.entries if isinstance(each, Escrow))
        self.job = SignedManifest.parse(manifest)
        left = 0
        for at, entry in enumerate(self.entries):
            self.left.append(left)
            for source, target, amount in entry.moves:
                left += amount * ((target == self.escrow) - (source == self.escrow))
            if isinstance(entry, Commits | Draws):
                self.links.append((at, entry.link))
            if isinstance(entry, Verdict | Failed):
                self.ended.setdefault(entry.index, at)
            if isinstance(entry, Commits):
                for each in work.Commits(entry.job, entry.packed, entry.signature):
                    self.lots[each.token] = lot(entry.link, UnitId(self.job.id, each.index))
                    self.voted.add((entry.peer, each.index))

    @property
    def escrow(self) -> bytes:
        """The account of the job."""
        return entries.escrow_account(self.job.id)

    def find(self, *kinds: type[Entry]) -> list[int]:
        """Where entries of some kinds are."""
        return [at for at, entry in enumerate(self.entries) if isinstance(entry, kinds)]

    def working(self) -> list[int]:
        """Where work is done: after the first commitments, until every unit is decided."""
        return list(range(self.links[0][0] + 1, max(self.ended.values()) + 1))

    def undecided(self, at: int) -> list[int]:
        """Units that have no verdict before entry ``at``."""
        return [index for index, end in self.ended.items() if end >= at]

    def next_link(self, at: int) -> bytes:
        """The first link of the beacon after entry ``at``."""
        return self.links[bisect_right(self.links, at, key=lambda each: each[0])][1]

    def friend(self, but: bytes = b"") -> Identity:
        """A friend, not ``but``."""
        return self.rng.choice([each for each in self.friends if each.key != but])

    def say(self, author: Identity, claim: Claim) -> Statement:
        """A statement that was never said before."""
        return Statement.sign(author, claim, time=0, nonce=self.rng.randbytes(16))

    def at(self, at: int, kind: type[_E]) -> _E:
        """Entry ``at``, which is of that kind."""
        entry = self.entries[at]
        assert isinstance(entry, kind)
        return entry


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of lie: where it can be told, and what then stands there."""

    places: Callable[[Books], list[int]]
    forge: Callable[[Books, int], Entry]


def _working(books: Books) -> list[int]:
    return books.working()


def _at(*kinds: type[Entry]) -> Callable[[Books], list[int]]:
    return lambda books: books.find(*kinds)


# -- verdicts ---------------------------------------------------------------------------------


def _friend_paid(books: Books, at: int) -> Entry:
    entry = books.entries[at]
    assert isinstance(entry, Verdict | Final)
    moves = list(entry.moves)
    if not moves or books.rng.random() < 0.3:
        moves.append(Move(books.escrow, books.friend().key, books.job.manifest.price))
    else:
        place = books.rng.randrange(len(moves))
        target = books.friend(moves[place].target).key
        moves[place] = moves[place]._replace(target=target)
    return replace(entry, moves=tuple(moves))


def _exchanged(books: Books, at: int) -> Entry:
    entry = books.at(at, Verdict)
    if entry.wrong:
        return replace(entry, right=entry.wrong, wrong=entry.right)
    victim = books.rng.choice(entry.right)
    right = tuple(each for each in entry.right if each != victim)
    return _paying(entry, replace(entry, right=right, wrong=(victim,)))


def _several(books: Books) -> list[int]:
    return [at for at in books.find(Verdict) if len(books.at(at, Verdict).cast) > 1]


def _unheard(books: Books, at: int) -> Entry:
    entry = books.at(at, Verdict)
    return _without(entry, books.rng.choice(entry.right))


def _disputed(books: Books) -> list[int]:
    return [at for at in books.find(Verdict) if books.at(at, Verdict).wrong]


def _unpunished(books: Books, at: int) -> Entry:
    entry = books.at(at, Verdict)
    return _without(entry, books.rng.choice(entry.wrong))


def _without(entry: Verdict, out: int) -> Verdict:
    return _only(entry, [place for place in range(len(entry.cast)) if place != out])


def _demanded(books: Books) -> list[int]:
    settings = settings_of(books.job.manifest)
    rate = 1000 if settings.copies > 1 else settings.referee + settings.audit
    several = _several(books)
    return [at for at in several if books.lots[books.at(at, Verdict).cast[0].token] < rate]


def _unchecked(books: Books, at: int) -> Entry:
    entry = _only(books.at(at, Verdict), [0])
    return _paying(entry, replace(entry, right=(0,), wrong=()))


def _only(entry: Verdict, kept: list[int]) -> Verdict:
    """A verdict over some of its votes, and its payments for them."""
    votes = [(entry.cast[at], entry.results[entry.cast[at].result]) for at in kept]
    results = tuple(dict.fromkeys(result for _, result in votes))
    cast = tuple(Cast(each.peer, each.token, results.index(result)) for each, result in votes)
    right, wrong = (
        tuple(kept.index(at) for at in places if at in kept)
        for places in (entry.right, entry.wrong)
    )
    changed = replace(entry, cast=cast, results=results, right=right, wrong=wrong)
    return _paying(entry, changed)


def _paying(before: Verdict, entry: Verdict) -> Verdict:
    """With payments to those alone who are still right."""
    right = {entry.cast[at].peer for at in entry.right}
    return replace(entry, moves=tuple(move for move in before.moves if move.target in right))


def _given_up(books: Books, at: int) -> Entry:
    entry = books.at(at, Verdict)
    return Failed((), entry.job, entry.index, "too few agree")


def _first_verdicts(books: Books) -> list[int]:
    return [at for at in books.ended.values() if isinstance(books.entries[at], Verdict)]


def _final(books: Books, at: int) -> Entry:
    index = books.rng.choice(books.undecided(at))
    move = Move(books.escrow, books.friend().key, books.job.manifest.price)
    return Final((move,), books.job.id, ((index, 1),))


# -- commitments and draws --------------------------------------------------------------------


def _forged(books: Books, at: int) -> Entry:
    entry, rng = books.at(at, Commits), books.rng
    if rng.random() < 0.5:
        packed = bytearray(entry.packed)
        packed[-1 - rng.randrange(32)] ^= 1 << rng.randrange(8)
        return replace(entry, packed=bytes(packed))
    victim = rng.choice([each for each in books.honest if each != entry.peer])
    batch = work.Commits(entry.job, entry.packed, entry.signature)
    signed = work.Commits.sign(books.friend(), entry.job, tuple(batch))
    return replace(entry, peer=victim, signature=signed.signature)


def _voided(books: Books, at: int) -> Entry:
    entry = books.at(at, Commits)
    places = len(entry.packed) // work.COMMIT_SIZE
    return replace(entry, void=tuple(sorted({*entry.void, books.rng.randrange(places)})))


def _heeded(books: Books) -> list[int]:
    return [at for at in books.find(Commits) if not books.at(at, Commits).void]


def _drawn(books: Books, at: int) -> Entry:
    entry = books.at(at, Draws)
    place = books.rng.randrange(len(entry.draws))
    draw = entry.draws[place]
    drawn = (*entry.draws[:place], draw._replace(peer=books.friend(draw.peer).key))
    return replace(entry, draws=(*drawn, *entry.draws[place + 1 :]))


def _linked(books: Books, at: int) -> Entry:
    entry = books.entries[at]
    assert isinstance(entry, Commits | Draws)
    own = books.rng.randbytes(32)
    return replace(entry, link=books.rng.choice([own, books.next_link(at)]))


def _not_last_link(books: Books) -> list[int]:
    return [at for at, _ in books.links[:-1]]


# -- peers ------------------------------------------------------------------------------------


def _banned(books: Books, at: int) -> Entry:
    return Ban((), books.rng.choice(books.honest))


def _set_back(books: Books, at: int) -> Entry:
    rival = books.rng.choice(books.honest)
    gone: tuple[Entry, ...] = (Doubt((), rival, doubted=True), Leave((), rival))
    return books.rng.choice(gone)


def _spared(books: Books, at: int) -> Entry:
    """Instead of being banned a friend goes on working: it commits, and signs that."""
    peer = books.at(at, Ban).peer
    (friend,) = (each for each in books.friends if each.key == peer)
    token = LeaseToken(books.rng.getrandbits(60))
    index = books.rng.choice(_left_to(books, at))
    commit = work.Commit(index, token, books.rng.randbytes(32), books.rng.randbytes(32))
    batch = work.Commits.sign(friend, books.job.id, (commit,))
    link = books.next_link(at)
    return Commits((), books.job.id, peer, batch.packed, batch.signature, link)


def _left_to(books: Books, at: int) -> list[int]:
    peer = books.at(at, Ban).peer
    return [index for index in books.undecided(at) if (peer, index) not in books.voted]


def _bans(books: Books) -> list[int]:
    last, _ = books.links[-1]
    return [at for at in books.find(Ban) if at < last and _left_to(books, at)]


# -- credit -----------------------------------------------------------------------------------


def _minted(books: Books, at: int) -> Entry:
    friend = books.friend()
    grant = Grant(friend.key, _LOOT)
    statement = books.rng.choice(
        [
            books.say(friend, grant),
            books.say(books.operator, Pay(friend.key, _LOOT)),
            books.say(books.operator, replace(grant, amount=_LOOT - 1)),
            _another_author(books.say(friend, grant), friend, books.operator.key),
        ]
    )
    return Mint((Move(entries.MINT, friend.key, _LOOT),), statement.encode())


def _minted_again(books: Books, at: int) -> Entry:
    return books.entries[books.find(Mint)[0]]


def _transferred(books: Books, at: int) -> Entry:
    friend = books.friend()
    pay = Pay(friend.key, 1)
    source, author = books.rng.choice(
        [(books.escrow, books.operator.key), (books.escrow, friend.key)]
        + [(books.rng.choice(books.honest), None)] * 2
    )
    if author is None:
        statement = _another_author(books.say(friend, pay), friend, PeerKey(source))
    else:
        statement = books.say(books.operator if author == books.operator.key else friend, pay)
    return Transfer((Move(source, friend.key, 1),), statement.encode())


def _another_author(statement: Statement, author: Identity, victim: PeerKey) -> Statement:
    """What ``author`` signed, in the name of somebody else."""
    head = b"6:author32:"
    return replace(statement, raw=statement.raw.replace(head + author.key, head + victim))


def _refunded(books: Books, at: int) -> Entry:
    friend, job = books.friend(), books.job
    reason = books.rng.choice([b"", books.say(books.operator, Cancel(job.id)).encode()])
    return Refund((Move(books.escrow, friend.key, books.left[at]),), job.id, reason)


def _cancelled(books: Books, at: int) -> Entry:
    job = books.job
    reason = books.say(books.friend(), Cancel(job.id)).encode()
    return Refund((Move(books.escrow, job.manifest.submitter, books.left[at]),), job.id, reason)


def _while_open(books: Books) -> list[int]:
    working = books.working()
    return [*working, *(books.find(Refund) * len(working))]


RULES = {
    "a friend is paid": Kind(_at(Verdict, Final), _friend_paid),
    "right and wrong exchanged": Kind(_at(Verdict), _exchanged),
    "audit skipped": Kind(_demanded, _unchecked),
    "drawn by choice": Kind(_at(Draws), _drawn),
    "commitment forged": Kind(_at(Commits), _forged),
    "link of the beacon chosen": Kind(_not_last_link, _linked),
    "final without a verdict": Kind(_working, _final),
    "ban invented": Kind(_working, _banned),
    "minted without a grant": Kind(_working, _minted),
    "one grant minted twice": Kind(_working, _minted_again),
    "transfer without a word": Kind(_working, _transferred),
    "wrong vote left out": Kind(_disputed, _unpunished),
    "refund to a friend": Kind(_while_open, _refunded),
    "cancelled by a friend": Kind(_while_open, _cancelled),
}
"""What the ledger's rules forbid."""

WORD = {
    "right vote left out": Kind(_several, _unheard),
    "unit given up": Kind(_first_verdicts, _given_up),
    "commitment voided": Kind(_heeded, _voided),
    "rival set back": Kind(_working, _set_back),
    "friend not banned": Kind(_bans, _spared),
}
"""What the audit takes the tracker's word for: that a result did not come or a lease was over, that
a peer is doubted or gone, that its strikes have faded."""
