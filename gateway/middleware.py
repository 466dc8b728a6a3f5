"""The id that ties a response to its log lines."""

import os
import re
from collections.abc import Awaitable, Callable

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")


def request_id(given: str | None) -> str:
    """Return the client's own X-Request-ID if it is a harmless one, else a new one."""
    return given if given and GIVEN_ID.match(given) else f"req_{os.urandom(16).hex()}"


@async_only_middleware
def request_id_middleware(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Put X-Request-ID on every response, errors included."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        response = await get_response(request)
        response["X-Request-ID"] = request_id(request.headers.get("X-Request-ID"))
        return response

    return markcoroutinefunction(middleware)
