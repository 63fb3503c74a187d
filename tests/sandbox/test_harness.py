"""Parts of the harness that can be tried outside of a container."""

import os
import sys
from pathlib import Path

from sandbox import harness


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("text")
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    opened = harness.open_outputs(
        str(tmp_path), ["plain", "link", "folder", "fifo", "absent", "/dev/zero"]
    )
    assert list(opened) == [0]
    file, size = opened[0]
    os.close(file)
    assert size == 4


def test_clearing_reaches_any_depth_without_recursion(tmp_path: Path) -> None:
    deepest = sys.getrecursionlimit() * 2
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(deepest):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.fchmod(here, 0)
    os.close(here)
    harness.clear(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_clearing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("text")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "link").symlink_to(tmp_path / "kept")
    harness.clear(str(tmp_path / "scratch"))
    assert (tmp_path / "kept" / "file").read_text() == "text"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_numbers_are_found_in_control_group_files() -> None:
    assert harness.number_after(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", b"oom_kill") == 3
    assert harness.number_after(b"123456\n", b"") == 123456
    assert harness.number_after(b"usage_usec 7\nuser_usec 3\n", b"usage_usec") == 7
    assert harness.number_after(b"", b"oom_kill") == 0


def test_programs_are_found_without_imports() -> None:
    assert harness.find_program("/any/path") == "/any/path"
    assert harness.find_program("env").endswith("/bin/env")
