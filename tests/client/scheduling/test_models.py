"""How units of models are scheduled: what they ask, who goes first, and which models stay warm."""

from dataclasses import replace

import pytest

from client.scheduling import moves
from client.scheduling.leases import State
from client.scheduling.pace import Tuning
from tests.client.scheduling.machine import ASKED, BATCH, BIG, DATA, OTHER, PLAIN, World, world_of
from tests.client.work.models import request_of
from workunits.errors import LimitError
from workunits.ids import LeaseToken
from workunits.manifest import SignedManifest
from workunits.wire.models import Ask, Halt

ONE = Tuning(slots=1)
MODEL = ASKED.manifest.program.files[0].ref
OTHER_MODEL = BATCH.manifest.program.files[0].ref


def fetch(world: World) -> None:
    """Let everything that is fetched arrive."""
    while world.fetching:
        world.fetched(min(world.fetching, key=str))


def warm(world: World, *jobs: SignedManifest) -> None:
    """Run one unit of each job through, so that its cell is warm."""
    for job in jobs:
        world.inquire(job.id, 99, asked=job is ASKED)
        world.run_through()
        world.ask(*sorted(world.committed))
        world.run_through()


def test_what_a_unit_asks_comes_with_the_run_and_is_forgotten_when_it_has_run() -> None:
    world = world_of(ASKED, tuning=ONE)
    token = world.inquire(ASKED.id, 7, stream=True)
    fetch(world)
    world.opened(1)
    assert world.running[1] == moves.Run(
        token, world.leased[token], 1, Ask(token, request_of(7), stream=True)
    )
    assert len(world.scheduler._book.asks) == 1
    world.ran(1)
    assert len(world.scheduler._book.asks) == 0
    world.run_through()
    assert world.scheduler.state_of(token) is State.COMMITTED


@pytest.mark.parametrize("end", ["revoked", "forgotten", "failed"])
def test_what_a_unit_asks_is_forgotten_however_its_lease_ends(end: str) -> None:
    world = world_of(ASKED, tuning=ONE)
    token = world.inquire(ASKED.id)
    fetch(world)
    world.opened(1)
    if end == "revoked":
        world.revoke(token)
    elif end == "failed":
        world.run_failed(1)
    else:
        world.disconnect()
        del world.held[token]
        world.connect()
    assert world.scheduler.state_of(token) is None
    assert len(world.scheduler._book.asks) == 0


def test_an_ask_whose_lease_never_comes_is_dropped() -> None:
    world = world_of(PLAIN, ASKED)
    asks = world.scheduler._book.asks
    world.tell(Ask(LeaseToken(50), request_of()))
    world.lease(PLAIN.id, [0])
    assert len(asks) == 0
    world.tell(Ask(LeaseToken(51), request_of()))
    world.disconnect()
    assert len(asks) == 0


def test_a_tracker_that_asks_for_too_much_is_told_so_and_nothing_changes() -> None:
    world = world_of(ASKED)
    for number in range(16):
        world.tell(Ask(LeaseToken(100 + number), request_of(prompt=131_000)))
    with pytest.raises(LimitError, match="tokens at once"):
        world.tell(Ask(LeaseToken(99), request_of(prompt=131_000)))


def test_units_whose_question_is_missing_or_where_none_belongs_are_given_back() -> None:
    world = world_of(PLAIN, ASKED, BATCH)
    refused = [
        *world.lease(ASKED.id, [0]),
        world.inquire(ASKED.id, 1, asked=False),
        world.inquire(BATCH.id, 2),
        world.inquire(PLAIN.id, 3),
    ]
    world.run_through()
    assert world.released == [(token, "malformed") for token in refused]
    assert len(world.scheduler._book.asks) == 0


