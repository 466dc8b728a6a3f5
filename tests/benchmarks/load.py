"""The load: a fixed number of connections, each sending its next request when the last one is answered.

Raw sockets on uvloop, in a process of its own, so that it costs little beside what it measures and runs wherever the
project does. Run as ``python -m tests.benchmarks.load`` with a Job as JSON on standard input; a Measurement is printed.
"""

import asyncio
import dataclasses
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from tests.benchmarks.stub import END, TOKEN_MARK

ROOT = Path(__file__).resolve().parent.parent.parent
# Of a job's seconds: connections open, caches fill and the first requests fall into step before anything counts.
WARM_UP = 0.25
DRAIN_SECONDS = 10.0
MOST_SAMPLES = 500_000
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to send where; ``tokens`` is how many a whole answer holds, and 0 asks for the stub's small one."""

    url: str
    api_key: str
    model: str
    connections: int
    seconds: float
    stream: bool = False
    tokens: int = 0

    def request(self) -> bytes:
        """Return the bytes of one POST to /v1/chat/completions."""
        parts = urlsplit(self.url)
        question = f"Say ok, tokens={self.tokens}" if self.tokens else "Say ok"
        value = {"model": self.model, "messages": [{"role": "user", "content": question}]}
        body = json.dumps(value | {"stream": True} if self.stream else value).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {self.api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a job found; times in milliseconds, None where nothing was measured.

    Rates count what happened after the warm-up; ``done`` and ``failed`` count every request.
    """

    done: int
    failed: int
    error: str
    requests_per_second: float
    tokens_per_second: float
    median_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    first_byte_ms: float | None
    first_byte_p95_ms: float | None
    client_cpu_share: float


def measure(job: Job) -> Measurement:
    """Run ``job`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load"],
        input=json.dumps(dataclasses.asdict(job)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=job.seconds * (1 + WARM_UP) + DRAIN_SECONDS + 20,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The load tool failed: {done.stderr.strip()}")
    return Measurement(**json.loads(done.stdout))


def main() -> None:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    job = Job(**json.load(sys.stdin))
    print(json.dumps(dataclasses.asdict(asyncio.run(run(job)))))


async def run(job: Job) -> Measurement:
    loop = asyncio.get_running_loop()
    address = urlsplit(job.url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    tally = Tally(job)
    clients: list[Client] = []
    for _ in range(job.connections):
        _, client = await loop.create_connection(lambda: Client(job, tally), host, port)
        clients.append(client)
    began = time.perf_counter()
    tally.count_from = began + job.seconds * WARM_UP
    tally.count_until = tally.count_from + job.seconds
    for client in clients:
        client.ask()
    await asyncio.wait([client.closed for client in clients], timeout=job.seconds * (1 + WARM_UP) + DRAIN_SECONDS)
    for client in clients:
        client.give_up()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return tally.measurement((used.ru_utime + used.ru_stime) / (time.perf_counter() - began))


class Tally:
    """What all connections of a job counted."""

    def __init__(self, job: Job) -> None:
        self._seconds = job.seconds
        self.count_from = self.count_until = 0.0
        self.done = self.failed = self.counted = self.tokens = 0
        self.error = ""
        self.latencies: list[float] = []
        self.first_bytes: list[float] = []
        self.first_bytes_around: list[float] = []

    def counts(self, now: float) -> bool:
        return self.count_from <= now < self.count_until

    def add(self, began: float, ended: float) -> None:
        """Count an answer; what came outside the time that counts only says that it came."""
        self.done += 1
        if self.counts(ended):
            self.counted += 1
            if len(self.latencies) < MOST_SAMPLES:
                self.latencies.append(ended - began)

    def add_first_byte(self, began: float, now: float) -> None:
        # Of a slow target every stream may begin in the warm-up: then those are all there is to tell of.
        samples = self.first_bytes if self.counts(now) else self.first_bytes_around
        if len(samples) < MOST_SAMPLES:
            samples.append(now - began)

    def fail(self, error: str) -> None:
        self.failed += 1
        self.error = self.error or error

    def measurement(self, cpu_share: float) -> Measurement:
        latencies, first_bytes = sorted(self.latencies), sorted(self.first_bytes or self.first_bytes_around)
        return Measurement(
            done=self.done,
            failed=self.failed,
            error=self.error,
            requests_per_second=self.counted / self._seconds,
            tokens_per_second=self.tokens / self._seconds,
            median_ms=percentile(latencies, 50),
            p95_ms=percentile(latencies, 95),
            p99_ms=percentile(latencies, 99),
            first_byte_ms=percentile(first_bytes, 50),
            first_byte_p95_ms=percentile(first_bytes, 95),
            client_cpu_share=cpu_share,
        )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return a percentile of seconds in ascending order, in milliseconds."""
    if not ordered:
        return None
    if percent == 50:
        return statistics.median(ordered) * 1000
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


class Client(asyncio.Protocol):
    """One connection; it reads no more of HTTP than tells where an answer ends, and whether it is one."""

    transport: asyncio.Transport

    def __init__(self, job: Job, tally: Tally) -> None:
        self._request = job.request()
        self._stream = job.stream
        self._tokens = job.tokens
        self._tally = tally
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def ask(self) -> None:
        self._asking = True
        self._received = bytearray()
        self._length: int | None = None
        self._body_at = self._seen_tokens = 0
        self._first_byte_seen = False
        self._began = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._asking:
            self._fail("bytes after the end of an answer")
            return
        self._received += data
        if not self._body_at and not self._read_head():
            return
        if not self._first_byte_seen and len(self._received) > self._body_at:
            self._first_byte_seen = True
            self._tally.add_first_byte(self._began, now)
        if self._stream:
            self._count_tokens(data, now)
        if self._complete():
            self._end(now)

    def _read_head(self) -> bool:
        at = self._received.find(b"\r\n\r\n")
        if at < 0:
            return False
        head = bytes(self._received[:at])
        found = CONTENT_LENGTH.search(head)
        self._length = int(found[1]) if found else None
        self._body_at = at + 4
        return True

    def _count_tokens(self, data: bytes, now: float) -> None:
        tokens = data.count(TOKEN_MARK)
        self._seen_tokens += tokens
        if self._tally.counts(now):
            self._tally.tokens += tokens

    def _complete(self) -> bool:
        if self._length is None:
            return self._received.endswith(END)
        return len(self._received) >= self._body_at + self._length

    def _end(self, now: float) -> None:
        wrong = self._what_is_wrong()
        if wrong:
            self._fail(wrong)
            return
        self._asking = False
        self._tally.add(self._began, now)
        if now < self._tally.count_until:
            self.ask()
        else:
            self.transport.close()

    def _what_is_wrong(self) -> str:
        if not self._received.startswith(b"HTTP/1.1 200 "):
            return bytes(self._received[:500]).decode(errors="replace")
        if self._stream and (b"[DONE]" not in self._received or self._seen_tokens != self._tokens):
            return f"a stream of {self._seen_tokens} tokens instead of {self._tokens}, or without its end"
        if not self._stream and TOKEN_MARK not in self._received:
            return "an answer without content"
        return ""

    def _fail(self, error: str) -> None:
        """Count a failure and leave: a connection whose answers are wrong measures nothing."""
        self._asking = False
        self._tally.fail(error)
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._asking:
            self._asking = False
            self._tally.fail(f"the connection was closed before the answer was complete: {error}")
        if not self.closed.done():
            self.closed.set_result(None)

    def give_up(self) -> None:
        if self._asking:
            self._fail("no complete answer in time")


if __name__ == "__main__":
    main()
