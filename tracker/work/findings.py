"""A revealed result, checked against the manifest before anything compares it."""

from io import BytesIO

from validators.comparators import Finding
from workunits.errors import LimitError, MalformedError
from workunits.manifest import MAX_NUMERIC_OUTPUT, Manifest
from workunits.metainfo import hash_stream
from workunits.models.answer import MAX_ANSWER
from workunits.results import INLINE_LIMIT, Ending, Result, check_inline
from workunits.verification import Comparison
from workunits.wire.work import Reveal


def inline_limit(manifest: Manifest) -> int:
    """Bytes of output up to which a result of this job travels inline."""
    if manifest.comparator.kind is Comparison.NUMERIC:
        return MAX_NUMERIC_OUTPUT
    if manifest.program.model:
        return MAX_ANSWER
    return INLINE_LIMIT


def read_finding(manifest: Manifest, reveal: Reveal, known: Finding | None) -> Finding:
    """Parse a reveal strictly; raises ``RemoteError`` when the manifest does not allow it.

    ``known`` is an earlier result of the same unit: when the bytes are the same, its hashes were
    checked already, and it is returned itself.
    """
    if known and known.contents == reveal.contents and known.result.encode() == reveal.result:
        return known
    result = Result.parse(reveal.result)
    undeclared = {output.name for output in result.outputs} - set(manifest.outputs)
    if undeclared:
        raise MalformedError(f"result: {', '.join(sorted(undeclared))} is not a declared output")
    if result.ending is not Ending.EXITED and result.outputs:
        raise MalformedError("result: outputs of a program that was stopped")
    if result.size > manifest.limits.output_bytes:
        raise LimitError(f"result: {result.size} bytes of output are over the job's limit")
    if result.size > inline_limit(manifest):
        if reveal.contents:
            raise LimitError("result: outputs this large do not travel inline")
        return Finding(result)
    check_inline(result, reveal.contents, inline_limit(manifest))
    for output, content in zip(result.outputs, reveal.contents, strict=True):
        if hash_stream(BytesIO(content), len(content)).info.ref != output.ref:
            raise MalformedError(f"result: the content of {output.name} has another hash")
    return Finding(result, reveal.contents)
