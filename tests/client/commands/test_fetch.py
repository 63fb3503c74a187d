"""``swarm fetch`` from a ``swarm seed`` in another process, over a real tracker."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.client.commands.shell import Said, Shell
from tests.workunits.torrent_cases import content, make, write
from workunits.canonical import encode

SHAPE = {"a": 300_000, "sub/b": 10, "none": 0, "c": 50_000}
SECONDS = 45


@pytest.fixture(autouse=True)
def heeded_ctrl_c() -> None:
    """A shell makes programs in the background deaf to Ctrl-C, and children would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(shell: Shell, *words: str | Path) -> "subprocess.Popen[str]":
    """Run ``swarm WORDS...`` in a process of its own."""
    environment = os.environ | {
        "SWARM_HOME": str(shell.home),
        "SWARM_CACHE": str(shell.home / "cache"),
        "SWARM_TRACKER": shell.tracker,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "openswarm.cli", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def apart(shell: Shell, *words: str | Path) -> Said:
    """Run ``swarm WORDS...`` to its good end in a process of its own, as an engine wants it."""
    with start(shell, *words) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return Said(0, out, err)


@contextmanager
def seeding(shell: Shell, *words: str | Path) -> Iterator[list[str]]:
    """Seed meanwhile; what was printed."""
    with start(shell, "seed", *words) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            for line in process.stderr:
                if line.startswith("seeding"):
                    break
            else:
                raise AssertionError("it does not seed")
            os.set_blocking(process.stdout.fileno(), False)
            yield process.stdout.read().split()
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=SECONDS)
            finally:
                process.kill()
    assert process.returncode == 130


both = pytest.mark.parametrize("engine", ["aiortc", "libtorrent"], indirect=True)


@pytest.fixture(autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_ENGINE", getattr(request, "param", "aiortc"))
    for name in ("SEED", "FETCH"):  # other tests on this machine have the same content
        monkeypatch.setenv(f"SWARM_{name}_LOCAL", "0")


@pytest.fixture
def other(shell: Shell) -> Shell:
    """Somebody else at the same tracker."""
    return Shell(shell.home.with_name("other"), shell.tracker)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, "data", SHAPE)
    return tmp_path / "data"


def check(folder: Path) -> None:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {path: content(path, size) for path, size in SHAPE.items()}


def test_a_folder_and_a_file_are_fetched_by_every_kind_of_link(
    shell: Shell, other: Shell, data: Path, tmp_path: Path
) -> None:
    torrent = tmp_path / "x.torrent"
    shell.good("seed", data, "--no-serve", "--torrent", torrent)
    with seeding(shell, data, data / "a") as links:
        kinds: list[str | Path] = [*links[:2], torrent]
        for number, link in enumerate(kinds):
            folder = tmp_path / f"to{number}"
            said = other.good("fetch", link, folder)
            assert said.out.strip() == str(folder / "data")
            assert "every hash fits" in said.err
            check(folder / "data")
            assert [path.name for path in folder.iterdir()] == ["data"]
        said = other.good("fetch", links[3], tmp_path / "file", "--json", "--sequential")
        assert (said.json["length"], said.json["fetched"]) == (300_000, 300_000)
        assert Path(said.json["path"]) == tmp_path / "file" / "a"
        assert (tmp_path / "file/a").read_bytes() == content("a", 300_000)
        assert said.err == ""
        again = other.good("fetch", torrent, tmp_path / "to0")
        assert "it was all here" in again.err


@pytest.mark.parametrize(
    ("kind", "engine"),
    [("v1", "aiortc"), ("v2", "aiortc"), ("v2", "libtorrent")],
    indirect=["engine"],
)
def test_the_torrents_of_other_clients_are_fetched(
    kind: str, shell: Shell, other: Shell, data: Path, tmp_path: Path
) -> None:
    torrent = tmp_path / "x.torrent"
    torrent.write_bytes(encode(make(tmp_path, "data", kind)))
    with seeding(shell, torrent, data) as links:
        apart(other, "fetch", links[0], tmp_path / "by-link")
        check(tmp_path / "by-link" / "data")
        apart(other, "fetch", torrent, tmp_path / "by-file")
        check(tmp_path / "by-file" / "data")


