"""Answers that rest on the knowledge base: what the model is shown, what the client gets, and what is said of both.

The model server is scripted, and so is what a search finds, but in TestForReal.
"""

import asyncio
import json
from types import SimpleNamespace

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway import account, library
from gateway.account import Account
from gateway.auth import Caller, keys
from gateway.consumers import ChatCompletions
from gateway.decisions import Decisions
from gateway.guards.guard import Guards
from gateway.guards.live import guards
from gateway.models import ApiKey, Exchange, key_digest
from gateway.native import NativeChat, NativeGenerate
from gateway.sources import _signer
from gateway.usage import texts
from gateway.usage.texts import Texts
from knowledge.exceptions import CollectionNotFound, EmbeddingFailed
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    Embedding,
    EmbeddingModel,
    Grant,
    Posting,
    StoredContent,
)
from knowledge.passages import Passage, Retrieval, Step
from knowledge.terms import counted
from knowledge.tracing import Traces
from routing.backends.local import local_embedder
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.pool import close_shared_pool
from routing.rules import Rule
from tests.gateway.test_http import Connection
from tests.requests import tool
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer, ToolCall

MODEL, SMALL = "llama3.2:3b", "qwen2.5:0.5b"
WHO = "Who approves sick leave?"
TEXT = "Sick leave is approved by the team lead. A doctor's note is needed from the fourth day."
MORE = "Holidays are planned with the team before the end of January, and entered by the office."


def passage(chunk, text, **fields):
    given = {"document": 10 + chunk, "revision": 2, "ordinal": 0, "collection": "handbook", "title": f"Part {chunk}"}
    return Passage(**given | {"chunk": chunk, "source": f"{chunk}.md", "text": text, "score": 0.9} | fields)


FOUND = Retrieval(
    query="",
    passages=(
        passage(1, TEXT, heading="Leave › Sick days", page=3, similarity=0.71234, vector_rank=1, text_rank=2),
        passage(2, MORE, url="https://intranet.example/holidays"),
    ),
    collections=("handbook",),
    strength=0.71,
    steps=(Step(name="search", milliseconds=2.5, result="2 passages"),),
)


class Shelf:
    """What the knowledge base holds, as a search and a look at the collections see it."""

    def __init__(self):
        self.found, self.error, self.seconds = FOUND, None, 0.0
        self.collections = {"handbook": None, "wiki": None}
        self.searches, self.looks, self.given_up = [], 0, 0

    async def search(self, request, *, access):
        self.searches.append((request, access))
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.error:
            raise self.error
        if missing := [slug for slug in request.collections if slug not in self.collections]:
            raise CollectionNotFound(f"There is no collection '{missing[0]}'.")
        return self.found

    async def look(self, access, names):
        self.looks += 1
        return {slug: found for slug, found in self.collections.items() if not names or slug in names}

    @property
    def last(self):
        return self.searches[-1][0]


@pytest.fixture
def shelf(monkeypatch):
    found = Shelf()
    monkeypatch.setattr(library, "search", found.search)
    monkeypatch.setattr(library, "_look", found.look)
    return found


@pytest.fixture
def server():
    models = [ScriptedModel(name=MODEL, capabilities=("completion", "tools")), ScriptedModel(name=SMALL)]
    with ScriptedServer(models) as running:
        running.loaded[MODEL] = running.loaded[SMALL] = Residency(context_length=8192)
        yield running


class Desk:
    """The doors, in this process, with a catalog of our own."""

    def __init__(self, server, monkeypatch):
        self.server, self.monkeypatch = server, monkeypatch
        self.traces, self.records = Traces(), []
        monkeypatch.setattr(account, "traces", self.traces)
        monkeypatch.setattr(
            account, "journal", SimpleNamespace(note=lambda record, **_: self.records.append(record), rules_hit=list)
        )
        monkeypatch.setattr(keys, "_value", {})
        monkeypatch.setattr(guards, "_value", Guards())
        self.has()

    def has(self, *rules, profile=None, **replica):
        address = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url=self.server.url)
        capabilities = frozenset({"completion", "tools"})
        replicas = [
            Replica(**{"server": address, "embedded": False, "model": tag, "capabilities": capabilities} | replica)
            for tag in (MODEL, SMALL)
        ]
        experts = {"general": Expert(slug="general", replicas=(replicas[0],), system_prompt="Be brief.")}
        experts["small"] = Expert(slug="small", replicas=(replicas[1],))
        shown = Catalog(
            experts=experts,
            models={},
            rules=rules,
            default="general",
            profiles={"auto": profile or Profile(slug="auto")},
        )
        self.monkeypatch.setattr(catalog, "_value", shown)

    async def send(self, door=ChatCompletions, leave_after=None, key="", **body):
        given = {"model": "general", "messages": [{"role": "user", "content": WHO}]}
        connection = Connection(json.dumps(given | body).encode())
        connection.scope["headers"] += [(b"host", b"localhost:8000"), (b"authorization", f"Bearer {key}".encode())]
        running = asyncio.create_task(connection.run(door))
        if leave_after is not None:
            await asyncio.sleep(leave_after)
            connection.leave()
        await running
        return Answer(connection)

    @property
    def sent(self):
        """The chat the model got last."""
        return self.server.requests_to("/api/chat")[-1].json

    @property
    def prompt(self):
        return self.sent["messages"][-1]["content"]

    @property
    def trace(self):
        ((kept, _),) = self.traces._records
        return kept


