"""Server-sent events, as bytes. Pure."""

from typing import Any

from routing.backends import codec

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold events back until its buffer is full
}
DONE = b"data: [DONE]\n\n"
# A comment: the SDKs' parsers pass over it, and proxies see that the connection is alive.
HEARTBEAT = b": waiting for the model\n\n"


def data(value: Any) -> bytes:
    return b"data: " + codec.dumps(value) + b"\n\n"


def event(name: str, value: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + data(value)
