"""Ollama's native API, as this endpoint speaks it."""

import base64
import json

import ollama as official
import pytest

from gateway import listing
from gateway.nativeanswer import LineWriter
from gateway.nativerequest import Load, parse_embed, parse_generate, parse_native_chat, parse_old_embeddings, read
from routing.backends.generation import TextRequest
from routing.backends.protocol import ChatRequest, Delta, Finish, ServerAddress, ServerKind, ToolCallDelta, Usage
from routing.catalog import Catalog, Expert, Profile, Replica
from routing.exceptions import BadRequest, UpstreamFailed
from tests.scripted import Reply, ToolCall

USER = {"role": "user", "content": "Hello"}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
IMAGE = base64.b64encode(b"not really a picture").decode()


def known(name):
    return name in ("auto", "code", "llama3.2:latest", "llama3.2")


def chat(**fields):
    return parse_native_chat({"model": "code", "messages": [USER]} | fields, known)


def generate(**fields):
    return parse_generate({"model": "code", "prompt": "Hello"} | fields, known)


class TestChats:
    def test_a_plain_one_streams(self):
        asked = chat()
        assert asked.stream
        assert isinstance(asked.request, ChatRequest)
        assert (asked.request.model, asked.request.messages[0].text) == ("code", "Hello")

    @pytest.mark.parametrize(("stream", "streams"), [(None, True), (True, True), (False, False)])
    def test_streaming_is_the_default(self, stream, streams):
        assert chat(stream=stream).stream is streams

    @pytest.mark.parametrize(
        ("asked", "meant"),
        [("code:latest", "code"), ("auto:latest", "auto"), ("llama3.2:latest", "llama3.2:latest"), ("other", "other")],
    )
    def test_the_tag_that_clients_add(self, asked, meant):
        request = chat(model=asked)
        assert (request.model, request.request.model) == (asked, meant)

    def test_parameters_have_the_meaning_they_have_natively(self):
        options = {"temperature": 0.5, "num_predict": 7, "stop": ["x"], "num_ctx": 512, "top_k": 3}
        request = chat(options=options, keep_alive="5m", think="high").request
        assert (request.sampling.temperature, request.sampling.max_tokens) == (0.5, 7)
        assert (request.sampling.stop, request.num_ctx, request.options) == (("x",), 512, {"top_k": 3})
        assert (request.keep_alive, request.think) == ("5m", "high")

    @pytest.mark.parametrize(
        ("form", "kind", "schema"),
        [(None, None, None), ("", None, None), ("json", "json_object", None),
         ({"type": "object"}, "json_schema", {"type": "object"})],
    )  # fmt: skip
    def test_format(self, form, kind, schema):
        found = chat(format=form).request.response_format
        assert (found.kind if found else None, found.schema if found else None) == (kind, schema)

    def test_images(self):
        message = chat(messages=[{"role": "user", "content": "What?", "images": [IMAGE]}]).request.messages[0]
        assert (message.text, message.images[0].data) == ("What?", IMAGE)

    def test_a_tools_answers_find_their_calls(self):
        calls = [{"function": {"name": name, "arguments": {"city": "Rome"}}} for name in ("weather", "time")]
        messages = chat(
            tools=[TOOL],
            messages=[
                USER,
                {"role": "assistant", "content": "", "tool_calls": calls},
                {"role": "tool", "content": "12:00", "tool_name": "time"},
                {"role": "tool", "content": "sunny"},
            ],
        ).request.messages
        weather, clock = (call.id for call in messages[1].tool_calls)
        assert weather != clock
        assert json.loads(messages[1].tool_calls[0].arguments) == {"city": "Rome"}
        assert [(one.tool_call_id, one.name) for one in messages[2:]] == [(clock, "time"), (weather, None)]

    def test_what_is_not_done_is_named(self):
        assert chat(truncate=True, shift=None, temperature=1).request.ignored == ("truncate", "temperature")

    def test_thinking_of_earlier_turns(self):
        messages = [USER, {"role": "assistant", "content": "Hi", "thinking": "Hm"}, USER]
        assert chat(messages=messages).request.messages[1].reasoning == "Hm"

    @pytest.mark.parametrize(
        ("keep_alive", "reason"), [(None, "load"), ("5m", "load"), (-1, "load"), (0, "unload"), ("0", "unload")]
    )
    def test_without_messages_it_only_loads(self, keep_alive, reason):
        request = chat(messages=[], keep_alive=keep_alive).request
        assert isinstance(request, Load)
        assert request.reason == reason

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": ""},
            {"model": 5},
            {"messages": "Hello"},
            {"messages": ["Hello"]},
            {"messages": [{"role": "user", "content": 5}]},
            {"messages": [{"role": "robot", "content": "Hello"}]},
            {"messages": [{"role": "user", "content": "x", "images": "AAAA"}]},
            {"messages": [{"role": "user", "content": "x", "images": ["!"]}]},
            {"messages": [{"role": "assistant", "tool_calls": "x"}]},
            {"stream": "yes"},
            {"format": 5},
            {"format": "yaml"},
            {"options": []},
            {"options": {"temperature": "hot"}},
            {"think": "very"},
            {"messages": [], "keep_alive": True},
        ],
    )
    def test_what_is_wrong_is_refused(self, fields):
        with pytest.raises(BadRequest):
            chat(**fields)

    @pytest.mark.parametrize("body", [b"", b"nonsense", b"[]"])
    def test_what_is_no_request(self, body):
        with pytest.raises(BadRequest):
            read(body)


