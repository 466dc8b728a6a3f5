"""Bodies of requests that arrive packed: every door gets them unpacked, no larger than MAX_BODY_BYTES."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

from gateway.encodings import encoding_of, unpacked
from gateway.errors import BodyTooLarge, envelope, error_headers
from gateway.http import SECURITY_HEADERS, header_value
from gateway.middleware import current_id
from routing.backends import codec
from routing.exceptions import EndpointError

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

OF_THE_PACKED = (b"content-encoding", b"content-length", b"transfer-encoding")


class Unpacked:
    """An ASGI application that sees bodies as they were before clients packed them.

    It stands in front of keys and limits, as reading a body does; what a stranger can have it do is bounded by what may
    be sent at all.
    """

    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        told = _header(scope["headers"], b"content-encoding") if scope["type"] == "http" else ""
        if not told:
            await self._application(scope, receive, send)
            return
        try:
            encoding = encoding_of(told)
            body = await _body(receive)
            if body is None:
                return  # the client has left
            if encoding and body:
                # In a thread: a few kilobytes may become megabytes, which take milliseconds.
                body = await asyncio.to_thread(unpacked, body, encoding, most=settings.MAX_BODY_BYTES)
        except EndpointError as error:
            await _refuse(scope, send, error)
            return
        await self._application(_without_encoding(scope, len(body)), _giving(body, receive), send)


async def _body(receive: Any) -> bytes | None:
    """Return a body as it arrives, None where its client leaves meanwhile; raises BodyTooLarge."""
    pieces: list[bytes] = []
    size = 0
    while (message := await receive())["type"] != "http.disconnect":
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > settings.MAX_BODY_BYTES:
            raise BodyTooLarge
        if not message.get("more_body"):
            return b"".join(pieces)
    return None


def _giving(body: bytes, receive: Any) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return what gives ``body`` at first, and then what happens to the connection."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return give


def _without_encoding(scope: Mapping[str, Any], length: int) -> dict[str, Any]:
    headers: Headers = [(name, value) for name, value in scope["headers"] if name not in OF_THE_PACKED]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _header(headers: Headers, wanted: bytes) -> str:
    return ", ".join(value.decode("latin-1") for name, value in headers if name == wanted)


async def _refuse(scope: Mapping[str, Any], send: Any, error: EndpointError) -> None:
    """Answer as the doors do: Ollama's clients in their own shape."""
    told = {"error": error.message} if scope["path"].startswith("/api/") else envelope(error)
    body = codec.dumps(told)
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": current_id(_header(scope["headers"], b"x-request-id")),
    }
    everything = headers | SECURITY_HEADERS | error_headers(error)
    sent = [(name.lower().encode(), header_value(value)) for name, value in everything.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