class Answer:
    def __init__(self, connection):
        self.connection = connection
        start = connection.sent[0] if connection.sent else {"status": None, "headers": []}
        self.status = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        self.text = connection.body.decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def chunks(self):
        lines = [line[6:] for line in self.text.split("\n\n") if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return [json.loads(line) for line in lines[:-1]]

    @property
    def message(self):
        return ChatCompletion.model_validate(self.json).choices[0].message


@pytest.fixture
async def desk(server, shelf, monkeypatch, settings):
    settings.REQUIRE_API_KEY = False
    settings.STREAM_HEARTBEAT_SECONDS = 0
    yield Desk(server, monkeypatch)
    await close_shared_pool()


def says(server, *pieces, **options):
    server.reply(Reply(content=list(pieces), **options))


class TestAnAnswer:
    async def test_has_citations_an_sdk_reads_and_their_sources(self, desk, server):
        says(server, "The team", " lead [", "1]. Not", " the king [7].")
        answer = await desk.send(use_rag=True)
        assert (answer.status, answer.message.content) == (200, "The team lead [1]. Not the king.")
        (annotation,) = answer.message.annotations
        citation = annotation.url_citation
        assert answer.message.content[citation.start_index : citation.end_index] == "[1]"
        assert citation.title == "Part 1"
        assert citation.url.startswith("http://localhost:8000/sources/")
        assert _signer().unsign_object(citation.url.rsplit("/", 1)[1]) == [0, 11, 2, 1]
        first, second = answer.json["sources"]
        assert first == {
            "n": 1, "chunk": 1, "chunks": [1], "document": 11, "revision": 2, "collection": "handbook",
            "title": "Part 1", "heading": "Leave › Sick days", "page": 3, "url": citation.url, "original": None,
            "score": 0.9, "similarity": 0.7123, "cited": True,
        }  # fmt: skip
        assert (second["n"], second["cited"], second["original"]) == (2, False, "https://intranet.example/holidays")
        told = answer.json["grounding"]
        assert (told["question"], told["condensed"], told["invented_citations"]) == (WHO, None, 1)
        assert (told["weak"], told["strength"], told["cut"], told["by"]) == (False, 0.71, [], "request")
        assert [step["step"] for step in told["steps"]] == ["question", "search"]
        assert answer.headers["x-moe-grounding"] == "passages=2; weak=0; cut=0"

    async def test_in_a_stream_they_come_with_the_end(self, desk, server):
        says(server, "The team", " lead [", "1", "]", " or [9", "]")
        answer = await desk.send(use_rag=True, stream=True, stream_options={"include_usage": True})
        chunks = [ChatCompletionChunk.model_validate(chunk) for chunk in answer.chunks]
        content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert content == "The team lead [1] or"
        *begin, end, usage = answer.chunks
        assert not any("sources" in chunk or "annotations" in chunk["choices"][0]["delta"] for chunk in begin)
        assert end["choices"][0]["finish_reason"] == "stop"
        (annotation,) = end["choices"][0]["delta"]["annotations"]
        citation = annotation["url_citation"]
        assert content[citation["start_index"] : citation["end_index"]] == "[1]"
        assert [source["cited"] for source in end["sources"]] == [True, False]
        assert end["grounding"]["invented_citations"] == 1
        assert usage["usage"]["prompt_tokens"] > 0
        assert answer.headers["x-moe-grounding"] == "passages=2; weak=0; cut=0"

    @pytest.mark.parametrize("n", [1, 2])
    async def test_the_sdks_own_accumulator_puts_a_stream_together(self, desk, server, n):
        for text in ("A [1] and [2].", "B [2].")[:n]:
            says(server, text)
        answer = await desk.send(use_rag=True, stream=True, n=n)
        state = ChatCompletionStreamState()
        for chunk in answer.chunks:
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
        found = {choice.message.content: choice.message.annotations for choice in state.get_final_completion().choices}
        assert [one.url_citation.title for one in found["A [1] and [2]."]] == ["Part 1", "Part 2"]
        assert len(found) == n

    async def test_each_of_several_has_citations_of_its_own(self, desk, server):
        for text in ("A [1].", "B [2] [2]."):
            says(server, text)
        answer = (await desk.send(use_rag=True, n=2)).json
        found = {choice["message"]["content"]: len(choice["message"]["annotations"]) for choice in answer["choices"]}
        assert found == {"A [1].": 1, "B [2] [2].": 2}
        assert [source["cited"] for source in answer["sources"]] == [True, True]

    async def test_of_several_in_a_stream_the_sources_come_with_the_last(self, desk, server):
        for text in ("A [1].", "B [2]."):
            says(server, text)
        answer = await desk.send(use_rag=True, n=2, stream=True)
        ends = [chunk for chunk in answer.chunks if chunk["choices"][0]["finish_reason"]]
        assert [len(end["choices"][0]["delta"]["annotations"]) for end in ends] == [1, 1]
        assert ["sources" in end for end in ends] == [False, True]
        assert [source["cited"] for source in ends[1]["sources"]] == [True, True]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_ollamas_clients_get_the_same(self, desk, server, stream):
        says(server, "The team lead [1].")
        answer = await desk.send(NativeChat, rag={"top_k": 2}, stream=stream)
        last = json.loads(answer.text.strip().splitlines()[-1])
        assert last["done"] is True
        assert [source["cited"] for source in last["sources"]] == [True, False]
        assert last["annotations"][0]["url_citation"]["start_index"] == len("The team lead ")
        assert last["grounding"]["by"] == "request"
        assert answer.headers["x-moe-grounding"] == "passages=2; weak=0; cut=0"

    async def test_generate_is_grounded_too(self, desk, server):
        says(server, "The team lead [1].")
        answer = await desk.send(NativeGenerate, prompt=WHO, messages=None, use_rag=True, stream=False)
        assert answer.json["response"] == "The team lead [1]."
        assert answer.json["sources"][0]["cited"] is True

    async def test_without_grounding_nothing_is_added(self, desk, server, shelf):
        says(server, "Cats [1] and a[9].")
        answer = await desk.send()
        assert answer.message.content == "Cats [1] and a[9]."
        assert not {"sources", "grounding"} & answer.json.keys()
        assert "annotations" not in answer.json["choices"][0]["message"]
        assert "x-moe-grounding" not in answer.headers
        assert (shelf.searches, shelf.looks) == ([], 0)

    async def test_json_has_no_citations_and_keeps_its_brackets(self, desk, server):
        says(server, '{"days": [9], "who": "lead [7]"}')
        answer = await desk.send(use_rag=True, response_format={"type": "json_object"})
        assert answer.message.content == '{"days": [9], "who": "lead [7]"}'
        assert answer.message.annotations is None
        assert len(answer.json["sources"]) == 2
        assert "[1]" not in desk.prompt

    async def test_a_call_that_must_come_comes(self, desk, server):
        server.reply(Reply(tool_calls=[ToolCall(name="get_weather", arguments={"city": "Rome"})]))
        answer = await desk.send(use_rag=True, tools=[tool()], tool_choice="required")
        assert answer.message.tool_calls[0].function.name == "get_weather"
        assert len(answer.json["sources"]) == 2


class TestThePrompt:
    async def test_has_the_passages_before_the_question_in_the_last_turn(self, desk, server):
        says(server, "Yes.")
        turns = [
            {"role": "system", "content": "Be rude."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "What?"},
            {"role": "user", "content": WHO},
        ]
        await desk.send(use_rag=True, messages=turns)
        assert [turn["content"] for turn in desk.sent["messages"][:-1]] == ["Be rude.", "Hello", "What?"]
        assert desk.prompt.endswith(f"\n\nRequest:\n{WHO}")
        assert desk.prompt.index(TEXT) < desk.prompt.index(MORE) < desk.prompt.index(WHO)
        assert "Section: Leave › Sick days" in desk.prompt

    async def test_leaves_the_experts_own_system_prompt(self, desk, server):
        says(server, "Yes.")
        await desk.send(use_rag=True)
        assert desk.sent["messages"][0] == {"role": "system", "content": "Be brief."}

    async def test_says_that_the_evidence_is_weak_and_so_does_the_answer(self, desk, server, shelf):
        shelf.found = Retrieval(query="", passages=FOUND.passages, strength=0.1, weak=True)
        says(server, "I do not know.")
        answer = await desk.send(use_rag=True)
        assert "nothing that fits well" in desk.prompt
        assert answer.json["grounding"]["weak"] is True
        assert answer.headers["x-moe-grounding"] == "passages=2; weak=1; cut=0"

    async def test_says_that_nothing_was_found(self, desk, server, shelf):
        shelf.found = Retrieval(query="", weak=True)
        says(server, "Nothing was found [1].")
        answer = await desk.send(use_rag=True)
        assert "nothing in it fits" in desk.prompt
        assert (answer.message.content, answer.json["sources"]) == ("Nothing was found.", [])

    async def test_keeps_to_the_models_real_window(self, desk, server, shelf):
        texts = (" ".join(f"Item {n * 997 + k * 31} is on shelf {k * n}." for k in range(90)) for n in range(1, 6))
        passages = tuple(passage(number, text) for number, text in enumerate(texts))
        shelf.found = Retrieval(query="", passages=passages, strength=0.9)
        server.loaded[MODEL] = Residency(context_length=2048)
        says(server, "Yes [1].")
        answer = await desk.send(use_rag=True, max_tokens=300)
        told = answer.json["grounding"]
        assert told["window"] == 2048
        assert 0 < told["tokens"] <= told["budget"] < 2048 - 300
        assert len(answer.json["sources"]) + len([cut for cut in told["cut"] if cut["reason"] == "did not fit"]) == 5
        assert told["cut"][0].keys() == {"chunk", "document", "title", "tokens", "reason"}
        assert f"cut={len(told['cut'])}" in answer.headers["x-moe-grounding"]

    @pytest.mark.parametrize(
        ("replica", "request_fields", "loaded", "window"),
        [
            ({"num_ctx": 3000}, {}, 8192, 3000),
            ({}, {}, 8192, 8192),
            ({}, {}, None, 4096),
            ({"context_length": 2048}, {}, None, 2048),
            ({"context_length": 131072}, {}, None, 4096),
            ({"context_length": 131072}, {"num_ctx": 16384}, None, 16384),
        ],
    )
    async def test_knows_the_window_or_assumes_a_small_one(self, desk, server, replica, request_fields, loaded, window):
        server.loaded.clear()
        if loaded:
            server.loaded[MODEL] = Residency(context_length=loaded)
        desk.has(**replica)
        says(server, "Yes.")
        answer = await desk.send(use_rag=True, **request_fields)
        assert answer.json["grounding"]["window"] == window

    async def test_without_room_the_answer_says_so_and_nothing_overflows(self, desk, server):
        desk.has(num_ctx=700)
        says(server, "Yes.")
        long = [{"role": "user", "content": "word " * 450 + WHO}]
        answer = await desk.send(use_rag=True, messages=long, max_tokens=20)
        assert answer.json["sources"] == []
        assert "no room left for passages" in answer.json["grounding"]["notes"][-1]
        assert len(answer.json["grounding"]["cut"]) == 2
        assert desk.prompt == long[0]["content"]


class TestWhoWantsIt:
    async def test_the_client_says_where_and_how(self, desk, server, shelf):
        says(server, "Yes.")
        wish = {
            "collections": ["handbook", "wiki"],
            "top_k": 7,
            "mode": "text",
            "filters": {"type": "eq", "key": "team", "value": "sales"},
        }
        await desk.send(rag=wish)
        assert shelf.last.collections == ("handbook", "wiki")
        assert (shelf.last.top_k, shelf.last.mode, shelf.last.filters) == (7, "text", wish["filters"])
        assert shelf.last.query == WHO

    async def test_without_a_list_all_that_may_be_read(self, desk, server, shelf):
        says(server, "Yes.")
        await desk.send(rag=True)
        assert (shelf.last.collections, shelf.last.top_k, shelf.last.mode) == ((), 5, None)

    @pytest.mark.parametrize(
        ("rules", "profile", "fields", "collections", "by"),
        [
            ((Rule(id=1, name="r", collections=("handbook",)),), {}, {}, ("handbook",), "rule"),
            ((), {"collections": ("wiki",)}, {}, ("wiki",), "profile"),
            ((), {"collections": ("wiki",)}, {"use_rag": True}, ("wiki",), "request"),
            ((), {"collections": ("wiki",)}, {"rag_collections": "handbook"}, ("handbook",), "request"),
        ],
    )
    async def test_else_a_rule_or_a_profile(self, desk, server, shelf, rules, profile, fields, collections, by):
        desk.has(*rules, profile=Profile(slug="auto", **profile))
        says(server, "Yes [2].")
        answer = await desk.send(model="auto", **fields)
        assert shelf.last.collections == collections
        assert answer.json["grounding"]["by"] == by
        assert len(answer.message.annotations) == 1

    @pytest.mark.parametrize("no", [{"use_rag": False}, {"rag": False}, {"rag": False, "rag_collections": ["wiki"]}])
    async def test_a_client_can_do_without(self, desk, server, shelf, no):
        desk.has(profile=Profile(slug="auto", collections=("wiki",)))
        says(server, "Yes.")
        answer = await desk.send(model="auto", **no)
        assert "grounding" not in answer.json
        assert shelf.searches == []

    async def test_a_background_job_is_not_grounded(self, desk, server, shelf):
        desk.has(profile=Profile(slug="auto", collections=("wiki",)))
        job = [{"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title for this chat."}]
        says(server, "Sick leave")
        assert "grounding" not in (await desk.send(model="auto", messages=job)).json
        says(server, "Sick leave")
        answer = await desk.send(model="auto", messages=job, use_rag=True)
        assert answer.headers["x-moe-grounding"] == "skipped"
        assert "background job" in answer.json["grounding"]["notes"][0]
        assert shelf.searches == []

    async def test_a_tool_loop_goes_on_as_it_is(self, desk, server, shelf):
        call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        turns = [
            {"role": "user", "content": WHO},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "Sunny [9]"},
        ]
        says(server, "Sunny [9].")
        answer = await desk.send(messages=turns, tools=[tool()], use_rag=True)
        assert answer.message.content == "Sunny [9]."
        assert answer.headers["x-moe-grounding"] == "skipped"
        assert shelf.searches == []

    async def test_a_picture_without_words_cannot_be_searched_for(self, desk, server, shelf):
        says(server, "Yes.")
        answer = await desk.send(use_rag=True, messages=[{"role": "user", "content": "  "}])
        assert answer.headers["x-moe-grounding"] == "skipped"
        assert shelf.searches == []

    @pytest.mark.parametrize(("required", "everything"), [(True, False), (False, True)])
    async def test_the_search_is_on_behalf_of_the_key(self, shelf, settings, required, everything):
        settings.REQUIRE_API_KEY = required
        books = library.Library(Caller(key_id=7, group="sales"))
        await books.search(library.SearchRequest(query="q"))
        access = shelf.searches[-1][1]
        assert (access.key_id, access.group, access.everything) == (7, "sales", everything)