class TestGenerating:
    def test_with_a_template_it_is_a_chat_of_one_message(self):
        request = generate(system="Be brief.", images=[IMAGE]).request
        assert isinstance(request, ChatRequest)
        assert [(message.role, message.text) for message in request.messages] == [
            ("system", "Be brief."),
            ("user", "Hello"),
        ]
        assert request.has_images

    def test_raw_and_suffix_are_text_completions(self):
        raw = generate(raw=True, options={"num_predict": 5, "stop": ["x"]}).request
        assert isinstance(raw, TextRequest)
        assert (raw.raw, raw.prompts, raw.chat.sampling.max_tokens) == (True, ("Hello",), 5)
        assert raw.chat.ignored == ()
        assert generate(raw=True, shift=False).request.chat.ignored == ("shift",)
        filling = generate(suffix="World").request
        assert (filling.raw, filling.suffix) == (False, "World")

    def test_without_a_prompt_it_only_loads(self):
        assert isinstance(generate(prompt="").request, Load)

    @pytest.mark.parametrize(
        "fields",
        [
            {"context": [1, 2]},
            {"template": "{{ .Prompt }}"},
            {"raw": True, "system": "x"},
            {"raw": True, "images": [IMAGE]},
            {"suffix": "x", "format": "json"},
            {"raw": True, "suffix": "x"},
            {"raw": True, "prompt": ""},
            {"prompt": 5},
        ],
    )
    def test_what_cannot_be_done_is_refused(self, fields):
        with pytest.raises(BadRequest):
            generate(**fields)


class TestEmbedding:
    @pytest.mark.parametrize(
        ("given", "texts"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([""], ("",)), ("", ()), ([], ()), (None, ())]
    )
    def test_input(self, given, texts):
        assert parse_embed({"model": "auto", "input": given}, known).texts == texts

    @pytest.mark.parametrize(("given", "cuts"), [(None, False), (False, False), (True, True)])
    def test_a_text_is_cut_only_where_the_client_says_so(self, given, cuts):
        assert parse_embed({"model": "auto", "input": "a", "truncate": given}, known).truncate is cuts

    def test_the_older_way(self):
        assert parse_old_embeddings({"model": "auto", "prompt": "a"}, known).texts == ("a",)
        assert parse_old_embeddings({"model": "auto"}, known).texts == ()

    def test_token_numbers_are_refused(self):
        with pytest.raises(BadRequest):
            parse_embed({"model": "auto", "input": [1]}, known)


