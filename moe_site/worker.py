"""A process that answers requests: daphne over a socket its supervisor listens on.

Run as ``python -m moe_site.worker --socket N`` by moe_site/serve.py.
"""

import argparse
import asyncio
import os
import signal
import socket
import threading
from typing import Any

DRAIN_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the listening socket")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    import uvloop

    # daphne makes its event loop when it is imported.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    from daphne.server import Server
    from twisted.internet import defer, reactor

    from moe_site.asgi import application
    from moe_site.background import start_background, stop_background

    listening = socket.socket(fileno=arguments.socket)

    class Worker(Server):
        """daphne on an inherited socket, which lets running requests end before it stops."""

        connections: dict[Any, dict[str, Any]]
        port: Any

        def listen(self) -> None:
            self.port = reactor.adoptStreamPort(listening.fileno(), listening.family, self.http_factory)
            reactor.callWhenRunning(lambda: reactor._asyncioEventloop.call_soon(start_background))

        def kill_all_applications(self) -> Any:
            # daphne's own expects an application in every connection, also in one whose request is still arriving.
            for protocol in [one for one, known in self.connections.items() if "application_instance" not in known]:
                del self.connections[protocol]
            return super().kill_all_applications()

        def drain(self) -> None:
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

    server = Worker(application, endpoints=["adopted"], signal_handlers=False, server_name="")
    server.ready_callable = server.listen
    server.endpoints = []  # the socket is adopted in listen(), which knows IPv6 too
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(server.drain))
    signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(server.drain))
    reactor.addSystemEventTrigger(
        "during", "shutdown", lambda: defer.Deferred.fromFuture(asyncio.ensure_future(stop_background()))
    )
    server.run()


def _leave_with_parent() -> None:
    """Drain when the supervisor is gone: its end of our standard input closes however it ended."""
    os.read(0, 1)  # returns when the other end is closed; nothing is ever written to it
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