class TestFollowUps:
    TURNS = (
        {"role": "user", "content": WHO},
        {"role": "assistant", "content": "The team lead."},
        {"role": "user", "content": "And how long may it last?"},
    )

    async def test_are_searched_for_with_the_question_before(self, desk, server, shelf):
        says(server, "Three days [1].")
        answer = await desk.send(use_rag=True, messages=self.TURNS)
        assert shelf.last.query == "And how long may it last?"
        assert shelf.last.also == (f"{WHO}\nAnd how long may it last?",)
        told = answer.json["grounding"]
        assert (told["condensed"], told["condensed_by"]) == (None, "earlier turn")

    async def test_are_rewritten_by_an_expert_where_the_collection_has_one(self, desk, server, shelf):
        shelf.collections["handbook"] = "small"
        server.reply(Reply(content=['Question: "How long may ', 'sick leave last?"\n\nBecause …']), model=SMALL)
        says(server, "Three days [1].")
        answer = await desk.send(rag={"collections": ["handbook"]}, messages=self.TURNS)
        assert shelf.last.query == "How long may sick leave last?"
        assert shelf.last.also == ("And how long may it last?",)
        told = answer.json["grounding"]
        assert (told["question"], told["condensed"]) == ("And how long may it last?", "How long may sick leave last?")
        assert told["condensed_by"] == "small"
        asked = server.requests_to("/api/chat")[-2].json
        assert asked["model"] == SMALL
        assert asked["think"] is False
        assert WHO in asked["messages"][-1]["content"]
        assert answer.headers["x-moe-expert"] == "general"

    async def test_an_expert_that_is_too_slow_is_not_waited_for(self, desk, server, shelf, monkeypatch):
        monkeypatch.setattr("gateway.condensing.CONDENSE_SECONDS", 0.2)
        shelf.collections["handbook"] = "small"
        server.reply(Reply(content=["x"], load_delay=5), model=SMALL)
        says(server, "Three days [1].")
        answer = await desk.send(use_rag=True, messages=self.TURNS)
        assert shelf.last.query == "And how long may it last?"
        assert "took longer than 0.2 s" in answer.json["grounding"]["notes"][0]
        assert server.requests_to("/api/chat")[0].wait_disconnected()

    async def test_an_expert_that_is_gone_is_passed_over(self, desk, server, shelf):
        shelf.collections["handbook"] = "nobody"
        says(server, "Three days [1].")
        answer = await desk.send(use_rag=True, messages=self.TURNS)
        assert "nobody could not rewrite the question" in answer.json["grounding"]["notes"][0]
        assert answer.status == 200

    async def test_can_be_left_as_they_are(self, desk, server, shelf):
        shelf.collections["handbook"] = "small"
        says(server, "Three days [1].")
        await desk.send(rag={"condense": False}, messages=self.TURNS)
        assert (shelf.last.query, shelf.last.also) == ("And how long may it last?", ())
        assert len(server.requests_to("/api/chat")) == 1


