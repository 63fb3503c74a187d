"""The book: nothing is lost, nothing comes from nowhere, and its entries alone say it all."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.work.world import SUBMITTER, granted, identity_of, manifest
from tracker.ledger import Book
from tracker.rows import AccountRow, EntryRow
from workunits import entries
from workunits.entries import MINT, Verdict, escrow_account
from workunits.errors import RefusedError
from workunits.ids import LeaseToken, PeerKey
from workunits.manifest import SignedManifest
from workunits.merkle import EMPTY_ROOT, Tree, leaf_hash
from workunits.statements import Pay, Statement

PEERS = [SUBMITTER, *(identity_of(name) for name in ("one", "other", "third"))]
KEYS = [each.key for each in PEERS]
JOBS = [SignedManifest.sign(manifest(units, price=3), SUBMITTER) for units in (1, 2, 5)]
PRICE = 3
Step = Callable[[Book], object]


def _verdict(book: Book, job: SignedManifest, index: int, peers: list[PeerKey]) -> None:
    # a verdict never pays more than is set aside
    if peers and book.escrowed(job.id) >= PRICE * len(peers):
        cast = [(peer, LeaseToken(at), b"result") for at, peer in enumerate(peers)]
        book.verdict(job.id, index, cast, tuple(range(len(peers))), (), dict.fromkeys(peers, PRICE))


def _refused(book: Book, have: int, need: int, step: Step) -> None:
    if need <= have:
        step(book)
        return
    before = book.head, dict(book.accounts)
    with pytest.raises(RefusedError, match="has"):
        step(book)
    assert (book.head, dict(book.accounts)) == before


def _escrow(book: Book, job: SignedManifest) -> None:
    _refused(book, book.balance(SUBMITTER.key), job.manifest.escrow, lambda book: book.escrow(job))


def _pay(book: Book, source: int, target: int, amount: int) -> None:
    claim = Pay(KEYS[target], amount)
    statement = Statement.sign(PEERS[source], claim, time=0, nonce=bytes(16))

    def step(book: Book) -> None:
        book.transfer(claim.account, claim.amount, statement)

    _refused(book, book.balance(KEYS[source]), amount, step)


places, jobs = st.integers(0, 3), st.sampled_from(JOBS)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.sampled_from(KEYS), st.integers(1, 50)).map(
        lambda of: lambda book: book.mint(*of, granted(*of))
    ),
    jobs.map(lambda job: lambda book: _escrow(book, job)),
    st.tuples(places, places, st.integers(1, 40)).map(lambda of: lambda book: _pay(book, *of)),
    st.tuples(
        jobs, st.integers(0, 9), st.lists(st.sampled_from(KEYS), max_size=3, unique=True)
    ).map(lambda of: lambda book: _verdict(book, *of)),
    jobs.map(lambda job: lambda book: book.refund(job.id, SUBMITTER.key)),
)


def check(book: Book) -> None:
    assert book.total() == 0
    for name, account in book.accounts.items():
        assert account.balance >= 0 or name == MINT
    assert book.minted >= 0


@given(st.lists(steps, max_size=30))
def test_the_sum_is_zero_and_no_balance_negative_after_any_sequence(sequence: list[Step]) -> None:
    book = Book()
    for step in sequence:
        step(book)
        check(book)


@given(st.lists(steps, max_size=30))
def test_the_entries_alone_replay_to_the_same_balances_and_root(sequence: list[Step]) -> None:
    book = Book()
    for step in sequence:
        step(book)
    rows = book.take()
    balances: dict[bytes, int] = {}
    tree = Tree()
    for number, row in enumerate(row for row in rows if isinstance(row, EntryRow)):
        assert (row.number, row.leaf) == (number, leaf_hash(row.entry))
        tree.append(row.leaf)
        for source, target, amount in entries.parse(row.entry).moves:
            balances[source] = balances.get(source, 0) - amount
            balances[target] = balances.get(target, 0) + amount
    assert (tree.size, tree.root()) == (book.entries, book.head)
    accounts = {name: account.balance for name, account in book.accounts.items()}
    assert {name: value for name, value in accounts.items() if value} == {
        name: value for name, value in balances.items() if value
    }
    last = {row.account: row for row in rows if isinstance(row, AccountRow)}
    assert set(last) == set(balances)
    for name, kept in last.items():
        account = book.accounts[name]
        assert kept == AccountRow(name, account.balance, account.earned, account.spent)


def test_what_is_earned_and_spent_is_counted() -> None:
    book, job = Book(), JOBS[0]
    _, one, other, _ = KEYS
    book.mint(SUBMITTER.key, 100, granted(SUBMITTER.key, 100))
    book.escrow(job)
    _verdict(book, job, 0, [one])
    assert book.escrowed(job.id) == PRICE
    assert book.refund(job.id, SUBMITTER.key) == PRICE
    assert book.refund(job.id, SUBMITTER.key) == 0
    submitter = book.accounts[SUBMITTER.key]
    assert (submitter.balance, submitter.spent) == (97, PRICE)
    assert (book.accounts[one].earned, book.balance(other)) == (PRICE, 0)
    assert book.minted == 100
    assert book.balance(escrow_account(job.id)) == 0


def test_equal_results_are_written_once() -> None:
    book, job = Book(), JOBS[1]
    book.mint(SUBMITTER.key, 100, granted(SUBMITTER.key, 100))
    book.escrow(job)
    cast = [(key, LeaseToken(at), b"wrong" if at == 1 else b"right") for at, key in enumerate(KEYS)]
    book.verdict(job.id, 0, cast, (0, 2), (1,), {})
    entry = entries.parse([row for row in book.take() if isinstance(row, EntryRow)][-1].entry)
    assert isinstance(entry, Verdict)
    assert entry.results == (b"right", b"wrong")
    assert [each.result for each in entry.cast] == [0, 1, 0, 0]


def test_rows_are_taken_once() -> None:
    book = Book()
    assert book.head == EMPTY_ROOT
    book.mint(KEYS[0], 5, granted(KEYS[0], 5))
    assert [type(row) for row in book.take()] == [EntryRow, AccountRow, AccountRow]
    assert book.take() == []


def test_a_changed_entry_changes_every_root_after_it() -> None:
    roots = []
    for amount in (5, 6):
        book = Book()
        book.mint(KEYS[0], amount, granted(KEYS[0], amount))
        first = book.head
        book.mint(KEYS[1], 1, granted(KEYS[1], 1))
        roots.append({first, book.head})
    assert not roots[0] & roots[1]