def test_a_batch_needs_no_ask_and_may_come_with_a_claim_to_check() -> None:
    world = world_of(BATCH)
    plain, checked = world.lease(BATCH.id, [0])[0], world.inquire(BATCH.id, 1, asked=False)
    fetch(world)
    for cell in (1, 2):
        world.opened(cell)
    asked = {each.token: each.ask for each in world.running.values() if isinstance(each, moves.Run)}
    assert asked == {plain: None, checked: Ask(checked)}


# -- halts ----------------------------------------------------------------------------------


def test_a_halt_before_the_run_goes_along_with_it() -> None:
    world = world_of(ASKED, tuning=ONE)
    token = world.inquire(ASKED.id)
    world.halt(token, 12)
    fetch(world)
    world.halt(token, 11)  # its cell is opening
    world.opened(1)
    run = world.running[1]
    assert isinstance(run, moves.Run)
    assert run.ask == Ask(token, request_of(), halt=11)
    assert not world.cuts


def test_a_halt_between_ask_and_lease_counts() -> None:
    world = world_of(ASKED, tuning=ONE)
    token = LeaseToken(world.next_token)
    world.asks[token] = Ask(token, request_of())
    world.tell(world.asks[token])
    world.halt(token, 3)
    world.lease(ASKED.id, [0])
    fetch(world)
    world.opened(1)
    run = world.running[1]
    assert isinstance(run, moves.Run)
    assert run.ask == Ask(token, request_of(), halt=3)


def test_a_halt_cuts_the_answer_under_way_and_the_unit_goes_on() -> None:
    world = world_of(ASKED, tuning=ONE)
    token = world.inquire(ASKED.id)
    fetch(world)
    world.opened(1)
    world.halt(token, 0)
    world.halt(token, 9)
    assert world.cuts == [moves.Cut(1, 1), moves.Cut(1, 9)]
    world.run_through()
    assert world.scheduler.state_of(token) is State.COMMITTED
    world.halt(token, 5)
    world.tell(Halt(LeaseToken(1000), 5))
    assert len(world.cuts) == 2


# -- who goes first -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stream", "given"])
def test_who_is_waited_for_goes_before_all_that_waits(how: str) -> None:
    world = world_of(PLAIN, ASKED, tuning=Tuning(slots=1, window=2))
    world.lease(PLAIN.id, list(range(50)), seconds=60)
    warm_token = world.lease(PLAIN.id, [50], seconds=30)[0]
    world.opened(1)
    stream, given = how == "stream", (1, 2) if how == "given" else ()
    urgent = [
        world.inquire(ASKED.id, index, stream=stream, given=given, seconds=600) for index in (1, 2)
    ]
    fetch(world)
    world.ran(1)
    assert world.opening[2].job == ASKED.id
    world.opened(2)
    assert world.running[2].token == urgent[0]
    world.ran(2)
    assert world.running[2].token == urgent[1]
    world.ran(2)
    assert world.running[1].token != warm_token  # the others again, in their order
    assert world.scheduler.state_of(warm_token) is State.WAITING


def test_of_one_model_what_somebody_waits_for_goes_before_what_can_wait() -> None:
    world = world_of(ASKED, tuning=ONE)
    patient = [world.inquire(ASKED.id, index) for index in range(4)]
    fetch(world)
    world.opened(1)
    urgent = [world.inquire(ASKED.id, index, stream=True) for index in (5, 6)]
    order = []
    while world.running:
        order.append(world.ran(1))
    assert order == [patient[0], *urgent, *patient[1:]]


def test_what_is_surplus_is_never_what_somebody_waits_for() -> None:
    world = world_of(ASKED, tuning=ONE)
    waiting = [world.inquire(ASKED.id, index) for index in range(30)]
    urgent = [world.inquire(ASKED.id, index, stream=True) for index in range(30, 60)]
    world.later(1)
    assert not any(world.scheduler.state_of(token) is None for token in urgent)
    # The patient ones that are not made ready yet go by themselves: 30 are over 2 x 2, 16 ready.
    assert [token for token in waiting if world.scheduler.state_of(token) is None] == waiting[16:]


