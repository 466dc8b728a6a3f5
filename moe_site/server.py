"""daphne on an inherited socket, without what its requests do that nothing here needs.

Importing this makes daphne's event loop; moe_site/worker.py chooses its policy first.
"""

import asyncio
import contextvars
import socket
import time
from collections.abc import Mapping
from http.client import responses
from typing import Any

from daphne import http_protocol
from daphne.server import Server
from django.conf import settings
from twisted.internet import defer, reactor
from twisted.logger import STDLibLogObserver, globalLogPublisher
from twisted.web import http
from twisted.web.http import Request as TwistedRequest
from twisted.web.http_headers import Headers

from gateway.errors import BodyTooLarge, InternalError, RequestTooSlow, http_response
from gateway.middleware import request_id
from moe_site.accesslog import log_refusal
from moe_site.background import start_background, stop_background
from routing.exceptions import BadRequest, EndpointError

DRAIN_SECONDS = 5.0
LINGER_SECONDS = 10.0
STALLED_SECONDS = 60.0
"""So long may a client leave waiting what was written to it, two pieces at most; its connection is then closed."""
PIECE_BYTES = 64 * 1024
SLOWEST_BYTES = 16 * 1024
"""A second that a body takes beyond BODY_TIMEOUT_SECONDS must bring so many."""


class Request(http_protocol.WebRequest):
    """daphne's request, of which Twisted neither parses forms (Django does) nor wraps each write in a proxy.

    Measured on a stream of 200 pieces: a tenth of the processor time.

    Twisted puts a body on disk before anybody sees it. One that is larger than MAX_BODY_BYTES is refused as soon as
    that is known; what else comes of it is read and dropped for a while, since most clients look for an answer only
    when they have sent everything, and would lose it if the connection were closed on them.

    One that arrives too slowly is refused as well: what trickles in holds a connection for as long as somebody likes.
    """

    _body_bytes = 0
    _is_refused = False
    _has_arrived = False

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > settings.MAX_BODY_BYTES:
            super().gotLength(0)
            self._refuse(BodyTooLarge())
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > settings.MAX_BODY_BYTES and not self._is_refused:
            self._refuse(BodyTooLarge())
        if not self._is_refused:
            super().handleContentChunk(data)

    def check_timeouts(self) -> None:
        """Refuse a request that is not there in time; daphne asks every other second."""
        if not self._has_arrived and not self._is_refused and self._is_connected:
            waited = time.time() - self.server.connections[self]["connected"]
            if waited > settings.BODY_TIMEOUT_SECONDS + self._body_bytes / SLOWEST_BYTES:
                self._refuse(RequestTooSlow())

    def _refuse(self, error: EndpointError) -> None:
        self._is_refused = True
        self.requestHeaders.removeHeader(b"expect")  # whoever asks before sending gets this answer and no other
        self.channel.persistent = False
        self.clientproto = b"HTTP/1.1"
        headers, body = _refusal(error, self.requestHeaders)
        headers.append((b"Connection", b"close"))
        self.handle_reply({"type": "http.response.start", "status": error.status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": body, "more_body": True})
        reactor.callLater(LINGER_SECONDS, self._hang_up)

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Answer what never reaches the application as everything else is answered: daphne's own errors are pages."""
        error = InternalError() if status >= 500 else BadRequest(f"The request is no HTTP that is read here: {body}.")
        headers, content = _refusal(error, self.requestHeaders)
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})

    def _hang_up(self) -> None:
        if self._is_connected:
            self.channel.loseConnection()

    @property
    def _is_connected(self) -> bool:
        # Twisted takes the attribute away when a request is finished, and empties it when its connection is lost.
        return not self.finished and self.channel is not None

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self._has_arrived = True
        if self._is_refused:
            self.finish()
            return
        self.requestHeaders.removeHeader(b"upgrade")  # there are no WebSockets here; it is a request like any other
        self.requestHeaders.removeHeader(b"daphne-root-path")  # where we are mounted is not for clients to say
        self.content.seek(0, 0)
        self.args: dict[bytes, list[bytes]] = {}
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        # One that was sent before the last one's answer begins where that ends: in its task, and so in its context.
        contextvars.Context().run(self.process)

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        # Twisted knows no status that is younger than 1999, such as 429.
        super().setResponseCode(code, message or responses.get(code, "").encode() or None)

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.channel:
            self.channel.spelled = {name.lower(): name for name, _ in message.get("headers", ())}
        if self.method == b"HEAD" or self.code in http.NO_BODY_CODES:
            # Twisted and daphne leave out no more than the first piece; others would be read as the next answer.
            message = message | {"body": b""}
        if message.get("more_body") and self._response_started and not self.finished and self.channel:
            TwistedRequest.write(self, message["body"])
        else:
            super().handle_reply(message)


