"""One answer as it goes over the wire: when its bytes are sent, and how it breaks off."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from .recorded import Recorded
from .reply import Reply

JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
STREAMS = (NDJSON, EVENTS)


class Refusal(Exception):
    """The request is refused before anything is generated."""

    def __init__(self, status: int, body: bytes, content_type: str = JSON) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.content_type = content_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The bytes of an answer in the pieces they are sent in, and the reply that times and breaks them."""

    pieces: tuple[bytes, ...]
    reply: Reply = field(default_factory=Reply)
    status: int = 200
    content_type: str = JSON
    opening: bytes = b""  # goes before the first piece, and is not counted
    error: bytes = b""  # goes in place of the rest
    ending: bytes = b""
    streamed: bool = False
    early_headers: bool = False  # llama.cpp opens the stream before the first token, Ollama with it
    pause: float = 0.0  # seconds that generating takes when nothing is streamed
    counts: tuple[int, int] = (0, 0)  # tokens read and written, if it comes to its end
    on_loaded: Callable[[], None] | None = None
    on_finished: Callable[[], None] | None = None

    def at(self, after: int | None) -> int | None:
        """Place a fault so that it always happens: at the latest after the last piece.

        An answer that does not stream has two pieces, the halves of its body: dropping after the second would
        be no drop.
        """
        return None if after is None else min(after, len(self.pieces) if self.streamed else 1)

    def finish(self) -> None:
        """Do what comes of the answer, before its last bytes: a client that has them may ask about it."""
        if self.on_finished:
            self.on_finished()


def whole(
    body: bytes,
    *,
    reply: Reply | None = None,
    status: int = 200,
    content_type: str = JSON,
    pause: float = 0.0,
    counts: tuple[int, int] = (0, 0),
    on_loaded: Callable[[], None] | None = None,
    on_finished: Callable[[], None] | None = None,
) -> Exchange:
    """Answer with one body of known length."""
    half = len(body) // 2
    return Exchange(
        pieces=(body[:half], body[half:]),
        reply=reply or Reply(),
        status=status,
        content_type=content_type,
        pause=pause,
        counts=counts,
        on_loaded=on_loaded,
        on_finished=on_finished,
    )


def raw(reply: Reply, otherwise: bytes) -> Exchange:
    """Answer with the status and the body of a reply, or with `otherwise` where it has no body."""
    data, content_type = otherwise, JSON
    if isinstance(reply.body, Mapping):
        data = json.dumps(reply.body, ensure_ascii=False).encode()
    elif reply.body is not None:
        data = reply.body.encode() if isinstance(reply.body, str) else reply.body
        if not data.lstrip().startswith((b"{", b"[")):
            content_type = "text/html" if data.lstrip().startswith(b"<") else "text/plain; charset=utf-8"
    content_type = next((v for k, v in reply.headers.items() if k.lower() == "content-type"), content_type)
    if content_type.startswith(STREAMS):
        return Exchange(pieces=(data,), reply=reply, status=reply.status, content_type=content_type, streamed=True)
    return whole(data, reply=reply, status=reply.status, content_type=content_type)


def generation_time(reply: Reply) -> float:
    """Tell how long the pieces of a reply take, for an answer that shows none of them."""
    return reply.delay * max(0, len(reply.pieces()) - 1)


class Wire:
    """The writing side of one response."""

    def __init__(self, request: web.BaseRequest, exchange: Exchange, recorded: Recorded, *, keep_alive: bool) -> None:
        self._request = request
        self._exchange = exchange
        self._recorded = recorded
        self._keep_alive = keep_alive
        self._pending = b""
        self._sliced = False
        self.response = web.StreamResponse(status=exchange.status)

    async def start(self) -> None:
        """Send the headers, once; aiohttp sends those of a stream in a write of their own."""
        if self.response.prepared:
            return
        self.response.headers["Content-Type"] = self._exchange.content_type
        self.response.headers.update(self._exchange.reply.headers)
        if self._exchange.streamed:
            self.response.enable_chunked_encoding()
        else:
            self.response.content_length = sum(len(piece) for piece in self._exchange.pieces)
        if not self._keep_alive:
            self.response.force_close()
        await self.response.prepare(self._request)
        self._recorded.status = self._exchange.status

    async def write(self, data: bytes) -> None:
        """Send data, or keep what does not fill a slice yet."""
        await self.start()
        if self._request.method == "HEAD":
            return
        size = self._exchange.reply.split_bytes
        if size is None:
            await self.response.write(data)
            return
        self._pending += data
        while len(self._pending) >= size:
            await self._slice(size)

    async def flush(self) -> None:
        """Send what was kept."""
        if self._pending:
            await self._slice(len(self._pending))

    async def end(self) -> None:
        """Complete the response, as HTTP sees it."""
        await self.start()
        await self.flush()
        await self.response.write_eof()

    async def drop(self) -> None:
        """Close the connection in the middle of the response, after what was written has left."""
        await self.flush()
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client was faster")
        while transport.get_write_buffer_size():  # noqa: ASYNC110 - a transport has no event for this
            await asyncio.sleep(0.001)
        if self._exchange.reply.reset:
            # Closing with a linger time of zero sends RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._recorded.finish()
        transport.abort()
        await forever()

    async def _slice(self, size: int) -> None:
        if self._sliced:
            await asyncio.sleep(self._exchange.reply.byte_delay)
        self._sliced = True
        data, self._pending = self._pending[:size], self._pending[size:]
        await self.response.write(data)


async def play(
    request: web.BaseRequest, exchange: Exchange, recorded: Recorded, *, keep_alive: bool
) -> web.StreamResponse:
    """Send an answer to its scripted end, which may be a cut or a silence."""
    reply = exchange.reply
    wire = Wire(request, exchange, recorded, keep_alive=keep_alive)
    recorded.counts = exchange.counts
    await asyncio.sleep(reply.load_delay)
    if exchange.on_loaded:
        exchange.on_loaded()
    if exchange.early_headers:
        await wire.start()
    await asyncio.sleep(reply.first_delay + exchange.pause)
    failed = await _send_pieces(wire, exchange, recorded)
    if exchange.streamed:
        exchange.finish()
    if failed:
        await wire.write(exchange.error)
    elif not (reply.end_without_done and exchange.streamed):
        await wire.write(exchange.ending if exchange.pieces else exchange.opening + exchange.ending)
        recorded.told_counts = True
    await wire.end()
    recorded.finish()
    return wire.response


async def _send_pieces(wire: Wire, exchange: Exchange, recorded: Recorded) -> bool:
    """Send the pieces up to a fault, and tell whether an error is to follow."""
    reply = exchange.reply
    drop, error = exchange.at(reply.drop_after), exchange.at(reply.error_after)
    hang = exchange.at(reply.hang_after)
    if hang is not None and not exchange.streamed:
        hang = 0  # a model that gets stuck has not said anything yet
    for index in range(len(exchange.pieces) + 1):
        if index == drop:
            await wire.drop()
        if index == hang:
            await wire.flush()
            await forever()
        if index == error and exchange.error:
            return True
        if index == len(exchange.pieces):
            break
        if index and reply.delay and exchange.streamed:
            await wire.flush()
            await asyncio.sleep(reply.delay)
        if index == len(exchange.pieces) - 1 and not exchange.streamed:
            exchange.finish()
        await wire.write(exchange.pieces[index] if index else exchange.opening + exchange.pieces[index])
        recorded.pieces_sent = index + 1
    return False


async def forever() -> None:
    """Wait until the connection is gone, which cancels the handler."""
    await asyncio.Event().wait()
