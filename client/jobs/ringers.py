"""The answers that a submitter knows, from a folder like that of results:
``known/<index>/<output>``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.jobs.quantities import format_size, plural
from client.jobs.result_folder import MANIFEST, TABLE
from client.jobs.table import Notes
from client.jobs.toml_lines import KeyPath
from workunits.errors import MalformedError
from workunits.metainfo import hash_stream
from workunits.parameters import NamedBlob
from workunits.results import Ending, Result
from workunits.ringers import MAX_ANSWERS, Answer

FEW = 10
"""Known answers below which a cheat seldom meets one."""

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_LAYOUT = "It holds a folder for each known unit, named by its index, with the unit's outputs."


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """A folder of true outputs of some of a job's ``units``. Mistakes are noted at ``key``."""

    folder: Path
    key: KeyPath
    notes: Notes
    outputs: Sequence[str]
    units: int
    limit: int
    """Bytes of output that a unit may leave."""

    def read(self) -> tuple[Answer, ...]:
        """The digests of the results that the folder holds, sorted by index."""
        try:
            indices = self._indices()
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            hint = "Paths are relative to the directory of the job file."
            self._wrong(f"cannot read {str(self.folder)!r}: {reason.lower()}", hint)
            return ()
        if not indices:
            self._wrong(f"{self.folder} holds no known answers", _LAYOUT)
        if len(indices) > MAX_ANSWERS:
            self._wrong(f"{len(indices):,} known answers are more than {MAX_ANSWERS:,}")
            return ()
        results = [(index, self._result(index)) for index in sorted(indices)]
        return tuple((index, result.digest) for index, result in results if result)

    def _indices(self) -> list[int]:
        found = []
        for path in sorted(self.folder.iterdir()):
            if path.name in (MANIFEST, TABLE) or path.name.startswith("."):
                continue
            if not _INDEX.fullmatch(path.name) or not path.is_dir():
                self._wrong(f"{path} is not the folder of a unit", _LAYOUT)
            elif int(path.name) >= self.units:
                self._wrong(f"{path} is beyond the job's {plural(self.units, 'unit')}")
            else:
                found.append(int(path.name))
        return found

    def _result(self, index: int) -> Result | None:
        unit = self.folder / str(index)
        try:
            found = {path.name for path in unit.iterdir() if not path.name.startswith(".")}
            if missing := sorted(set(self.outputs) - found):
                self._wrong(f"{unit} lacks {', '.join(missing)}", "Each answer has every output.")
            if extra := sorted(found - set(self.outputs)):
                self._wrong(f"{unit / extra[0]} is not an output of the job")
            if missing or extra:
                return None
            outputs = tuple(self._hash(unit / name) for name in sorted(self.outputs))
        except (OSError, MalformedError) as error:
            self._wrong(f"cannot read the answer {unit}: {error}")
            return None
        result = Result(Ending.EXITED, 0, outputs)
        if result.size > self.limit:
            self._wrong(
                f"{unit} holds {format_size(result.size)}, more than limits.output of "
                f"{format_size(self.limit)}"
            )
        return result

    def _hash(self, path: Path) -> NamedBlob:
        if not path.is_file():
            raise MalformedError(f"{path.name} is not a regular file")
        with path.open("rb") as stream:
            return NamedBlob(path.name, hash_stream(stream, path.stat().st_size).info.ref)

    def _wrong(self, message: str, hint: str = "") -> None:
        self.notes.add(self.key, message, hint)


def doubts(answers: int, units: int) -> tuple[str, ...]:
    """What a submitter should know about how many answers are known, of so many units."""
    if not answers:
        return ()
    found = []
    if answers < FEW:
        few = plural(answers, "known answer")
        found.append(f"only {few}: a peer that cheats may meet none; have {FEW} or more")
    if 2 * answers > units:
        found.append(
            f"{plural(answers, 'answer')} of {plural(units, 'unit')} known, more than half: "
            "you pay mostly for what you have"
        )
    return tuple(found)
