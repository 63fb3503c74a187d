"""When the power fails or the process is killed, a download loses only what is in flight."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from client.blobs import BlobStore
from client.incoming import Incoming
from tests.client.power import Disk
from tests.client.receiving import info_of, piece_of, receive

DATA = Random(8).randbytes(21 * 16_384 - 99)
INFO = info_of(DATA)
QUOTA = 10**9


@dataclass(frozen=True, slots=True)
class Promise:
    """What the store had promised when the power failed."""

    image: Path
    kept: frozenset[int]
    committed: bool


class Failing:
    """A download during which the power fails many times; each time its remains are put aside."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.store = folder / "store"
        self.images = folder / "images"
        self.images.mkdir()
        self.kept: frozenset[int] = frozenset()
        self.committed = False
        self.promises: list[Promise] = []
        self.disk = Disk(self.maybe_fail)

    def maybe_fail(self) -> None:
        if self.store.exists() and self.rng.random() < 0.25:
            self.fail()

    def fail(self) -> None:
        image = self.images / str(len(self.promises))
        self.promises.append(Promise(image, self.kept, self.committed))
        self.disk.fail(self.store, image, self.rng)

    def run(self) -> None:
        """Receive the blob in any order, in two sessions, with a sync now and then."""
        pieces = list(range(INFO.count))
        self.rng.shuffle(pieces)
        half = self.rng.randrange(len(pieces))
        for session in (pieces[:half], pieces):
            with BlobStore(self.store, quota=QUOTA, pause=0) as store:
                incoming = store.begin(INFO)
                for piece in session:
                    if piece not in incoming.verified:
                        receive(incoming, piece, data=DATA)
                    if self.rng.random() < 0.3:
                        incoming.flush()
                        done = session[: session.index(piece) + 1]
                        self.kept |= incoming.verified.union(done)
                if session is pieces:
                    incoming.commit()
                    self.committed = True
                    self.fail()
                incoming.close()


def remains(promise: Promise) -> None:
    with BlobStore(promise.image, quota=QUOTA) as store:
        if INFO.ref in store.refs():
            with store.open(INFO.ref) as stream:
                assert stream.read() == DATA
            return
        assert not promise.committed
        incoming = store.begin(INFO)
        assert incoming.verified >= promise.kept
        for piece in incoming.verified:
            offset, size = piece * INFO.piece_length, INFO.size_of(piece)
            assert incoming.read(offset, size) == piece_of(DATA, INFO, piece)
        finish(incoming)


def finish(incoming: Incoming) -> None:
    receive(incoming, *(set(range(INFO.count)) - incoming.verified), data=DATA)
    assert incoming.commit().read_bytes() == DATA
    incoming.close()


@pytest.mark.parametrize("seed", range(12))
def test_after_a_power_loss_every_piece_that_was_kept_is_there_and_right(
    tmp_path: Path, seed: int
) -> None:
    failing = Failing(tmp_path, seed)
    with failing.disk.watching():
        failing.run()
    assert len(failing.promises) > 2
    for promise in failing.promises:
        remains(promise)


def test_the_disk_of_these_tests_loses_what_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.incoming.Incoming._write_down", written_without_a_sync)
    lost = False
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        failing = Failing(tmp_path / str(seed), seed)
        with failing.disk.watching():
            failing.run()
        for promise in failing.promises:
            try:
                remains(promise)
            except AssertionError:
                lost = True
    assert lost


def written_without_a_sync(incoming: Incoming, batch: list[tuple[int, bytes]]) -> None:
    incoming._journal.append(batch)


CHILD = """
import sys
from pathlib import Path
from client.blobs import BlobStore
from tests.client.receiving import receive
from tests.client.test_power_loss import DATA, INFO, QUOTA
with BlobStore(Path(sys.argv[1]), quota=QUOTA) as store:
    incoming = store.begin(INFO)
    for piece in range(INFO.count):
        receive(incoming, piece, data=DATA)
        if piece % 3 == 0:
            incoming.flush()
            print(piece, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("lines", [1, 4, 7])
def test_a_process_that_is_killed_leaves_what_it_kept(tmp_path: Path, lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdout is not None
        last = [int(child.stdout.readline()) for _ in range(lines)][-1]
        child.send_signal(signal.SIGKILL)
        child.wait()
    with BlobStore(tmp_path / "store", quota=QUOTA) as store:
        incoming = store.begin(INFO)
        assert incoming.verified >= set(range(last + 1))
        for piece in incoming.verified:
            offset, size = piece * INFO.piece_length, INFO.size_of(piece)
            assert incoming.read(offset, size) == piece_of(DATA, INFO, piece)
        finish(incoming)
