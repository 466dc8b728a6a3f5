"""The socket that `manage.py serve` listens on for its workers, and whether somebody answers there."""

import contextlib
import errno
import http.client
import socket
import time
from collections.abc import Iterator

from django.core.management import CommandError

BIND_SECONDS = 8.0


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on ``host``:``port`` (0: any free one); raises CommandError when that is not possible."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise CommandError(f"--host {host} is not an address of this machine: {error}") from error
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(2048)
            break
        except OSError as error:
            listening.close()
            # The workers of a killed supervisor need a moment to end their requests.
            if time.monotonic() > deadline or error.errno != errno.EADDRINUSE:
                raise CommandError(
                    f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port, or stop what uses it."
                ) from error
            time.sleep(0.2)
    listening.setblocking(False)
    try:
        yield listening
    finally:
        listening.close()


def url_of(address: tuple[object, ...]) -> str:
    host, port = str(address[0]), address[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(address: tuple[object, ...], path: str) -> bool:
    """Tell whether an HTTP server on this machine answers ``path`` with 200."""
    host = url_of(address).removeprefix("http://")
    client = http.client.HTTPConnection(host, timeout=2)
    try:
        client.request("GET", path)
        return client.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()
