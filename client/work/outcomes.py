"""From what a sandbox saw to what is committed: the result manifest and its inline outputs."""

from io import BytesIO
from pathlib import Path

from client.work.supply import Blobs
from sandbox.runner import Ending as Seen
from sandbox.runner import Outcome
from workunits.ids import BlobRef
from workunits.manifest import MAX_NUMERIC_OUTPUT, Manifest
from workunits.metainfo import hash_stream
from workunits.models.answer import MAX_ANSWER
from workunits.parameters import NamedBlob
from workunits.results import INLINE_LIMIT, Ending, Result
from workunits.verification import Comparison


def is_lost(outcome: Outcome) -> bool:
    """Whether ``outcome`` says nothing about the program: our side failed."""
    unknown = outcome.ending is Seen.EXITED and not 0 <= outcome.exit_status <= 255
    return outcome.ending is Seen.LOST or unknown


def inline_limit(manifest: Manifest) -> int:
    """Bytes of output, over all files, up to which a result travels inside its reveal."""
    if manifest.comparator.kind is Comparison.NUMERIC:
        return MAX_NUMERIC_OUTPUT
    if manifest.program.model:
        return MAX_ANSWER
    return INLINE_LIMIT


async def describe(
    outcome: Outcome, manifest: Manifest, blobs: Blobs, why: str
) -> tuple[Result, tuple[bytes, ...]]:
    """The result of ``outcome`` and the contents that travel with it.

    Larger outputs are shared as blobs, held for ``why``. A program that broke a limit has exit
    status 0: how it was stopped differs between machines, that it was stopped does not.

    Raises ``SwarmError`` or ``OSError`` when the outputs cannot be kept.
    """
    ending = Ending(outcome.ending.value)
    if ending is not Ending.EXITED:
        return Result(ending, 0, ()), ()
    files = [outcome.outputs[name] for name in sorted(outcome.outputs)]
    names = sorted(outcome.outputs)
    contents: tuple[bytes, ...] = ()
    if sum(path.stat().st_size for path in files) <= inline_limit(manifest):
        contents = tuple(path.read_bytes() for path in files)
        refs = [hash_stream(BytesIO(data), len(data)).info.ref for data in contents]
    else:
        refs = await _share(files, blobs, why)
    outputs = tuple(NamedBlob(name, ref) for name, ref in zip(names, refs, strict=True))
    return Result(ending, outcome.exit_status, outputs), contents


async def _share(files: list[Path], blobs: Blobs, why: str) -> list[BlobRef]:
    refs: list[BlobRef] = []
    try:
        for path in files:
            refs.append(await blobs.share(path, why))  # noqa: PERF401 - what is done is undone
    except BaseException:
        for ref in refs:
            blobs.release(ref, why)
        raise
    return refs
