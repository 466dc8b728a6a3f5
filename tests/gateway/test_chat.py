"""Chats through the whole door, on an Ollama server whose behaviour is scripted."""

import base64
import json
import time

import httpx
import openai
import pytest

from tests.scripted import Reply, ToolCall

pytestmark = pytest.mark.served

CHAT = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def body(text="Hello", **fields):
    return {"model": "general", "messages": [{"role": "user", "content": text}]} | fields


def events(response):
    """Return the data of an SSE response's events, and its comments."""
    lines = response.text.split("\n\n")
    return [line[6:] for line in lines if line.startswith("data: ")], [line for line in lines if line.startswith(":")]


class TestFirstStart:
    def test_proposes_experts_from_what_is_installed(self, served_ollama):
        replicas = {}
        for expert in ("general", "code", "reasoning", "vision", "math"):
            raw = served_ollama.client().chat.completions.with_raw_response.create(**body(model=expert))
            replicas[expert] = raw.headers["x-moe-replica"].split("@")[0]
        assert replicas == {
            "general": "llama3.2:3b",
            "code": "qwen2.5-coder:7b",
            "reasoning": "deepseek-r1:8b",
            "vision": "llava:7b",
            "math": "llama3.2:3b",
        }

    def test_an_embedding_model_is_listed_and_refused_for_chats(self, served_ollama):
        assert "nomic-embed-text:latest" in {model.id for model in served_ollama.client().models.list()}
        with pytest.raises(openai.BadRequestError, match="/v1/embeddings") as caught:
            served_ollama.client().chat.completions.create(**body(model="nomic-embed-text:latest"))
        assert caught.value.param == "model"


class TestWhatReachesTheModel:
    def sent(self, served, server, request):
        served.client().chat.completions.create(**request)
        return server.requests_to("/api/chat")[-1].json

    def test_only_what_the_client_asked(self, served_ollama, ollama):
        sent = self.sent(served_ollama, ollama, body(model="llama3.2:3b", temperature=0, seed=0, max_tokens=7))
        assert sent == {
            "model": "llama3.2:3b",
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": {"temperature": 0, "seed": 0, "num_predict": 7},
        }

    def test_the_experts_system_prompt_unless_the_client_has_one(self, served_ollama, ollama):
        first = self.sent(served_ollama, ollama, body())["messages"][0]
        assert first["role"] == "system"
        own = [{"role": "developer", "content": "Be rude."}, {"role": "user", "content": "Hello"}]
        messages = self.sent(served_ollama, ollama, {"model": "general", "messages": own})["messages"]
        assert messages == [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "Hello"}]

    def test_neither_the_clients_key_nor_its_host(self, served_ollama, ollama):
        served_ollama.client().chat.completions.create(**body())
        headers = ollama.requests_to("/api/chat")[-1].headers
        assert "authorization" not in headers
        assert headers["host"] == ollama.url.removeprefix("http://")

    def test_an_image_goes_to_a_model_that_sees(self, served_ollama, ollama):
        image = base64.b64encode(b"not really a picture").decode()
        parts = [
            {"type": "text", "text": "What is "},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            {"type": "text", "text": "this?"},
        ]
        sent = self.sent(served_ollama, ollama, {"model": "auto", "messages": [{"role": "user", "content": parts}]})
        assert sent["model"] == "llava:7b"
        assert sent["messages"][-1] == {"role": "user", "content": "What is this?", "images": [image]}


