"""One mapping from what went wrong to what an OpenAI client sees: for consumers, REST views and error pages.

The door's own leaves of the exception tree in routing/exceptions.py:

    EndpointError
    ├── AuthenticationFailed   401
    ├── NotFound               404
    ├── MethodNotAllowed       405
    ├── Conflict               409
    ├── RequestTooSlow         408
    ├── BodyTooLarge           413
    ├── ContentRefused         400  a guard found something in the request
    ├── UnsupportedMediaType   415
    ├── UnsupportedEncoding    415  packed with what nobody here unpacks
    └── Stopping               503  this process ends before the answer does
"""

import logging
import math
from typing import Any

from django.conf import settings
from django.http import HttpResponse

from routing.backends import codec
from routing.exceptions import BadRequest, EndpointError, Unavailable
from routing.outages import is_full, is_outage

logger = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""nginx's number for a client that left before its answer was complete."""


class AuthenticationFailed(EndpointError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class PermissionDenied(EndpointError):
    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFound(EndpointError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(EndpointError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method} is not possible here; use {' or '.join(allowed)}.")
        self.allowed = allowed


class Conflict(EndpointError):
    """It would be possible, were it not for what is there already."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class BodyTooLarge(EndpointError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"

    def __init__(self) -> None:
        super().__init__(
            f"The request is larger than {settings.MAX_BODY_BYTES:,} bytes. Send less, or ask an administrator to "
            "raise MAX_BODY_BYTES."
        )


class ContentRefused(EndpointError):
    """A guard refuses the request; ``guards`` is what X-MoE-Guards says."""

    status = 400
    type = "invalid_request_error"
    code = "content_filter"

    def __init__(self, message: str, *, param: str | None = None, guards: str = "") -> None:
        super().__init__(message, param=param, should_retry=False)
        self.guards = guards


class RequestTooSlow(EndpointError):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__(
            f"The request did not arrive within {settings.BODY_TIMEOUT_SECONDS:g} seconds. Send it again, over a "
            "better connection or in smaller parts; an administrator can raise BODY_TIMEOUT_SECONDS."
        )


class UnsupportedMediaType(EndpointError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class UnsupportedEncoding(UnsupportedMediaType):
    code = "unsupported_content_encoding"

    def __init__(self, given: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"Bodies packed with '{given[:100]}' are not read here. Send it without Content-Encoding, or packed once "
            f"with one of: {', '.join(known)}."
        )
        self.known = known


class Stopping(Unavailable):
    """The process ends, and does not wait any longer for an answer to be complete."""

    def __init__(self) -> None:
        super().__init__(
            "The endpoint is being stopped or started again, and this answer could not be completed. Send the request "
            "again.",
            retry_after=5,
        )


class InternalError(EndpointError):
    """Something nobody foresaw; the log has the traceback under the request's id."""

    def __init__(self) -> None:
        super().__init__(
            "The endpoint failed unexpectedly. Try again; if it happens again, give an administrator the X-Request-ID "
            "of this response."
        )


def envelope(error: EndpointError) -> dict[str, Any]:
    """Return OpenAI's error object."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_headers(error: EndpointError) -> dict[str, str]:
    """Return what the SDKs read beside the body."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    if isinstance(error, AuthenticationFailed):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, UnsupportedEncoding):
        headers["Accept-Encoding"] = ", ".join(error.known)
    if isinstance(error, ContentRefused) and error.guards:
        headers["X-MoE-Guards"] = error.guards
    return headers


def from_exception(error: Exception) -> EndpointError:
    """Return ``error`` as one of ours; an unforeseen one is logged with its traceback."""
    ours = translated(error)
    if isinstance(error, RecursionError):
        return BadRequest("The request is nested too deeply to be passed on. Send it flatter.")
    if is_full(error):
        logger.error("a disk is full; make room, and everything goes on error=%s", error)
    elif is_outage(error):
        logger.warning("the database does not answer error=%s", error)
    elif isinstance(ours, InternalError):
        logger.error("unexpected error", exc_info=error)
    return ours


def translated(error: Exception) -> EndpointError:
    """Return ``error`` as the one of ours that a client is told."""
    if isinstance(error, EndpointError):
        return error
    if is_full(error):
        return Unavailable(
            "The disk has no room left, so that nothing can be stored. Try again when an administrator has made room.",
            retry_after=60,
        )
    if is_outage(error):
        return Unavailable("The database does not answer at the moment. Try again.", retry_after=5)
    return InternalError()


def http_response(error: EndpointError) -> HttpResponse:
    return HttpResponse(
        codec.dumps(envelope(error)),
        status=error.status,
        content_type="application/json",
        headers=error_headers(error),
    )
