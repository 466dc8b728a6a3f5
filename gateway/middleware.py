"""The id that ties a response to its log lines."""

import os
import re
from collections.abc import Awaitable, Callable

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

from routing.current import current, note_door

GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")


def request_id(given: str | None) -> str:
    """Return the client's own X-Request-ID if it is a harmless one, else a new one."""
    return given if given and GIVEN_ID.match(given) else f"req_{os.urandom(16).hex()}"


def current_id(given: str | None) -> str:
    """Return the id of the request that is being answered; one that nobody made current gets its own."""
    request = current()
    return request.id if request else request_id(given)


@async_only_middleware
def request_id_middleware(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Put X-Request-ID on every response, errors included."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        response = await get_response(request)
        response["X-Request-ID"] = current_id(request.headers.get("X-Request-ID"))
        note_door(*door_of(request))
        return response

    return markcoroutinefunction(middleware)


def door_of(request: HttpRequest) -> tuple[str, str]:
    """Return the name of the view that answered and its pattern; "admin" for all of the admin's, "" where none did."""
    found = request.resolver_match
    if found is None:
        return "", ""
    route = f"/{found.route}"
    if "admin" in found.app_names:
        return "admin", route
    view = getattr(found.func, "cls", None) or getattr(found.func, "view_class", None) or found.func
    return str(getattr(view, "__name__", "")), route
