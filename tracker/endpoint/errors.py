"""What went wrong with a request to a model, in the shape that each API gives its errors.

OpenAI: ``{"error": {message, type, param, code}}``. Anthropic: ``{"type": "error", "error": {type,
message}}``. Both put seconds to wait into ``Retry-After``.
"""

import math
from dataclasses import dataclass
from enum import Enum

from tracker.endpoint.keys import AbsentError, BrokeError, CrowdedError, UnknownKeyError
from workunits.errors import (
    LimitError,
    MalformedError,
    RefusedError,
    RemoteError,
    SwarmError,
    UnavailableError,
)

RETRY_SECONDS = 10.0
"""When to look again for somebody who answers, if nobody knows better."""


class Fault(Enum):
    """A kind of failure: HTTP status, OpenAI's type, Anthropic's type."""

    INVALID = (400, "invalid_request_error", "invalid_request_error")
    KEY = (401, "invalid_request_error", "authentication_error")
    BROKE = (402, "insufficient_quota", "billing_error")
    REFUSED = (403, "permission_error", "permission_error")
    MISSING = (404, "invalid_request_error", "not_found_error")
    LARGE = (413, "invalid_request_error", "request_too_large")
    CROWDED = (429, "rate_limit_exceeded", "rate_limit_error")
    FAILED = (500, "server_error", "api_error")
    ABSENT = (503, "service_unavailable", "overloaded_error")

    def __init__(self, status: int, openai: str, anthropic: str) -> None:
        self.status = status
        self.openai = openai
        self.anthropic = anthropic


class ApiError(RefusedError):
    """A request that gets an error for an answer.

    ``param`` is the field that is wrong, ``tag`` OpenAI's ``code``, ``seconds`` when to try again.
    """

    code = "api"

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        param: str | None = None,
        tag: str | None = None,
        seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.param = param
        self.tag = tag
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """An error as HTTP."""

    status: int
    body: dict[str, object]
    headers: dict[str, str]


def invalid(message: str, param: str | None = None, tag: str | None = None) -> ApiError:
    """A request that is wrong in itself."""
    return ApiError(Fault.INVALID, message, param=param, tag=tag)


def unsupported(param: str, why: str) -> ApiError:
    """A field that would change the answer in a way that is not offered."""
    return invalid(f"'{param}' is not supported here: {why}", param, "unsupported_parameter")


def of(error: Exception) -> ApiError:
    """Any exception as an error that can be answered. What is our own mistake says nothing."""
    match error:
        case ApiError():
            return error
        case UnknownKeyError():
            return ApiError(Fault.KEY, _full(error), tag="invalid_api_key")
        case BrokeError():
            return ApiError(Fault.BROKE, _full(error), tag="insufficient_quota")
        case AbsentError():
            return ApiError(Fault.ABSENT, _full(error), seconds=error.seconds)
        case CrowdedError():
            return ApiError(
                Fault.CROWDED, _full(error), tag="rate_limit_exceeded", seconds=error.seconds
            )
        case UnavailableError() | RefusedError():
            return ApiError(Fault.ABSENT, _full(error), seconds=RETRY_SECONDS)
        case LimitError() | MalformedError() | RemoteError():
            return invalid(_full(error))
    return ApiError(Fault.FAILED, "The tracker failed to answer; its log says more.")


def openai(error: ApiError) -> Answer:
    """The error as OpenAI's API gives it."""
    return Answer(error.fault.status, openai_body(error), _headers(error))


def openai_body(error: ApiError) -> dict[str, object]:
    """The body alone, which also goes into streams and batches."""
    return {
        "error": {
            "message": error.message,
            "type": error.fault.openai,
            "param": error.param,
            "code": error.tag,
        }
    }


def anthropic(error: ApiError) -> Answer:
    """The error as Anthropic's API gives it."""
    return Answer(error.fault.status, anthropic_body(error), _headers(error))


def anthropic_body(error: ApiError) -> dict[str, object]:
    """The body alone, which is also the event ``error`` of a stream."""
    about = {"type": error.fault.anthropic, "message": error.message}
    return {"type": "error", "error": about}


def _headers(error: ApiError) -> dict[str, str]:
    if error.seconds is None:
        return {}
    return {"Retry-After": str(max(1, math.ceil(error.seconds)))}


def _full(error: SwarmError) -> str:
    return f"{error.message}. {error.hint}" if error.hint else error.message
