"""What every handler does: say who asks, read the body, turn errors into the API's own shape."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from tracker.endpoint import errors
from tracker.endpoint.auth import KeyRing, caller
from tracker.endpoint.errors import Answer, ApiError
from tracker.endpoint.fields import MAX_BODY, Fields, read_object, too_large
from tracker.endpoint.keys import ApiKey
from tracker.endpoint.streams import GoneError, first

log = logging.getLogger(__name__)

Handler = Callable[[web.Request, ApiKey], Awaitable[web.StreamResponse]]
Plain = Callable[[web.Request], Awaitable[web.StreamResponse]]
Shape = Callable[[ApiError], Answer]

CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
"""A key is in a header that a page must add itself, so any page may ask."""

PREFLIGHT = CORS | {
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}


@dataclass(frozen=True, slots=True)
class Shell:
    """Around a handler: a key that is known, and errors in one API's ``shape``."""

    keys: KeyRing
    shape: Shape

    def __call__(self, handler: Handler) -> Plain:
        """The handler as aiohttp wants it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                response = await handler(request, caller(self.keys, request.headers))
            except (GoneError, ConnectionError):
                return web.Response(status=499)  # nobody reads it
            except web.HTTPException:
                raise
            except Exception as error:
                return answer(self.shape, _known(error, request))
            if not response.prepared:
                response.headers.update(CORS)
            return response

        return handle


def answer(shape: Shape, error: ApiError) -> web.Response:
    """An error as a response."""
    told = shape(error)
    return web.json_response(told.body, status=told.status, headers=told.headers | CORS)


def _known(error: Exception, request: web.Request) -> ApiError:
    found = first(error)
    assert isinstance(found, Exception)
    known = errors.of(found)
    if known.fault is errors.Fault.FAILED:
        log.error("%s %s", request.method, request.path, exc_info=found)
    return known


def broken(error: Exception, request: web.Request) -> ApiError:
    """The error that ends a stream which had begun; raises what ends it without a word."""
    if isinstance(first(error), GoneError | ConnectionError):
        raise GoneError from None
    return _known(error, request)


async def read_body(request: web.Request, limit: int = MAX_BODY) -> Fields:
    """The JSON object that a request has for its body. Raises ``ApiError``."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise too_large(limit)
    return read_object(bytes(body), limit=limit)


async def preflight(_: web.Request) -> web.Response:
    """What a browser asks before it lets a page ask."""
    return web.Response(status=204, headers=PREFLIGHT)
