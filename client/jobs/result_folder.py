"""Results of a job on disk: ``DIR/<index>/<output>``, ``DIR/results.jsonl``, ``DIR/manifest.job``.

Every file is checked against its hash before it gets its name, so a file that is there is whole,
and an interrupted download goes on where it stopped. Files that are not ours are never touched.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workunits.errors import LocalError, MalformedError
from workunits.ids import short
from workunits.manifest import SignedManifest
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob

MANIFEST = "manifest.job"
TABLE = "results.jsonl"
_PART = ".part"


class ForeignFileError(LocalError):
    """Something is in the way that this program did not write."""

    code = "foreign-file"


class ResultFolder:
    """The folder of one job's results."""

    def __init__(self, path: Path, job: SignedManifest) -> None:
        """Open ``path`` or make it.

        Raises ``ForeignFileError`` when it holds anything but results of ``job``.
        """
        self.path = path
        self._job = job
        marker = path / MANIFEST
        content = job.encode()
        if path.exists() and not path.is_dir():
            raise ForeignFileError(f"{path} is not a folder", hint="Name a new or empty folder.")
        if not marker.exists():
            if path.exists() and any(path.iterdir()):
                raise ForeignFileError(
                    f"{path} is not empty and holds no results of a job",
                    hint="Name a new or empty folder.",
                )
            path.mkdir(parents=True, exist_ok=True)
            self._publish(marker, content)
        elif marker.read_bytes() != content:
            raise ForeignFileError(
                f"{path} holds the results of another job than {short(job.id)}",
                hint="Name a new or empty folder.",
            )

    def path_of(self, index: int, output: NamedBlob) -> Path:
        """Where an output of unit ``index`` is or will be."""
        return self.path / str(index) / output.name

    def has(self, index: int, output: NamedBlob) -> bool:
        """Whether the output is here and whole. Raises ``ForeignFileError`` if it differs."""
        path = self.path_of(index, output)
        if not os.path.lexists(path):
            return False
        if not path.is_symlink() and path.is_file() and _matches(path, output):
            return True
        raise ForeignFileError(
            f"{path} is not the result of unit {index}: it was changed or is not ours",
            hint="Move it away and run the command again.",
        )

    def part(self, index: int, output: NamedBlob) -> Path:
        """A file to write the output to before ``keep``."""
        path = self.path_of(index, output)
        path.parent.mkdir(exist_ok=True)
        return path.with_name(f".{path.name}{_PART}")

    def keep(self, index: int, output: NamedBlob) -> Path:
        """Check what was written to ``part`` and give it its name.

        Raises ``MalformedError`` when it is not the blob that the result names.
        """
        part = self.part(index, output)
        if not _matches(part, output):
            part.unlink()
            raise MalformedError(f"the content of output {output.name} of unit {index} is wrong")
        path = self.path_of(index, output)
        part.replace(path)
        return path

    def write_table(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Write ``results.jsonl``, one object a line; returns how many."""
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        self._publish(self.path / TABLE, "".join(lines).encode())
        return len(lines)

    def _publish(self, path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}{_PART}")
        part.write_bytes(content)
        part.replace(path)


def _matches(path: Path, output: NamedBlob) -> bool:
    size = path.stat().st_size
    if size != output.ref.length:
        return False
    with path.open("rb") as stream:
        try:
            return hash_stream(stream, size).info.ref == output.ref
        except MalformedError:
            return False
