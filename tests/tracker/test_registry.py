"""What is tracked: what jobs name, what is kept, what was registered."""

from dataclasses import replace
from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.work.world import manifest
from tracker import registry
from tracker.registry import Registry, wire_hashes
from tracker.rows import BlobRow, ExecutionRow, JobRow, UnitRow
from workunits.errors import LimitError, RefusedError
from workunits.ids import BlobRef, PeerKey
from workunits.manifest import Program
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.statements import MAX_AGE, Register, Unregister

OPERATOR, KNOWN, STRANGER = (PeerKey(bytes([n]) * 32) for n in (1, 2, 3))
TORRENT = Register(b"1" * 20, b"2" * 32, 5, "films")


def fresh() -> Registry:
    return Registry(trusted=lambda key: key == KNOWN, operator=OPERATOR)


def ref(seed: int) -> BlobRef:
    return BlobRef(bytes([seed]) * 32, bytes([seed + 100]) * 20, 7)


def job(job_id: bytes = b"j" * 32, state: str = "active") -> JobRow:
    program = Program("sha256:" + "0" * 64, ("x",), (NamedBlob("p", ref(1)),))
    raw = replace(manifest(2), program=program, inputs=(NamedBlob("i", ref(2)),)).encode()
    return JobRow(job_id, raw, b"", b"k" * 32, "job", state, 1.0, 2, 0, 0, 0, 0, 0, 0, "")


def result(seed: int) -> bytes:
    return Result(Ending.EXITED, 0, (NamedBlob("o", ref(seed)),)).encode()


def both(blob: BlobRef) -> set[bytes]:
    return {blob.v1, blob.v2[:20]}


def test_what_a_job_names_is_tracked_once_it_is_published() -> None:
    known = fresh()
    assert not any(value in known for value in both(ref(1)))
    known.watch([job()])
    assert all(value in known for value in both(ref(1)) | both(ref(2)))
    known.watch([job(), job(state="finished")])
    assert known.named == 4


def test_a_result_is_tracked_once_it_is_revealed() -> None:
    known = fresh()
    hidden = ExecutionRow(1, b"j", 0, b"", b"", "committed", b"", b"", 0, 0, 0, "", 0, b"")
    known.watch([hidden])
    assert known.named == 0
    known.watch([hidden._replace(result=result(3))])
    known.watch([UnitRow(b"j", 0, "accepted", 1, b"", b"", 0, 0, result(4), "")])
    assert all(value in known for value in both(ref(3)) | both(ref(4)))


def test_a_blob_of_the_web_seed_is_tracked() -> None:
    known = fresh()
    known.watch([BlobRow(b"v" * 32, 3, b"info", b"k")])
    assert b"v" * 20 in known
    assert sha1(b"info", usedforsecurity=False).digest() in known


def test_everything_is_found_again_after_a_restart() -> None:
    known = fresh()
    row = known.register(KNOWN, TORRENT, 10)
    again = fresh()
    again.fill([job().manifest, result(3)], [BlobRow(b"v" * 32, 3, b"info", b"k")], [row])
    for value in (*both(ref(2)), *both(ref(3)), b"v" * 20, b"1" * 20, b"2" * 20):
        assert value in again
    assert again.of(KNOWN) == [row]


def test_both_info_hashes_of_a_registered_torrent_are_tracked_until_it_is_taken_back() -> None:
    known = fresh()
    known.register(KNOWN, TORRENT, 10)
    known.register(STRANGER, replace(TORRENT, name="other"), 10)
    assert {b"1" * 20, b"2" * 20} == set(wire_hashes(TORRENT.v1, TORRENT.v2))
    assert b"1" * 20 in known and b"2" * 20 in known
    gone = known.unregister(KNOWN, Unregister(TORRENT.v1, TORRENT.v2), 11)
    assert gone.removed == 1
    assert b"1" * 20 in known, "another has registered it too"
    known.unregister(STRANGER, Unregister(TORRENT.v1, TORRENT.v2), 11)
    assert b"1" * 20 not in known
    assert known.registered == 0
    with pytest.raises(RefusedError):
        known.unregister(KNOWN, Unregister(TORRENT.v1, TORRENT.v2), 12)


def test_an_old_statement_brings_nothing_back() -> None:
    known = fresh()
    known.register(KNOWN, TORRENT, 100)
    known.register(KNOWN, replace(TORRENT, name="new"), 101)
    with pytest.raises(RefusedError, match="later"):
        known.register(KNOWN, TORRENT, 100)
    known.unregister(KNOWN, Unregister(TORRENT.v1, TORRENT.v2), 102)
    with pytest.raises(RefusedError, match="later"):
        known.register(KNOWN, TORRENT, 101)
    known.register(KNOWN, TORRENT, 102 + 2 * MAX_AGE)
    assert known.registered == 1


def test_a_key_may_register_so_many_and_the_operator_any_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "MAX_OF_ACCOUNT", 3)
    monkeypatch.setattr(registry, "MAX_OF_STRANGER", 2)
    for author, most in ((KNOWN, 3), (STRANGER, 2)):
        known = fresh()
        for number in range(most):
            known.register(author, replace(TORRENT, v1=bytes([number]) * 20), 1)
        known.register(author, replace(TORRENT, v1=bytes(20), name="again"), 1)
        with pytest.raises(LimitError) as caught:
            known.register(author, TORRENT, 1)
        assert caught.value.hint
        known.unregister(author, Unregister(bytes(20), TORRENT.v2), 1)
        known.register(author, TORRENT, 1)
        for number in range(5):
            known.register(OPERATOR, replace(TORRENT, v1=bytes([number]) * 20), 1)


def test_strangers_cannot_take_the_room_of_those_who_have_an_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "MAX_OF_STRANGERS", 2)
    known = fresh()
    for number in (10, 11):
        known.register(PeerKey(bytes([number]) * 32), TORRENT, 1)
    with pytest.raises(LimitError, match="no more"):
        known.register(STRANGER, TORRENT, 1)
    known.register(KNOWN, TORRENT, 1)
    known.unregister(PeerKey(bytes([10]) * 32), Unregister(TORRENT.v1, TORRENT.v2), 1)
    known.register(STRANGER, TORRENT, 1)


def test_the_number_of_named_hashes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_HASHES", 3)
    known = fresh()
    known.fill([result(1), result(2), result(3)], [], [])
    assert known.named == 3


@given(st.binary(max_size=300))
def test_rows_of_any_bytes_are_taken(raw: bytes) -> None:
    known = fresh()
    known.fill([raw, b"2:v120:" + raw], [], [])
    assert known.named <= 2 * raw.count(b"2:v120:") + 2
