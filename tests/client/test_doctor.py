"""The doctor finds each thing that is wrong and says how to fix it."""

from pathlib import Path

from client import keys
from client.config import Config
from client.doctor import (
    Finding,
    check_disk,
    check_engine,
    check_key,
    check_memory,
    check_processor,
    check_tracker,
    clock_finding,
)
from client.views import StatusView
from workunits.ids import PeerKey


def config(home: Path, tracker: str = "http://127.0.0.1:9") -> Config:
    return Config.make(home=home, tracker=tracker, environment={"HOME": str(home)})


def status(time: float) -> StatusView:
    return StatusView(PeerKey(bytes(32)), "1", time, 0, 0, 0, 0)


def assert_sick(finding: Finding) -> None:
    assert not finding.good
    assert finding.found
    assert finding.fix


def test_an_engine_that_does_not_answer_has_a_fix(tmp_path: Path) -> None:
    (finding,) = check_engine(config(tmp_path), {"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert_sick(finding)
    assert "DOCKER_HOST" in finding.fix
    assert "/nowhere/docker.sock" in finding.found


def test_a_key_is_good_when_missing_and_bad_when_others_can_read_it(tmp_path: Path) -> None:
    place = config(tmp_path)
    assert check_key(place).good
    keys.create(place.key)
    assert check_key(place).good
    place.key.chmod(0o644)
    finding = check_key(place)
    assert_sick(finding)
    assert finding.fix == f"chmod 600 {place.key}"
    place.key.chmod(0o600)
    place.key.write_text("not a key")
    assert_sick(check_key(place))


def test_a_full_disk_is_found_even_before_the_home_exists(tmp_path: Path) -> None:
    place = config(tmp_path / "not" / "yet")
    assert_sick(check_disk(place, usage=lambda _: 1 << 20))
    assert check_disk(place, usage=lambda _: 1 << 40).good


def test_a_home_that_cannot_be_written_is_found() -> None:
    assert_sick(check_disk(config(Path("/proc")), usage=lambda _: 1 << 40))  # not even by root


def test_little_memory_is_found() -> None:
    assert_sick(check_memory(1 << 20))
    assert check_memory(1 << 33).good


def test_a_processor_without_avx2_is_told_of_and_no_reason_to_stay_away() -> None:
    assert check_processor(has_avx2=True).good
    finding = check_processor(has_avx2=False)
    assert finding.good
    assert "no language models" in finding.found


def test_a_clock_that_is_an_hour_off_is_found_in_both_directions() -> None:
    for off in (-3600, 3600):
        finding = clock_finding(status(10_000), 10_000 + off, 10_000.1 + off)
        assert_sick(finding)
        assert "1 h" in finding.found
        assert "set-ntp" in finding.fix


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert clock_finding(status(10_000), 9_950, 10_150).good


async def test_a_tracker_that_does_not_answer_has_a_fix(tmp_path: Path) -> None:
    (finding,) = await check_tracker(config(tmp_path))
    assert_sick(finding)
    assert finding.fix == "swarm tracker serve"
