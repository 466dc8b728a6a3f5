"""The scripted model server keeps to the protocols it stands for, and breaks them where it is told to."""

import asyncio
import base64
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from tests.scripted import Piece, Reply, Residency, ScriptedModel, ScriptedServer, ToolCall

CHAT = "/api/chat"
V1_CHAT = "/v1/chat/completions"
PLAIN = "plain:1b"
CLEVER = "clever:8b"
EMBEDDER = "embedder"
MODELS = (
    ScriptedModel(name=PLAIN),
    ScriptedModel(name=CLEVER, family="qwen3", capabilities=("completion", "tools", "thinking"), context_length=64),
    ScriptedModel(name=EMBEDDER, family="bert", capabilities=("embedding",), embedding_length=16),
)
HI: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
# Nothing here speaks TLS; httpx would load the certificates of the system for every client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
WEATHER = ToolCall(name="weather", arguments={"city": "Málaga"}, id="call_12345678")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(MODELS) as started:
        yield started


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, verify=NO_TLS) as opened:
        yield opened


@pytest.fixture
def sdk(server: ScriptedServer) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(timeout=30, verify=NO_TLS)  # of whichever httpx this release is built on
    with openai.OpenAI(base_url=server.base_url_v1, api_key="none", max_retries=0, http_client=http) as opened:
        yield opened


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def events(response: httpx.Response) -> list[Any]:
    assert response.text.endswith("\n\n")
    data = [event.removeprefix("data: ") for event in response.text.split("\n\n") if event]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def chat(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post(CHAT, json={"model": PLAIN, "messages": HI, **fields})


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post(V1_CHAT, json={"model": PLAIN, "messages": HI, **fields})


def dial(server: ScriptedServer, path: str, **fields: Any) -> socket.socket:
    """Send a request over a bare connection, to be broken off at will."""
    body = json.dumps({"model": PLAIN, "messages": HI, **fields}).encode()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


class TestOllamaStream:
    def test_is_the_default_and_is_one_object_a_line(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["Hel", "lo"], prompt_tokens=7, completion_tokens=2))
        response = chat(client)
        assert response.headers["Content-Type"] == "application/x-ndjson"
        first, second, done = lines(response)
        assert [first["message"], second["message"]] == [
            {"role": "assistant", "content": "Hel"},
            {"role": "assistant", "content": "lo"},
        ]
        assert (first["model"], first["done"], done["done"]) == (PLAIN, False, True)
        assert done["message"] == {"role": "assistant", "content": ""}
        assert (done["done_reason"], done["prompt_eval_count"], done["eval_count"]) == ("stop", 7, 2)
        # Nanoseconds, so that a second is a large number.
        assert all(isinstance(done[f"{name}_duration"], int) for name in ("total", "load", "prompt_eval"))

    def test_times_have_nine_digits_and_differ(self, client: httpx.Client) -> None:
        stamps = [line["created_at"] for line in lines(chat(client))]
        assert len(set(stamps)) == len(stamps) > 2
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{8}[1-9]Z", stamp) for stamp in stamps)

    def test_leaves_out_what_is_zero_or_unknown(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content="x", done_reason=None, prompt_tokens=0, completion_tokens=0))
        done = lines(chat(client))[-1]
        absent = {"done_reason", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}
        assert not absent & done.keys()

    def test_escapes_as_go_does(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content="<b>ñ & ✓</b>"))
        response = chat(client)
        assert r"\u003cb\u003eñ \u0026 ✓" in response.text
        assert lines(response)[0]["message"]["content"] == "<b>ñ & ✓</b>"

    def test_sends_tool_calls_whole_with_thinking_and_content(
        self, server: ScriptedServer, client: httpx.Client
    ) -> None:
        mixed = Piece(content="b", thinking="a")
        server.reply(Reply(thinking="hm", content=[mixed], tool_calls=[WEATHER, ToolCall(name="f")]))
        messages = [line["message"] for line in lines(chat(client, model=CLEVER, tools=TOOLS))]
        assert messages[0] == {"role": "assistant", "content": "", "thinking": "hm"}
        assert messages[1] == {"role": "assistant", "content": "b", "thinking": "a"}
        function = {"index": 0, "name": "weather", "arguments": {"city": "Málaga"}}
        assert messages[2]["tool_calls"] == [
            {"id": "call_12345678", "function": function},
            {"function": {"index": 1, "name": "f", "arguments": {}}},
        ]

    def test_sends_tool_calls_apart(self, server: ScriptedServer, client: httpx.Client) -> None:
        calls = [ToolCall(name="a", index=0), ToolCall(name="b", index=0)]
        server.reply(Reply(tool_calls=calls, tool_calls_together=False))
        first, second, _ = lines(chat(client, model=CLEVER, tools=TOOLS))
        got = [line["message"]["tool_calls"][0]["function"] for line in (first, second)]
        assert [(call["name"], call["index"]) for call in got] == [("a", 0), ("b", 0)]

    @pytest.mark.parametrize(
        ("trailer", "count", "message"),
        [
            ("bare", 3, {"role": "assistant", "content": ""}),
            ("shared", 2, {"role": "assistant", "content": "b"}),
            ("no_message", 3, None),
        ],
    )
    def test_ends_in_any_of_three_ways(
        self, server: ScriptedServer, client: httpx.Client, trailer: Any, count: int, message: Any
    ) -> None:
        server.reply(Reply(content=["a", "b"], trailer=trailer))
        got = lines(chat(client))
        assert len(got) == count
        assert got[-1]["done"] is True
        assert got[-1].get("message") == message

    def test_gives_log_probabilities_when_asked(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["a", "é"], logprobs=[-0.5]))
        first, second, done = lines(chat(client, logprobs=True, top_logprobs=2))
        assert (first["logprobs"][0]["logprob"], second["logprobs"][0]["bytes"]) == (-0.5, [195, 169])
        assert len(first["logprobs"][0]["top_logprobs"]) == 2
        assert "logprobs" not in done

    def test_generate_answers_in_response(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["a"], thinking=["b"]))
        got = lines(client.post("/api/generate", json={"model": CLEVER, "prompt": "Hi"}))
        assert [line.get("response") for line in got] == ["", "a", ""]
        assert got[0]["thinking"] == "b"
        assert "message" not in got[0]


