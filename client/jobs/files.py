"""The files that a job names: found beside the job file, hashed once, and named as blobs."""

from pathlib import Path

from client.jobs.table import Notes
from client.jobs.toml_lines import KeyPath
from workunits.errors import SwarmError
from workunits.ids import BlobRef
from workunits.metainfo import hash_stream
from workunits.names import file_name
from workunits.parameters import NamedBlob


class JobFiles:
    """Hashes the files of one job. What cannot be read becomes a mistake at its key."""

    def __init__(self, root: Path, notes: Notes) -> None:
        self._root = root.resolve()
        self._notes = notes
        self._refs: dict[Path, BlobRef] = {}

    @property
    def found(self) -> dict[BlobRef, Path]:
        """Where the content of every hashed blob is."""
        return {ref: path for path, ref in self._refs.items()}

    def blob(self, name: str, relative: str, key: KeyPath) -> NamedBlob | None:
        """Hash the file at ``relative`` (to the job file) under ``name``; ``None`` if wrong."""
        try:
            file_name(name, "the file name")
            return NamedBlob(name, self._ref(self._root / relative))
        except SwarmError as error:
            self._notes.add_error(key, error)
        except OSError as error:
            reason = error.strerror or str(error)
            hint = "Paths are relative to the directory of the job file."
            self._notes.add(key, f"cannot read {relative!r}: {reason.lower()}", hint)
        except ValueError as error:
            self._notes.add(key, f"{relative!r} is not a path: {error}")
        return None

    def matching(self, pattern: str, key: KeyPath) -> tuple[NamedBlob, ...]:
        """Hash every file that matches a glob, sorted by path; each by its own name."""
        try:
            names = sorted(str(path) for path in self._root.glob(pattern))
        except (OSError, ValueError, NotImplementedError) as error:
            self._notes.add(key, f"{pattern!r} is not a pattern of files: {error}")
            return ()
        paths = [name for name in names if Path(name).is_file()]
        if not paths:
            self._notes.add(
                key,
                f"no file matches {pattern!r}",
                "The pattern is relative to the directory of the job file.",
            )
        blobs = [self.blob(Path(path).name, path, key) for path in paths]
        return tuple(blob for blob in blobs if blob)

    def layer(self, path: Path, key: KeyPath) -> BlobRef | None:
        """Hash a layer of an image; ``None`` if that cannot be read."""
        try:
            return self._ref(path)
        except OSError as error:
            self._notes.add(key, f"cannot read the layer {path}: {error.strerror or error}")
        return None

    def _ref(self, path: Path) -> BlobRef:
        path = path.resolve()
        if path not in self._refs:
            if path.exists() and not path.is_file():
                raise IsADirectoryError(21, "not a regular file")
            with path.open("rb") as stream:
                self._refs[path] = hash_stream(stream, path.stat().st_size).info.ref
        return self._refs[path]
