"""The job manifest: what a submitter signs, what a job id is the hash of.

A job is data, not code: image, files and inputs are named by hash, the command is a list with
placeholders, every field has a limit. See ``docs/protocol.md`` for the same as prose.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.ids import BlobRef, JobId, PeerKey, UnitId
from workunits.images import MAX_LAYERS, Image, Layer
from workunits.models import answer
from workunits.models.program import COMMAND, ModelProgram
from workunits.names import file_name, fill, placeholders, plain_text
from workunits.parameters import Combine, Files, NamedBlob, Sweep
from workunits.signing import SIGNATURE_SIZE, Domain, Identity, verify
from workunits.verification import (
    MAX_ARGUMENT,
    Comparator,
    Comparison,
    Demands,
    Policy,
    member,
)

VERSION = 1
MAX_MANIFEST = 1 << 20
MAX_COMMAND = 64
MAX_FILES = 64
MAX_OUTPUTS = 16
MAX_PRICE = 10**9
MAX_CPU_SECONDS = 24 * 3600
MAX_MEMORY = 64 << 30
MIN_MEMORY = 16 << 20
MAX_OUTPUT_BYTES = 64 << 20
MAX_NUMERIC_OUTPUT = 256 << 10
NONCE_SIZE = 16
NO_DEMANDS = Demands()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one unit may use: CPU seconds, wall seconds, bytes of memory, bytes of output."""

    cpu_seconds: int
    wall_seconds: int
    memory_bytes: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Program:
    """An image by content hash, the files put beside it, and the command.

    With ``layers`` the image can be fetched from the swarm by who does not have it. With ``model``
    the image is an engine that runs the file ``model.gguf``, and each unit is a request to it.
    """

    image: str
    command: tuple[str, ...]
    files: tuple[NamedBlob, ...] = ()
    stdout: str = ""
    layers: tuple[Layer, ...] = ()
    model: ModelProgram | None = None

    @property
    def shared(self) -> Image | None:
        """The image as blobs, if the job shares it."""
        return Image(self.image, self.layers) if self.layers else None

    def value(self) -> dict[str, object]:
        """The canonical form. Without layers there is no such field."""
        value: dict[str, object] = {
            "command": list(self.command),
            "files": [blob.value() for blob in self.files],
            "image": self.image,
            "stdout": self.stdout,
        }
        if self.layers:
            value["layers"] = [layer.value() for layer in self.layers]
        if self.model:
            value["model"] = self.model.value()
        return value


@dataclass(frozen=True, slots=True)
class Unit:
    """One work unit, derived: what a sandbox needs to run it."""

    id: UnitId
    parameters: dict[str, str]
    command: tuple[str, ...]
    inputs: tuple[NamedBlob, ...]