class TestWhenItFails:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (OperationalError("gone"), 503, "knowledge_unavailable"),
            (EmbeddingFailed("No embedder."), 503, "embedding_failed"),
            (CollectionNotFound("There is no collection 'x'."), 404, "collection_not_found"),
        ],
        ids=["database", "embedder", "collection"],
    )
    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_client_that_asked_for_it_is_told(self, desk, server, shelf, error, status, code, stream):
        shelf.error = error
        answer = await desk.send(use_rag=True, stream=stream)
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        assert server.requests_to("/api/chat") == []

    @pytest.mark.parametrize("error", [OperationalError("gone"), EmbeddingFailed("No embedder."), RuntimeError("bug")])
    async def test_else_the_answer_goes_on_and_says_so(self, desk, server, shelf, error):
        shelf.error = error
        desk.has(profile=Profile(slug="auto", collections=("wiki",)))
        says(server, "Yes [1].")
        answer = await desk.send(model="auto")
        assert (answer.status, answer.message.content) == (200, "Yes [1].")
        assert answer.headers["x-moe-grounding"] == "unavailable"
        assert answer.json["sources"] == []
        assert answer.json["grounding"]["state"] == "unavailable"
        assert answer.json["grounding"]["notes"]

    async def test_a_search_that_hangs_is_given_up(self, desk, server, shelf, monkeypatch):
        monkeypatch.setattr(library, "SEARCH_SECONDS", 0.1)
        shelf.seconds = 30
        answer = await desk.send(use_rag=True)
        assert (answer.status, answer.json["error"]["code"]) == (503, "knowledge_unavailable")

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_client_that_leaves_stops_the_search(self, desk, server, shelf, stream):
        shelf.seconds = 30
        answer = await desk.send(use_rag=True, stream=stream, leave_after=0.2)
        assert answer.status is None
        assert shelf.given_up == 1
        assert server.requests_to("/api/chat") == []

    async def test_a_rules_collections_are_those_the_key_may_read(self, desk, server, shelf):
        desk.has(profile=Profile(slug="auto", collections=("secret", "wiki")))
        says(server, "Yes.")
        answer = await desk.send(model="auto")
        assert shelf.last.collections == ("wiki",)
        assert "secret" in answer.json["grounding"]["notes"][0]

    async def test_where_none_is_left_not_all_others_are_searched_instead(self, desk, server, shelf):
        desk.has(profile=Profile(slug="auto", collections=("secret",)))
        says(server, "Yes.")
        answer = await desk.send(model="auto")
        assert answer.headers["x-moe-grounding"] == "unavailable"
        assert shelf.searches == []