class TestOllamaWhole:
    def test_joins_everything(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["a", "b"], thinking=["c", "d"], tool_calls=[WEATHER]))
        response = chat(client, model=CLEVER, stream=False, tools=TOOLS)
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        answer = response.json()
        assert (answer["message"]["content"], answer["message"]["thinking"]) == ("ab", "cd")
        assert len(answer["message"]["tool_calls"]) == 1
        assert answer["done"] is True

    def test_default_names_the_model_within_the_limit(self, client: httpx.Client) -> None:
        assert chat(client, stream=False).json()["message"]["content"] == f"Hello from {PLAIN}."
        short = chat(client, stream=False, options={"num_predict": 2}).json()
        assert (short["message"]["content"], short["done_reason"]) == ("Hello from", "length")

    def test_without_done_is_an_unfinished_object(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content="a", end_without_done=True))
        answer = chat(client, stream=False).json()
        assert answer["done"] is False
        assert "done_reason" not in answer

    def test_fits_the_prompt_into_the_window(self, client: httpx.Client) -> None:
        long = [{"role": "user", "content": "word " * 100}]
        answer = chat(client, messages=long, stream=False, options={"num_ctx": 32}).json()
        assert answer["prompt_eval_count"] == 32

    @pytest.mark.parametrize(("keep_alive", "reason"), [(None, "load"), (0, "unload"), ("0s", "unload")])
    def test_empty_messages_only_load_or_unload(
        self, server: ScriptedServer, client: httpx.Client, keep_alive: Any, reason: str
    ) -> None:
        server.loaded[PLAIN] = Residency()
        answer = chat(client, messages=[], keep_alive=keep_alive).json()
        assert (answer["done"], answer["done_reason"]) == (True, reason)
        deadline = time.monotonic() + 5  # it leaves memory once the answer is out
        while (PLAIN in server.loaded) is not (reason == "load") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (PLAIN in server.loaded) is (reason == "load")