class TestLines:
    DONE = Finish(reason="stop", usage=Usage(prompt_tokens=3, completion_tokens=2))

    def lines(self, *events, chat=True):
        ticks = iter(range(100, 10_000, 100))
        writer = LineWriter("m", chat=chat, now=lambda: 1_700_000_000_000_000_001, timer=lambda: next(ticks))
        return [line for event in events for line in writer.write(event)]

    def test_of_a_chat(self):
        assert self.lines(Delta(content="Hi", reasoning="Hm"), self.DONE) == [
            {
                "model": "m",
                "created_at": "2023-11-14T22:13:20.000000001Z",
                "message": {"role": "assistant", "content": "Hi", "thinking": "Hm"},
                "done": False,
            },
            {
                "model": "m",
                "created_at": "2023-11-14T22:13:20.000000001Z",
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "stop",
                "total_duration": 200,
                "prompt_eval_count": 3,
                "prompt_eval_duration": 100,
                "eval_count": 2,
                "eval_duration": 100,
            },
        ]

    def test_of_a_generation(self):
        first, last = self.lines(Delta(content="Hi"), self.DONE, chat=False)
        assert (first["response"], last["response"], last["done"]) == ("Hi", "", True)
        assert "message" not in first

    @pytest.mark.parametrize(
        ("reason", "told"), [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("content_filter", "stop")]
    )
    def test_the_reasons_ollama_knows(self, reason, told):
        assert self.lines(Finish(reason=reason))[0]["done_reason"] == told

    def test_tool_calls_come_whole(self):
        pieces = (
            Delta(tool_calls=(ToolCallDelta(index=0, id="call_1", name="weather", arguments='{"ci'),)),
            Delta(tool_calls=(ToolCallDelta(index=0, arguments='ty":"Rome"}'),)),
            Delta(tool_calls=(ToolCallDelta(index=1, id="call_2", name="time"),)),
        )
        calls, last = self.lines(*pieces, self.DONE)
        assert calls["message"]["tool_calls"] == [
            {"id": "call_1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Rome"}}},
            {"id": "call_2", "function": {"index": 1, "name": "time", "arguments": {}}},
        ]
        assert not calls["done"]
        assert last["done"]

    @pytest.mark.parametrize("arguments", ["{", "[]"])
    def test_arguments_that_are_no_object_are_an_error(self, arguments):
        call = ToolCallDelta(index=0, id="call_1", name="weather", arguments=arguments)
        with pytest.raises(UpstreamFailed):
            self.lines(Delta(tool_calls=(call,)), self.DONE)

    def test_one_object(self):
        writer = LineWriter("m", chat=True)
        for event in (Delta(content="H"), Delta(content="i", logprobs=({"token": "i", "logprob": -1},)), self.DONE):
            writer.add(event)
        whole = writer.whole()
        assert (whole["message"]["content"], whole["done"], len(whole["logprobs"])) == ("Hi", True, 1)


class TestListing:
    def shelf(self, *profiles):
        server = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box")
        coder = Replica(
            server=server, embedded=False, model="coder", context_length=8192, num_ctx=4096,
            capabilities=frozenset({"completion", "insert"}),
        )  # fmt: skip
        embedder = Replica(server=server, embedded=False, model="nomic", capabilities=frozenset({"embedding"}))
        catalog = Catalog(
            experts={"code": Expert(slug="code", replicas=(coder,)), "idle": Expert(slug="idle")},
            models={"coder": Expert(slug="coder", replicas=(coder,))},
            rules=(),
            default="code",
            embedders={"nomic": Expert(slug="nomic", replicas=(embedder,))},
            profiles={one.slug: one for one in (Profile(slug="auto"), *profiles)},
        )
        facts = {"coder": listing.Facts(family="qwen2", parameter_size="7B", size=5, digest="ab" * 32)}
        return {entry.name: entry for entry in listing.entries(catalog, facts)}

    def test_each_profile_is_listed_with_what_stands_behind_it(self):
        shelf = self.shelf(
            Profile(slug="coders", experts=frozenset({"code"})), Profile(slug="idlers", experts=frozenset({"idle"}))
        )
        assert list(shelf)[:3] == ["auto", "coders", "code"]
        assert (shelf["coders"].window, shelf["coders"].capabilities) == (4096, ("completion", "insert"))

    def test_everything_that_can_be_asked_for_is_listed(self):
        assert list(self.shelf()) == ["auto", "code", "coder", "nomic", "all-MiniLM-L6-v2"]

    def test_an_installed_model_as_ollama_lists_it(self):
        listed = listing.listed(self.shelf()["coder"])
        assert (listed["name"], listed["size"], listed["digest"]) == ("coder", 5, "ab" * 32)
        assert listed["details"]["family"] == "qwen2"
        assert listed["capabilities"] == ["completion", "insert"]

    def test_a_virtual_model_has_what_clients_read(self):
        listed = listing.listed(self.shelf()["auto"])
        assert len(listed["digest"]) == 64  # `ollama list` cuts it without looking
        assert listed["details"]["families"] == ["moe"]

    def test_shown_tells_the_window_and_whether_it_fills_in(self):
        shown = listing.shown(self.shelf()["code"])
        assert shown["model_info"]["moe.context_length"] == 4096
        assert ".Suffix" in shown["template"]
        assert ".Suffix" not in listing.shown(self.shelf()["nomic"])["template"]

    def test_what_is_in_memory_tells_nothing_of_hosts(self):
        model = {"name": "coder", "size": 5, "remote_host": "https://secret"}
        answers = [{"models": [model, {"name": "foreign"}]}, None, {"models": None}, {"models": [model]}]
        assert listing.resident(answers, ["coder"]) == [{"name": "coder", "size": 5}]


