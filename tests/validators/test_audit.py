"""The audit: honest ledgers hold, and every change to one is found and named."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import TypeVar

import pytest

from tests.tracker.work.world import (
    OPERATOR,
    SUBMITTER,
    World,
    granted,
    identity_of,
    manifest,
    outcome,
)
from tracker.work.state import Job
from validators.audit import Audit
from workunits import canonical, entries
from workunits.entries import (
    Anchor,
    Ban,
    Commits,
    Draws,
    Entry,
    Escrow,
    Final,
    Join,
    Known,
    Mint,
    Move,
    Refund,
    Transfer,
    Verdict,
)
from workunits.errors import AuditError
from workunits.manifest import SignedManifest
from workunits.merkle import EMPTY_ROOT
from workunits.results import Result
from workunits.ringers import Ringers
from workunits.statements import Grant, Pay, Statement
from workunits.verification import Comparator, Comparison, Demands, Policy

MUTATIONS = 10_000
_E = TypeVar("_E", Ban, Draws, Final, Join, Known)


ANSWER = Result.digest_of(outcome(0).result)


def ledger() -> list[bytes]:
    """A ledger with every kind of entry: cheats, referees, known answers, a cancelled job."""
    world = World(credit=1000)
    referee = world.actor("referee", owner="operator", validator=True)
    honest = [world.actor(name) for name in ("one", "two", "three", "four")]
    cheats = [world.actor("liar"), world.actor("rogue")]
    strict = Demands((("batch", 3), ("probation", 5)))
    known = Ringers(bytes(32), ((0, ANSWER),))
    ringing = Demands((("batch", 2),), ringers=known.hash)
    for job, ringers in (
        (manifest(3, nonce=1), None),
        (manifest(2, nonce=2, comparator=Comparator(Comparison.NUMERIC, 1e-6, 0.0)), None),
        (manifest(1, nonce=3, policy=Policy.TRUSTED), None),
        (manifest(9, nonce=5, policy=Policy.ECONOMY, demands=strict), None),
        (manifest(4, nonce=6, policy=Policy.STRICT), None),
        (manifest(4, nonce=7, policy=Policy.ECONOMY, demands=ringing), known),
    ):
        world.submit(job, ringers)
        for turn in range(12):
            for actor in (referee, *honest):
                actor.commit()
            for actor in cheats:
                actor.commit("wrong" if turn < 6 else "right")
            for actor in (referee, *honest, *cheats):
                if actor.connected:
                    actor.reveal()
    referee.disconnect()
    disagree(world)
    world.actor("silent")
    world.cancel(idle(world))
    world.restart()
    world.actor("new").disconnect()
    claim = Pay(honest[0].key, 7)
    statement = Statement.sign(SUBMITTER, claim, time=0, nonce=bytes(16))
    world.desk.book.transfer(claim.account, claim.amount, statement)
    world.pump()
    world.audit()
    return [row.entry for row in sorted(world.entries())]


def idle(world: World) -> Job:
    """A job that nobody works on: leases run out."""
    job = world.submit(manifest(40, nonce=4))
    world.tick(10_000)
    return job


def disagree(world: World) -> None:
    """A program that gives another result every time: the unit fails."""
    actors = [world.actor(f"odd {at}") for at in range(6)]
    actors += [actor for actor in world.actors.values() if actor.connected]
    job = world.submit(manifest(1, nonce=9))
    for turn in range(20):
        for at, actor in enumerate(actors):
            actor.commit(f"answer {at} {turn} ")
        for actor in actors:
            actor.reveal()
    assert world.unit(job).stage == "failed"


LEDGER = ledger()


def replay(raw: list[bytes]) -> Audit:
    """Audit entries from the first on."""
    audit = Audit(OPERATOR.key)
    for entry in raw:
        audit.take(entry)
    return audit


ROOT = replay(LEDGER).root


def number_of(kind: type[Entry]) -> int:
    """The number of the first entry of a kind."""
    return next(at for at, raw in enumerate(LEDGER) if isinstance(entries.parse(raw), kind))


def test_an_honest_ledger_holds_and_has_every_kind_of_entry() -> None:
    audit = replay(LEDGER)
    assert set(audit.kinds) == {kind.t for kind in Entry.__args__}
    assert audit.minted == 1000
    assert sum(audit.balances.values()) == 0
    assert audit.on_trust == 2
    assert audit.size == len(LEDGER)


def test_an_empty_ledger_holds() -> None:
    assert replay([]).root == EMPTY_ROOT


def mutated(rng: Random) -> list[bytes]:
    """The ledger, edited, with entries dropped, swapped, doubled or grown, or cut."""
    raw = list(LEDGER)
    at = rng.randrange(len(raw))
    match rng.choice(["edit", "drop", "swap", "double", "cut", "grow"]):
        case "edit":
            entry = bytearray(raw[at])
            entry[rng.randrange(len(entry))] ^= 1 << rng.randrange(8)
            raw[at] = bytes(entry)
        case "drop":
            del raw[at]
        case "swap":
            other = rng.randrange(len(raw))
            raw[at], raw[other] = raw[other], raw[at]
        case "double":
            raw.insert(rng.randrange(len(raw)), raw[at])
        case "cut":
            del raw[at:]
        case "grow":
            raw[at] += b"e"
    return raw


def test_ten_thousand_mutations_are_all_found() -> None:
    rng = Random(1)
    audit, states = Audit(OPERATOR.key), []
    for entry in LEDGER:  # what comes before a mutation is replayed once
        states.append(deepcopy(audit))
        audit.take(entry)
    found = 0
    for _ in range(MUTATIONS):
        raw = mutated(rng)
        pairs = zip(raw, LEDGER, strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), len(states) - 1)
        audit = deepcopy(states[min(same, len(raw))])
        try:
            for entry in raw[audit.size :]:
                audit.take(entry)
        except AuditError:
            found += 1
            continue
        assert (audit.root == ROOT) == (raw == LEDGER)
    assert found > MUTATIONS // 2


def verdict(**changes: object) -> bytes:
    """The first verdict, changed."""
    value = canonical.decode(LEDGER[number_of(Verdict)], limit=1 << 20)
    assert isinstance(value, dict)
    return canonical.encode(value | {key.encode(): change for key, change in changes.items()})


def signed_by_another() -> bytes:
    claim = Grant(SUBMITTER.key, 5)
    statement = Statement.sign(SUBMITTER, claim, time=0, nonce=bytes(16))
    return entries.encode(Mint((Move(entries.MINT, SUBMITTER.key, 5),), statement.encode()))


def minted_without_a_grant() -> bytes:
    statement = Statement.sign(OPERATOR, Pay(SUBMITTER.key, 5), time=0, nonce=bytes(16))
    return entries.encode(Mint((Move(entries.MINT, SUBMITTER.key, 5),), statement.encode()))


def too_much_minted() -> bytes:
    statement = granted(SUBMITTER.key, 5, nonce=9)
    return entries.encode(Mint((Move(entries.MINT, SUBMITTER.key, 6),), statement.encode()))


def taken_from_another() -> bytes:
    thief = identity_of("thief")
    statement = Statement.sign(thief, Pay(thief.key, 5), time=0, nonce=bytes(16))
    return entries.encode(Transfer((Move(SUBMITTER.key, thief.key, 5),), statement.encode()))


def paid_without_cover() -> bytes:
    poor = identity_of("poor")
    statement = Statement.sign(poor, Pay(SUBMITTER.key, 5), time=0, nonce=bytes(16))
    return entries.encode(Transfer((Move(poor.key, SUBMITTER.key, 5),), statement.encode()))


def commits_of_another() -> bytes:
    entry = entries.parse(LEDGER[number_of(Commits)])
    assert isinstance(entry, Commits)
    thief = identity_of("thief").key
    return entries.encode(
        Commits((), entry.job, thief, entry.packed, entry.signature, entry.link, entry.void)
    )


def refund_to_a_friend() -> bytes:
    entry = entries.parse(LEDGER[number_of(Refund)])
    assert isinstance(entry, Refund)
    (move,) = entry.moves
    friend = identity_of("friend").key
    return entries.encode(Refund((Move(move.source, friend, move.amount),), entry.job, b""))


def published_twice() -> bytes:
    signed = SignedManifest.sign(manifest(3, nonce=1), SUBMITTER)
    account = entries.escrow_account(signed.id)
    move = Move(SUBMITTER.key, account, signed.manifest.escrow)
    return entries.encode(Escrow((move,), signed.encode()))


def entry_of(kind: type[_E]) -> _E:
    """The first entry of a kind."""
    return next(each for each in map(entries.parse, LEDGER) if isinstance(each, kind))


def unpaid_verdict() -> bytes:
    entry = entries.parse(LEDGER[number_of(Verdict)])
    assert isinstance(entry, Verdict)
    return entries.encode(replace(entry, moves=()))


def another_drawn() -> bytes:
    draws = entry_of(Draws)
    first, *rest = draws.draws
    return entries.encode(
        replace(draws, draws=(first._replace(peer=identity_of("friend").key), *rest))
    )


def another_link() -> bytes:
    return entries.encode(replace(entry_of(Draws), link=bytes(32)))


def one_more_final() -> bytes:
    final = entry_of(Final)
    (first, count), *rest = final.ranges
    return entries.encode(replace(final, ranges=((first, count + 1), *rest)))


def another_answer() -> bytes:
    return entries.encode(
        replace(entry_of(Known), ringers=Ringers(b"x" * 32, ((0, ANSWER),)).encode())
    )


def joined_for_another() -> bytes:
    return entries.encode(replace(entry_of(Join), owner=identity_of("friend").key, signature=b""))


@pytest.mark.parametrize(
    ("kind", "forged", "why"),
    [
        (Transfer, signed_by_another, "not the operator"),
        (Transfer, minted_without_a_grant, "without a grant"),
        (Transfer, too_much_minted, "other credits"),
        (Transfer, taken_from_another, "other credits"),
        (Transfer, paid_without_cover, "does not have"),
        (Commits, commits_of_another, "signature"),
        (Commits, published_twice, "published before"),
        (Refund, refund_to_a_friend, "other credits"),
        (Verdict, lambda: verdict(index=77), "does not exist"),
        (Verdict, lambda: verdict(right=b"\0", wrong=b"\1"), "decides unit"),
        (Verdict, lambda: verdict(right=b"\0"), "decides unit"),
        (Verdict, lambda: verdict(wrong=b""), "goes without saying"),
        (Verdict, lambda: verdict(silent=bytes(8)), "nothing shows"),
        (Draws, another_drawn, "was not drawn"),
        (Draws, another_link, "does not follow"),
        (Final, one_more_final, "final without a verdict|other credits"),
        (Ban, lambda: entries.encode(Ban((), identity_of("one").key)), "often enough"),
        (Known, another_answer, "not the known answers"),
        (Join, joined_for_another, "vouch"),
        (Verdict, lambda: entries.encode(Anchor((), bytes(32))), "before the last one"),
        (Verdict, unpaid_verdict, "other credits"),
        (Verdict, lambda: verdict(job=bytes(32)), "is not open"),
        (Verdict, lambda: verdict(results=[another_result()]), "did not commit"),
    ],
)
def test_a_lying_tracker_is_caught_at_the_entry_that_lies(
    kind: type[Entry], forged: Callable[[], bytes], why: str
) -> None:
    at = number_of(kind)
    with pytest.raises(AuditError, match=why) as caught:
        replay([*LEDGER[:at], forged(), *LEDGER[at + 1 :]])
    assert caught.value.message.startswith(f"entry {at}: ")


def another_result() -> bytes:
    """A result, but not the one that was committed to."""
    found = {
        result
        for entry in map(entries.parse, LEDGER)
        if isinstance(entry, Verdict)
        for result in entry.results
    }
    first = entries.parse(LEDGER[number_of(Verdict)])
    assert isinstance(first, Verdict)
    return min(found - set(first.results))


def test_one_statement_pays_once() -> None:
    with pytest.raises(AuditError, match="carried out twice"):
        replay([*LEDGER, LEDGER[number_of(Transfer)]])


def test_one_unit_is_decided_once() -> None:
    at = number_of(Verdict)
    with pytest.raises(AuditError, match="is final"):
        replay([*LEDGER[: at + 1], LEDGER[at]])
