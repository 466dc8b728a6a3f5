"""What daphne does with bodies that are too large: they are refused before they are there."""

import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import new_data_dir
from tests.serving import Served

pytestmark = pytest.mark.served

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def narrow():
    """An installation that takes bodies of a million bytes."""
    running = Served(new_data_dir(), environment={"MAX_BODY_BYTES": str(LIMIT)}).start()
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
        assert b"X-Request-Id: mine" in answer
    assert time.monotonic() - started < 3


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
