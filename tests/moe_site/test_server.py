"""What daphne does with requests that are too large or too slow: they are refused before they are there."""

import hashlib
import socket
import time
import zlib
from urllib.parse import urlsplit

import httpx
import pytest

from knowledge.archive.download import PIECE
from moe_site.server import STALLED_SECONDS
from tests.conftest import new_data_dir
from tests.scripted import Reply
from tests.serving import Served

pytestmark = pytest.mark.served

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def narrow():
    """An installation that takes bodies of a million bytes."""
    limits = {"MAX_BODY_BYTES": str(LIMIT), "BODY_TIMEOUT_SECONDS": "1", "INGESTION_CONCURRENCY": "0"}
    running = Served(new_data_dir(), environment=limits).start()
    yield running
    running.stop()


def spoken(served, *pieces, until=b"}}"):
    """Send pieces over a connection and return what comes back up to ``until``."""
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while until not in answer and (data := connection.recv(65536)):
            answer += data
        return answer


def head(served, *headers, path="/v1/rag/ingest"):
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(served.url).netloc}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_one_that_is_announced_is_refused_before_anything_of_it_comes(narrow):
    started = time.monotonic()
    for path in ("/v1/rag/ingest", "/v1/chat/completions", "/v1/rag/collections", "/admin/"):
        answer = spoken(narrow, head(narrow, f"Content-Length: {10**12}", "X-Request-ID: mine", path=path))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"request_too_large"' in answer
        assert b"X-Request-ID: mine" in answer
    assert time.monotonic() - started < 10


def test_who_asks_before_sending_gets_that_answer_alone(narrow):
    answer = spoken(narrow, head(narrow, f"Content-Length: {10**12}", "Expect: 100-continue"))
    assert answer.count(b"HTTP/1.1") == 1