@pytest.mark.served
class TestTheOfficialClient:
    @pytest.fixture
    def client(self, served_ollama):
        client = official.Client(
            host=served_ollama.url, headers={"Authorization": f"Bearer {served_ollama.api_key}"}, timeout=60
        )
        yield client
        client._client.close()

    def test_lists_and_shows(self, client):
        names = {model.model for model in client.list().models}
        assert {"auto", "code", "qwen2.5-coder:7b", "nomic-embed-text:latest", "all-MiniLM-L6-v2"} <= names
        shown = client.show("auto:latest")
        assert "completion" in shown.capabilities
        assert shown.modelinfo["moe.context_length"] == 131072
        with pytest.raises(official.ResponseError) as caught:
            client.show("nothing")
        assert caught.value.status_code == 404

    def test_chats(self, client, ollama):
        ollama.reply(Reply(content=["Hé", "llo"], split_bytes=1))
        answer = client.chat("auto", [USER], options={"temperature": 0})
        assert (answer.message.content, answer.done_reason, answer.model) == ("Héllo", "stop", "auto")
        assert answer.prompt_eval_count > 0
        assert answer.total_duration >= answer.eval_duration > 0
        assert ollama.requests_to("/api/chat")[-1].json["options"]["temperature"] == 0

    def test_streams(self, client, ollama):
        ollama.reply(Reply(thinking=["Hm"], content=["Hi", "!"]))
        parts = list(client.chat("reasoning", [USER], stream=True, think=True))
        assert "".join(part.message.content for part in parts) == "Hi!"
        assert "".join(part.message.thinking or "" for part in parts) == "Hm"
        assert [part.done for part in parts] == [False, False, False, True]

    def test_calls_tools(self, client, ollama):
        calls = [ToolCall(name="weather", arguments={"city": city}, index=0) for city in ("Rome", "Oslo")]
        ollama.reply(Reply(tool_calls=calls))
        found = client.chat("general", [USER], tools=[TOOL]).message.tool_calls
        assert [call.function.arguments for call in found] == [{"city": "Rome"}, {"city": "Oslo"}]

    def test_shows_images_to_who_sees(self, client, ollama):
        client.chat("auto", [{**USER, "images": [IMAGE]}])
        sent = ollama.requests_to("/api/chat")[-1].json
        assert (sent["model"], sent["messages"][-1]["images"]) == ("llava:7b", [IMAGE])

    def test_generates(self, client, ollama):
        assert client.generate("general", "Hi", system="Be brief.").response
        assert ollama.requests_to("/api/chat")[-1].json["messages"][0] == {"role": "system", "content": "Be brief."}
        assert "".join(part.response for part in client.generate("general", "Hi", stream=True))

    def test_fills_in(self, client, ollama):
        assert client.generate("code", "def f(", suffix="return", options={"num_predict": 9}).response
        sent = ollama.requests_to("/api/generate")[-1].json
        assert (sent["suffix"], sent["raw"], sent["options"]["num_predict"]) == ("return", False, 9)

    def test_embeds(self, client):
        answer = client.embed("nomic-embed-text", ["one two", "three"])
        assert [len(vector) for vector in answer.embeddings] == [384, 384]
        assert answer.prompt_eval_count > 0
        assert len(client.embeddings("auto", "one two").embedding) == 384
        assert client.embed("auto", []).embeddings == []

    def test_errors_are_its_own(self, client, ollama):
        with pytest.raises(official.ResponseError, match="does not exist") as caught:
            client.chat("nothing", [USER])
        assert caught.value.status_code == 404
        ollama.reply(Reply(content=["one", "two"], error_after=1, error="CUDA error"))
        with pytest.raises(official.ResponseError, match="CUDA error"):
            list(client.chat("general", [USER], stream=True))

    def test_loads(self, client, ollama):
        assert client.chat("auto", []).done_reason == "load"
        assert not ollama.requests_to("/api/chat")
        assert client.generate("llama3.2:3b").done_reason == "load"
        assert {model.model for model in client.ps().models} == {"llama3.2:3b"}
        assert client.generate("llama3.2:3b", keep_alive=0).done_reason == "unload"
        assert client.ps().models == []

    def test_unloading_loads_nothing_and_is_known_at_once(self, client, ollama):
        client.generate("llama3.2:3b")
        ollama.loaded.clear()  # it went out of memory, and nobody here knows yet
        asked = len(ollama.requests)
        assert client.chat("llama3.2:3b", [], keep_alive=0).done_reason == "unload"
        sent = [request.json for request in ollama.requests[asked:] if request.method == "POST"]
        assert [request["keep_alive"] for request in sent] == [0]
        client.generate("llama3.2:3b")
        client.generate("llama3.2:3b", keep_alive=0)
        asked = len(ollama.requests)
        client.generate("llama3.2:3b", keep_alive=0)
        sent = [request.json for request in ollama.requests[asked:] if request.method == "POST"]
        assert [request["keep_alive"] for request in sent] == [0], "it is known to be gone, and is not loaded for this"
        asked = len(ollama.requests)
        client.chat("llama3.2:3b", [USER])
        sent = [request.json for request in ollama.requests[asked:] if request.method == "POST"]
        assert [bool(request.get("messages")) for request in sent] == [False, True], "it is loaded before it is asked"

    def test_unloads_an_embedding_model_and_no_virtual_one(self, client, ollama):
        client.embed("nomic-embed-text", "one")
        assert client.generate("nomic-embed-text", keep_alive=0).done_reason == "unload"
        assert client.ps().models == []
        asked = len(ollama.requests)
        for name in ("auto", "auto-fast", "code"):
            assert client.generate(name, keep_alive=0).done_reason == "unload"
        assert len(ollama.requests) == asked
        with pytest.raises(official.ResponseError) as caught:
            client.generate("nothing", keep_alive=0)
        assert caught.value.status_code == 404

    def test_cannot_administer(self, client):
        for change in (lambda: client.pull("x"), lambda: client.delete("x"), lambda: client.copy("x", "y")):
            with pytest.raises(official.ResponseError, match="admin") as caught:
                change()
            assert caught.value.status_code == 501


