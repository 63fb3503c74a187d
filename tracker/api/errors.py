"""Errors as JSON: ``{"error": {code, message, hint, blame}}`` with a fitting status."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from tracker.announce.pace import HurryError
from workunits.errors import (
    Blame,
    LimitError,
    MalformedError,
    RefusedError,
    RemoteError,
    SignatureError,
    SwarmError,
    UnavailableError,
)

log = logging.getLogger(__name__)
_STATUS: dict[type[SwarmError], int] = {
    MalformedError: 400,
    SignatureError: 403,
    HurryError: 429,
    LimitError: 413,
    RefusedError: 403,
    UnavailableError: 503,
    RemoteError: 400,
}


@web.middleware
async def errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every error under ``/api`` into JSON."""
    if not request.path.startswith("/api/"):
        return await handler(request)
    try:
        return await handler(request)
    except SwarmError as error:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return _answer(status, error.code, error.message, error.hint, error.blame)
    except ConnectionError:  # who asked went away, and reads no answer
        return web.Response(status=400)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        hint = "See /api/v1/openapi.json for what there is and how to ask."
        return _answer(error.status, _code(error.status), error.reason, hint, Blame.THEIRS)
    except Exception:
        log.exception("%s %s", request.method, request.path)
        hint = "The tracker's log says more; try again, and report it if it stays."
        return _answer(500, "internal", "the tracker failed to answer", hint, Blame.OURS)


def _code(status: int) -> str:
    return {404: "unknown", 405: "method", 413: "limit"}.get(status, "request")


def _answer(status: int, code: str, message: str, hint: str, blame: Blame) -> web.Response:
    body = {"code": code, "message": message, "hint": hint, "blame": blame.value}
    return web.json_response({"error": body}, status=status)
