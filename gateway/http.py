"""The base of consumers that stream: a client that leaves is noticed at once, whatever is going on.

Channels' AsyncHttpConsumer dispatches one message at a time, so it does not see a disconnect while
``handle()`` runs, and daphne cancels an application only ten seconds after its client left. Here the work
runs as a task of its own, beside one that waits for ``http.disconnect`` and cancels it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from channels.generic.http import AsyncHttpConsumer
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from gateway import sse
from gateway.errors import BodyTooLarge, MethodNotAllowed, Stopping, envelope, error_headers, from_exception
from gateway.middleware import current_id
from routing.backends import codec
from routing.current import note_broken_off, note_door
from routing.exceptions import EndpointError

Receive = Callable[[], Awaitable[dict[str, Any]]]

# What Django's SecurityMiddleware puts on the other answers.
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


class ClientLeft(Exception):
    """The client closed its connection before its request was complete."""


def route_of(scope: Mapping[str, Any]) -> str:
    """Return the pattern of a path that Channels' router found, such as /v1/vector_stores/{store}/search."""
    route: str = scope["path"]
    for name, value in scope.get("url_route", {}).get("kwargs", {}).items():
        route = route.replace(f"/{value}", f"/{{{name}}}")
    return route


class HttpConsumer(AsyncHttpConsumer):
    """Reads a request's body under a limit, runs ``handle(body)``, answers its errors, stops it on disconnect."""

    methods: ClassVar[tuple[str, ...]] = ("POST",)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Callable[..., Awaitable[None]]) -> None:
        # Channels' own dispatch is passed over: it takes a thread for each message, to close database
        # connections that no consumer here opens, and could not read messages while one is handled.
        self.scope = scope
        self.base_send = send
        self.response_started = self.response_ended = self.is_stopping = False
        self.headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self.request_id = current_id(self.headers.get(b"x-request-id"))
        note_door(type(self).__name__, route_of(scope))
        self.extra_headers: dict[str, str] = {}
        try:
            body = await self._read_body(receive)
        except ClientLeft:
            return
        except EndpointError as error:
            await self.send_error(error)
            return
        work = asyncio.create_task(self._run(body))
        left = asyncio.create_task(self._wait_for_disconnect(receive))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Of clients that leave ``left`` knows; only a server that stops cancels while one waits.
            self.is_stopping = True
            note_broken_off()
            raise
        finally:
            await _stop(left)
            await _stop(work)
        if not work.cancelled():
            work.result()  # an error nobody foresaw belongs in the server's log

    async def _read_body(self, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece = message.get("body", b"")
            size += len(piece)
            if size > settings.MAX_BODY_BYTES:
                raise BodyTooLarge
            pieces.append(piece)
            if not message.get("more_body"):
                return b"".join(pieces)

    async def _wait_for_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _run(self, body: bytes) -> None:
        try:
            if self.scope["method"] not in self.methods:
                raise MethodNotAllowed(self.scope["method"], self.methods)
            await self.handle(body)
        except Exception as error:
            failure = from_exception(error)
            self.failed(failure)
            await self.send_error(failure)
        except asyncio.CancelledError:
            if self.is_stopping and not self.response_ended:
                await self.send_error(Stopping())
            raise

    def failed(self, error: EndpointError) -> None:
        """Take note that the request failed; called before its client is told."""

    @property
    def site(self) -> str:
        """Scheme and host under which the client reached us, or "" where its Host header is none of ours."""
        host = self.headers.get(b"host", "")
        name, _ = split_domain_port(host)
        if not name or not validate_host(name, settings.ALLOWED_HOSTS):
            return ""
        return f"{self.scope.get('scheme', 'http')}://{host}"

    # --- answering -------------------------------------------------------------------------------

    async def send_json(self, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = codec.dumps(value)
        await self.start(
            status,
            {"Content-Type": "application/json", "Content-Length": str(len(body))} | dict(headers or {}),
        )
        await self.send_body(body)

    async def send_error(self, error: EndpointError) -> None:
        """Answer with a status before the first byte, with one error event after it (no status can follow)."""
        if self.response_started:
            await self.send_body(sse.data(envelope(error)))
        else:
            await self.send_json(envelope(error), status=error.status, headers=error_headers(error))

    async def send_body(self, body: bytes, *, more_body: bool = False) -> None:
        self.response_ended = not more_body
        await super().send_body(body, more_body=more_body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.response_started = True
        everything = {"X-Request-ID": self.request_id} | SECURITY_HEADERS | self.extra_headers | dict(headers)
        await self.send_headers(
            status=status,
            # HTTP headers are latin-1; a model's or server's name may hold anything.
            headers=[(name.encode(), header_value(value)) for name, value in everything.items()],
        )


def header_value(text: str) -> bytes:
    """Return ``text`` as a header may carry it: what is not printable ASCII becomes a percent escape."""
    return "".join(
        character if " " <= character <= "~" else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    ).encode("ascii")


class EventStream:
    """An SSE response that stays alive: while nothing is said for ``heartbeat`` seconds, it sends a comment.

    The response starts with the first event, or with the first heartbeat: until then an error can still have a
    status of its own.
    """

    def __init__(self, consumer: HttpConsumer, *, heartbeat: float) -> None:
        self._consumer = consumer
        self._heartbeat = heartbeat
        self._last = time.monotonic()
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "EventStream":
        if self._heartbeat > 0:
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticker:
            await _stop(self._ticker)

    async def write(self, data: bytes) -> None:
        if not self._consumer.response_started:
            await self._consumer.start(200, sse.HEADERS)
        self._last = time.monotonic()
        await self._consumer.send_body(data, more_body=True)

    async def end(self, data: bytes) -> None:
        """Write the last event and close the response."""
        if self._ticker:
            self._ticker.cancel()
        await self._consumer.send_body(data)

    async def _tick(self) -> None:
        while True:
            idle = time.monotonic() - self._last
            if idle >= self._heartbeat:
                await self.write(sse.HEARTBEAT)
                idle = 0.0
            await asyncio.sleep(self._heartbeat - idle)


async def _stop(task: "asyncio.Task[Any]") -> None:
    """Cancel ``task`` and wait until it has cleaned up; its own error, if any, stays in it."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