@dataclass(frozen=True)
class Manifest:
    """A job as its submitter wrote it. ``price`` is credits for one execution of one unit."""

    submitter: PeerKey
    name: str
    program: Program
    parameters: Sweep
    inputs: tuple[NamedBlob, ...]
    outputs: tuple[str, ...]
    limits: Limits
    price: int
    policy: Policy
    comparator: Comparator
    nonce: bytes
    demands: Demands = NO_DEMANDS

    @cached_property
    def units(self) -> int:
        """How many units the job has."""
        return len(self.parameters)

    @property
    def executions(self) -> int:
        """How many executions of one unit are paid at most."""
        return 1 if self.policy is Policy.TRUSTED else 2

    @property
    def escrow(self) -> int:
        """Credits set aside at submission: units x price x (1 + verification share)."""
        model = self.program.model
        if model and model.asked:
            return model.budget
        most = answer.most_metered(model.most, model.context) if model else 0
        return self.units * sum(self.award(most, place) for place in range(self.executions))

    @property
    def is_asked(self) -> bool:
        """Whether units come while the job runs, with requests that are not in here."""
        return self.program.model is not None and self.program.model.asked

    def award(self, meter: int, place: int) -> int:
        """Credits for the execution at ``place`` among those of a unit that were right.

        A model's is paid per token that its result counts, ``meter``; who checked an answer gets
        half, which is more than checking costs.
        """
        if self.program.model is None:
            return self.price
        return self.price * meter if place == 0 else (self.price * meter + 1) // 2

    @cached_property
    def blobs(self) -> tuple[NamedBlob, ...]:
        """Every blob that the job reads: files, inputs and the files of its parameters."""
        per_unit = [file for axis in self.parameters.axes for file in getattr(axis, "files", ())]
        return (*self.program.files, *self.inputs, *per_unit)

    @cached_property
    def refs(self) -> tuple[BlobRef, ...]:
        """Every blob that somebody may fetch for the job, each once: layers of the image too."""
        layers = (layer.ref for layer in self.program.layers)
        return tuple(dict.fromkeys((*layers, *(blob.ref for blob in self.blobs))))

    @cached_property
    def common(self) -> tuple[BlobRef, ...]:
        """The blobs that every unit reads, each once."""
        named = (*self.program.files, *self.inputs)
        return tuple(dict.fromkeys(blob.ref for blob in named))

    def own(self, index: int) -> tuple[BlobRef, ...]:
        """The blobs that unit ``index`` reads beside those, each once."""
        if not self.run_length:
            return ()
        return tuple(dict.fromkeys(blob.ref for blob in self.parameters.inputs(index)))

    @cached_property
    def run_length(self) -> int:
        """How many units in a row, from a multiple of it, read the same files of their own; 0 when
        no unit has any."""
        axes = self.parameters.axes
        last = max((at for at, axis in enumerate(axes) if isinstance(axis, Files)), default=-1)
        if last < 0:
            return 0
        if self.parameters.combine is Combine.ZIP:
            return 1
        return math.prod(len(axis) for axis in axes[last + 1 :])

    @cached_property
    def shared(self) -> Image | None:
        """The image as blobs, if the job shares it."""
        return self.program.shared

    @cached_property
    def common_bytes(self) -> int:
        """Bytes of the blobs that every unit reads."""
        return sum(ref.length for ref in self.common)

    @property
    def image_bytes(self) -> int:
        """Bytes of disk that the image takes where it is fetched: its layers are blobs first, and
        then unpacked by the engine. 0 if the job does not share it."""
        return 2 * self.shared.length if self.shared else 0

    def disk_bytes(self, index: int) -> int:
        """Bytes of disk that the blobs of unit ``index`` take."""
        own = set(self.own(index)).difference(self.common)
        return self.common_bytes + sum(ref.length for ref in own)

    def unit(self, job: JobId, index: int) -> Unit:
        """Derive unit ``index`` of this manifest, whose id is ``job``."""
        parameters = self.parameters.parameters(index)
        return Unit(
            UnitId(job, index),
            parameters,
            tuple(fill(argument, parameters) for argument in self.program.command),
            self.inputs + self.parameters.inputs(index),
        )

    def encode(self) -> bytes:
        """The canonical bytes, which are hashed and signed."""
        return canonical.encode(
            {
                "comparator": self.comparator.value(),
                "demands": self.demands.value(),
                "inputs": [blob.value() for blob in self.inputs],
                "limits": {
                    "cpu": self.limits.cpu_seconds,
                    "memory": self.limits.memory_bytes,
                    "output": self.limits.output_bytes,
                    "wall": self.limits.wall_seconds,
                },
                "name": self.name,
                "nonce": self.nonce,
                "outputs": list(self.outputs),
                "parameters": self.parameters.value(),
                "policy": self.policy.value,
                "price": self.price,
                "program": self.program.value(),
                "submitter": self.submitter,
                "version": VERSION,
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Manifest":
        """Read a manifest strictly; every rule of ``check`` holds for what is returned."""
        fields = canonical.decode_fields(raw, limit=MAX_MANIFEST, what="manifest")
        fields.integer("version", VERSION, VERSION)
        manifest = cls(
            submitter=PeerKey(fields.octets("submitter", length=32)),
            name=fields.text("name", limit=100),
            program=_program(fields.group("program")),
            parameters=Sweep.parse(fields.group("parameters")),
            inputs=_blobs(fields, "inputs"),
            outputs=fields.texts("outputs", count=MAX_OUTPUTS, limit=100),
            limits=_limits(fields.group("limits")),
            price=fields.integer("price", 0, MAX_PRICE),
            policy=member(Policy, fields.text("policy", limit=20), "policy"),
            comparator=Comparator.read(fields.group("comparator")),
            nonce=fields.octets("nonce", length=NONCE_SIZE),
            demands=Demands.read(fields.group("demands")),
        )
        fields.end()
        manifest.check()
        if manifest.encode() != raw:
            raise MalformedError("the manifest has a second spelling of the same job")
        return manifest

    def check(self) -> None:
        """Raise ``MalformedError`` or ``LimitError`` for the first rule that does not hold."""
        for problem in self.problems():
            raise problem

    def problems(self) -> list[MalformedError]:
        """Every rule between fields that does not hold."""
        return [problem for check in _CHECKS for problem in check(self)]


def _check_names(manifest: Manifest) -> list[MalformedError]:
    found = []
    if not manifest.name or not manifest.name.isprintable():
        found.append(MalformedError("the job needs a printable name"))
    for what, names in (
        ("output", manifest.outputs),
        ("input", tuple(blob.name for blob in manifest.inputs)),
        ("program file", tuple(blob.name for blob in manifest.program.files)),
    ):
        for name in names:
            try:
                file_name(name, what)
            except MalformedError as error:
                found.append(error)
        found += [
            MalformedError(f"the {what} name {name!r} appears twice")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
    taken = dict.fromkeys((blob.name for blob in manifest.inputs), "an input of every unit")
    for axis in manifest.parameters.axes:
        own = {blob.name for blob in getattr(axis, "files", ())}
        found += [
            MalformedError(f"{name!r} is {taken[name]} and a file of {axis.name}")
            for name in sorted(own & taken.keys())
        ]
        taken |= dict.fromkeys(own, f"a file of {axis.name}")
    return found


def _check_program(manifest: Manifest) -> list[MalformedError]:
    found = []
    program = manifest.program
    if not program.command or not program.command[0]:
        found.append(MalformedError("the command is empty"))
    known = {axis.name for axis in manifest.parameters.axes}
    for argument in program.command:
        try:
            plain_text(argument, "the command")
            unknown = sorted(set(placeholders(argument)) - known)
        except MalformedError as error:
            found.append(error)
            continue
        found += [
            MalformedError(
                f"the command uses {{{name}}}, which is not a parameter",
                hint=f"Parameters are: {', '.join(sorted(known)) or 'none'}.",
            )
            for name in unknown
        ]
    prefix, _, hexadecimal = program.image.partition(":")
    if prefix != "sha256" or not _is_hash(hexadecimal):
        found.append(MalformedError("the image must be a content hash, sha256:<64 hex digits>"))
    elif shared := program.shared:
        try:
            shared.check()
        except MalformedError as error:
            found.append(error)
    if program.stdout and program.stdout not in manifest.outputs:
        found.append(MalformedError(f"stdout {program.stdout!r} is not a declared output"))
    if not manifest.outputs:
        found.append(MalformedError("the job declares no output"))
    return found


def _check_model(manifest: Manifest) -> list[MalformedError]:
    model, program = manifest.program.model, manifest.program
    if (manifest.comparator.kind is Comparison.TEXT_MODEL) != (model is not None):
        return [
            MalformedError(
                "the comparator text-model is for jobs that ask a model, and they have no other"
            )
        ]
    if model is None:
        return []
    rules = (
        (program.command == COMMAND, f"the command of a model is {COMMAND[0]!r}"),
        (
            [blob.name for blob in program.files] == [answer.MODEL_FILE],
            f"the only program file of a model is {answer.MODEL_FILE}",
        ),
        (manifest.outputs == (answer.OUTPUT,), f"the only output is {answer.OUTPUT}"),
        (not program.stdout, "a model has no standard output"),
        (
            [blob.name for blob in manifest.inputs]
            == ([] if model.asked else [answer.REQUESTS_FILE]),
            f"the only input is {answer.REQUESTS_FILE}; a job that is asked has none",
        ),
        (len(manifest.parameters.axes) == 1, "the only parameter is the number of the request"),
        (model.most <= model.context, "an answer does not fit into the context"),
        (
            model.asked == (model.budget > 0),
            "a budget is for jobs that are asked, and they need it",
        ),
    )
    return [MalformedError(message) for holds, message in rules if not holds]


def _check_comparator(manifest: Manifest) -> list[MalformedError]:
    comparator = manifest.comparator
    if comparator.kind is not Comparison.NUMERIC:
        return []
    found = []
    for name, tolerance in (("rtol", comparator.rtol), ("atol", comparator.atol)):
        if not (math.isfinite(tolerance) and 0 <= tolerance < 1e300):
            found.append(MalformedError(f"{name} must be a finite number, 0 or more"))
    if manifest.limits.output_bytes > MAX_NUMERIC_OUTPUT:
        found.append(
            MalformedError(
                f"numeric comparison allows at most {MAX_NUMERIC_OUTPUT:,} bytes of output",
                hint="Lower the output limit, or compare exactly.",
            )
        )
    return found


_CHECKS = (_check_names, _check_program, _check_model, _check_comparator)


@dataclass(frozen=True)
class SignedManifest:
    """A manifest with its submitter's signature: the content of a ``.job`` file."""

    raw: bytes
    signature: bytes
    manifest: Manifest

    @cached_property
    def id(self) -> JobId:
        """SHA-256 of the manifest's exact bytes."""
        return JobId(hashlib.sha256(self.raw).digest())

    @classmethod
    def sign(cls, manifest: Manifest, identity: Identity) -> "SignedManifest":
        """Sign ``manifest``, which must name ``identity`` as its submitter."""
        manifest.check()
        if manifest.submitter != identity.key:
            raise ValueError("the manifest names another submitter")
        raw = manifest.encode()
        return cls(raw, identity.sign(Domain.MANIFEST, raw), manifest)

    @classmethod
    def of(cls, raw: bytes, signature: bytes) -> "SignedManifest":
        """Parse ``raw`` and check ``signature``."""
        manifest = Manifest.parse(raw)
        verify(manifest.submitter, Domain.MANIFEST, raw, signature)
        return cls(raw, signature, manifest)

    @classmethod
    def parse(cls, envelope: bytes) -> "SignedManifest":
        """Read a ``.job`` file and check its signature."""
        fields = canonical.decode_fields(envelope, limit=MAX_MANIFEST + 200, what="job")
        raw = fields.octets("manifest", limit=MAX_MANIFEST)
        signature = fields.octets("signature", length=SIGNATURE_SIZE)
        fields.end()
        return cls.of(raw, signature)

    def encode(self) -> bytes:
        """The bytes of a ``.job`` file."""
        return canonical.encode({"manifest": self.raw, "signature": self.signature})


def _program(fields: Fields) -> Program:
    program = Program(
        image=fields.text("image", limit=80),
        command=fields.texts("command", count=MAX_COMMAND, limit=MAX_ARGUMENT),
        files=_blobs(fields, "files"),
        stdout=fields.text("stdout", limit=100),
        layers=_layers(fields),
        model=ModelProgram.read(fields.group("model")) if fields.has("model") else None,
    )
    fields.end()
    return program


def _layers(fields: Fields) -> tuple[Layer, ...]:
    if not fields.has("layers"):
        return ()
    return tuple(Layer.parse(group) for group in fields.groups("layers", MAX_LAYERS))


def _blobs(fields: Fields, key: str) -> tuple[NamedBlob, ...]:
    return tuple(NamedBlob.parse(group, key) for group in fields.groups(key, MAX_FILES))


def _limits(fields: Fields) -> Limits:
    limits = Limits(
        cpu_seconds=fields.integer("cpu", 1, MAX_CPU_SECONDS),
        wall_seconds=fields.integer("wall", 1, MAX_CPU_SECONDS),
        memory_bytes=fields.integer("memory", MIN_MEMORY, MAX_MEMORY),
        output_bytes=fields.integer("output", 1, MAX_OUTPUT_BYTES),
    )
    fields.end()
    return limits


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
