"""``JOB.toml``: a job as a person writes it, next to its program.

::

    name = "mersenne"                # shown to everybody
    price = 1                        # credits for one execution of one unit; default 1
    outputs = ["answer.json"]        # files that each unit leaves in /out

    [program]
    image = "runtime"                # the Python image of Open-Swarm, or "sha256:<64 hex digits>"
    share-image = true               # let volunteers that lack the image fetch it from you
    files = ["lucas.py"]             # put into /job, the working directory
    command = ["python3", "lucas.py", "{p}", "{digits}"]     # or one string, split like a shell's
    stdout = "answer.json"           # standard output becomes this output

    [parameters]                     # every combination of values is one unit
    combine = "product"              # or "zip"
    p = [3, 5, 7]                    # strings, numbers, booleans, as they are written
    n = { range = [0, 100, 10] }     # start, stop (not included), step
    digits = { files = "data/*.csv" }   # one file of these goes to /in; its name is the value
    q = { lines = "list.txt" }       # one value a line
    # or, alone:  rows = "table.csv"    a unit for each line; the first line names the parameters

    [inputs]                         # files that every unit finds in /in
    "digits.csv" = "data/digits.csv"

    [limits]                         # of one unit; all have defaults
    cpu = "60s"
    wall = "3min"
    memory = "256MiB"
    output = "256KiB"

    [verification]
    policy = "economy"               # or "strict", "pair", "trusted"
    comparator = "exact"             # or "numeric", with rtol and atol, or "program"
    rtol = 1e-9
    atol = 0.0
    command = ["python3", "same.py", "{a}", "{b}"]     # for "program": folders of two results
    same-platform = true             # all executions of a unit on one class of machines
    reputation = 20                  # verified units of this kind of work that a peer must have
    ringers = "known"                # known/<index>/<output>: answers that you know already

    [verification.settings]          # numbers that replace the policy's
    audit = 0.15

A job that asks a language model has a table ``[model]`` in place of program, parameters, inputs and
outputs: see ``client.jobs.model``.

Reading is strict. Every mistake is found in one go, with file, line and what to do about it. The
long form of this page is ``docs/jobs.md``.
"""

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.jobs.command import check_word, read_command
from client.jobs.files import JobFiles
from client.jobs.parameters import SpelledFloat, read_sweep
from client.jobs.quantities import format_seconds, format_size, parse_seconds, parse_size
from client.jobs.ringers import KnownAnswers, doubts
from client.jobs.table import JobFileError, Mistake, Notes, Table
from client.jobs.toml_lines import KeyPath, error_line, key_lines
from client.jobs.verification import read_verification
from workunits.errors import MalformedError, SwarmError, UnavailableError
from workunits.ids import HASH_SIZE, BlobRef, PeerKey
from workunits.images import Layer
from workunits.manifest import (
    MAX_COMMAND,
    MAX_CPU_SECONDS,
    MAX_FILES,
    MAX_MANIFEST,
    MAX_MEMORY,
    MAX_OUTPUT_BYTES,
    MAX_OUTPUTS,
    MAX_PRICE,
    MIN_MEMORY,
    NONCE_SIZE,
    Limits,
    Manifest,
    Program,
    SignedManifest,
)
from workunits.names import file_name
from workunits.parameters import Files, NamedBlob, Sweep
from workunits.ringers import Answer, Ringers
from workunits.signing import Identity
from workunits.submission import Submission

if TYPE_CHECKING:
    from client.jobs.model import Models, Preview

FILE_NAMES = ("JOB.toml", "job.toml")
RUNTIME = "runtime"
MAX_FILE = 8 << 20
_NO_KEY = PeerKey(bytes(32))
NO_IMAGE = "sha256:" + "0" * 64

_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
_MISPLACED = {
    "policy": "It belongs into the table [verification].",
    "comparator": "It belongs into the table [verification].",
    "rtol": "It belongs into the table [verification].",
    "atol": "It belongs into the table [verification].",
    "ringers": "It belongs into the table [verification].",
    "reputation": "It belongs into the table [verification].",
    "same-platform": "It belongs into the table [verification].",
    "command": "It belongs into the table [program].",
    "image": "It belongs into the table [program].",
    "files": "It belongs into the table [program].",
    "stdout": "It belongs into the table [program].",
    "share-image": "It belongs into the table [program].",
    "outputs": "It belongs to the top of the file, before the first table.",
    "price": "It belongs to the top of the file, before the first table.",
    "memory": "It belongs into the table [limits].",
    "cpu": "It belongs into the table [limits].",
    "wall": "It belongs into the table [limits].",
}