def test_urgent_leases_do_not_push_others_back() -> None:
    world = world_of(ASKED, tuning=Tuning(slots=1, window=1))
    waiting = [world.inquire(ASKED.id, index) for index in range(4)]
    for index in range(10, 30):
        world.inquire(ASKED.id, index, stream=True)
    world.later(1)
    assert all(world.scheduler.state_of(token) for token in waiting)


def test_one_long_answer_does_not_make_a_model_slow() -> None:
    world = world_of(ASKED, tuning=ONE)
    world.inquire(ASKED.id)
    fetch(world)
    world.opened(1)
    world.now += 100
    world.ran(1)
    short = world.inquire(ASKED.id, 1, seconds=20)
    world.run_through()
    assert world.scheduler.state_of(short) is State.COMMITTED


# -- warm models ----------------------------------------------------------------------------


def test_a_model_stays_warm_longer_than_a_program() -> None:
    world = world_of(PLAIN, ASKED, tuning=Tuning(slots=1, memory_bytes=1 << 30))
    world.lease(PLAIN.id, [0])
    world.run_through()
    warm(world, ASKED)
    world.later(61)
    world.run_through()
    assert [cell.job for cell in world.cells.values()] == [ASKED.id]
    world.later(550)
    world.run_through()
    assert not world.cells
    assert MODEL not in world.here


def test_programs_do_not_push_a_model_out_of_its_slot() -> None:
    world = world_of(PLAIN, BIG, ASKED, tuning=Tuning(slots=1, memory_bytes=2 << 30, warm_cells=1))
    warm(world, ASKED)
    for job in (PLAIN, BIG, PLAIN, BIG):
        world.lease(job.id, [0])
        world.run_through()
    assert {cell.job for cell in world.cells.values()} == {ASKED.id, BIG.id}


def test_an_idle_model_goes_when_its_memory_is_needed_and_not_before() -> None:
    world = world_of(ASKED, BATCH, BIG, tuning=Tuning(slots=1, memory_bytes=900 << 20))
    warm(world, ASKED, BATCH)  # 500 and 300 MiB
    assert len(world.cells) == 2
    world.lease(BIG.id, [0])  # 600 MiB: the one used longest ago suffices
    for ref in (DATA.ref, OTHER.ref):
        world.fetched(ref)
    assert world.closing == {1}
    assert not world.opening
    world.later(1)
    assert world.closing == {1}
    world.closed(1)
    assert world.opening[3].job == BIG.id
    assert 2 in world.cells


def test_idle_models_stay_where_even_their_memory_would_not_suffice() -> None:
    world = world_of(ASKED, BIG, BATCH, tuning=Tuning(slots=2, memory_bytes=1100 << 20))
    warm(world, ASKED)
    world.inquire(BATCH.id, 0, asked=False)  # 300 MiB, and runs on in the other slot
    world.inquire(ASKED.id, 0)
    fetch(world)
    world.opened(2)
    world.ran(1)
    world.lease(BIG.id, [0])
    fetch(world)
    assert not world.closing or world.running  # 300 + 600 fit once the idle 500 go
    assert world.closing == {1}
    world.closed(1)
    world.inquire(ASKED.id, 1)  # 500 beside 300 + 600 cannot be: nobody is evicted for it
    fetch(world)
    assert not world.closing
    world.run_through()
    assert world.scheduler.count(State.COMMITTED) == 4


def test_a_warm_model_is_used_again_although_its_memory_fills_the_machine() -> None:
    world = world_of(ASKED, tuning=Tuning(slots=1, memory_bytes=500 << 20))
    warm(world, ASKED)
    world.inquire(ASKED.id, 1)
    assert world.running.keys() == {1}