REFUSALS: list[tuple[str, dict[str, Any] | bytes, int, str]] = [
    (CHAT, b"", 400, "missing request body"),
    (CHAT, b" \n", 400, "missing request body"),
    (CHAT, b"{", 400, "unexpected EOF"),
    (CHAT, b"nonsense", 400, "invalid character 'n' looking for beginning of value"),
    (CHAT, b"[]", 400, "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    (CHAT, {"messages": HI}, 400, "model is required"),
    (CHAT, {"model": "gone", "messages": HI}, 404, "model 'gone' not found"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        400,
        "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
    ),
    (
        CHAT,
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
        400,
        "json: cannot unmarshal string into Go struct field"
        " ChatRequest.messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments",
    ),
    (
        CHAT,
        {"model": PLAIN, "messages": "Hi"},
        400,
        "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message",
    ),
    (
        CHAT,
        {"model": PLAIN, "messages": HI, "stream": "true"},
        400,
        "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool",
    ),
    (CHAT, {"model": PLAIN, "messages": HI, "think": True}, 400, f'"{PLAIN}" does not support thinking'),
    (CHAT, {"model": PLAIN, "messages": HI, "think": "high"}, 400, f'"{PLAIN}" does not support thinking'),
    (
        CHAT,
        {"model": CLEVER, "messages": HI, "think": "lots"},
        400,
        'invalid think value: "lots" (must be "high", "medium", "low", "max", true, or false)',
    ),
    (
        CHAT,
        {"model": PLAIN, "messages": HI, "tools": TOOLS},
        400,
        f"registry.ollama.ai/library/{PLAIN} does not support tools",
    ),
    (CHAT, {"model": EMBEDDER, "messages": HI}, 400, f'"{EMBEDDER}" does not support chat'),
    (CHAT, {"model": PLAIN, "keep_alive": "300"}, 400, 'time: missing unit in duration "300"'),
    (CHAT, {"model": PLAIN, "keep_alive": "-1"}, 400, 'time: missing unit in duration "-1"'),
    (CHAT, {"model": PLAIN, "keep_alive": "5 min"}, 400, 'time: unknown unit " min" in duration "5 min"'),
    (CHAT, {"model": PLAIN, "keep_alive": "soon"}, 400, 'time: invalid duration "soon"'),
    (
        CHAT,
        {"messages": [{"role": "user", "content": "", "images": ["data:image/png;base64,AAAA"]}]},
        400,
        "illegal base64 data at input byte 4",
    ),
    (
        CHAT,
        {"model": PLAIN, "messages": HI, "top_logprobs": 21},
        400,
        "top_logprobs must be between 0 and 20",
    ),
    (
        CHAT,
        {"model": PLAIN, "messages": HI, "options": {"num_ctx": "4096"}},
        500,
        'option "num_ctx" must be of type integer',
    ),
    (
        CHAT,
        {"model": PLAIN, "messages": HI, "options": {"stop": "x"}},
        500,
        'option "stop" must be of type array',
    ),
    (
        "/api/generate",
        {"model": PLAIN, "prompt": "Hi", "suffix": "x"},
        400,
        f"registry.ollama.ai/library/{PLAIN} does not support insert",
    ),
    ("/api/embed", {"model": EMBEDDER, "input": [1, 2]}, 400, "invalid input type"),
    (
        "/api/embed",
        {"model": EMBEDDER, "input": "word " * 9000, "truncate": False},
        400,
        "the input length exceeds the context length",
    ),
    (
        "/api/embed",
        {"model": PLAIN, "input": "Hi"},
        501,
        "This server does not support embeddings. Start it with `--embeddings`",
    ),
    ("/api/show", {}, 400, "model is required"),
    ("/api/show", {"model": "gone"}, 404, "model 'gone' not found"),
]


class TestOllamaStrictness:
    @pytest.mark.parametrize(("path", "body", "status", "message"), REFUSALS)
    def test_refuses_in_ollamas_words(
        self, client: httpx.Client, path: str, body: Any, status: int, message: str
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = client.post(path, content=content)
        assert (response.status_code, response.json()) == (status, {"error": message})

    def test_keeps_the_scripted_reply_for_a_sound_request(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content="mine"))
        assert chat(client, model="gone").status_code == 404
        assert len(server.pending) == 1
        assert chat(client, stream=False).json()["message"]["content"] == "mine"
        assert server.pending == []

    def test_overflow_is_json_in_a_string(self, client: httpx.Client) -> None:
        long = [{"role": "user", "content": "word " * 100}]
        response = chat(client, messages=long, truncate=False, options={"num_ctx": 32})
        assert response.status_code == 400
        inner = json.loads(response.json()["error"])["error"]
        assert (inner["type"], inner["n_prompt_tokens"], inner["n_ctx"]) == (
            "exceed_context_size_error",
            101,
            32,
        )

    @pytest.mark.parametrize(
        "fields",
        [
            {"think": False},
            {"keep_alive": -1},
            {"keep_alive": "-1m"},
            {"keep_alive": "0"},
            {"keep_alive": "1h30m"},
            {"options": {"unknown": 1, "num_ctx": 4096.0, "stop": ["x"]}},
            {"format": {"type": "object"}},
            {"temperature": "ignored at the top level"},
            {"messages": [{"role": "user", "content": "Hi", "images": ["AAAA", "AA=="]}]},
        ],
    )
    def test_accepts_what_ollama_accepts(self, client: httpx.Client, fields: dict[str, Any]) -> None:
        assert chat(client, **fields).status_code == 200

    def test_refuses_a_foreign_host_without_a_word(self, client: httpx.Client) -> None:
        response = client.get("/api/tags", headers={"Host": "gateway.example.com"})
        assert (response.status_code, response.content) == (403, b"")

    def test_knows_its_methods_and_paths(self, client: httpx.Client) -> None:
        assert client.head("/").status_code == client.head("/api/tags").status_code == 200
        assert client.get("/").text == "Ollama is running"
        assert client.get("/api/version").json() == {"version": "0.32.5"}
        assert client.get(CHAT).status_code == 405
        assert client.get("/api/nothing").text == "404 page not found"
        assert client.get("/v1/nothing").json()["error"]["code"] == 404


class TestOllamaModels:
    def test_lists_and_shows(self, client: httpx.Client) -> None:
        listed = client.get("/api/tags").json()["models"]
        assert [model["name"] for model in listed] == [PLAIN, CLEVER, EMBEDDER]
        assert listed[1]["details"]["context_length"] == 64
        shown = client.post("/api/show", json={"model": CLEVER}).json()
        assert shown["capabilities"] == ["completion", "tools", "thinking"]
        assert shown["model_info"]["qwen3.context_length"] == 64
        assert client.post("/api/show", json={"model": f"{EMBEDDER}:latest"}).status_code == 200

    def test_an_old_server_reports_no_capabilities(self, client: httpx.Client) -> None:
        with ScriptedServer([ScriptedModel(name="old", capabilities=None)]) as old:
            assert "capabilities" not in client.get(f"{old.url}/api/tags").json()["models"][0]
            assert "capabilities" not in client.post(f"{old.url}/api/show", json={"model": "old"}).json()

    def test_ps_follows_what_runs(self, server: ScriptedServer, client: httpx.Client) -> None:
        assert client.get("/api/ps").json() == {"models": []}
        server.loaded[EMBEDDER] = Residency(vram=0.5, expires_at=datetime.now(UTC) + timedelta(seconds=60))
        chat(client, keep_alive=-1, options={"num_ctx": 1024})
        first, second = client.get("/api/ps").json()["models"]
        assert (first["name"], first["context_length"], first["expires_at"][:1]) == (PLAIN, 1024, "2")
        assert int(first["expires_at"][:4]) > 2200
        assert second["size_vram"] == second["size"] // 2
        chat(client, keep_alive=0)
        assert [model["name"] for model in client.get("/api/ps").json()["models"]] == [EMBEDDER]

    def test_embeds_in_order_and_normalised(self, client: httpx.Client) -> None:
        texts = ["red fox", "red dog", "tax law"]
        answer = client.post("/api/embed", json={"model": EMBEDDER, "input": texts}).json()
        vectors = answer["embeddings"]
        assert [len(vector) for vector in vectors] == [16, 16, 16]
        assert all(sum(x * x for x in vector) == pytest.approx(1, abs=1e-6) for vector in vectors)
        assert answer["prompt_eval_count"] == 6
        short = client.post("/api/embed", json={"model": EMBEDDER, "input": "red fox", "dimensions": 4}).json()
        assert sum(x * x for x in short["embeddings"][0]) == pytest.approx(1, abs=1e-6)
        assert client.post("/api/embed", json={"model": EMBEDDER, "input": ""}).json()["embeddings"] == []
        assert len(client.post("/api/embed", json={"model": EMBEDDER, "input": [""]}).json()["embeddings"]) == 1


class TestOpenAI:
    def test_stream_is_llamacpps(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["Hel", "lo"], thinking="hm", prompt_tokens=3, completion_tokens=4))
        response = ask(client, stream=True, stream_options={"include_usage": True})
        assert response.headers["Content-Type"] == "text/event-stream"
        *chunks, usage, done = events(response)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas == [
            {"role": "assistant", "content": None},
            {"reasoning_content": "hm"},
            {"content": "Hel"},
            {"content": "lo"},
            {},
        ]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["stop"]
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in [*chunks, usage]}) == 1
        assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 7, "[DONE]")

    def test_sends_usage_only_when_asked(self, client: httpx.Client) -> None:
        assert all("usage" not in chunk and chunk["choices"] for chunk in events(ask(client, stream=True))[:-1])

    def test_does_not_stream_by_default(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(tool_calls=[WEATHER]))
        answer = ask(client, model=CLEVER, tools=TOOLS).json()
        choice = answer["choices"][0]
        assert (answer["object"], choice["finish_reason"], choice["message"]["content"]) == (
            "chat.completion",
            "tool_calls",
            None,
        )
        call = choice["message"]["tool_calls"][0]
        assert json.loads(call["function"]["arguments"]) == {"city": "Málaga"}

    def test_the_sdk_puts_tool_call_fragments_together(self, server: ScriptedServer, sdk: openai.OpenAI) -> None:
        server.reply(Reply(tool_calls=[WEATHER, ToolCall(name="f", arguments={"x": 1})], argument_pieces=3))
        with sdk.chat.completions.stream(model=CLEVER, messages=HI, tools=TOOLS) as stream:
            message = stream.get_final_completion().choices[0].message
        calls = message.tool_calls or []
        assert [call.function.name for call in calls] == ["weather", "f"]
        assert json.loads(calls[0].function.arguments) == {"city": "Málaga"}
        assert calls[0].id == "call_12345678"

    def test_the_sdk_sees_errors_before_and_inside_a_stream(self, server: ScriptedServer, sdk: openai.OpenAI) -> None:
        server.reply(Reply(content=["a", "b"], error_after=1, error="the slot is gone"))
        stream = sdk.chat.completions.create(model=PLAIN, messages=HI, stream=True)
        with stream, pytest.raises(openai.APIError, match="the slot is gone"):
            list(stream)
        server.reply(Reply(status=503, error="Loading model"))
        with pytest.raises(openai.InternalServerError) as refused:
            sdk.chat.completions.create(model=PLAIN, messages=HI)
        assert refused.value.body == {"code": 503, "message": "Loading model", "type": "unavailable_error"}

    @pytest.mark.parametrize(
        ("fields", "status", "kind"),
        [
            ({"model": "gone"}, 404, "not_found_error"),
            ({"messages": "Hi"}, 400, "invalid_request_error"),
            ({"model": EMBEDDER}, 501, "not_supported_error"),
            ({"tools": TOOLS}, 500, "server_error"),
            ({"model": CLEVER, "messages": [{"role": "user", "content": "word " * 65}]}, 400, None),
            ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 500, "server_error"),
            ({"messages": [{"role": "user", "content": [{"type": "film"}]}]}, 400, "invalid_request_error"),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]},
                500,
                "server_error",
            ),
        ],
    )
    def test_refuses_with_a_number_for_a_code(
        self, client: httpx.Client, fields: dict[str, Any], status: int, kind: str | None
    ) -> None:
        response = ask(client, **fields)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (status, status)
        assert error["type"] == (kind or "exceed_context_size_error")

    def test_embeds_as_floats_and_as_base64(self, client: httpx.Client) -> None:
        body = {"model": EMBEDDER, "input": ["a", "b"]}
        floats = client.post("/v1/embeddings", json=body).json()
        packed = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
        assert [item["index"] for item in floats["data"]] == [0, 1]
        raw = base64.b64decode(packed["data"][1]["embedding"])
        assert list(struct.unpack("<16f", raw)) == floats["data"][1]["embedding"]
        assert floats["usage"] == {"prompt_tokens": 2, "total_tokens": 2}

    def test_the_sdk_completes_text_and_lists_models(self, sdk: openai.OpenAI) -> None:
        assert sdk.completions.create(model=PLAIN, prompt="Hi").choices[0].text == f"Hello from {PLAIN}."
        with sdk.completions.create(model=PLAIN, prompt="Hi", stream=True, max_tokens=2) as stream:
            pieces = [(chunk.choices[0].text, chunk.choices[0].finish_reason) for chunk in stream]
        assert pieces == [("Hello", None), (" from", None), ("", "length")]
        assert [model.id for model in sdk.models.list()] == [PLAIN, CLEVER, EMBEDDER]

    def test_reports_health_and_counts_tokens(self, client: httpx.Client) -> None:
        assert client.get("/health").json() == {"status": "ok"}
        assert len(client.post("/tokenize", json={"content": "Hello, you"}).json()["tokens"]) == 4