@pytest.mark.served
class TestTheDoor:
    def test_headers(self, served_ollama):
        response = served_ollama.http().post("/api/chat", json={"model": "auto", "messages": [USER]})
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["x-moe-expert"] == "general"
        assert response.headers["x-request-id"]
        assert json.loads(response.text.splitlines()[-1])["done"] is True

    @pytest.mark.parametrize("path", ["/api/chat", "/api/tags", "/api/version", "/api/pull"])
    def test_needs_a_key(self, served_ollama, path):
        method = "GET" if path in ("/api/tags", "/api/version") else "POST"
        response = served_ollama.http().request(method, path, headers={"Authorization": "Bearer wrong"}, json={})
        assert response.status_code == 401
        assert "API key" in response.json()["error"]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/chat", 405),
            ("GET", "/api/nothing", 404),
            ("POST", "/api/blobs/sha256:00", 501),
            ("HEAD", "/api/blobs/sha256:00", 501),
            ("GET", "/api/version", 200),
            ("HEAD", "/api/tags", 200),
            ("HEAD", "/", 200),
            ("GET", "/", 302),
            ("POST", "/api/chat", 400),
        ],
    )
    def test_paths_and_methods(self, served_ollama, method, path, status):
        assert served_ollama.http().request(method, path).status_code == status

    def test_a_failure_before_the_answer_has_a_status(self, served_ollama, ollama):
        ollama.reply(Reply(status=400, error="prompt exceeds the context length"))
        response = served_ollama.http().post("/api/chat", json={"model": "general", "messages": [USER]})
        assert response.status_code == 400
        assert "too long" in response.json()["error"]

    @pytest.mark.parametrize(
        ("path", "upstream", "body"),
        [
            ("/api/chat", "/api/chat", {"messages": [USER]}),
            ("/api/chat", "/api/chat", {"messages": [USER], "stream": False}),
            ("/api/generate", "/api/generate", {"prompt": "a", "raw": True}),
        ],
    )
    def test_a_client_that_leaves_stops_the_model(self, served_ollama, ollama, path, upstream, body):
        ollama.reply(Reply(content=["a"] * 400, delay=0.05))
        with served_ollama.dial(path, {"model": "code", **body}) as connection:
            request = ollama.wait_for_work(upstream)
            if body.get("stream", True):
                connection.recv(1)
        assert request.wait_disconnected(10)