def test_nothing_takes_the_memory_that_somebody_waits_for() -> None:
    world = world_of(BIG, ASKED, tuning=Tuning(slots=2, memory_bytes=1 << 30))
    world.lease(BIG.id, [0, 1], seconds=100)
    fetch(world)
    world.opened(1)
    token = world.inquire(ASKED.id, 0, stream=True)
    fetch(world)
    assert not world.opening  # 600 + 500 MiB do not fit
    world.ran(1)
    assert world.opening[2].job == ASKED.id
    world.opened(2)
    assert world.running[2].token == token


def test_a_revoked_answer_is_stopped_and_the_model_stays_warm() -> None:
    world = world_of(ASKED, tuning=ONE)
    token, after = world.inquire(ASKED.id), world.inquire(ASKED.id, 1)
    fetch(world)
    world.opened(1)
    world.revoke(token)
    assert world.stopping == {1}
    assert world.ended == {token: State.REVOKED}
    assert world.scheduler.state_of(after) is State.READY  # the slot is not free yet
    world.stopped(1)
    assert world.running[1].token == after


def test_a_model_that_does_not_stop_is_replaced() -> None:
    world = world_of(ASKED, tuning=ONE)
    token, after = world.inquire(ASKED.id), world.inquire(ASKED.id, 1)
    fetch(world)
    world.opened(1)
    world.revoke(token)
    world.closed(1)
    assert world.opening.keys() == {2}
    world.run_through()
    assert world.scheduler.state_of(after) is State.COMMITTED


def test_a_model_whose_unit_was_lost_is_closed() -> None:
    world = world_of(ASKED, tuning=ONE)
    world.inquire(ASKED.id)
    fetch(world)
    world.opened(1)
    world.run_failed(1)
    assert world.closing == {1}
    assert not world.stopping


# -- models that cannot be run --------------------------------------------------------------


@pytest.mark.parametrize("reason", ["models", "platform"])
def test_who_runs_no_models_gives_them_back_and_takes_the_rest(reason: str) -> None:
    world = world_of(PLAIN, ASKED, tuning=replace(ONE, models=reason))
    token = world.inquire(ASKED.id)
    (other,) = world.lease(PLAIN.id, [0])
    world.run_through()
    assert world.released == [(token, reason)]
    assert world.scheduler.state_of(other) is State.COMMITTED
    assert MODEL not in world.here


def test_a_bad_file_gives_all_leases_of_its_model_back_at_once() -> None:
    world = world_of(ASKED, BATCH, tuning=ONE)
    tokens = [world.inquire(ASKED.id, index) for index in range(3)]
    fetch(world)
    world.open_failed(1, "model")
    other = world.inquire(BATCH.id, 0, asked=False)
    again = world.inquire(ASKED.id, 5)
    world.run_through()
    assert sorted(world.released) == [(token, "model") for token in (*tokens, again)]
    assert world.scheduler.state_of(other) is State.COMMITTED


def test_a_model_without_memory_for_one_answer_gives_back_no_other_one() -> None:
    world = world_of(ASKED, tuning=ONE)
    tokens = [world.inquire(ASKED.id, index) for index in range(3)]
    fetch(world)
    world.opened(1)
    world.run_failed(1, "memory")
    world.run_through()
    world.later(10)
    world.run_through()
    assert world.released == [(tokens[0], "memory")]
    assert all(world.scheduler.state_of(each) is State.COMMITTED for each in tokens[1:])


@pytest.mark.parametrize(("job", "wants"), [(ASKED, True), (BATCH, False)], ids=["asked", "batch"])
def test_a_bad_model_that_is_asked_does_not_make_who_refuses_it_absent(
    job: SignedManifest, *, wants: bool
) -> None:
    world = world_of(job, tuning=ONE)
    token = world.inquire(job.id, asked=job is ASKED)
    fetch(world)
    world.open_failed(1, "model")
    world.run_through()
    assert world.scheduler.state_of(token) is None
    assert (world.want > 0) is wants