class TestEvidenceAsACondition:
    def rule(self, **fields):
        given = {"id": 1, "name": "known", "min_evidence": 0.6, "expert": "small", "collections": ("handbook",)}
        return Rule(**given | fields)

    async def test_routes_and_is_not_searched_for_twice(self, desk, server, shelf):
        desk.has(self.rule())
        says(server, "Yes [1].")
        answer = await desk.send(model="auto")
        assert answer.headers["x-moe-expert"] == "small"
        assert answer.headers["x-moe-route"] == "rule"
        assert len(shelf.searches) == 1
        assert answer.json["sources"][0]["cited"] is True

    @pytest.mark.parametrize(("strength", "expert"), [(0.59, "general"), (0.6, "small")])
    async def test_must_be_strong_enough(self, desk, server, shelf, strength, expert):
        desk.has(self.rule())
        shelf.found = Retrieval(query="", passages=FOUND.passages, strength=strength)
        answer = (await desk.send(Decisions, model="auto")).json
        assert answer["expert"] == expert
        (verdict,) = answer["explain"]["rules"]
        assert f"evidence in handbook is {strength:.2f}" in verdict["reason"]

    async def test_is_looked_for_only_where_a_rule_wants_to_know(self, desk, server, shelf):
        desk.has(self.rule(profiles=frozenset({"other"})), Rule(id=2, name="x", expert="small", keywords=("zebra",)))
        await desk.send(Decisions, model="auto")
        desk.has(self.rule())
        await desk.send(Decisions, model="general")
        job = [{"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title for this chat."}]
        await desk.send(Decisions, model="auto", messages=job)
        assert shelf.searches == []

    async def test_that_cannot_be_had_fits_nothing_and_fails_nobody(self, desk, server, shelf):
        desk.has(self.rule())
        shelf.error = OperationalError("gone")
        answer = (await desk.send(Decisions, model="auto")).json
        assert answer["expert"] == "general"
        assert "not known" in answer["explain"]["rules"][0]["reason"]


