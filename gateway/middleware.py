"""The id that ties a response to its log lines."""

import re
import uuid
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")


def request_id(given: str | None) -> str:
    """Return the client's own X-Request-ID if it is a harmless one, else a new one."""
    return given if given and GIVEN_ID.match(given) else f"req_{uuid.uuid4().hex}"


@sync_and_async_middleware
def request_id_middleware(
    get_response: Callable[[HttpRequest], HttpResponse] | Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[..., object]:
    """Put X-Request-ID on every response, errors included."""

    def begin(request: HttpRequest) -> str:
        request.request_id = request_id(request.headers.get("X-Request-ID"))  # type: ignore[attr-defined]
        return request.request_id  # type: ignore[attr-defined,no-any-return]

    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponse:
            identity = begin(request)
            response = await get_response(request)  # type: ignore[misc]
            response["X-Request-ID"] = identity
            return response  # type: ignore[no-any-return]

        return markcoroutinefunction(middleware)

    def sync_middleware(request: HttpRequest) -> HttpResponse:
        identity = begin(request)
        response = get_response(request)
        response["X-Request-ID"] = identity  # type: ignore[index]
        return response  # type: ignore[return-value]

    return sync_middleware
