"""What a client is told when a model server answers with an error."""

import json

import httpx
import pytest

from routing.backends.protocol import ServerAddress, ServerKind
from routing.backends.refusal import refusal
from routing.exceptions import (
    BadRequest,
    ContextLengthExceeded,
    EndpointError,
    ModelNotInstalled,
    Unavailable,
    UpstreamBusy,
    UpstreamFailed,
)

SERVER = ServerAddress(name="gpu-box", kind=ServerKind.OLLAMA, base_url="http://10.0.0.7:11434", api_key="sk-secret")
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx at 10.0.0.7</body></html>"


def told(status: int, body: bytes | str, headers: dict[str, str] | None = None) -> EndpointError:
    """Return the error for a response; a text is Ollama's ``{"error": text}``."""
    content = json.dumps({"error": body}).encode() if isinstance(body, str) else body
    return refusal(SERVER, status, content, httpx.Headers(headers or {}), "llama3.2:3b")


def llama_cpp(code: int, message: str, kind: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "type": kind}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "client_status", "fails_over"),
    [
        (400, "model is required", BadRequest, 400, False),
        (400, '"llama3.2:3b" does not support thinking', BadRequest, 400, False),
        (400, "illegal base64 data at input byte 4", BadRequest, 400, False),
        (422, b'{"message": "bad field"}', BadRequest, 400, False),
        (401, "unauthorized", UpstreamFailed, 502, True),
        (403, b"", UpstreamFailed, 502, True),
        (403, PAGE, UpstreamFailed, 502, True),
        (404, "model 'llama3.2:3b' not found", ModelNotInstalled, 404, True),
        (404, 'model "llama3.2:3b" not found, try pulling it first', ModelNotInstalled, 404, True),
        (404, b'{"object":"error","message":"The model `x` does not exist.","code":404}', ModelNotInstalled, 404, True),
        (404, b"404 page not found", ModelNotInstalled, 404, True),
        (429, "you have reached your weekly usage limit", UpstreamBusy, 429, True),
        (500, "model requires more system memory (5.6 GiB) than is available (3.1 GiB)", UpstreamFailed, 502, True),
        (500, b"", UpstreamFailed, 502, True),
        (502, PAGE, UpstreamFailed, 502, True),
        (503, "server busy, please try again.  maximum pending requests exceeded", Unavailable, 503, True),
        (503, llama_cpp(503, "Loading model", "unavailable_error"), Unavailable, 503, True),
        (504, PAGE, UpstreamFailed, 502, True),
    ],
)
def test_each_error_becomes_one_the_sdks_know(status, body, kind, client_status, fails_over):
    error = told(status, body)
    assert type(error) is kind
    assert error.status == client_status
    assert error.may_fail_over is fails_over
    assert error.message
    for secret in ("sk-secret", "10.0.0.7", "nginx", "<html"):
        assert secret not in error.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "the input length exceeds the context length"),
        (400, "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it"),
        (400, llama_cpp(400, "the request exceeds the available context size", "exceed_context_size_error")),
        (500, llama_cpp(500, "the request exceeds the available context size. try increasing it", "server_error")),
        (400, llama_cpp(400, "the request exceeds the available context size", "exceed_context_size_error").decode()),
        (400, b'{"object":"error","message":"This model\'s maximum context length is 4096 tokens.","code":400}'),
        (
            400,
            b'{"error":{"message":"The prompt (length 9000) is longer than the maximum model length of 8192."}}',
        ),
    ],
    ids=["Ollama", "Ollama's runner", "llama.cpp", "llama.cpp as 500", "llama.cpp in Ollama", "vLLM", "vLLM's engine"],
)
def test_a_prompt_that_does_not_fit_has_the_code_clients_shorten_their_history_on(status, body):
    error = told(status, body)
    assert type(error) is ContextLengthExceeded
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert not error.may_fail_over


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("it broke", "it broke"),
        (json.dumps({"error": {"code": 500, "message": "it broke"}}), "it broke"),
        (llama_cpp(500, "it broke", "server_error"), "it broke"),
        (b"it broke", "it broke"),
        (b'"it broke"', "it broke"),
        (b"\xff\xfe it broke", "it broke"),
        (PAGE, "no reason given"),
        (b"  " + PAGE, "no reason given"),
        (b"", "no reason given"),
        (b"{}", "no reason given"),
        (b'{"error": ""}', "no reason given"),
        (b'{"error": {"code": 500}}', "no reason given"),
        (b"null", "no reason given"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_the_servers_words_are_told_without_their_wrapping(body, words):
    assert told(500, body).message.endswith(words)


def test_a_long_body_is_cut():
    assert len(told(500, b"x" * 100_000).message) < 1000
    assert len(told(500, "x" * 100_000).message) < 3000


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_the_operators_matter(status):
    """The client's own key was good; trying again mends nothing."""
    body = json.dumps({"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=gpu&key=abc"}).encode()
    error = told(status, body)
    assert error.should_retry is False
    assert "administrator" in error.message
    assert "ollama.com" not in error.message


def test_a_missing_model_says_who_can_mend_it():
    error = told(404, "model 'llama3.2:3b' not found")
    assert error.code == "model_not_found"
    assert "'gpu-box'" in error.message
    assert "'llama3.2:3b'" in error.message
    assert "pull" in error.message


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "Fri, 21 Aug 2026 10:00:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_server_that_is_busy_now_says_when_to_come_back(status, headers, seconds):
    """Ollama itself sends no Retry-After; what a client is then told is the pool's to say."""
    assert told(status, "busy", headers).retry_after == seconds