class TestWhatIsKept:
    @pytest.mark.parametrize("log_prompts", [False, True])
    async def test_the_trace_without_the_question_unless_prompts_are_kept(self, desk, server, log_prompts):
        desk.has(profile=Profile(slug="auto", collections=("handbook",), log_prompts=log_prompts))
        says(server, "The lead [1] and [9].")
        await desk.send(model="auto")
        (record,) = desk.records
        trace = desk.trace
        assert trace.decision == record.id
        assert (trace.question, WHO in json.dumps(trace.trace)) == ((WHO, True) if log_prompts else ("", False))
        assert (trace.collections, trace.strength, trace.weak) == (["handbook"], 0.71, False)
        assert (trace.trace["cited"], trace.trace["invented_citations"]) == ([1], 1)
        assert [(one["chunk"], one["vector_rank"], one["text_rank"]) for one in trace.trace["passages"]] == [
            (1, 1, 2), (2, None, None)
        ]  # fmt: skip
        assert trace.trace["packed"] == [{"n": 1, "chunks": [1]}, {"n": 2, "chunks": [2]}]
        assert TEXT not in json.dumps(trace.trace)

    async def test_nothing_where_nothing_was_grounded(self, desk, server):
        says(server, "Yes.")
        await desk.send()
        assert len(desk.traces) == 0
        assert Account(what="x", request_id="", caller=Caller(), asked="").grounded is None


