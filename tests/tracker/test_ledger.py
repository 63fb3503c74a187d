"""The book: nothing is lost, nothing comes from nowhere, and the chain replays."""

from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.ledger import GENESIS, MINT, Book, escrow_account
from tracker.rows import AccountRow, EntryRow
from workunits.canonical import Value, decode
from workunits.errors import RefusedError
from workunits.ids import JobId, PeerKey

PEERS = [PeerKey(bytes([65 + at]) * 32) for at in range(4)]
JOBS = [JobId(bytes([97 + at]) * 32) for at in range(3)]
PRICE = 3
Step = Callable[[Book], object]


def _award(book: Book, job: JobId, index: int, peers: list[PeerKey]) -> None:
    if book.escrowed(job) >= PRICE * len(peers):  # a verdict never pays more than was set aside
        book.award(job, index, peers, PRICE)


def _escrow(book: Book, job: JobId, peer: PeerKey, amount: int) -> None:
    have = book.balance(peer)
    if amount <= have:
        book.escrow(job, peer, amount)
        return
    before = book.head, dict(book.accounts)
    with pytest.raises(RefusedError, match="has") as caught:
        book.escrow(job, peer, amount)
    assert str(amount - have) in caught.value.hint
    assert (book.head, dict(book.accounts)) == before


peers, jobs = st.sampled_from(PEERS), st.sampled_from(JOBS)
amounts = st.integers(0, 40)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(peers, st.integers(1, 50)).map(lambda of: lambda book: book.mint(*of, b"s" * 32)),
    st.tuples(jobs, peers, amounts).map(lambda of: lambda book: _escrow(book, *of)),
    st.tuples(jobs, st.integers(0, 9), st.lists(peers, max_size=3, unique=True)).map(
        lambda of: lambda book: _award(book, *of)
    ),
    st.tuples(jobs, peers).map(lambda of: lambda book: book.refund(*of)),
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


def _text(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


@given(st.lists(steps, max_size=30))
def test_the_entries_alone_replay_to_the_same_balances_and_head(sequence: list[Step]) -> None:
    book = Book()
    for step in sequence:
        step(book)
    rows = book.take()
    entries = [row for row in rows if isinstance(row, EntryRow)]
    balances: dict[bytes, int] = {}
    head = GENESIS
    for number, row in enumerate(entries):
        entry = decode(row.entry, limit=10_000)
        assert isinstance(entry, dict)
        assert (row.number, entry[b"number"], entry[b"previous"]) == (number, number, head)
        moves = entry[b"moves"]
        assert isinstance(moves, list)
        for move in moves:
            assert isinstance(move, list)
            source, target, amount = move
            assert isinstance(amount, int)
            balances[_text(source)] = balances.get(_text(source), 0) - amount
            balances[_text(target)] = balances.get(_text(target), 0) + amount
        head = sha256(row.entry).digest()
        assert row.head == head
    assert head == book.head
    assert book.entries == len(entries)
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
    book = Book()
    one, other, _, _ = PEERS
    book.mint(one, 100, b"s" * 32)
    book.escrow(JOBS[0], one, 60)
    book.award(JOBS[0], 0, [one, other], 20)
    assert book.escrowed(JOBS[0]) == 20
    assert book.refund(JOBS[0], one) == 20
    assert book.refund(JOBS[0], one) == 0
    assert (book.accounts[one].balance, book.accounts[one].spent) == (80, 40)
    assert (book.accounts[one].earned, book.accounts[other].earned) == (20, 20)
    assert book.minted == 100
    assert book.balance(escrow_account(JOBS[0])) == 0


def test_rows_are_taken_once() -> None:
    book = Book()
    book.mint(PEERS[0], 5, b"s" * 32)
    assert [type(row) for row in book.take()] == [EntryRow, AccountRow, AccountRow]
    assert book.take() == []


def test_a_changed_entry_changes_every_head_after_it() -> None:
    heads = []
    for amount in (5, 6):
        book = Book()
        book.mint(PEERS[0], amount, b"s" * 32)
        book.mint(PEERS[1], 1, b"t" * 32)
        heads.append([row.head for row in book.take() if isinstance(row, EntryRow)])
    assert not set(heads[0]) & set(heads[1])
