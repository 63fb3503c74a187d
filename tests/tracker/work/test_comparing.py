"""Who says whether two results are the same, where the job brings a comparator of its own."""

import pytest

from tests.tracker.work.disputes import asked, different, disputed, referee, same
from tests.tracker.work.world import (
    PATIENCE,
    PROGRAM,
    Actor,
    World,
    manifest,
    outcome,
    same_number,
)
from workunits.results import Result
from workunits.verification import Policy
from workunits.wire.compare import Opinion, Shown


def test_equal_bytes_are_the_same_and_nobody_is_asked() -> None:
    world = World()
    judge = referee(world)
    job, voters = disputed(world, "1.0", "1.0")
    assert job.accepted == 1
    assert not asked(judge, *voters)
    assert not judge.jobs


def test_one_opinion_of_a_referee_decides() -> None:
    world = World()
    job, voters = disputed(world, "1.0", "1.00")
    assert job.accepted == 0
    others = [world.actor(f"other{at}", connect=False) for at in range(2)]
    judge = referee(world)
    for actor in others:
        actor.connect()
    assert asked(judge, *others, *voters) == [judge]
    assert judge.opine(same_number) == [Opinion.SAME]
    assert job.accepted == 1
    assert [world.balance(actor) for actor in (*voters, judge)] == [2, 2, 0]
    assert world.audit().on_trust == 1


@pytest.mark.parametrize("owner", ["operator", "submitter"])
def test_a_referee_is_asked_before_anybody_else(owner: str) -> None:
    world = World()
    crowd: list[Actor] = []

    def come() -> None:
        crowd.extend(world.actor(f"other{at}", validator=bool(at)) for at in range(4))
        crowd.append(referee(world, owner=owner))

    disputed(world, "1.0", "1.00", come=come)
    assert asked(*crowd) == [crowd[-1]]


def test_without_a_referee_two_opinions_that_agree_decide() -> None:
    world = World()
    job, voters = disputed(world, "1.0", "1.00")
    one = world.actor("one", validator=True)
    assert one.opine(same_number) == [Opinion.SAME]
    assert job.accepted == 0, "one is not enough"
    assert not asked(one, *voters)
    two = world.actor("two")
    two.opine(same_number)
    assert job.accepted == 1


def test_two_peers_of_one_owner_have_one_opinion() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "1.00")
    one = world.actor("one", owner="rich", validator=True)
    one.opine(same)
    two = world.actor("two", owner="rich", validator=True)
    assert not two.pairs
    world.actor("three", validator=True).opine(same)
    assert job.accepted == 1


def test_nobody_judges_a_unit_that_it_or_its_owner_voted_on() -> None:
    world = World()
    disputed(world, "1.0", "1.00")
    kin = world.actor("kin", owner="voter0", validator=True)
    assert not kin.pairs
    assert not kin.leases


def test_of_two_that_differ_a_third_decides() -> None:
    world = World()
    job, voters = disputed(world, "1.0", "1.00")
    honest = [world.actor(f"judge{at}", validator=True) for at in range(2)]
    liar = world.actor("liar", validator=True)
    opinions = []
    for _ in range(3):
        for actor in (liar, *honest):
            opinions += actor.opine(different if actor is liar else same_number)
    assert opinions.count(Opinion.SAME) == 2
    assert job.accepted == 1
    assert [world.balance(actor) for actor in voters] == [2, 2]
    assert world.desk.peers[liar.key].wrong == 0, "an opinion is no strike"


def test_two_liars_among_the_judges_cost_an_execution_and_no_truth() -> None:
    world = World()
    job, voters = disputed(world, "1.0", "1.00")
    liars = [world.actor(f"liar{at}", validator=True) for at in range(2)]
    for liar in liars:
        liar.opine(different)
    assert job.accepted == 0
    third = world.actor("third", validator=True)
    third.commit("1.00")
    third.reveal()
    for _ in range(4):
        for actor in [world.actor(f"judge{at}", validator=True) for at in range(2)]:
            actor.opine(same_number)
    assert job.accepted == 1
    assert world.balance(third) == world.balance(voters[1]) == 2


