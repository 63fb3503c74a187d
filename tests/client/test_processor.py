"""What the processor says of itself."""

import platform
from pathlib import Path

import pytest

from client.processor import has_avx2

INTEL = "processor\t: 0\nmodel name\t: made up\nflags\t\t: fpu sse2 avx {}\nbugs\t\t: avx2less\n"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("flags", "found"), [("avx2 bmi2", True), ("avx512f", False), ("avx2ish", False), ("", False)]
)
def test_the_flags_of_the_first_processor_tell(tmp_path: Path, flags: str, found: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(INTEL.format(flags) + INTEL.format("avx2"))
    assert has_avx2(file) is found


def test_where_it_cannot_be_told_there_is_none(tmp_path: Path) -> None:
    assert not has_avx2(tmp_path / "nothing")
    (tmp_path / "empty").write_bytes(b"\xff\0")
    assert not has_avx2(tmp_path / "empty")


def test_other_machines_have_none_whatever_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    (tmp_path / "cpuinfo").write_text(INTEL.format("avx2"))
    assert not has_avx2(tmp_path / "cpuinfo")