class TestStreams:
    def test_in_openais_order(self, served_ollama, ollama):
        ollama.reply(Reply(content=["Hé", "llo", ""], split_bytes=1))
        response = served_ollama.http().post(CHAT, json=body(stream=True, stream_options={"include_usage": True}))
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        data, _ = events(response)
        assert data[-1] == "[DONE]"
        chunks = [json.loads(item) for item in data[:-1]]
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == "Héllo"
        assert chunks[-2]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["total_tokens"] > 0
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1

    def test_without_usage_no_chunk_is_without_a_choice(self, served_ollama):
        data, _ = events(served_ollama.http().post(CHAT, json=body(stream=True)))
        assert all(json.loads(item)["choices"] for item in data[:-1])

    def test_tool_calls_through_the_sdks_helper(self, served_ollama, ollama):
        calls = [ToolCall(name="weather", arguments={"city": city}, index=0) for city in ("Rome", "Oslo")]
        ollama.reply(Reply(tool_calls=calls, tool_calls_together=False))
        with served_ollama.client().chat.completions.stream(**body(tools=[TOOL])) as stream:
            answer = stream.get_final_completion().choices[0]
        assert answer.finish_reason == "tool_calls"
        found = [(call.function.name, json.loads(call.function.arguments)) for call in answer.message.tool_calls]
        assert found == [("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})]
        assert len({call.id for call in answer.message.tool_calls}) == 2

    def test_thinking_under_both_names(self, served_ollama, ollama):
        ollama.reply(Reply(thinking=["Hm", "m."], content="Yes."))
        answer = served_ollama.client().chat.completions.create(**body(model="reasoning")).choices[0].message
        assert (answer.content, answer.reasoning, answer.reasoning_content) == ("Yes.", "Hmm.", "Hmm.")

    def test_comments_while_a_model_loads_and_the_answer_after_it(self, served_ollama, ollama):
        ollama.reply(Reply(content="Here.", load_delay=2.0))
        data, comments = events(served_ollama.http().post(CHAT, json=body(stream=True)))
        assert len(comments) >= 2
        assert any("Here." in item for item in data)

    def test_a_failed_load_after_the_first_comment_is_an_error_event(self, served_ollama, ollama):
        ollama.reply(Reply(status=500, error="not enough memory", load_delay=0.8))
        response = served_ollama.http().post(CHAT, json=body(stream=True))
        assert response.status_code == 200
        data, _ = events(response)
        assert "not enough memory" in json.loads(data[-1])["error"]["message"]


class TestFailures:
    @pytest.mark.parametrize(
        ("reply", "status", "code", "words"),
        [
            (Reply(status=500, error="runner died"), 502, "upstream_error", "runner died"),
            (Reply(status=500, body="<html>Bad gateway at 10.0.0.7</html>"), 502, "upstream_error", "no reason given"),
            (Reply(status=401, error="sign in at https://secret"), 502, "upstream_error", "API key"),
            (Reply(status=404, error="model 'x' not found"), 404, "model_not_found", "does not have the model"),
            (Reply(status=503, error="server busy"), 503, "service_unavailable", "server busy"),
            (
                Reply(status=429, error="slow down", headers={"Retry-After": "1"}),
                429,
                "rate_limit_exceeded",
                "slow down",
            ),
            (Reply(status=400, error="prompt exceeds the context length"), 400, "context_length_exceeded", "too long"),
            (Reply(content=["a", "b"], error_after=1, error="CUDA error"), 502, "upstream_error", "CUDA error"),
            (Reply(content=["a", "b"], drop_after=1), 502, "upstream_error", "broke"),
            (Reply(content=["a", "b"], end_without_done=True), 502, "upstream_error", "broke off"),
            (Reply(content=["a", "b"], hang_after=1), 504, "upstream_timeout", "UPSTREAM_IDLE_TIMEOUT"),
            (Reply(load_delay=30), 504, "upstream_timeout", "UPSTREAM_FIRST_BYTE_TIMEOUT"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_before_the_answer_was_sent_have_a_status(self, served_ollama, ollama, reply, status, code, words):
        ollama.reply(reply)
        with pytest.raises(openai.APIStatusError) as caught:
            served_ollama.client().chat.completions.create(**body())
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert words in caught.value.message
        assert "secret" not in caught.value.message
        assert "10.0.0.7" not in caught.value.message

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(content=["one", "two"], error_after=1, error="CUDA error"),
            Reply(content=["one", "two"], drop_after=1),
            Reply(content=["one", "two"], drop_after=1, reset=True),
            Reply(content=["one", "two"], end_without_done=True),
            Reply(content=["one", "two"], hang_after=1),
        ],
        ids=["error line", "connection closed", "connection reset", "no end", "silence"],
    )
    def test_in_the_middle_of_a_stream_are_said_and_never_look_like_an_end(self, served_ollama, ollama, reply):
        ollama.reply(reply)
        seen = []
        with pytest.raises(openai.APIError) as caught:
            for chunk in served_ollama.client().chat.completions.create(**body(stream=True)):
                seen.append(chunk.choices[0].delta.content or "")
                assert chunk.choices[0].finish_reason is None
        assert "".join(seen).startswith("one")
        assert caught.value.message

    def test_retry_after_reaches_the_client(self, served_ollama, ollama):
        ollama.reply(Reply(status=429, error="slow down", headers={"Retry-After": "1"}))
        response = served_ollama.http().post(CHAT, json=body())
        assert response.headers["retry-after"] == "1"

    def test_a_server_that_is_gone_gives_503_and_its_return_is_noticed(self, served_ollama, ollama):
        ollama.refuse()
        try:
            response = served_ollama.http().post(CHAT, json=body())
            assert response.status_code == 503
            assert response.headers["retry-after"]
            assert response.json()["error"]["code"] == "service_unavailable"
        finally:
            ollama.restart()
        assert served_ollama.http().post(CHAT, json=body()).status_code == 200


def test_metrics_tell_lanes_and_waits_to_those_with_a_key(served_ollama):
    served_ollama.http().post(CHAT, json=body())
    text = served_ollama.http().get("/metrics").text
    assert 'moe_lane_waiting{model="llama3.2:3b"' in text
    assert 'state="closed"} 1.0' in text
    assert "moe_queue_wait_seconds_count" in text
    assert httpx.get(f"{served_ollama.url}/metrics").status_code == 401


class TestCancellation:
    """A client that goes away has its upstream request closed long before that would end, at any stage."""

    @pytest.mark.parametrize("stream", [True, False], ids=["streaming", "not streaming"])
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(load_delay=20),
            Reply(content=["a"] * 400, delay=0.05),
            Reply(content=["a", "b"], hang_after=1),
        ],
        ids=["loading", "generating", "silent"],
    )
    @pytest.mark.parametrize("seconds", [10, pytest.param(1, marks=pytest.mark.slow)])
    def test_closes_the_upstream_request(self, served_ollama, ollama, stream, reply, seconds):
        served_ollama.http().post(CHAT, json=body())  # the model is loaded: a load would not be broken off
        asked = len(ollama.work_at("/api/chat"))
        ollama.reply(reply)
        with served_ollama.dial(CHAT, body(stream=stream)):
            request = ollama.wait_for_work("/api/chat", count=asked + 1)
            time.sleep(0.4)  # so that pieces are on their way, where there are any
        gone = time.monotonic()
        assert request.wait_disconnected(), "the model server still works for a client that left"
        assert request.disconnected_at - gone < seconds

    def test_while_the_request_is_still_arriving(self, served_ollama, ollama):
        import socket

        host, port = served_ollama.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n{")
        assert served_ollama.http().post(CHAT, json=body()).status_code == 200
        assert len(ollama.work_at("/api/chat")) == 1
