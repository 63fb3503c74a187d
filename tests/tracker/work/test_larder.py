"""What a peer says that it holds: bounded, and no more than a hint."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.work.world import manifest
from tracker.work.larder import BURST, Cargo, Larder
from workunits.errors import LimitError, RefusedError
from workunits.ids import BlobRef, JobId
from workunits.images import Layer, chain_id
from workunits.manifest import Program
from workunits.parameters import Combine, Files, NamedBlob, Range, Sweep
from workunits.wire.handshake import Offerings
from workunits.wire.holds import MAX_HELD, Holds, name_of

JOB = JobId(b"j" * 32)


def ref(number: int, length: int = 10) -> BlobRef:
    return BlobRef(number.to_bytes(2, "big") * 16, bytes(20), length)


def larder(disk: int = 100) -> Larder:
    return Larder(Offerings(False, 1, 0, (), "", "", disk), 0.0)


def say(larder: Larder, disk: int, *refs: BlobRef, gone: tuple[BlobRef, ...] = ()) -> None:
    larder.hear(Holds(disk, frozenset(map(name_of, refs)), frozenset(map(name_of, gone))), 0.0)
    larder.recount(())


def needs(*refs: BlobRef) -> tuple[tuple[int, int], ...]:
    return Cargo(
        replace(manifest(), inputs=tuple(NamedBlob(f"f{at}", ref) for at, ref in enumerate(refs)))
    ).common


def test_what_is_held_need_not_be_fetched() -> None:
    it = larder()
    assert it.missing(needs(ref(1), ref(2))) == 20
    say(it, 100, ref(1))
    assert it.missing(needs(ref(1), ref(2))) == 10
    say(it, 100, ref(2), gone=(ref(1),))
    assert it.missing(needs(ref(1), ref(2))) == 10
    assert it.count == 1


def test_the_lack_of_a_job_follows_what_is_said() -> None:
    it = larder()
    assert it.lack(JOB, needs(ref(1))) == 10
    say(it, 100, ref(1))
    assert it.lack(JOB, needs(ref(1))) == 0


def test_what_was_leased_takes_its_room_once() -> None:
    it = larder(25)
    it.expect(needs(ref(1), ref(2)))
    it.expect(needs(ref(1)))
    assert it.missing(needs(ref(1))) == 0
    assert it.fits(5) and not it.fits(6)
    say(it, 25)
    assert it.fits(25)


def test_saying_it_too_often_is_refused() -> None:
    it = larder()
    for _ in range(BURST):
        say(it, 100)
    with pytest.raises(RefusedError):
        say(it, 100)
    it.hear(Holds(3), 1.0)


def test_more_than_a_thousand_names_are_refused_and_change_nothing() -> None:
    it = larder()
    say(it, 100, *map(ref, range(MAX_HELD)))
    with pytest.raises(LimitError):
        say(it, 50, ref(MAX_HELD))
    assert it.count == MAX_HELD
    assert it.room == 100
    say(it, 50, ref(MAX_HELD), gone=(ref(0),))


def test_an_image_is_its_layers_and_what_the_engine_makes_of_them() -> None:
    layers = tuple(Layer(bytes([at]) * 32, ref(at)) for at in (1, 2, 1))
    program = Program(chain_id([each.diff for each in layers]), ("run", "{p}"), (), "", layers)
    cargo = Cargo(replace(manifest(), program=program))
    assert larder().missing(cargo.image) == 2 * 20
    assert not cargo.is_light
    assert Cargo(manifest()).is_light


def test_units_with_files_of_their_own_come_in_runs() -> None:
    files = tuple(NamedBlob(f"f{at}", ref(at, 10 * at)) for at in range(1, 4))
    product = Sweep((Range("a", 0, 1, 2), Files("f", files), Range("b", 0, 1, 5)))
    cargo = Cargo(replace(manifest(), parameters=product))
    assert cargo.run == 5
    assert [cargo.own(index)[0][1] for index in (0, 4, 5, 14, 15)] == [10, 10, 20, 30, 10]
    assert cargo.widest == 30
    zipped = Sweep((Range("a", 0, 1, 3), Files("f", files)), Combine.ZIP)
    assert Cargo(replace(manifest(), parameters=zipped)).run == 1
    assert Cargo(manifest()).run == 0


@given(st.lists(st.tuples(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))))
def test_it_holds_what_was_added_and_not_removed(steps: list[tuple[set[int], set[int]]]) -> None:
    it, held = Larder(Offerings(False, 1, 0, (), ""), 0.0), set[int]()
    for at, (added, removed) in enumerate(steps):
        removed -= added
        names = [frozenset(name_of(ref(number)) for number in some) for some in (added, removed)]
        it.hear(Holds(0, *names), float(at))
        held = (held - removed) | added
        assert {number for number in range(41) if it.holds(needs(ref(number))[0][0])} == held
