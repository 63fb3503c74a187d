"""A revealed result, checked against the manifest before anything compares it."""

from io import BytesIO

from validators.comparators import Finding
from workunits.errors import LimitError, MalformedError
from workunits.manifest import MAX_NUMERIC_OUTPUT, Manifest
from workunits.metainfo import hash_stream
from workunits.models.answer import MAX_ANSWER, Answer, Finish, meter, most_metered
from workunits.models.request import Request
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


def read_finding(
    manifest: Manifest,
    reveal: Reveal,
    known: Finding | None,
    request: Request | None = None,
    halt: int = 0,
) -> Finding:
    """Parse a reveal strictly; raises ``RemoteError`` when the manifest does not allow it.

    ``known`` is an earlier result of the same unit: when the bytes are the same, its hashes were
    checked already, and it is returned itself. ``request`` and ``halt`` are what a model was asked,
    where that is known, and after how many tokens its answer was cut; 0 if it was not.
    """
    if known and known.contents == reveal.contents and known.result.encode() == reveal.result:
        return known
    result = Result.parse(reveal.result)
    undeclared = {output.name for output in result.outputs} - set(manifest.outputs)
    if undeclared:
        raise MalformedError(f"result: {', '.join(sorted(undeclared))} is not a declared output")
    if result.ending is not Ending.EXITED and result.outputs:
        raise MalformedError("result: outputs of a program that was stopped")
    if result.meter and (manifest.program.model is None or not result.outputs):
        raise MalformedError("result: it counts tokens, and is no answer of a model")
    if result.size > manifest.limits.output_bytes:
        raise LimitError(f"result: {result.size} bytes of output are over the job's limit")
    if result.size > inline_limit(manifest):
        if reveal.contents or manifest.program.model:
            raise LimitError("result: outputs this large do not travel inline")
        return Finding(result)
    check_inline(result, reveal.contents, inline_limit(manifest))
    for output, content in zip(result.outputs, reveal.contents, strict=True):
        if hash_stream(BytesIO(content), len(content)).info.ref != output.ref:
            raise MalformedError(f"result: the content of {output.name} has another hash")
    if manifest.program.model and result.outputs:
        _check_answer(manifest, result, Answer.parse(reveal.contents[0]), request, halt)
    return Finding(result, reveal.contents)


def _check_answer(
    manifest: Manifest, result: Result, answer: Answer, request: Request | None, halt: int
) -> None:
    model = manifest.program.model
    assert model is not None
    count = len(answer.tokens)
    if result.exit_status:
        raise MalformedError("result: an answer of an engine that failed")
    if not answer.tokens:
        raise MalformedError("answer: it has no token")
    if answer.finish is Finish.HALTED and not 0 < halt <= count:
        raise MalformedError("answer: it was cut off, and nobody wanted that there")
    most = min(model.most, request.most) if request else model.most
    if count > most:
        raise LimitError(f"answer: {count:,} tokens, and at most {most:,} were asked for")
    if request is None:
        if not count <= result.meter <= most_metered(count, model.context):
            raise MalformedError(f"result: it counts {result.meter:,} tokens for {count:,}")
        return
    if answer.nonce != request.nonce:
        raise MalformedError("answer: it is one to another request")
    full = len(request.prompt) + count >= model.context
    if answer.finish is Finish.LENGTH and count < most and not full:
        raise MalformedError(f"answer: it ends after {count:,} of {most:,} tokens")
    if result.meter != meter(request, count):
        raise MalformedError(
            f"result: it counts {result.meter:,} tokens, and not {meter(request, count):,}"
        )