ImageLookup = Callable[[], str]
"""Gives the content hash of the local runtime image; raises ``UnavailableError`` without one."""

LayerLookup = Callable[[str], Sequence[tuple[bytes, Path]] | None]
"""Gives diff id and file of each layer of an image, lowest first; None when it is not here."""


ModelLookup = Callable[[], "Models"]
"""Says where models come from; called for jobs that ask one, because that takes a while to load."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A correct job file: all of a manifest but its submitter, where the blobs' bytes are, and the
    answers that are known."""

    path: Path
    body: Manifest
    files: Mapping[BlobRef, Path]
    answers: tuple[Answer, ...] = ()
    preview: "Preview | None" = None
    """What is asked of a model, if the job asks one."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is allowed and yet hardly meant."""
        return doubts(len(self.answers), self.body.units)

    def submission(self, identity: Identity, nonce: bytes, salt: bytes) -> Submission:
        """Sign the job. ``nonce`` (16 bytes) tells two submissions of one file apart, ``salt``
        (32 bytes) hides which answers are known; both must be random."""
        manifest = dataclasses.replace(self.body, submitter=identity.key, nonce=nonce)
        if not self.answers:
            return Submission(SignedManifest.sign(manifest, identity))
        ringers = Ringers(salt, self.answers)
        demands = dataclasses.replace(manifest.demands, ringers=ringers.hash)
        manifest = dataclasses.replace(manifest, demands=demands)
        return Submission(SignedManifest.sign(manifest, identity), ringers)


def find(path: Path) -> Path:
    """The job file at ``path``, or in the directory ``path``. Raises ``UnavailableError``."""
    candidates = [path / name for name in FILE_NAMES] if path.is_dir() else [path]
    for file in candidates:
        if file.is_file():
            return file
    raise UnavailableError(
        f"there is no job file {candidates[0]}",
        hint="Name a JOB.toml; docs/jobs.md shows how to write one.",
    )


def load(
    path: Path,
    runtime_image: ImageLookup,
    layers: LayerLookup = lambda _: None,
    models: ModelLookup | None = None,
    *,
    serving: bool = False,
) -> Draft:
    """Read the job file at ``path`` and hash every file that it names.

    ``layers`` finds the image, if the job is to share it, ``models`` what it asks. Whoever is only
    ``serving`` the files needs no runtime image that is not shared.

    Raises ``JobFileError`` with all mistakes, and ``UnavailableError`` when there is no file.
    """
    path = find(path)
    text = _read_text(path)
    try:
        document = tomllib.loads(text, parse_float=SpelledFloat)
    except tomllib.TOMLDecodeError as error:
        line, message = error_line(error, text)
        hint = "Strings stand in quotes, lists in brackets; see https://toml.io for the syntax."
        mistake = Mistake(path, line, f"not TOML: {message[:1].lower()}{message[1:]}", hint)
        raise JobFileError(path, (mistake,)) from None
    except RecursionError:
        raise JobFileError(path, (Mistake(path, 1, "nested too deeply"),)) from None
    notes = Notes(path, key_lines(text))
    files = JobFiles(path.parent, notes)
    reader = _Reader(notes, files, runtime_image, layers)
    if "model" in document:
        asked = reader.read_model(document, models)
        notes.check()
        assert asked is not None
        body, preview, blobs = asked
        return Draft(path, body, {**files.found, **blobs}, preview=preview)
    body, answers = reader.read(document, serving=serving)
    notes.check()
    return Draft(path, body, files.found, answers)


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_FILE:
        mistake = Mistake(path, 1, f"a job file has at most {MAX_FILE:,} bytes")
        raise JobFileError(path, (mistake,))
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise JobFileError(path, (Mistake(path, line, "not UTF-8 text"),)) from None