@both
def test_a_download_that_was_cut_off_goes_on(shell: Shell, other: Shell, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(content("big", 3_000_000))
    target = tmp_path / "to"
    with seeding(shell, big, "--up", "500kB") as links:
        with start(other, "fetch", links[1], target) as process:
            wait_for(lambda: kept(target / ".big.swarm") >= 4)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert "are kept; go on with: swarm fetch" in err
        before = kept(target / ".big.swarm")
        said = apart(other, "fetch", links[1], target, "--json")
        # One of them may be the last piece, which is short.
        assert said.json["fetched"] <= 3_000_000 - 16_384 * (before - 1)
    assert big.read_bytes() == (target / "big").read_bytes()
    assert [path.name for path in target.iterdir()] == ["big"]


def kept(journal: Path) -> int:
    """Pieces in a journal."""
    return (journal.stat().st_size - 68) // 40 if journal.exists() else 0


def wait_for(condition: Callable[[], bool]) -> None:
    met = Event()
    over = Event()

    def look() -> None:
        while not over.wait(0.01):
            if condition():
                met.set()
                return

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    assert met.wait(SECONDS)
    over.set()


def test_who_fetched_can_go_on_serving(
    shell: Shell, other: Shell, data: Path, tmp_path: Path
) -> None:
    with seeding(shell, data) as links:
        process = start(other, "fetch", links[0], tmp_path / "to", "--seed")
        assert process.stderr is not None
        for line in process.stderr:
            if "serving it now" in line:
                break
    with process:  # the first seed has ended
        third = Shell(tmp_path / "third", shell.tracker)
        third.good("fetch", links[0], tmp_path / "more")
        check(tmp_path / "more" / "data")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
    assert "were sent to peers" in err


@both
def test_a_small_blob_comes_from_the_tracker_by_its_hash_alone(
    rich_shell: Shell, tmp_path: Path
) -> None:
    job = rich_shell.job_file()
    link = rich_shell.good("seed", job.parent / "square.py", "--no-serve", "--json").json
    rich_shell.good("submit", job)
    for number, name in enumerate((link["v2"], link["swarm"])):
        said = apart(rich_shell, "fetch", name, tmp_path / f"{number}", "--json")
        assert Path(said.json["path"]).read_bytes() == (job.parent / "square.py").read_bytes()
        assert said.json["fetched"] == link["length"]


def test_nobody_there_is_an_error_with_a_hint(shell: Shell, tmp_path: Path) -> None:
    said = shell.run("fetch", "ab" * 32, tmp_path / "to", "--patience", "1s")
    assert said.status == 1 and "hint:" in said.err


def test_a_file_that_is_something_else_stops_the_fetch(
    shell: Shell, data: Path, tmp_path: Path
) -> None:
    torrent = tmp_path / "x.torrent"
    shell.good("seed", data, "--no-serve", "--torrent", torrent)
    (tmp_path / "to" / "data").mkdir(parents=True)
    (tmp_path / "to" / "data" / "a").write_bytes(b"mine")
    said = shell.run("fetch", torrent, tmp_path / "to")
    assert said.status == 1 and "something else" in said.err
    assert (tmp_path / "to/data/a").read_bytes() == b"mine"


@pytest.mark.parametrize("link", ["", "nonsense", "magnet:?dn=x", "swarm:12", "no.torrent"])
def test_links_to_nothing_are_refused(link: str, shell: Shell, tmp_path: Path) -> None:
    said = shell.run("fetch", link, tmp_path)
    assert said.status == (1 if link == "no.torrent" else 2)
    assert "hint:" in said.err
