"""Requests that make no sense, by the thousand: no 5xx, no HTML, no hang, no growing memory.

What fits the API's description, and what just misses it, comes from schemathesis; what is no HTTP as it should be, from
hypothesis, over sockets. Some of it runs each time, ten thousand requests with ``-m slow``.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi import checks

from gateway.openapi.operations import OPERATIONS
from gateway.policy import Scope
from tests.conftest import new_data_dir
from tests.scripted import ScriptedModel, ScriptedServer
from tests.serving import Served

pytestmark = [
    pytest.mark.served,
    # schemathesis' own use of jsonschema and requests
    pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis.*"),
]

FEW, MANY = 4, 170
"""Requests of each operation, each time and with -m slow."""
FEW_RAW, MANY_RAW = 60, 1500
SECONDS = 15.0
"""No request may take longer: a search has ten to give up."""
MEGABYTE = 1024 * 1024
MOST_GROWTH = 60 * MEGABYTE
HELD = (
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
)


@schemathesis.serializer("application/zip")
def zipped(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send what was thought of as it is: no archive."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def model_server() -> Iterator[ScriptedServer]:
    models = [
        ScriptedModel(name="llama3.2:3b", capabilities=("completion", "tools", "insert"), context_length=131072),
        ScriptedModel(name="nomic-embed-text:latest", capabilities=("embedding",)),
    ]
    with ScriptedServer(models) as server:
        yield server


@pytest.fixture(scope="module")
def door(model_server: ScriptedServer) -> Iterator[Served]:
    """An installation of its own: what is thrown at it stays in it."""
    environment = {"OLLAMA_BASE_URL": model_server.url, "MAX_BODY_BYTES": str(2 * MEGABYTE)}
    running = Served(new_data_dir(), environment=environment).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def key_text(door: Served) -> str:
    """A key that may do everything, also administer."""
    scopes = [argument for scope in Scope for argument in ("--scope", scope.value)]
    return door.new_key("fuzz", *scopes)


@pytest.fixture(scope="module")
def api(door: Served) -> Any:
    return schemathesis.openapi.from_url(f"{door.url}/openapi.json")


def held(response: httpx.Response | schemathesis.Response, path: str) -> None:
    """Check what holds for every answer, whatever was asked."""
    kind = response.headers.get("content-type", b"")
    text = kind[0] if isinstance(kind, list) else str(kind)
    assert response.status_code < 500, (response.status_code, response.content[:500])
    assert "html" not in text, text
    if path.startswith("/v1") and response.status_code >= 400:
        error = json.loads(response.content)["error"]
        assert isinstance(error["message"], str)
        assert error["message"]
        assert error["type"]


def hypothesized(count: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


# --- by the description -----------------------------------------------------------------------------------------


def attack(api: Any, key_text: str, key: tuple[str, str], count: int) -> int:
    """Send up to ``count`` requests to an operation, half of which fit its description; return how many."""
    method, path = key
    operation = api[path][method]
    headers = {"Authorization": f"Bearer {key_text}"}
    answered = 0
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        strategy = operation.as_strategy(generation_mode=mode)

        @hypothesized(max(1, count // 2))
        @given(case=strategy)
        def run(case: Case) -> None:
            nonlocal answered
            assume(not (path.endswith("/rotate") and case.path_parameters["number"] == 2))  # the key that asks
            response = case.call(headers=headers, timeout=SECONDS)
            held(response, path)
            case.validate_response(response, checks=list(HELD))
            answered += 1

        with suppress(Unsatisfiable):  # not every operation takes something that could be wrong
            run()
    return answered


@pytest.mark.parametrize("key", OPERATIONS, ids=" ".join)
def test_what_fits_the_description_and_what_just_misses_it(api, key_text, key):
    attack(api, key_text, key, FEW)


# --- by socket --------------------------------------------------------------------------------------------------

PATHS = ("/v1/chat/completions", "/v1/embeddings", "/v1/rag/ingest", "/v1/rag/search", "/v1/files", "/api/chat")
VALID = {"model": "llama3.2:3b", "messages": [{"role": "user", "content": "Hello"}], "input": "a", "query": "a"}
names = st.sampled_from((
    "Content-Type", "Content-Length", "Transfer-Encoding", "Accept", "Authorization", "Host", "Expect", "Origin",
    "X-Request-ID", "X-Forwarded-For", "Content-Encoding", "Range", "Connection", "Upgrade", "Cookie",
))  # fmt: skip
values = st.one_of(
    st.sampled_from((
        "", "0", "-1", "99999999999999999999", "chunked", "gzip", "application/json", "text/html",
        "multipart/form-data", "multipart/form-data; boundary=", "bytes=0-1", "100-continue", "websocket", "Bearer",
        "Bearer sk-moe-x", "*", "application/json; charset=utf-16", "evil.example", "https://evil.example",
        "keep-alive", "close", "a" * 9000,
    )),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
)  # fmt: skip
deep = st.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth)
NESTED = b'{"a":' * 1010 + b"1" + b"}" * 1010
"""As deep as JSON is read, and deeper than Python writes it."""
NESTED_TOOL = b'[{"type": "function", "function": {"name": "a", "parameters": ' + NESTED + b"}}]"
bodies = st.one_of(
    st.just(json.dumps(VALID).encode()),
    st.binary(max_size=400),
    deep,
    st.sampled_from((
        b'{"model": "auto", "messages": [{"role": "user", "content": "a"}], "tools": ' + NESTED_TOOL + b"}",
        b"", b"null", b"[]", b'"text"', b"{", b'{"model": "auto", "messages": NaN}', b'{"a": 1, "a": 2}',
        b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "auto\\u0000", "messages": [{"role": "user", "content": "a"}]}',
        b'{"model": 1e999, "messages": []}', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"--x\r\n\r\n--x--",
        b'{"model": "auto", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": '
        b'{"url": "http://169.254.169.254/"}}]}]}',
    )),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(VALID)), inner, max_size=4),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip


@st.composite
def wholes(draw: st.DrawFn) -> list[bytes]:
    """Draw a request as the pieces it is sent in."""
    method = draw(st.sampled_from(("POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW")))
    path = draw(st.sampled_from(PATHS) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
    body = draw(bodies)
    headers = {"Host": "127.0.0.1", "Content-Type": "application/json", "Connection": "close"}
    how = draw(st.sampled_from(("length", "chunked", "broken chunks", "too short", "none")))
    if how == "length":
        headers["Content-Length"] = str(len(body))
    elif how == "too short":
        headers["Content-Length"] = str(len(body) // 2)
    elif how != "none":
        headers["Transfer-Encoding"] = "chunked"
    headers |= draw(st.dictionaries(names, values, max_size=3))
    head = f"{method} {path if path.startswith('/') else '/v1/' + path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    pieces = [head.encode("latin-1", "replace"), b"Authorization: Bearer KEY\r\n\r\n"]
    if how == "chunked":
        middle = len(body) // 2
        parts = [part for part in (body[:middle], body[middle:]) if part]
        return [*pieces, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]
    return [*pieces, b"zz\r\n" + body] if how == "broken chunks" else [*pieces, body]


def sent(door: Served, key_text: str, pieces: list[bytes]) -> bytes:
    """Send pieces with a pause between them and return all that comes back; the client then has nothing to add."""
    address = urlsplit(door.url)
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece.replace(b"KEY", key_text.encode()))
                time.sleep(0.001)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            raise
        except OSError:
            pass  # it was refused before all had been sent
    return answer


def check_raw(answer: bytes) -> None:
    if not answer:
        return  # a request that never was one: the connection is closed
    for one in answer.split(b"HTTP/1.1 ")[1:]:
        assert not one.startswith(b"5"), answer[:1000]
    assert b"<html" not in answer.lower(), answer[:1000]


def assail(door: Served, key_text: str, count: int) -> None:
    @hypothesized(count)
    @given(pieces=wholes())
    def run(pieces: list[bytes]) -> None:
        check_raw(sent(door, key_text, pieces))

    run()


def test_what_is_hardly_http(door, key_text):
    assail(door, key_text, FEW_RAW)


def test_somebody_who_sends_slowly_holds_nobody_up(door, key_text):
    body = json.dumps(VALID).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: Bearer {key_text}\r\nConnection: close\r\n\r\n"
    address = urlsplit(door.url)
    slow = [socket.create_connection((address.hostname, address.port), timeout=SECONDS) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(head.encode() + body[:-1])
        began = time.monotonic()
        headers = {"Authorization": f"Bearer {key_text}"}
        assert httpx.post(f"{door.url}/v1/chat/completions", content=body, headers=headers).status_code == 200
        assert time.monotonic() - began < SECONDS
        for connection in slow:
            connection.sendall(body[-1:])
        assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in slow)
    finally:
        for connection in slow:
            connection.close()


# --- ten thousand -----------------------------------------------------------------------------------------------


def memory(door: Served) -> int:
    """Return the bytes that the process holds that answers."""
    return psutil.Process(door.child("moe_site.worker").pid).memory_info().rss


@pytest.mark.slow
def test_ten_thousand_and_memory_stays(door, api, key_text):
    for key in OPERATIONS:
        attack(api, key_text, key, FEW * 2)
    assail(door, key_text, FEW_RAW)
    before = memory(door)
    sent = MANY_RAW + sum(attack(api, key_text, key, MANY) for key in OPERATIONS)
    assail(door, key_text, MANY_RAW)
    growth = memory(door) - before
    print(f"{sent:,} requests, memory grew by {growth / MEGABYTE:.1f} MB from {before / MEGABYTE:.0f} MB")
    assert sent >= 10_000
    assert growth < MOST_GROWTH
    assert door.http().get("/health/live").status_code == 200