class _Reader:
    def __init__(
        self, notes: Notes, files: JobFiles, runtime_image: ImageLookup, layers: LayerLookup
    ) -> None:
        self._notes = notes
        self._files = files
        self._runtime_image = runtime_image
        self._layers = layers

    def read(
        self, document: dict[str, Any], *, serving: bool
    ) -> tuple[Manifest, tuple[Answer, ...]]:
        top, name = self._top(document)
        price = top.integer("price", 1, 0, MAX_PRICE)
        table = top.table("program")
        stdout = table.text("stdout", "")
        outputs = self._outputs(top, stdout)
        sweep = read_sweep(top.table("parameters", optional=True), self._files)
        share = table.flag("share-image", False) if "share-image" in table else None
        program = self._program(table, stdout, sweep)
        inputs = self._inputs(top.table("inputs", optional=True), sweep)
        limits = self._limits(top.table("limits", optional=True))
        checks = top.table("verification", optional=True)
        policy, comparator, demands, ringers = read_verification(checks, limits)
        top.end(_MISPLACED)
        manifest = Manifest(
            _NO_KEY, name, program, sweep, inputs, outputs, limits, price, policy, comparator,
            bytes(NONCE_SIZE), demands,
        )  # fmt: skip
        answers: tuple[Answer, ...] = ()
        if not self._notes and ringers:
            # After the rest, because it is the units and outputs that the answers must fit.
            folder = self._notes.file.parent / ringers
            answers = KnownAnswers(
                folder, (*checks.path, "ringers"), self._notes,
                outputs, manifest.units, limits.output_bytes,
            ).read()  # fmt: skip
        if not self._notes:
            # Last, because an image that is not there may be built now.
            if program.image == RUNTIME:
                share = bool(share)
                image = NO_IMAGE if serving and not share else self._look_up_image()
                program = dataclasses.replace(program, image=image)
            if share is not False:
                shared = self._share(program.image, required=share is True)
                program = dataclasses.replace(program, layers=shared)
            manifest = dataclasses.replace(manifest, program=program)
        if not self._notes:
            self._last_check(manifest)
        return manifest, answers

    def read_model(
        self, document: dict[str, Any], models: ModelLookup | None
    ) -> "tuple[Manifest, Preview, Mapping[BlobRef, Path]] | None":
        """The job that asks a model; None when there are mistakes."""
        from client.jobs.model import read_model

        top, name = self._top(document)
        if models is None:
            self._notes.add(("model",), "nobody can be asked for models here")
            return None
        found = read_model(top, name, self._files, self._notes, models())
        if found is not None:
            self._last_check(found[0])
        return found

    def _top(self, document: dict[str, Any]) -> tuple[Table, str]:
        top = Table(document, (), self._notes)
        name = top.text("name", hint='Give the job a name: name = "sweep".')
        if "name" in document and (not name.isprintable() or not 1 <= len(name.encode()) <= 100):
            top.wrong("name", "must be 1 to 100 printable characters")
        return top, name

    def _look_up_image(self) -> str:
        try:
            return self._runtime_image()
        except UnavailableError as error:
            self._notes.add_error(("program", "image"), error)
            return NO_IMAGE

    def _share(self, image: str, *, required: bool) -> tuple[Layer, ...]:
        key = ("program", "share-image" if required else "image")
        try:
            found = self._layers(image)
        except SwarmError as error:
            if required:
                self._notes.add_error(key, error)
            return ()
        if found is None and required:
            self._notes.add(
                key,
                f"the image {image[:19]} is not on this machine, so it cannot be shared",
                "Load it into the Docker engine (`swarm image list` shows what is there), or "
                "leave share-image out.",
            )
        shared = ((diff, self._files.layer(path, key)) for diff, path in found or ())
        return tuple(Layer(diff, ref) for diff, ref in shared if ref)

    def _last_check(self, manifest: Manifest) -> None:
        """Ask the manifest's own rules, which know no lines, so that nothing slips through."""
        for problem in manifest.problems():
            self._notes.add_error((), problem)
        if (size := len(manifest.encode()) + HASH_SIZE) > MAX_MANIFEST:
            self._notes.add(
                ("parameters",),
                f"the job takes {format_size(size)}, more than {format_size(MAX_MANIFEST)}",
                "Use ranges or a product of shorter lists, or split the job.",
            )

    def _outputs(self, top: Table, stdout: str) -> tuple[str, ...]:
        outputs = top.texts("outputs", [])
        for at, output in enumerate(outputs):
            self._check_name(output, "output", ("outputs", at))
            if output in outputs[:at]:
                self._notes.add(("outputs", at), f"the output {output!r} appears twice")
        if stdout and stdout not in outputs:
            outputs = [*outputs, stdout]
            self._check_name(stdout, "output", ("program", "stdout"))
        if not outputs:
            hint = 'List the files that a unit writes, outputs = ["x.json"], or set program.stdout.'
            self._notes.add(("outputs",), "the job declares no output", hint)
        if len(outputs) > MAX_OUTPUTS:
            top.wrong("outputs", f"has {len(outputs)} entries, more than {MAX_OUTPUTS}")
        return tuple(outputs)

    def _program(self, table: Table, stdout: str, sweep: Sweep) -> Program:
        example = 'For example: command = ["python3", "run.py", "{x}"].'
        command = read_command(table, MAX_COMMAND, example)
        known = [axis.name for axis in sweep.axes]
        hint = f"Parameters are: {', '.join(known)}." if known else "Add it to [parameters]."
        for at, word in enumerate(command):
            check_word(self._notes, word, (*table.path, "command", at), known, hint)
        files: list[NamedBlob] = []
        for at, relative in enumerate(table.texts("files", [])):
            key = (*table.path, "files", at)
            name = Path(relative).name
            if name in [blob.name for blob in files]:
                self._notes.add(key, f"two program files are named {name!r}", "Rename one of them.")
            elif blob := self._files.blob(name, relative, key):
                files.append(blob)
        if len(files) > MAX_FILES:
            table.wrong("files", f"has {len(files)} entries, more than {MAX_FILES}")
        image = self._image(table)
        table.end(_MISPLACED)
        return Program(image, tuple(command), tuple(files), stdout)

    def _image(self, table: Table) -> str:
        image = table.text("image", RUNTIME)
        if image != RUNTIME and not _IMAGE.fullmatch(image):
            table.wrong(
                "image",
                f"{image[:80]!r} is not the content hash of an image",
                'Write "runtime" for the built-in Python image, or "sha256:" and 64 hex digits.',
            )
            return NO_IMAGE
        return image

    def _inputs(self, table: Table, sweep: Sweep) -> tuple[NamedBlob, ...]:
        per_unit = {
            file.name: axis.name
            for axis in sweep.axes
            if isinstance(axis, Files)
            for file in axis.files
        }
        inputs = []
        for name, relative in table.rest().items():
            key = (*table.path, name)
            if not isinstance(relative, str):
                hint = f'Put names with dots into quotes: "{name}.csv" = "path".'
                self._notes.add(key, f"input {name} must be the path of a file", hint)
            elif name in per_unit:
                self._notes.add(key, f"{name!r} is also a file of parameter {per_unit[name]}")
            elif blob := self._files.blob(name, relative, key):
                inputs.append(blob)
        if len(inputs) > MAX_FILES:
            self._notes.add(table.path, f"{len(inputs)} inputs are more than {MAX_FILES}")
        return tuple(inputs)

    def _limits(self, table: Table) -> Limits:
        cpu = table.quantity("cpu", 60, 1, MAX_CPU_SECONDS, parse_seconds, format_seconds)
        wall = min(3 * cpu, MAX_CPU_SECONDS)
        limits = Limits(
            cpu_seconds=cpu,
            wall_seconds=table.quantity(
                "wall", wall, 1, MAX_CPU_SECONDS, parse_seconds, format_seconds
            ),
            memory_bytes=table.quantity(
                "memory", 256 << 20, MIN_MEMORY, MAX_MEMORY, parse_size, format_size
            ),
            output_bytes=table.quantity(
                "output", 256 << 10, 1, MAX_OUTPUT_BYTES, parse_size, format_size
            ),
        )
        table.end()
        return limits

    def _check_name(self, name: str, what: str, key: KeyPath) -> None:
        try:
            file_name(name, what)
        except MalformedError as error:
            self._notes.add_error(key, error)
