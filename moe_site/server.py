"""daphne on an inherited socket, without what its requests do that nothing here needs.

Importing this makes daphne's event loop; moe_site/worker.py chooses its policy first.
"""

import asyncio
import socket
from typing import Any

from daphne import http_protocol
from daphne.server import Server
from twisted.internet import defer, reactor
from twisted.web.http import Request as TwistedRequest

from moe_site.background import start_background, stop_background

DRAIN_SECONDS = 5.0


class Request(http_protocol.WebRequest):
    """daphne's request, of which Twisted neither parses forms (Django does) nor wraps each write in a proxy.

    Measured on a stream of 200 pieces: a tenth of the processor time.
    """

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
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