class TestFaults:
    def test_error_line_under_200(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["a", "b"], error_after=1, error="out of memory"))
        response = chat(client)
        first, error = lines(response)
        assert response.status_code == 200
        assert (first["message"]["content"], error) == ("a", {"error": "out of memory"})

    @pytest.mark.parametrize(("stream", "after"), [(True, 0), (False, 1)])
    def test_error_before_the_first_object_has_a_status(
        self, server: ScriptedServer, client: httpx.Client, stream: bool, after: int
    ) -> None:
        server.reply(Reply(content=["a", "b"], error_after=after, error="out of memory"))
        response = chat(client, stream=stream)
        assert (response.status_code, response.json()) == (500, {"error": "out of memory"})

    def test_error_as_the_first_event_of_an_openai_stream(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content="a", error_after=0, error="no"))
        response = ask(client, stream=True)
        assert response.status_code == 200
        assert events(response) == [{"error": {"code": 500, "message": "no", "type": "server_error"}}]

    @pytest.mark.parametrize("path", [CHAT, V1_CHAT])
    @pytest.mark.parametrize(("reset", "error"), [(False, httpx.RemoteProtocolError), (True, httpx.ReadError)])
    def test_drop_in_a_stream(
        self,
        server: ScriptedServer,
        client: httpx.Client,
        path: str,
        reset: bool,
        error: type[httpx.HTTPError],
    ) -> None:
        server.reply(Reply(content=["a", "b", "c"], drop_after=2, reset=reset))
        got = b""
        body = {"model": PLAIN, "messages": HI, "stream": True}
        with client.stream("POST", path, json=body) as response, pytest.raises(error):
            for data in response.iter_bytes():
                got += data
        assert got.count(b'"content":"') == 2
        recorded = server.requests[0]
        assert recorded.wait_closed()
        assert (recorded.disconnected, recorded.pieces_sent) == (False, 2)

    @pytest.mark.parametrize(("after", "stream"), [(0, True), (0, False), (1, False)])
    def test_drop_before_or_in_the_middle_of_a_body(
        self, server: ScriptedServer, client: httpx.Client, after: int, stream: bool
    ) -> None:
        server.reply(Reply(content="a", drop_after=after))
        with pytest.raises(
            httpx.RemoteProtocolError, match="complete message body" if after else "Server disconnected"
        ):
            chat(client, stream=stream)

    @pytest.mark.parametrize("path", [CHAT, V1_CHAT])
    def test_end_without_done(self, server: ScriptedServer, client: httpx.Client, path: str) -> None:
        server.reply(Reply(content=["a"], end_without_done=True))
        response = client.post(path, json={"model": PLAIN, "messages": HI, "stream": True})
        assert '"a"' in response.text
        assert '"done":true' not in response.text
        assert "[DONE]" not in response.text
        assert '"finish_reason":"' not in response.text

    def test_split_bytes_cut_letters_and_lines(self, server: ScriptedServer) -> None:
        server.reply(Reply(content=["€€", "✓"], split_bytes=3, byte_delay=0.001))
        with closing(dial(server, CHAT)) as connection:
            received, writes = b"", []
            while not received.endswith(b"\r\n0\r\n\r\n"):
                writes.append(connection.recv(65536))
                received += writes[-1]
        body = re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", received.split(b"\r\n\r\n", 1)[1])
        content = [json.loads(line)["message"]["content"] for line in body.splitlines() if line.strip()]
        assert content == ["€€", "✓", ""]
        assert len(writes) > len(body) / 6
        assert any(b"\xe2" in write and b"\x82\xac" not in write for write in writes)

    def test_raw_bodies(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(status=502, body="<html>Bad Gateway</html>", headers={"Retry-After": "3"}))
        html = chat(client)
        assert (html.status_code, html.headers["Content-Type"]) == (502, "text/html")
        assert html.headers["Retry-After"] == "3"
        server.reply(Reply(status=404))
        assert chat(client).json() == {"error": Reply().error}
        ndjson = {"Content-Type": "application/x-ndjson"}
        server.reply(Reply(body=b'{"status":"success"}\n', headers=ndjson), path="/api/pull")
        pulled = client.post("/api/pull", json={"model": "x"})
        assert (pulled.headers["Content-Type"], lines(pulled)) == (
            ndjson["Content-Type"],
            [{"status": "success"}],
        )

    def test_nothing_is_sent_while_loading(self, server: ScriptedServer) -> None:
        for path in (CHAT, V1_CHAT):
            server.clear()
            server.reply(Reply(content="a", load_delay=2))
            began = time.monotonic()
            with closing(dial(server, path, stream=True)) as connection:
                connection.settimeout(20)
                assert connection.recv(12) == b"HTTP/1.1 200"
                assert time.monotonic() - began >= 2
                assert server.requests[-1].wait_closed()

    def test_openai_headers_come_before_the_first_piece(self, server: ScriptedServer) -> None:
        server.reply(Reply(content="a", first_delay=5), times=None)
        with closing(dial(server, V1_CHAT, stream=True)) as connection:
            connection.settimeout(20)
            assert connection.recv(65536).endswith(b"\r\n\r\n")
        with closing(dial(server, CHAT)) as connection:
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)


