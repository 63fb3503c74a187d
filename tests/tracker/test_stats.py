"""The numbers of the announce service."""

from random import Random

from tracker.announce.admission import Admission, Mode
from tracker.announce.handlers import AnnounceService
from tracker.registry import Registry
from tracker.stats import WORDS, statistics
from workunits.ids import PeerKey

HASH = "h" * 20


def numbers(service: AnnounceService) -> dict[str, object]:
    registry = Registry(trusted=lambda _: False, operator=PeerKey(bytes(32)))
    return statistics(service, registry, 61.9)


def test_what_is_done_is_counted_by_how_it_came() -> None:
    service = AnnounceService(rng=Random(1))
    for number in range(3):
        query = f"info_hash={HASH}&peer_id={number:020d}&port=1&left={number}"
        service.answer(f"/announce?{query}", f"203.0.{number}.1")
    service.answer(f"/scrape?info_hash={HASH}", "203.0.113.1")
    service.answer("/announce", "203.0.113.1")
    found = numbers(service)
    assert found["peers"] == {
        "all": 3,
        "seeders": 1,
        "leechers": 2,
        "networks": 3,
        "expired": 0,
    }
    assert found["announces"] == {"http": 4, "udp": 0}
    assert found["scrapes"] == {"http": 1, "udp": 0}
    assert (found["swarms"], found["errors"], found["uptime"]) == (1, 1, 61)


def test_no_number_names_a_torrent_or_a_peer() -> None:
    service = AnnounceService(admission=Admission(Mode.MEMBERS, wall=lambda: 0.0), rng=Random(1))
    found = numbers(service)
    assert found["mode"] == "members"
    for group in found.values():
        assert isinstance(group, int | str) or all(
            isinstance(value, int)
            for value in group.values()  # type: ignore[attr-defined]
        )
    assert WORDS
