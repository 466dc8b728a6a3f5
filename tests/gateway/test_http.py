"""The base of streaming consumers: one response, and no work for a client that left."""

import asyncio
import json

import pytest

from gateway import sse
from gateway.http import EventStream, HttpConsumer, header_value
from routing.exceptions import Unavailable


class Connection:
    """An ASGI connection: what the client sends, what it got, and when it leaves."""

    def __init__(self, *pieces: bytes, method: str = "POST") -> None:
        self.incoming: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        for number, piece in enumerate(pieces, start=1):
            self.incoming.put_nowait({"type": "http.request", "body": piece, "more_body": number < len(pieces)})
        self.sent: list[dict[str, object]] = []
        self.begun = asyncio.Event()
        self.scope = {"type": "http", "method": method, "path": "/", "headers": [(b"x-request-id", b"abc")]}

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def send(self, message: dict[str, object]) -> None:
        self.sent.append(message)
        self.begun.set()

    async def run(self, consumer: type[HttpConsumer]) -> None:
        async with asyncio.timeout(60):
            await consumer.as_asgi()(self.scope, self.incoming.get, self.send)

    @property
    def status(self) -> object:
        return self.sent[0]["status"]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)  # type: ignore[misc]

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


async def test_a_body_in_pieces_arrives_whole():
    class Echo(HttpConsumer):
        async def handle(self, body):
            await self.send_json({"length": len(body)})

    connection = Connection(b"ab", b"", b"cde")
    await connection.run(Echo)
    assert json.loads(connection.body) == {"length": 5}
    assert (b"X-Request-ID", b"abc") in connection.sent[0]["headers"]


async def test_a_client_that_leaves_stops_the_work_which_may_clean_up():
    stages = []

    class Slow(HttpConsumer):
        async def handle(self, body):
            try:
                stages.append("working")
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                stages.append("cleaned up")

    connection = Connection(b"{}")
    running = asyncio.create_task(connection.run(Slow))
    await asyncio.sleep(0.05)
    connection.leave()
    await running
    assert stages == ["working", "cleaned up"]
    assert connection.sent == []


@pytest.mark.parametrize("begun", [True, False])
async def test_a_server_that_stops_tells_the_clients_whose_answers_it_breaks_off(begun):
    class Slow(HttpConsumer):
        async def handle(self, body):
            async with EventStream(self, heartbeat=0) as stream:
                if begun:
                    await stream.write(sse.data({"piece": 1}))
                working.set()
                await asyncio.sleep(60)

    working, connection = asyncio.Event(), Connection(b"{}")
    running = asyncio.create_task(connection.run(Slow))
    await working.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert connection.complete
    assert connection.status == (200 if begun else 503)
    assert b"Send the request again" in connection.body
    assert connection.body.startswith(b'data: {"piece":1}') == begun


async def test_a_server_that_stops_adds_nothing_to_an_answer_that_is_complete():
    class Cleaning(HttpConsumer):
        async def handle(self, body):
            await self.send_json({"done": True})
            working.set()
            await asyncio.sleep(60)

    working, connection = asyncio.Event(), Connection(b"{}")
    running = asyncio.create_task(connection.run(Cleaning))
    await working.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert json.loads(connection.body) == {"done": True}


async def test_a_client_that_leaves_while_sending_is_not_answered():
    connection = Connection(b"half", b"never")
    connection.incoming = asyncio.Queue()
    connection.incoming.put_nowait({"type": "http.request", "body": b"half", "more_body": True})
    connection.leave()
    await connection.run(HttpConsumer)
    assert connection.sent == []


async def test_a_server_that_stops_cancels_the_work():
    cancelled = asyncio.Event()

    class Slow(HttpConsumer):
        async def handle(self, body):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    running = asyncio.create_task(Connection(b"{}").run(Slow))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cancelled.is_set()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(Unavailable("Later.", retry_after=3), 503, "service_unavailable"), (ZeroDivisionError(), 500, "server_error")],
)
async def test_an_error_before_the_first_byte_has_a_status(error, status, code):
    class Failing(HttpConsumer):
        async def handle(self, body):
            raise error

    connection = Connection(b"{}")
    await connection.run(Failing)
    assert connection.status == status
    assert json.loads(connection.body)["error"]["code"] == code
    assert connection.complete


async def test_an_error_after_the_first_byte_is_one_event():
    class Failing(HttpConsumer):
        async def handle(self, body):
            async with EventStream(self, heartbeat=0) as stream:
                await stream.write(sse.data({"n": 1}))
                raise Unavailable("Gone.")

    connection = Connection(b"{}")
    await connection.run(Failing)
    assert connection.status == 200
    _, last = connection.body.decode().strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["message"] == "Gone."
    assert connection.complete


async def test_heartbeats_fill_silence_only():
    class Quiet(HttpConsumer):
        async def handle(self, body):
            async with EventStream(self, heartbeat=0.05) as stream:
                await asyncio.sleep(0.18)
                for _ in range(20):
                    await stream.write(sse.data(1))
                    await asyncio.sleep(0.005)
                await stream.end(sse.DONE)
                await asyncio.sleep(0.12)

    connection = Connection(b"{}")
    await connection.run(Quiet)
    assert connection.body.count(sse.HEARTBEAT) == 3
    assert connection.body.endswith(sse.DONE)
    assert connection.sent[-1]["more_body"] is False


@pytest.mark.parametrize(
    ("text", "value"),
    [("qwen3:8b@gpu-box", b"qwen3:8b@gpu-box"), ("Küche", b"K%C3%BCche"), ("a\r\nX-Evil: 1", b"a%0D%0AX-Evil: 1")],
)
def test_a_header_holds_any_name_safely(text, value):
    assert header_value(text) == value