class TestDisconnect:
    @pytest.mark.parametrize("path", [CHAT, V1_CHAT])
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(
        "silence",
        [
            {"load_delay": 60},
            {"first_delay": 60},
            {"delay": 60},
            {"hang_after": 1},
            {"split_bytes": 8, "byte_delay": 60},
        ],
    )
    def test_is_seen_at_once_while_nothing_is_written(
        self, server: ScriptedServer, path: str, stream: bool, silence: dict[str, Any]
    ) -> None:
        server.reply(Reply(content=["a", "b"], **silence))
        with closing(dial(server, path, stream=stream)):
            recorded = server.wait_for_request(path)
            time.sleep(0.02)
            assert not recorded.closed
            left = time.monotonic()
        assert recorded.wait_disconnected()
        assert recorded.finished_at is None
        assert recorded.disconnected_at is not None
        assert left <= recorded.disconnected_at < left + 1

    def test_is_not_claimed_for_a_reply_that_was_sent(self, server: ScriptedServer, client: httpx.Client) -> None:
        chat(client)
        client.close()
        recorded = server.requests[0]
        assert recorded.wait_closed()
        assert (recorded.disconnected, recorded.finished_at is not None, recorded.status) == (
            False,
            True,
            200,
        )

    async def test_is_seen_when_an_async_client_is_cancelled(self, server: ScriptedServer) -> None:
        server.reply(Reply(content=["a", "b"], hang_after=1))
        async with aiohttp.ClientSession() as session:
            call = asyncio.create_task(self._read(session, server))
            recorded = await asyncio.to_thread(server.wait_for_request, CHAT)
            await asyncio.sleep(0.02)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(recorded.wait_disconnected)

    async def _read(self, session: aiohttp.ClientSession, server: ScriptedServer) -> bytes:
        async with session.post(server.url + CHAT, json={"model": PLAIN, "messages": HI}) as response:
            return await response.read()


