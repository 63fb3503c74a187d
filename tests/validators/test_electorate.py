"""Who is drawn for a seat: who may be, in which order, and that it is fair."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validators.cases import manifest
from validators.electorate import Electorate, Member, Seat
from validators.policies import By
from workunits.ids import BlobRef, JobId, PeerKey, UnitId
from workunits.images import Layer
from workunits.manifest import Program
from workunits.models.program import COMMAND, Engine, ModelProgram
from workunits.parameters import Files, NamedBlob, Sweep
from workunits.verification import Comparator, Comparison

JOB = JobId(b"j" * 32)
LINK = b"c" * 32
MANIFEST = manifest()
MODEL_JOB = replace(
    MANIFEST,
    program=Program(
        "sha256:" + "e" * 64,
        COMMAND,
        (NamedBlob("model.gguf", BlobRef(bytes(32), bytes(20), 1000)),),
        model=ModelProgram(Engine.LLAMA_CPP, 2048, 128, asked=True, budget=1),
    ),
    comparator=Comparator(Comparison.TEXT_MODEL),
)
SUBMITTER, OPERATOR = MANIFEST.submitter, PeerKey(b"o" * 32)
SOMEBODY = PeerKey(b"x" * 32)
IMAGE, MEMORY = MANIFEST.program.image, MANIFEST.limits.memory_bytes
KEYS = [PeerKey(bytes([at]) * 32) for at in range(1, 13)]
links = st.binary(min_size=32, max_size=32)


def member(
    key: PeerKey, owner: PeerKey | None = None, *, validator: bool = False, platform: str = ""
) -> Member:
    """One that has the image and just enough memory."""
    return Member(key, owner or key, validator, MEMORY, (IMAGE,), platform)


def seat(
    by: By = By.PEER,
    *,
    index: int = 0,
    taken: Collection[PeerKey] = (),
    asked: Collection[PeerKey] = (),
    platform: str = "",
) -> Seat:
    return Seat(UnitId(JOB, index), by, set(taken), set(asked), platform)


def electorate(members: Iterable[Member]) -> Electorate:
    found = Electorate(OPERATOR)
    for each in members:
        found.join(each)
    return found


@st.composite
def members(draw: st.DrawFn) -> list[Member]:
    """Peers of every sort, few enough that the last resorts come up too."""
    return [
        Member(
            key,
            draw(st.sampled_from([key, OPERATOR, SUBMITTER, SOMEBODY])),
            draw(st.booleans()),
            draw(st.sampled_from([MEMORY, MEMORY, MEMORY + 1, MEMORY - 1])),
            draw(st.sampled_from([(IMAGE,), ("other", IMAGE), ("other",)])),
            draw(st.sampled_from(["", "x86_64", "arm64"])),
        )
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=8))
    ]


some = st.sets(st.sampled_from([*KEYS, SOMEBODY, OPERATOR, SUBMITTER]), max_size=5)
seats = st.builds(
    Seat,
    st.builds(UnitId, st.just(JOB), st.integers(0, 2**60)),
    st.sampled_from(By),
    some,
    some,
    st.sampled_from(["", "x86_64"]),
)


@st.composite
def electorates(draw: st.DrawFn) -> Electorate:
    found = electorate(draw(members()))
    found.doubted = draw(some)
    for key in draw(some):
        found.shun(key, draw(st.sampled_from([SUBMITTER, SOMEBODY])))
    return found


def is_able(world: Electorate, each: Member, seat: Seat) -> bool:
    return (
        not {each.key, each.owner} & seat.taken
        and IMAGE in each.images
        and each.memory_bytes >= MEMORY
        and seat.platform in ("", each.platform)
        and each.key not in world.shunned.get(SUBMITTER, ())
    )


def rank(world: Electorate, each: Member, seat: Seat) -> int:
    """Lower comes first."""
    referees = (SUBMITTER, OPERATOR)
    if each.validator and each.owner in referees:
        if seat.by is By.REFEREE and each.key not in seat.asked:
            return referees.index(each.owner)
        return 5
    if each.key in world.doubted:
        return 4
    return 3 if each.key in seat.asked else 2


@given(electorates(), links, seats)
def test_who_is_drawn_is_able_and_of_those_who_come_first(
    world: Electorate, link: bytes, seat: Seat
) -> None:
    able = [each for each in world.members.values() if is_able(world, each, seat)]
    drawn = world.draw(link, MANIFEST, seat)
    if not able:
        assert drawn is None
        return
    assert drawn is not None
    first = min(rank(world, each, seat) for each in able)
    assert drawn in {each.key for each in able if rank(world, each, seat) == first}


@given(members(), links, seats, st.randoms(use_true_random=False))
def test_the_order_in_which_peers_joined_changes_nothing(
    there: list[Member], link: bytes, seat: Seat, random: Random
) -> None:
    shuffled = random.sample(there, len(there))
    one, other = electorate(there), electorate(shuffled)
    assert one.draw(link, MANIFEST, seat) == other.draw(link, MANIFEST, seat)


@given(members(), links, seats)
def test_to_join_twice_is_to_join_once(there: list[Member], link: bytes, seat: Seat) -> None:
    once, twice = electorate(there), electorate([*there, *there])
    assert twice.present() == once.present() == sorted(each.key for each in there)
    assert len(twice) == len(there)
    assert once.draw(link, MANIFEST, seat) == twice.draw(link, MANIFEST, seat)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS[:3]), st.booleans()), max_size=8),
    links,
)
def test_who_left_is_not_drawn_and_who_comes_back_is(
    steps: list[tuple[bool, PeerKey, bool]], link: bytes
) -> None:
    world, there = Electorate(OPERATOR), dict[PeerKey, Member]()
    for joins, key, validator in steps:
        if joins:
            there[key] = member(key, OPERATOR, validator=validator)
            world.join(there[key])
        else:
            there.pop(key, None)
            world.leave(key)
    assert world.present() == sorted(there)
    assert all(world.is_present(key) == (key in there) for key in KEYS)
    for by in By:
        drawn = world.draw(link, MANIFEST, seat(by))
        assert drawn == electorate(there.values()).draw(link, MANIFEST, seat(by))


# -- who may be -----------------------------------------------------------------------------


def test_nobody_is_drawn_where_nobody_is() -> None:
    for by in By:
        assert Electorate(OPERATOR).draw(LINK, MANIFEST, seat(by)) is None


@pytest.mark.parametrize("by", By)
def test_neither_a_peer_that_voted_nor_another_of_its_owner_is_drawn(by: By) -> None:
    mine = [member(key, SOMEBODY) for key in KEYS[:5]]
    other = member(KEYS[5])
    world = electorate([*mine, other])
    for index in range(50):
        taken = (KEYS[0], SOMEBODY)
        assert world.draw(LINK, MANIFEST, seat(by, index=index, taken=taken)) == other.key
    assert electorate(mine).draw(LINK, MANIFEST, seat(by, taken=taken)) is None


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize(
    "changes", [{"images": ("other",)}, {"images": ()}, {"memory_bytes": MEMORY - 1}]
)
def test_who_lacks_the_image_or_the_memory_is_not_drawn(by: By, changes: dict[str, object]) -> None:
    lacking = [
        replace(member(key, owner, validator=True), **changes)  # type: ignore[arg-type]
        for key, owner in zip(KEYS, (SUBMITTER, OPERATOR, SOMEBODY), strict=False)
    ]
    assert electorate(lacking).draw(LINK, MANIFEST, seat(by)) is None


@pytest.mark.parametrize("by", By)
def test_who_takes_no_models_is_drawn_for_other_work_alone(by: By) -> None:
    asks = MODEL_JOB.program.image
    one = replace(member(KEYS[0]), images=(IMAGE, asks), disk_bytes=1 << 40, memory_bytes=1 << 40)
    refuses = electorate([replace(one, models=False)])
    assert electorate([one]).draw(LINK, MODEL_JOB, seat(by)) == KEYS[0]
    assert refuses.draw(LINK, MODEL_JOB, seat(by)) is None
    assert refuses.draw(LINK, MANIFEST, seat(by)) == KEYS[0]


def test_where_the_platform_matters_only_the_same_one_is_drawn() -> None:
    world = electorate([member(KEYS[0], platform="x86_64"), member(KEYS[1], platform="arm64")])
    drawn = {world.draw(LINK, MANIFEST, seat(index=index, platform="arm64")) for index in range(20)}
    assert drawn == {KEYS[1]}
    assert world.draw(LINK, MANIFEST, seat(platform="riscv64")) is None
    assert {world.draw(LINK, MANIFEST, seat(index=index)) for index in range(20)} == set(KEYS[:2])


def test_who_is_shunned_is_kept_from_that_submitters_jobs_alone() -> None:
    world = electorate([member(KEYS[0])])
    world.shun(KEYS[0], SUBMITTER)
    assert world.is_shunned(KEYS[0], SUBMITTER)
    assert not world.is_shunned(KEYS[0], SOMEBODY)
    assert world.draw(LINK, MANIFEST, seat()) is None
    assert world.draw(LINK, replace(MANIFEST, submitter=SOMEBODY), seat()) == KEYS[0]


# -- who comes first ------------------------------------------------------------------------


def drawn_by_removal(world: Electorate, by: By) -> list[PeerKey]:
    """Who is drawn, then who when that one is taken, and so on."""
    found: list[PeerKey] = []
    while (key := world.draw(LINK, MANIFEST, seat(by, taken=found, asked=[KEYS[1]]))) is not None:
        found.append(key)
    return found


def test_a_peers_seat_goes_to_the_doubted_and_then_to_referees_last() -> None:
    fresh, asked, doubted = (member(key) for key in KEYS[:3])
    own = member(KEYS[3], SUBMITTER, validator=True)
    world = electorate([own, doubted, asked, fresh])
    world.doubted.add(doubted.key)
    assert drawn_by_removal(world, By.PEER) == KEYS[:4]


def test_a_referees_seat_goes_to_the_submitters_then_the_operators_and_then_to_peers() -> None:
    fresh, asked, doubted = (member(key) for key in KEYS[:3])
    own, operators = (
        member(key, owner, validator=True)
        for key, owner in ((KEYS[3], SUBMITTER), (KEYS[4], OPERATOR))
    )
    world = electorate([doubted, operators, asked, own, fresh])
    world.doubted.add(doubted.key)
    assert drawn_by_removal(world, By.REFEREE) == [own.key, operators.key, *KEYS[:3]]


def test_a_referee_that_did_not_answer_is_asked_again_only_when_nobody_else_is_left() -> None:
    own = member(KEYS[0], SUBMITTER, validator=True)
    peer = member(KEYS[1])
    world = electorate([own, peer])
    assert world.draw(LINK, MANIFEST, seat(By.REFEREE, asked=[own.key])) == peer.key
    left = seat(By.REFEREE, asked=[own.key], taken=[peer.key])
    assert world.draw(LINK, MANIFEST, left) == own.key


def test_only_a_validator_of_the_operators_or_of_the_submitters_own_is_a_referee() -> None:
    world = electorate(
        [
            member(KEYS[0], SUBMITTER, validator=True),
            member(KEYS[1], OPERATOR, validator=True),
            member(KEYS[2], SOMEBODY, validator=True),
            member(KEYS[3], SUBMITTER),
            member(KEYS[4], OPERATOR),
        ]
    )
    assert [world.is_referee(key, MANIFEST) for key in KEYS[:6]] == [True, True, *[False] * 4]
    others = replace(MANIFEST, submitter=SOMEBODY)
    assert [world.is_referee(key, others) for key in KEYS[:3]] == [False, True, True]


def test_a_validator_of_a_strangers_checks_as_any_peer_does() -> None:
    world = electorate([member(KEYS[0]), member(KEYS[1], SOMEBODY, validator=True)])
    drawn = Counter(
        world.draw(LINK, MANIFEST, seat(by, index=index)) for by in By for index in range(100)
    )
    assert set(drawn) == set(KEYS[:2])
    assert min(drawn.values()) > 70


def test_a_peer_that_comes_back_with_another_role_is_what_it_is_now() -> None:
    world = electorate([member(KEYS[0], OPERATOR, validator=True), member(KEYS[1])])
    assert world.draw(LINK, MANIFEST, seat(By.REFEREE)) == KEYS[0]
    world.join(member(KEYS[0], OPERATOR))
    assert not world.is_referee(KEYS[0], MANIFEST)
    drawn = {world.draw(LINK, MANIFEST, seat(By.REFEREE, index=index)) for index in range(30)}
    assert drawn == set(KEYS[:2])


# -- how often ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", By)
def test_every_peer_that_may_be_drawn_is_drawn_about_equally_often(by: By) -> None:
    """Chi square over 20 places: 43.8 is passed once in a thousand; the links are fixed."""
    may = [member(PeerKey(bytes([at]) * 32), validator=at % 3 == 0) for at in range(40, 60)]
    may_not = [
        replace(member(PeerKey(bytes([at]) * 32)), images=("other",)) for at in range(60, 80)
    ]
    world = electorate(may + may_not)
    draws = 4000
    counts = Counter(world.draw(LINK, MANIFEST, seat(by, index=index)) for index in range(draws))
    assert set(counts) == {each.key for each in may}
    expected = draws / len(may)
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 43.8


def test_many_referees_share_the_work() -> None:
    world = electorate([member(key, OPERATOR, validator=True) for key in KEYS[:4]])
    counts = Counter(
        world.draw(LINK, MANIFEST, seat(By.REFEREE, index=index)) for index in range(1000)
    )
    assert set(counts) == set(KEYS[:4])
    assert all(200 < count < 300 for count in counts.values())


def test_who_lacks_a_shared_image_is_drawn_if_it_has_room_for_it_twice() -> None:
    ref = BlobRef(b"2" * 32, b"1" * 20, 1000)
    program = replace(MANIFEST.program, layers=(Layer(bytes.fromhex("a" * 64), ref),))
    shared = replace(MANIFEST, program=program)
    shared.check()
    for disk, able in ((2000, True), (1999, False)):
        lacks = replace(member(KEYS[0]), images=(), disk_bytes=disk)
        assert (electorate([lacks]).draw(LINK, shared, seat()) is not None) is able
        assert electorate([lacks]).draw(LINK, MANIFEST, seat()) is None
    assert electorate([member(KEYS[0])]).draw(LINK, shared, seat()) == KEYS[0]


def test_who_has_no_room_for_the_inputs_of_a_unit_is_not_drawn() -> None:
    files = tuple(
        NamedBlob(f"f{at}", BlobRef(bytes([at]) * 32, b"1" * 20, 100 * at)) for at in (1, 2)
    )
    common = NamedBlob("c", BlobRef(b"2" * 32, b"1" * 20, 1000))
    job = replace(MANIFEST, inputs=(common,), parameters=Sweep((Files("p", files),)))
    small = electorate([replace(member(KEYS[0]), disk_bytes=1100)])
    assert small.draw(LINK, job, seat(index=0)) == KEYS[0]
    assert small.draw(LINK, job, seat(index=1)) is None
