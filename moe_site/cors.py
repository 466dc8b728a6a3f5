"""Which web pages may call the API from browsers.

django-cors-headers covers what Django answers, but not the consumers that answer chats; this covers both.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.conf import settings

from gateway.middleware import current_id

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# The admin is for its own pages.
PATHS = ("/v1/", "/api/", "/health/", "/metrics")
METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
PREFLIGHT_SECONDS = b"600"
# What a page may read of an answer beside its body; the rest is kept from it by browsers.
EXPOSED = (b"x-moe-", b"x-ratelimit-", b"x-request-id", b"retry-after", b"x-should-retry")


class CrossOrigin:
    """An ASGI application that tells browsers to let pages of CORS_ALLOWED_ORIGINS read its answers.

    It never permits credentials, so that cookies play no part: a page needs an API key like any other client. A
    preflight request carries none, and is answered here.
    """

    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        origin = permitted_origin(scope)
        if not origin:
            await self._application(scope, receive, send)
        elif scope["method"] == "OPTIONS" and (asked := _asked(scope["headers"])):
            await send({"type": "http.response.start", "status": 204, "headers": _preflight(origin, asked)})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._application(scope, receive, _sharing(send, origin))


def permitted_origin(scope: dict[str, Any]) -> bytes:
    """Return the origin of the page that asks, if it may call this path, or b""."""
    allowed = settings.CORS_ALLOWED_ORIGINS
    if not allowed or scope["type"] != "http" or not scope["path"].startswith(PATHS):
        return b""
    origin = next((value for name, value in scope["headers"] if name == b"origin"), b"")
    text = origin.decode("latin-1")
    return origin if text and ("*" in allowed or text.rstrip("/") in _origins(allowed)) else b""


def _origins(allowed: Iterable[str]) -> set[str]:
    return {origin.strip().rstrip("/").lower() for origin in allowed}


def _asked(headers: Headers) -> dict[bytes, bytes]:
    """Return what a preflight request asks about; nothing where it is an OPTIONS like any other."""
    found = {name: value for name, value in headers if name.startswith(b"access-control-request-")}
    return found if b"access-control-request-method" in found else {}


def _preflight(origin: bytes, asked: dict[bytes, bytes]) -> Headers:
    # The SDKs send headers of their own invention; without credentials there is no harm in any.
    wanted = asked.get(b"access-control-request-headers", b"authorization, content-type")
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", PREFLIGHT_SECONDS),
        (b"vary", b"Origin"),
        (b"content-length", b"0"),
        (b"x-request-id", current_id(None).encode()),
    ]


def _sharing(send: Any, origin: bytes) -> Any:
    async def sharing(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = sorted({name.lower() for name, _ in headers if name.lower().startswith(EXPOSED)})
            headers += [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
            if names:
                headers.append((b"access-control-expose-headers", b", ".join(names)))
            message = message | {"headers": headers}
        await send(message)

    return sharing
