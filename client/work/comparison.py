"""Running a job's own comparator: two results as folders in, an opinion out."""

from collections.abc import Mapping
from pathlib import Path

from sandbox.runner import Ending, Mount, Outcome, Task
from workunits.ids import BlobRef
from workunits.names import fill
from workunits.verification import Comparator
from workunits.wire.compare import Opinion, Pair, Shown

FOLDERS = ("a", "b")


class _Places(dict[str, str]):
    """What stands for the names in braces. An unknown one stands for itself."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


_PLACES = _Places({name: f"/in/{name}" for name in FOLDERS})


def task(comparator: Comparator, pair: Pair, paths: Mapping[BlobRef, Path], scratch: Path) -> Task:
    """What compares ``pair``. Inline outputs are written below ``scratch``.

    ``paths`` are the blobs that travelled otherwise. Raises ``OSError``.
    """
    inputs = [
        mount
        for name, shown in zip(FOLDERS, (pair.a, pair.b), strict=True)
        for mount in _mounts(name, shown, paths, scratch)
    ]
    command = tuple(fill(word, _PLACES) for word in comparator.command)
    return Task(command, tuple(inputs), (), None, FOLDERS)


def blobs(pair: Pair) -> set[BlobRef]:
    """Which blobs ``task`` finds in its ``paths``."""
    return {
        output.ref
        for shown in (pair.a, pair.b)
        if not shown.contents
        for output in shown.result.outputs
    }


def opinion(outcome: Outcome) -> Opinion:
    """What a comparator said, or that it failed."""
    if outcome.ending is not Ending.EXITED:
        return Opinion.FAILED
    return {0: Opinion.SAME, 1: Opinion.DIFFERENT}.get(outcome.exit_status, Opinion.FAILED)


def _mounts(folder: str, shown: Shown, paths: Mapping[BlobRef, Path], scratch: Path) -> list[Mount]:
    outputs = shown.result.outputs
    if not shown.contents:
        return [Mount(output.name, paths[output.ref], folder) for output in outputs]
    (scratch / folder).mkdir()
    mounts = []
    for output, content in zip(outputs, shown.contents, strict=True):
        path = scratch / folder / output.name
        path.write_bytes(content)
        mounts.append(Mount(output.name, path, folder))
    return mounts