def test_one_that_is_not_announced_is_refused_when_it_becomes_too_large(narrow):
    piece = f"{LIMIT // 2:x}\r\n".encode() + b"x" * (LIMIT // 2) + b"\r\n"
    answer = spoken(narrow, head(narrow, "Transfer-Encoding: chunked"), piece, piece, piece)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_everything_first_gets_the_answer_and_goes_on(narrow):
    http = narrow.http()
    for _ in range(3):
        answer = http.post("/v1/rag/ingest", content=b"x" * 30_000_000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        assert http.post("/v1/rag/search", json={"query": "x"}).status_code == 200


def test_what_stands_in_a_refused_body_is_no_request(narrow):
    inner = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = inner * (2 * LIMIT // len(inner))
    answer = spoken(narrow, head(narrow, f"Content-Length: {len(body)}"), body, until=b"never")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_one_that_just_fits_is_read(narrow):
    answer = narrow.http().post("/v1/rag/ingest", content=b" " * LIMIT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, None)


def test_forms_of_people_are_held_to_it_too(narrow):
    answer = httpx.post(f"{narrow.url}/admin/login/", files={"file": ("x", b"x" * LIMIT)})
    assert answer.status_code == 413


def test_a_stream_that_is_asked_for_with_head_sends_its_head_alone(narrow):
    http = narrow.http()
    text = " ".join(hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(12_000))
    assert len(zlib.compress(text.encode())) > PIECE, "it comes in several pieces, packed as it is"
    http.post("/v1/rag/ingest", json={"collection": "long", "documents": [{"content": text}], "wait": 0})
    key = f"Authorization: Bearer {narrow.api_key}"
    host = f"Host: {urlsplit(narrow.url).netloc}"
    asked = f"HEAD /v1/rag/collections/long/archive HTTP/1.1\r\n{host}\r\n{key}\r\n\r\n"
    after = f"GET /health/live HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"
    told, _, rest = spoken(narrow, asked.encode(), after.encode(), until=b'"ok"}').partition(b"\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 200 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


# --- slow requests ---------------------------------------------------------------------------------------------


def trickled(served, beginning, piece, *, every=0.2, most=12.0):
    """Send ``beginning`` and then ``piece`` again and again; return what comes back, and after how many seconds."""
    address = urlsplit(served.url)
    started = time.monotonic()
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(beginning)
        connection.settimeout(every)
        while time.monotonic() - started < most:
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                connection.sendall(piece)
            else:
                return answer, time.monotonic() - started
    raise AssertionError("nothing came back")


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (["Content-Length: 500000"], b"x"),
        (["Transfer-Encoding: chunked"], b"1\r\nx\r\n"),
    ],
)
def test_a_body_that_trickles_in_is_refused(narrow, beginning, piece):
    answer, seconds = trickled(narrow, head(narrow, *beginning, path="/v1/chat/completions"), piece)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    assert seconds < 11


def test_headers_that_never_end_are_refused(narrow):
    answer, _ = trickled(narrow, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_headers_that_are_too_large_are_refused(narrow):
    line = b"GET /health/live HTTP/1.1\r\n"
    many = line + b"".join(b"X-%d: %s\r\n" % (number, b"b" * 1000) for number in range(40))
    assert spoken(narrow, many, until=b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert spoken(narrow, line + b"X-A: " + b"b" * 20_000) == b""


def test_one_that_is_slow_but_steady_is_read(narrow):
    body = b" " * 600_000
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]

    def slowly():
        for piece in pieces:
            time.sleep(0.7)
            yield piece

    answer = narrow.http().post("/v1/rag/ingest", content=slowly())
    assert answer.status_code == 400  # for what is in it


def test_slow_ones_keep_nobody_from_being_answered(narrow):
    address = urlsplit(narrow.url)
    waiting = [socket.create_connection((address.hostname, address.port)) for _ in range(200)]
    for connection in waiting:
        connection.sendall(head(narrow, "Content-Length: 1000") + b"x")
    started = time.monotonic()
    assert narrow.http().get("/health/live").status_code == 200
    assert time.monotonic() - started < 10
    for connection in waiting:
        connection.close()


def test_a_websocket_is_a_request_like_any_other(narrow):
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    asked = head(narrow, *upgrade, path="/health/live").replace(b"POST", b"GET")
    answer = spoken(narrow, asked, until=b"}")
    assert answer.startswith(b"HTTP/1.1 200 ")
    output = narrow.output()
    assert "Traceback" not in output, output[output.index("Traceback") :][:3000]


def test_headers_are_spelled_as_they_are_documented(narrow):
    key = narrow.new_key("hurried", "--rpm", "1")
    asked = head(narrow, f"Authorization: Bearer {key}", "X-Request-ID: mine", path="/v1/models")
    answer = spoken(narrow, asked.replace(b"POST", b"GET"), until=b"}")
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    for line in (b"X-Request-ID: mine", b"x-ratelimit-remaining-requests: 0", b"Content-Type: application/json"):
        assert line in lines


def test_strange_hosts_are_refused_in_one_line(narrow):
    for path in ("/v1/models", "/admin/"):
        assert httpx.get(narrow.url + path, headers={"Host": "strange.example"}).status_code == 400
    output = narrow.output()
    assert "Invalid HTTP_HOST header: 'strange.example'" in output
    assert "Traceback" not in output, output[output.index("Traceback") :][:3000]


def test_requests_that_come_together_keep_their_ids(narrow):
    host = urlsplit(narrow.url).netloc
    asked = [f"GET /health/live HTTP/1.1\r\nHost: {host}\r\nX-Request-ID: {name}\r\n\r\n" for name in ("one", "two")]
    asked.append(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nX-Request-ID: three\r\nConnection: close\r\n\r\n")
    answer = spoken(narrow, "".join(asked).encode(), until=b"never")
    assert [name for name in (b"one", b"two", b"three") if answer.count(b"X-Request-ID: " + name) == 1] == [
        b"one",
        b"two",
        b"three",
    ]


@pytest.mark.parametrize("value", [b"/elsewhere", b"\xff"])
def test_clients_do_not_say_where_we_are_mounted(narrow, value):
    asked = head(narrow, path="/health/live").replace(b"POST", b"GET")
    answer = spoken(narrow, asked[:-2] + b"Daphne-Root-Path: " + value + b"\r\n\r\n", until=b"}")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_headers_that_are_none_are_refused_like_everything_else(narrow):
    asked = head(narrow, "X-Request-ID: mine", path="/v1/models")
    answer = spoken(narrow, asked[:-2] + b"X-A: \x85\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"X-Request-ID: mine" in answer
    assert b"nosniff" in answer


def test_a_query_of_too_many_fields_is_the_clients_mistake(narrow):
    answer = narrow.http().get("/v1/files", params={f"a{number}": 1 for number in range(1500)})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_programs_get_no_pages(narrow):
    http = narrow.http()
    for answer in (http.get("/api"), http.post("/health/live"), http.delete("/health/ready")):
        assert answer.headers["content-type"] == "application/json"


LONG = {"model": "llama3.2:3b", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def test_a_model_speaks_no_faster_than_its_listener_reads(served_ollama, ollama):
    ollama.reply(Reply(content=["x" * 20_000] * 2_000, completion_tokens=2_000))  # 40 MB
    with served_ollama.dial("/v1/chat/completions", LONG) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        time.sleep(3)
        assert ollama.work_at("/api/chat")[-1].pieces_sent < 1_000
        received, end = 0, b""
        while b"[DONE]" not in end and (data := connection.recv(1_000_000)):
            received, end = received + len(data), (end + data)[-100:]
    assert received > 40_000_000


@pytest.mark.slow
def test_a_listener_that_reads_nothing_is_left_after_a_minute(served_ollama, ollama):
    ollama.reply(Reply(content=["x" * 20_000] * 2_000, completion_tokens=2_000))
    with served_ollama.dial("/v1/chat/completions", LONG):
        began, request = time.monotonic(), ollama.wait_for_work("/api/chat")
        assert request.wait_disconnected(120)
        assert STALLED_SECONDS <= time.monotonic() - began < STALLED_SECONDS + 10
    assert request.pieces_sent < 1_000


def test_a_start_is_quiet(narrow):
    assert "twisted" not in narrow.output()


def test_every_answer_forbids_guessing_what_it_is(narrow):
    for path in ("/health/live", "/v1/models", "/v1/chat/completions", "/api/version", "/nothing", "/admin/login/"):
        answer = httpx.get(narrow.url + path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "same-origin", path
