"""A process that answers requests: daphne over a socket its supervisor listens on.

Run as ``python -m moe_site.worker --socket N`` by moe_site/serve.py.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import threading


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the listening socket")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
    threading.Thread(target=leave_with_parent, daemon=True).start()
    gc.disable()  # all that is loaded stays: looking for garbage among it took a tenth of the start

    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    from moe_site.asgi import application  # sets Django up, and must come first
    from moe_site import logs  # isort: skip
    from moe_site.server import Worker, log_twisted

    logs.catch_strays()
    log_twisted()

    server = Worker(application, socket.socket(fileno=arguments.socket))
    signal.signal(signal.SIGTERM, server.ask_to_stop)
    signal.signal(signal.SIGINT, server.ask_to_stop)
    # What was loaded stays; looking through it for garbage again and again cost a tenth of the time under load,
    # and half of the slowest requests'.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
    server.run()


def leave_with_parent() -> None:
    """Drain when the supervisor is gone: its end of our standard input closes however it ended."""
    os.read(0, 1)  # returns when the other end is closed; nothing is ever written to it
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
