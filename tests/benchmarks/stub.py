"""A model server that answers at once, and costs next to nothing: what a gateway adds is all that is left to measure.

It speaks as much of Ollama's and of OpenAI's protocol as a gateway asks for. A small answer leaves in one write, as
an instant server has all of it; a long one (``tokens=N`` in the prompt) leaves one token a write, as tokens come from
a model. Run as ``python -m tests.benchmarks.stub``: the first line it prints is its port, and it leaves when its
standard input closes.
"""

import asyncio
import functools
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson
import uvloop

MODEL = "bench:latest"
# Stands in every token, and nowhere else in an answer: counting it counts tokens, whatever the protocol.
TOKEN_MARK = b"~"
SMALL_ANSWER_TOKENS = 8
MOST_TOKENS = 10_000
CREATED = 1_700_000_000
WHEN = "2024-01-01T00:00:00Z"
ASKED_TOKENS = re.compile(rb"tokens=(\d{1,5})")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
END = b"0\r\n\r\n"


def main() -> None:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve())


async def serve() -> None:
    loop = asyncio.get_running_loop()
    parent_left = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: parent_left.set() if not sys.stdin.buffer.read1(1024) else None)
    server = await loop.create_server(Exchange, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await parent_left.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


class Exchange(asyncio.Protocol):
    """One connection: requests one after the other, each answered when its body is complete."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._pieces: Sequence[bytes] = ()
        self._next = 0
        self._can_write = True
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        found = CONTENT_LENGTH.search(head)
        length = int(found[1]) if found else 0
        if len(rest) < length:
            return
        self._received = rest[length:]
        method, path, _ = head.split(b" ", 2)
        pieces = ANSWERS.get((method, path), not_found)(rest[:length])
        if len(pieces) == 1:
            self.transport.write(pieces[0])
        else:
            self._pieces, self._next = pieces, 0
            self._write_next()

    def _write_next(self) -> None:
        # A turn of the event loop for each piece: written in one turn, they would leave together.
        if self.transport.is_closing() or not self._can_write:
            return
        self.transport.write(self._pieces[self._next])
        self._next += 1
        if self._next < len(self._pieces):
            self._loop.call_soon(self._write_next)

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        if self._next < len(self._pieces):
            self._write_next()


# --- answers: a request's body into the pieces to write -----------------------------------------------------


def tokens_asked(body: bytes) -> int:
    found = ASKED_TOKENS.search(body)
    return min(int(found[1]), MOST_TOKENS) if found else SMALL_ANSWER_TOKENS


def ollama_chat(body: bytes) -> Sequence[bytes]:
    return ollama_answer(tokens_asked(body), orjson.loads(body).get("stream", True))


def words(count: int) -> list[str]:
    """Return tokens, no two alike: LiteLLM ends a stream that repeats itself."""
    return [f" {TOKEN_MARK.decode()}{number}" for number in range(count)]


@functools.lru_cache
def ollama_answer(tokens: int, stream: bool) -> Sequence[bytes]:
    head = {"model": MODEL, "created_at": WHEN}
    last = head | {
        "done": True,
        "done_reason": "stop",
        "total_duration": 1,
        "prompt_eval_count": 12,
        "eval_count": tokens,
        "message": {"role": "assistant", "content": "" if stream else "".join(words(tokens))},
    }
    if not stream:
        return (whole(last),)
    lines = [head | {"message": {"role": "assistant", "content": word}, "done": False} for word in words(tokens)]
    *events, end = [orjson.dumps(line) + b"\n" for line in [*lines, last]]
    return chunked("application/x-ndjson", events, end)


def openai_chat(body: bytes) -> Sequence[bytes]:
    return openai_answer(tokens_asked(body), orjson.loads(body).get("stream", False))


@functools.lru_cache
def openai_answer(tokens: int, stream: bool) -> Sequence[bytes]:
    head = {"id": "chatcmpl-bench", "object": "chat.completion", "created": CREATED, "model": MODEL}
    usage = {"prompt_tokens": 12, "completion_tokens": tokens, "total_tokens": 12 + tokens}
    if not stream:
        message = {"role": "assistant", "content": "".join(words(tokens))}
        return (whole(head | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}),)

    def event(**fields: Any) -> bytes:
        return b"data: " + orjson.dumps(head | {"object": "chat.completion.chunk"} | fields) + b"\n\n"

    def piece(delta: dict[str, str], reason: str | None = None) -> bytes:
        return event(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])

    end = piece({}, "stop") + event(choices=[], usage=usage) + b"data: [DONE]\n\n"
    return chunked("text/event-stream", [piece({"role": "assistant", "content": word}) for word in words(tokens)], end)


def whole(value: Any, status: str = "200 OK") -> bytes:
    body = orjson.dumps(value)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(content_type: str, events: list[bytes], end: bytes) -> Sequence[bytes]:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in [*events, end]]
    chunks[0] = head + chunks[0]
    chunks[-1] += END
    return (b"".join(chunks),) if len(events) <= SMALL_ANSWER_TOKENS else tuple(chunks)


DETAILS = {"format": "gguf", "family": "llama", "parameter_size": "8B", "quantization_level": "Q4_K_M"}
TAG = {"name": MODEL, "model": MODEL, "modified_at": WHEN, "size": 1, "digest": "0" * 64, "details": DETAILS}
SHOWN = {
    "details": DETAILS,
    "model_info": {"general.architecture": "llama", "llama.context_length": 131_072},
    "capabilities": ["completion", "tools"],
}


def always(value: Any) -> Callable[[bytes], Sequence[bytes]]:
    pieces = (whole(value),)
    return lambda body: pieces


def not_found(body: bytes) -> Sequence[bytes]:
    return (whole({"error": "the benchmark's model server does not answer this"}, "404 Not Found"),)


ANSWERS: dict[tuple[bytes, bytes], Callable[[bytes], Sequence[bytes]]] = {
    (b"POST", b"/api/chat"): ollama_chat,
    (b"GET", b"/api/tags"): always({"models": [TAG]}),
    (b"POST", b"/api/show"): always(SHOWN),
    (b"GET", b"/api/version"): always({"version": "0.12.0"}),
    (b"GET", b"/api/ps"): always({"models": [TAG]}),
    (b"POST", b"/v1/chat/completions"): openai_chat,
    (b"GET", b"/v1/models"): always({"object": "list", "data": [{"id": MODEL, "object": "model", "created": CREATED}]}),
}


if __name__ == "__main__":
    main()