# --- with a real knowledge base -----------------------------------------------------------------------------------

GROUPS = ("sales", "guests")
HANDBOOK = (
    "Sick leave is approved by the team lead. From the fourth day on a doctor's note is needed.",
    "The office in Rome is open from nine to six; the key is kept by the reception.",
    "Travel by train is booked in second class, and refunded within thirty days.",
)


@pytest.fixture
def handbook(transactional_db):
    """A collection that was embedded and indexed, open to the group sales only."""
    seeded = {"source": "in_process", "dimensions": 384, "max_tokens": 254, "floor": 0.1, "ceiling": 0.6}
    model, _ = EmbeddingModel.objects.get_or_create(name="all-MiniLM-L6-v2", defaults=seeded)
    collection = Collection.objects.create(slug="leave", language="en", embedding_model=model, everyone=0)
    Grant.objects.create(collection=collection, group="sales")
    document = Document.objects.create(
        collection=collection, source="leave.md", title="Handbook", language="en", status="ready", revision=1
    )
    chunks = [_chunk(document, place, text) for place, text in enumerate(HANDBOOK)]
    content = StoredContent.objects.create(sha256="0" * 64, data=b"", size=0)
    ids = [chunk.pk for chunk in chunks]
    DocumentRevision.objects.create(
        document=document, number=1, content=content, name="leave.md", state="live", title="Handbook", chunk_ids=ids
    )
    collection.chunk_count, collection.term_count = len(chunks), sum(len(text.split()) for text in HANDBOOK)
    collection.save()
    return collection


