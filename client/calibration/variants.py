"""Other versions of a model, which a cheat could run instead: they are smaller, so faster."""

from dataclasses import dataclass
from pathlib import Path

from sandbox.runner import Ending, Limits, Mount, Program, Sandbox, Task
from workunits.errors import LocalError
from workunits.models.gguf import Gguf

SCRIPT = Path(__file__).with_name("quantise.py")
SECONDS = 3600.0
ROOM = 2 << 30
"""Memory for the quantiser beside its output, in bytes."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A version of a model: ``ftype`` is a ``llama_ftype`` of llama.h, -1 that of the model itself;
    ``layer`` is where one layer is left out, as a share of all of them, or None. ``near`` ones are
    about as good as the model, and margins are not meant to find them."""

    name: str
    ftype: int = -1
    layer: float | None = None
    near: bool = False


VARIANTS = {
    each.name: each
    for each in (
        Variant("Q2_K", 10),
        Variant("Q3_K_M", 12),
        Variant("Q4_0", 2, near=True),
        Variant("Q4_K_M", 15, near=True),
        Variant("Q8_0", 7, near=True),
        Variant("F16", 1, near=True),
        Variant("layer left out", layer=0.5),
    )
}
USUAL = tuple(name for name in VARIANTS if name != "F16")


def others(gguf: Gguf) -> list[Variant]:
    """Those of the usual variants that are not the model itself."""
    own = gguf.metadata.get("general.file_type")
    return [VARIANTS[name] for name in USUAL if VARIANTS[name].ftype != own]


async def make(
    sandbox: Sandbox, image: str, model: Path, gguf: Gguf, variant: Variant, target: Path
) -> None:
    """Write ``variant`` of ``model`` to ``target``, with the quantiser of the engine ``image``.

    Raises ``LocalError`` when it cannot be made, and what ``Sandbox.open`` raises.
    """
    size = model.stat().st_size
    own = gguf.metadata.get("general.file_type")
    if variant.ftype < 0 and not isinstance(own, int):
        raise LocalError(
            "the model does not say how it is quantised", hint="Choose other substitutes."
        )
    ftype = variant.ftype if variant.ftype >= 0 else own
    layer = -1 if variant.layer is None else int(gguf.anatomy.layers * variant.layer)
    largest = 8 * size
    limits = Limits(SECONDS, SECONDS, 3 * size + ROOM, largest)
    files = (Mount("quantise.py", SCRIPT), Mount("model.gguf", model))
    task = Task(
        ("python3", "/job/quantise.py", str(ftype), str(layer)), (), ("variant.gguf",), None
    )
    cell = await sandbox.open(Program(image, files, limits))
    folder = target.with_suffix(".making")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = await cell.run(task, folder)
    finally:
        await cell.close()
    if outcome.ending is not Ending.EXITED or outcome.exit_status or outcome.missing:
        said = outcome.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise LocalError(
            f"the variant {variant.name} could not be made: {outcome.ending.value} "
            f"{outcome.exit_status} {' '.join(said)[:200]}",
            hint="Leave it out: name the substitutes with --substitute.",
        )
    outcome.outputs["variant.gguf"].replace(target)
    folder.rmdir()
