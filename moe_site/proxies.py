"""Whether a request reached us by https: what a proxy that is trusted says of it."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from gateway.addresses import networks_of
from routing.addresses import address_of

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class BehindProxies:
    """An ASGI application that sees the scheme by which clients reached the proxies in front of it.

    Everything else, Django's ``is_secure()`` too, takes the scheme of the ASGI scope for the truth. The Host header is
    the one that arrives: proxies are to pass it on.
    """

    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if settings.TRUSTED_PROXIES and scope["type"] == "http" and (told := _told_scheme(scope)):
            scope = scope | {"scheme": told}
        await self._application(scope, receive, send)


def _told_scheme(scope: dict[str, Any]) -> str:
    """Return http or https as a trusted proxy tells it, or "" where none does."""
    if not _is_trusted((scope.get("client") or ("",))[0]):
        return ""
    for name, value in scope["headers"]:
        if name == b"x-forwarded-proto":
            # Of several proxies the first spoke with the client.
            told = value.decode("latin-1").split(",", 1)[0].strip().lower()
            return told if told in ("http", "https") else ""
    return ""


def _is_trusted(peer: str) -> bool:
    try:
        known = address_of(peer)
    except ValueError:
        return False
    return any(known in network for network in networks_of(tuple(settings.TRUSTED_PROXIES)))