class TestScript:
    def test_replies_come_in_order_to_whom_they_are_for(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content="for clever"), model=CLEVER)
        server.reply(Reply(content="for v1"), path=V1_CHAT)
        server.reply(Reply(content="for any"), times=2)
        server.reply(Reply(status=500), path="/api/tags")

        def said(model: str) -> str:
            return str(chat(client, model=model, stream=False).json()["message"]["content"])

        assert [said(PLAIN), said(CLEVER), said(PLAIN)] == ["for any", "for clever", "for any"]
        assert said(PLAIN) == f"Hello from {PLAIN}."
        assert ask(client).json()["choices"][0]["message"]["content"] == "for v1"
        assert client.get("/api/tags").status_code == 500
        assert client.get("/api/tags").status_code == 200

    def test_the_default_may_be_a_function(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.default_reply = lambda recorded: Reply(content=recorded.json["messages"][-1]["content"])
        assert chat(client, stream=False).json()["message"]["content"] == "Hi"
        server.clear()
        assert chat(client, stream=False).json()["message"]["content"] == f"Hello from {PLAIN}."
        assert len(server.requests) == 1

    def test_records_the_request(self, server: ScriptedServer, client: httpx.Client) -> None:
        client.post(f"{CHAT}?a=1", json={"model": PLAIN, "messages": HI}, headers={"X-Tag": "t"})
        recorded = server.wait_for_request(CHAT)
        assert (recorded.method, recorded.path, recorded.query) == ("POST", CHAT, "a=1")
        assert (recorded.headers["x-tag"], recorded.json["messages"]) == ("t", HI)
        assert json.loads(recorded.body)["model"] == PLAIN
        with pytest.raises(TimeoutError, match="no request 2"):
            server.wait_for_request(CHAT, 0.01, count=2)

    def test_tells_work_from_loads(self, server: ScriptedServer, client: httpx.Client) -> None:
        chat(client, messages=[])
        chat(client)
        client.post("/api/embed", json={"model": PLAIN, "input": ""})
        assert [request.idle for request in server.requests] == [True, False, True]
        assert server.wait_for_work(CHAT) is server.requests[1]
        assert server.work_at("/api/embed") == []
        with pytest.raises(TimeoutError, match="no request 2"):
            server.wait_for_work(CHAT, 0.01, count=2)

    def test_asks_for_its_key(self, client: httpx.Client) -> None:
        with ScriptedServer(require_key="secret") as locked:
            assert client.get(locked.url).status_code == 200
            assert client.get(f"{locked.url}/api/tags").json()["error"] == "unauthorized"
            refused = client.get(f"{locked.base_url_v1}/models")
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, 401)
            key = {"Authorization": "Bearer secret"}
            assert client.get(f"{locked.base_url_v1}/models", headers=key).status_code == 200

    def test_answers_many_threads(self, server: ScriptedServer, client: httpx.Client) -> None:
        server.reply(Reply(content=["a"], first_delay=0.05), times=None)
        statuses: list[int] = []

        def call() -> None:
            statuses.append(chat(client).status_code)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        server.wait_for_request(CHAT, count=8)
        for thread in threads:
            thread.join(30)
        assert statuses == [200] * 8
        assert len(server.requests_to(CHAT)) == 8

    def test_takes_a_large_body(self, client: httpx.Client) -> None:
        image = base64.b64encode(bytes(3_000_000)).decode()
        message = {"role": "user", "content": "Hi", "images": [image]}
        assert chat(client, messages=[message]).status_code == 200


