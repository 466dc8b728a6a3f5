"""daphne on an inherited socket, without what its requests do that nothing here needs.

Importing this makes daphne's event loop; moe_site/worker.py chooses its policy first.
"""

import asyncio
import socket
from typing import Any

from daphne import http_protocol
from daphne.server import Server
from django.conf import settings
from twisted.internet import defer, reactor
from twisted.web.http import Request as TwistedRequest

from gateway.errors import BodyTooLarge, http_response
from gateway.middleware import request_id
from moe_site.background import start_background, stop_background

DRAIN_SECONDS = 5.0
LINGER_SECONDS = 10.0


class Request(http_protocol.WebRequest):
    """daphne's request, of which Twisted neither parses forms (Django does) nor wraps each write in a proxy.

    Measured on a stream of 200 pieces: a tenth of the processor time.

    Twisted puts a body on disk before anybody sees it. One that is larger than MAX_BODY_BYTES is refused as soon as
    that is known; what else comes of it is read and dropped for a while, since most clients look for an answer only
    when they have sent everything, and would lose it if the connection were closed on them.
    """

    _body_bytes = 0
    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > settings.MAX_BODY_BYTES:
            super().gotLength(0)
            self._refuse()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > settings.MAX_BODY_BYTES and not self._is_refused:
            self._refuse()
        if not self._is_refused:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        self._is_refused = True
        self.requestHeaders.removeHeader(b"expect")  # whoever asks before sending gets this answer and no other
        self.channel.persistent = False
        self.clientproto = b"HTTP/1.1"
        response = http_response(BodyTooLarge())
        given = self.requestHeaders.getRawHeaders(b"x-request-id", [b""])[0].decode("latin-1")
        headers = [(name.encode(), value.encode()) for name, value in response.items()]
        headers += [(b"Content-Length", str(len(response.content)).encode()), (b"Connection", b"close")]
        headers += [(b"X-Request-ID", request_id(given).encode())]
        self.handle_reply({"type": "http.response.start", "status": response.status_code, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": response.content, "more_body": True})
        reactor.callLater(LINGER_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        if self.channel is not None and not self.finished:
            self.channel.loseConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._is_refused:
            self.finish()
            return
        self.content.seek(0, 0)
        self.args: dict[bytes, list[bytes]] = {}
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.process()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message.get("more_body") and self._response_started and not self.finished and self.channel:
            TwistedRequest.write(self, message["body"])
        else:
            super().handle_reply(message)


http_protocol.WebRequest = Request  # what daphne's factory gives each connection


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
        self.http_factory.log = lambda request: None  # lines of an access log that nobody reads
        self.port = reactor.adoptStreamPort(self.listening.fileno(), self.listening.family, self.http_factory)
        reactor.callWhenRunning(lambda: reactor._asyncioEventloop.call_soon(start_background))

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