def test_who_was_shown_results_of_a_unit_never_computes_it() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "9.0")
    one, two = (world.actor(name, validator=True) for name in ("one", "two"))
    for actor in (one, two, one, two):
        actor.opine(same_number)
    assert world.desk.obstacle(job).startswith("1 units wait")
    assert not one.leases
    assert not two.leases
    world.restart()
    for actor in (one, two):
        actor.connect()
        assert not actor.leases
    world.tick(PATIENCE.draw + 1)
    assert not (one.leases or two.leases)
    assert world.actor("third").leases
    world.audit()


def test_who_was_drawn_before_and_saw_nothing_is_drawn_again_after_a_while() -> None:
    world = World()
    job, _ = disputed(world, "1.0", "9.0")
    one, two = (world.actor(name, validator=True) for name in ("one", "two"))
    for actor in (one, two, one, two):
        actor.opine(same_number)
    third = world.actor("third", validator=True)
    third.release()
    for _ in range(20):
        world.tick(PATIENCE.draw + 1)
        if third.leases:
            break
    third.commit("9.0")
    assert world.executions(job)[-1].doing == "asked"


def test_a_referee_that_compared_may_still_be_drawn_to_compute() -> None:
    world = World()
    judge = referee(world)
    job, voters = disputed(world, "1.0", "9.0")
    judge.opine(same_number)
    assert judge.leases
    judge.commit("9.1")
    judge.reveal()
    assert job.accepted == 0, "it voted, and judges no more"
    for at in range(4):
        world.actor(f"peer{at}", validator=True)
    for _ in range(4):
        for actor in list(world.actors.values()):
            actor.opine(same_number)
    assert job.accepted == 1
    assert [world.balance(actor) for actor in voters] == [0, 2]
    assert world.desk.peers[voters[0].key].wrong == 1
    world.audit()


def test_where_a_referee_voted_only_what_agrees_with_it_is_compared() -> None:
    world = World()
    judge = referee(world)
    disputed(world, "1.0", "9.0")
    judge.opine(same_number)
    judge.commit("9.1")
    judge.reveal()
    seen = set()
    for at in range(4):
        actor = world.actor(f"peer{at}", validator=True)
        seen |= {frozenset((a.result.digest, b.result.digest)) for a, b in shown(actor)}
    assert len(seen) == 2
    assert frozenset.intersection(*seen) == {Result.digest_of(outcome(0, "9.1").result)}


def shown(actor: Actor) -> list[tuple[Shown, Shown]]:
    return [(pair.a, pair.b) for _, pair in actor.pairs.values()]


def test_opinions_that_are_known_are_not_asked_for_again() -> None:
    world = World()
    judge = referee(world)
    disputed(world, "1.0", "9.0", "5.0")
    assert len(judge.pairs) == 1
    judge.opine(same_number)
    assert not judge.pairs


def test_a_result_that_is_none_is_like_no_other_and_nobody_is_asked() -> None:
    world = World()
    judge = referee(world)
    job, _ = disputed(world, "1.0", "fail")
    assert not judge.pairs
    assert judge.leases, "but somebody computes it again"
    assert job.units[0].stage.value == "computing"


def test_a_settled_unit_that_is_opened_again_is_compared_anew() -> None:
    world = World()
    judge = referee(world)
    job = world.submit(manifest(2, policy=Policy.STRICT, comparator=PROGRAM))

    def vote(*names: str) -> list[Actor]:
        voters = [world.actor(name) for name in names]
        for _ in voters:
            for at, actor in enumerate(voters):
                mine = [token for token, unit in actor.leases.items() if unit.index == 0]
                actor.commit("1." + "0" * (at + 1), tokens=mine)
        for actor in voters:
            actor.reveal()
        return voters

    cheat, *_ = vote("one", "two", "three")
    assert len(judge.opine(same) + judge.opine(same)) == 3
    assert not job.settled[0].opinions
    world.desk._court.finality.reopen([world.desk.peers[cheat.key]], None)
    world.desk._court.decide(job.units[0], world.now)
    world.pump()
    vote("four", "five", "six")
    assert len(judge.opine(same) + judge.opine(same)) == 3
    assert list(job.settled) == [0]