def _chunk(document, place, text):
    chunk = Chunk.objects.create(
        collection=document.collection, document=document, revision=1, ordinal=place, state="live", text=text,
        heading=f"Part {place}", language="en", hash="",
    )  # fmt: skip
    terms = counted(f"Handbook Part {place} {text}", "en")
    Posting.objects.bulk_create(
        Posting(collection=document.collection, term=term, chunk=chunk, frequency=count, length=sum(terms.values()))
        for term, count in terms.items()
    )
    (vector,) = local_embedder().embed([text])
    Embedding.objects.create(
        chunk=chunk, embedding_model=document.collection.embedding_model, collection=document.collection,
        findable=True, vector=list(vector),
    )  # fmt: skip
    return chunk


class TestForReal:
    @pytest.fixture
    async def desk(self, handbook, server, monkeypatch, settings):
        settings.STREAM_HEARTBEAT_SECONDS = 0
        desk = Desk(server, monkeypatch)
        known = {}
        for name in GROUPS:
            fields = {"name": name, "group": name, "prefix": name, "digest": key_digest(name)}
            row = await database_sync_to_async(ApiKey.objects.create)(**fields)
            known[row.digest] = Caller(key_id=row.pk, name=name, group=name, prefix=name)
        monkeypatch.setattr(keys, "_value", known)
        yield desk
        await close_shared_pool()

    async def test_the_passage_that_holds_the_answer_is_cited_and_its_link_opens(self, desk, server, client):
        says(server, "The team lead [1].")
        answer = await desk.send(key="sales", rag={"collections": ["leave"], "top_k": 2})
        first = answer.json["sources"][0]
        assert (first["heading"], first["collection"], first["cited"]) == ("Part 0", "leave", True)
        assert first["similarity"] > 0.5
        assert answer.json["grounding"]["weak"] is False
        assert HANDBOOK[0] in desk.prompt
        assert desk.trace.trace["passages"][0]["text_rank"] == 1
        page = await database_sync_to_async(client.get)(first["url"].removeprefix("http://localhost:8000"))
        text = page.content.decode()
        assert page.status_code == 200
        assert text.index('class="text cited"') < text.index("Sick leave is approved")

    async def test_a_question_it_knows_nothing_of_is_weak_evidence(self, desk, server):
        says(server, "I do not know.")
        answer = await desk.send(
            key="sales", rag=True, messages=[{"role": "user", "content": "Which volcano erupted in 1883?"}]
        )
        assert answer.json["grounding"]["weak"] is True
        assert "nothing that fits well" in desk.prompt

    async def test_a_key_that_may_not_read_it_finds_nothing_and_is_told_nothing(self, desk, server):
        answer = await desk.send(key="guests", rag_collections=["leave"])
        assert (answer.status, answer.json["error"]["code"]) == (404, "collection_not_found")
        assert answer.json["error"]["param"] == "rag_collections"
        says(server, "I do not know.")
        answer = await desk.send(key="guests", rag=True)
        assert (answer.json["sources"], answer.json["grounding"]["collections"]) == ([], [])
        assert HANDBOOK[0] not in desk.prompt

    async def test_prompts_and_answers_are_kept_that_rest_on_a_collection_which_keeps_them(
        self, desk, server, handbook, monkeypatch
    ):
        kept = Texts()
        monkeypatch.setattr(texts, "texts", kept)
        says(server, "The team lead [1].")
        await desk.send(key="sales", rag=True)
        assert len(kept) == 0
        await database_sync_to_async(Collection.objects.update)(keeps_texts=True)
        await desk.send(key="guests", rag=True)  # finds nothing, so that the answer does not rest on it
        await desk.send(key="sales")
        assert len(kept) == 0
        says(server, "The team lead [1].")
        await desk.send(key="sales", rag=True)
        assert await database_sync_to_async(kept.flush)() == 1
        row = await database_sync_to_async(Exchange.objects.get)()
        assert row.because == "collection leave"
        assert row.request == {"messages": [{"role": "user", "content": WHO}]}
        assert row.answer["message"]["content"].startswith("The team lead [1].")

    async def test_evidence_routes_what_the_handbook_knows(self, desk):
        desk.has(Rule(id=1, name="known", min_evidence=0.5, expert="small", evidence_collections=("leave",)))
        assert (await desk.send(Decisions, key="sales", model="auto")).json["expert"] == "small"
        assert (await desk.send(Decisions, key="guests", model="auto")).json["expert"] == "general"
        volcano = [{"role": "user", "content": "Which volcano erupted in 1883?"}]
        assert (await desk.send(Decisions, key="sales", model="auto", messages=volcano)).json["expert"] == "general"
