"""A tracker that lies, and whoever audits its ledger: which lies are found?

A job is run with real keys and signatures, then lies are told at random places of its ledger.

- *Told in time*: the false entry is written instead of the true one, and signed with the rest. The
  auditor is asked at this very entry: what comes after it, such a tracker would fit to it.
- *Told afterwards*: what was signed already is changed, dropped, doubled, moved or cut. Whoever
  kept the checkpoint compares roots.
- *Told to some*: two peers are shown two histories, each signed, and then meet.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random

from simulator.lies import RULES, WORD, Books
from simulator.scene import Scene, Tally
from simulator.world import OPERATOR, Tell, World
from validators.audit import Audit
from validators.witness import gap, meet
from workunits import entries
from workunits.archive import origin
from workunits.checkpoints import Checkpoint, SignedCheckpoint
from workunits.errors import AuditError
from workunits.merkle import Frontier, Tree, leaf_hash
from workunits.signing import Identity

MAX_UNITS = 400
"""Units of one run: every peer signs what it commits to, and the auditor checks it."""

_OUTSIDER = Identity.from_seed(b"a friend, who is not a peer     ")
_FORK = "two histories"


def run(scene: Scene, tell: Tell = lambda _: None) -> Tally:
    """Run a scene and lie about it ``scene.lies`` times; each kind gets an equal share of them."""
    world = World(replace(scene, logged=True, signed=True), tell)
    tally = world.run()
    actors = world.actors.values()
    friends = [each.identity for each in actors if each.identity and not each.member.honest]
    honest = [each.key for each in actors if each.member.honest and not each.member.referee]
    rng = Random(f"lies {scene.seed}")  # noqa: S311 - chance that can be replayed
    liar = Liar(Books(world.log, OPERATOR, [*friends, _OUTSIDER], honest, rng))
    found = liar.lie(scene.lies)
    assert liar.head.hex() == tally.head
    return replace(tally, lies=found)


@dataclass(slots=True)
class Liar:
    """Tells lies about one ledger, and asks who finds them. The truth must hold: ``AuditError``."""

    books: Books
    told: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    _leaves: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._leaves = [leaf_hash(raw) for raw in self.books.log]

    @property
    def head(self) -> bytes:
        """The root of the true ledger."""
        return _root(self._leaves)

    def lie(self, count: int) -> tuple[tuple[str, int, int], ...]:
        """Tell ``count`` lies; returns the kinds, and how many of each were told and found."""
        told = (RULES | WORD).items()
        places = {name: found for name, kind in told if (found := kind.places(self.books))}
        names = [*places, *_HISTORIES, _FORK]
        pairs: dict[int, list[str]] = {}
        for number in range(count):
            name = names[number % len(names)]
            self.told[name] += 1
            if name in places:
                pairs.setdefault(self.books.rng.choice(places[name]), []).append(name)
            elif name == _FORK:
                self.found[name] += self._fork()
            else:
                self.found[name] += self._rewrite(_HISTORIES[name])
        self._audit(pairs)
        return tuple((name, self.told[name], self.found[name]) for name in names)

    def _audit(self, lies: dict[int, list[str]]) -> None:
        audit = Audit(self.books.operator.key)
        for at, raw in enumerate(self.books.log):
            for name in lies.get(at, ()):
                lie = entries.encode((RULES | WORD)[name].forge(self.books, at))
                assert lie != raw
                self.found[name] += _refuses(deepcopy(audit), lie)
            audit.take(raw)
        assert audit.root == self.head

    def _rewrite(self, change: Callable[[list[bytes], Random], None]) -> bool:
        leaves = list(self._leaves)
        change(leaves, self.books.rng)
        return len(leaves) != len(self._leaves) or _root(leaves) != self.head

    def _fork(self) -> bool:
        """Two signed heads of one log, of one size or of two, with the best proof that it has."""
        rng, leaves = self.books.rng, self._leaves
        since = rng.randrange(len(leaves))
        other = [*leaves[:since], *map(leaf_hash, leaves[since:])]
        sizes = [rng.randint(since + 1, len(leaves)) for _ in "ab"]
        if rng.random() < 0.5:
            sizes[1] = sizes[0]
        trees = [_tree(each[:size]) for each, size in zip((leaves, other), sizes, strict=True)]
        mine, theirs = map(self._sign, trees)
        needed = gap(mine, theirs)
        large = max(trees, key=lambda tree: tree.size)
        fork = meet(mine, theirs, large.consistency(*needed) if needed else None)
        return fork is not None and (sizes[0] != sizes[1] or fork.check())

    def _sign(self, tree: Tree) -> SignedCheckpoint:
        operator = self.books.operator
        name = origin(operator.key)
        return SignedCheckpoint(Checkpoint(name, tree.size, tree.root())).sign(operator, name)


def _refuses(audit: Audit, raw: bytes) -> bool:
    try:
        audit.take(raw)
    except AuditError:
        return True
    return False


def _root(leaves: Sequence[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _tree(leaves: Sequence[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree


def _change(leaves: list[bytes], rng: Random) -> None:
    leaves[rng.randrange(len(leaves))] = leaf_hash(rng.randbytes(100))


def _drop(leaves: list[bytes], rng: Random) -> None:
    del leaves[rng.randrange(len(leaves))]


def _double(leaves: list[bytes], rng: Random) -> None:
    leaves.insert(rng.randrange(len(leaves)), rng.choice(leaves))


def _move(leaves: list[bytes], rng: Random) -> None:
    one, other = rng.sample(range(len(leaves)), 2)
    leaves[one], leaves[other] = leaves[other], leaves[one]


def _cut(leaves: list[bytes], rng: Random) -> None:
    del leaves[rng.randrange(len(leaves)) :]


_HISTORIES: dict[str, Callable[[list[bytes], Random], None]] = {
    "signed entry changed": _change,
    "signed entry dropped": _drop,
    "signed entry doubled": _double,
    "signed entries exchanged": _move,
    "signed log cut": _cut,
}

KINDS = (*RULES, *WORD, *_HISTORIES, _FORK)
"""All kinds of lies."""
