"""What a batch's output and error files have in their lines (OpenAI Batch API). Pure."""

from collections.abc import Sequence

import orjson

from tracker.endpoint.batches.lines import Line
from tracker.endpoint.batches.store import Answered
from tracker.endpoint.errors import ApiError, openai
from tracker.endpoint.inquiry import Outcome
from tracker.endpoint.replies import Reply


def answered(line: Line, id_: str, reply: Reply, outcomes: Sequence[Outcome]) -> Answered:
    """A line of the output file."""
    response = {"status_code": 200, "request_id": reply.id, "body": reply.whole(outcomes)}
    value = {"id": id_, "custom_id": line.custom_id, "response": response, "error": None}
    generated = sum(outcome.generated for outcome in outcomes)
    prompted = reply.inquiry.prompted
    return Answered(line.number, orjson.dumps(value), False, prompted, generated)


def refused(line: Line, id_: str, error: ApiError) -> Answered:
    """A line of the error file: the answer would have been an error."""
    told = openai(error)
    response = {"status_code": told.status, "request_id": id_, "body": told.body}
    value = {"id": id_, "custom_id": line.custom_id, "response": response, "error": None}
    return Answered(line.number, orjson.dumps(value), True)


def unasked(line: Line, id_: str, code: str, message: str) -> Answered:
    """A line of the error file: it was not asked, or not to the end."""
    error = {"code": code, "message": message}
    value = {"id": id_, "custom_id": line.custom_id, "response": None, "error": error}
    return Answered(line.number, orjson.dumps(value), True)