class TestRunning:
    def test_restarts_on_the_same_port(self, server: ScriptedServer, client: httpx.Client) -> None:
        url = server.url
        chat(client)
        server.stop()
        with pytest.raises(httpx.ConnectError):
            client.get("/api/tags")
        server.restart()
        assert server.url == url
        assert client.get("/api/ps").json() == {"models": []}

    def test_a_stop_breaks_running_answers_off(self, server: ScriptedServer) -> None:
        server.reply(Reply(content=["a", "b"], hang_after=1))
        with closing(dial(server, CHAT)) as connection:
            recorded = server.wait_for_request(CHAT)
            server.restart()
            received = b""
            while data := connection.recv(65536):
                received += data
        assert not received.endswith(b"0\r\n\r\n")
        assert recorded.wait_closed()
        assert not recorded.disconnected

    def test_refuses_new_connections_but_ends_what_runs(self, server: ScriptedServer, client: httpx.Client) -> None:
        client.get("/api/tags")  # leaves an idle connection in the pool
        server.reply(Reply(content=["a", "b"], delay=0.1))
        with closing(dial(server, CHAT)) as connection:
            server.wait_for_request(CHAT)
            server.refuse()
            with pytest.raises(httpx.ConnectError):
                client.get("/api/tags")
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(65536)
        server.restart()
        assert client.get("/api/tags").status_code == 200

    def test_must_be_started(self) -> None:
        idle = ScriptedServer()
        with pytest.raises(RuntimeError, match="not started"):
            idle.stop()
        idle.close()