class Channel(http.HTTPChannel):
    """A connection whose time to begin a request is not prolonged by each byte of its first line.

    ``spelled`` has the names of the answer's headers as the application writes them, by what they are in lower case.
    """

    spelled: Mapping[bytes, bytes] = {}
    _has_room: asyncio.Event | None = None

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._has_room = self._has_room or asyncio.Event()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._wake()

    def connectionLost(self, reason: Any) -> None:
        self._wake()
        super().connectionLost(reason)

    def _wake(self) -> None:
        if self._has_room:
            self._has_room.set()
            self._has_room = None

    async def room(self) -> None:
        """Wait until the client has taken what was written, and hang up on one that takes nothing."""
        if self._has_room is None:
            return
        try:
            await asyncio.wait_for(self._has_room.wait(), STALLED_SECONDS)
        except TimeoutError:
            self.transport.abortConnection()

    def resetTimeout(self) -> None:
        if self.requests:
            super().resetTimeout()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write a response's head, where Twisted would write X-Moe-Expert: the same to programs, but not to `grep`."""
        lines = [b" ".join((version, code, reason))]
        for name, values in headers.getAllRawHeaders():  # which have no line breaks in them any more
            lines += [self.spelled.get(name.lower(), name) + b": " + value for value in values]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n")


def _refusal(error: EndpointError, given: Headers) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body for a request that no application sees, and log it; ``given`` are its own headers."""
    known = request_id(given.getRawHeaders(b"x-request-id", [b""])[0].decode("latin-1"))
    log_refusal(known, error)
    response = http_response(error)
    headers = [(name.encode(), value.encode()) for name, value in response.items()]
    headers += [(b"Content-Length", str(len(response.content)).encode())]
    headers += [(b"X-Request-ID", known.encode()), (b"X-Content-Type-Options", b"nosniff")]
    return headers, response.content


http_protocol.WebRequest = Request  # what daphne's factory gives each connection


def log_twisted() -> None:
    """Have what Twisted says logged like everything else; it would print errors, each of many lines."""
    globalLogPublisher.addObserver(STDLibLogObserver())  # daphne begins logging itself, to nowhere, and only once


class Worker(Server):
    """Lets running requests end before it stops."""

    connections: dict[Any, dict[str, Any]]
    port: Any

    def __init__(self, application: Any, listening: socket.socket) -> None:
        super().__init__(application, endpoints=["adopted"], signal_handlers=False, server_name="")
        self.endpoints: list[str] = []  # the socket is adopted in listen(), which knows IPv6 too
        self.listening = listening
        self.ready_callable = self.listen

    def listen(self) -> None:
        self.http_factory.protocol = Channel
        self.http_factory.log = lambda request: None  # lines of an access log that nobody reads
        self.port = reactor.adoptStreamPort(self.listening.fileno(), self.listening.family, self.http_factory)
        reactor.callWhenRunning(lambda: reactor._asyncioEventloop.call_soon(start_background))

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Hand on what an application sends, which goes on no faster than its client reads."""
        if not message.get("more_body"):
            await super().handle_reply(protocol, message)
            return
        body = message.get("body", b"")
        # In small pieces, as a connection says that it has room only when it has sent all that was written to it.
        for start in range(0, max(len(body), 1), PIECE_BYTES):
            await super().handle_reply(protocol, message | {"body": body[start : start + PIECE_BYTES]})
            if protocol.channel:
                await protocol.channel.room()

    def kill_all_applications(self) -> Any:
        # daphne's own expects an application in every connection, also in one whose request is still arriving.
        for protocol in [one for one, known in self.connections.items() if "application_instance" not in known]:
            del self.connections[protocol]
        # Twisted waits for this before it stops the event loop; what requests leave behind is written after they ended.
        killed = super().kill_all_applications()
        return killed.addBoth(lambda _: defer.Deferred.fromFuture(asyncio.ensure_future(stop_background())))

    def ask_to_stop(self, *_: object) -> None:
        """Stop in an orderly way; may be called from a signal's handler."""
        reactor.callFromThread(self._drain)

    def _drain(self) -> None:
        """Stop listening, and stop altogether when the running requests have ended or had their time."""
        self.port.stopListening()
        self._drain_until(reactor.seconds() + DRAIN_SECONDS)

    def _drain_until(self, deadline: float) -> None:
        running = [
            details
            for details in self.connections.values()
            if "application_instance" in details and not details["application_instance"].done()
        ]
        if running and reactor.seconds() < deadline:
            reactor.callLater(0.05, self._drain_until, deadline)
        else:
            reactor.stop()
