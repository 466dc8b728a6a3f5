"""Several experts behind one answer, through the doors: what the client gets, what is kept, and that it stops.

The model servers are scripted, and the doors run in this process; TestServed is a client of a whole installation.
"""

import asyncio
import json
import logging
from types import SimpleNamespace

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway import account, library
from gateway.auth import keys
from gateway.consumers import ChatCompletions
from gateway.decisions import Decisions
from gateway.guards.guard import Guards
from gateway.guards.live import guards
from gateway.native import NativeChat, NativeGenerate
from gateway.surfaces import TextCompletions
from knowledge.passages import Passage, Retrieval
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Mixing, Mode, Profile, Replica, catalog
from routing.classifying import Active, active, shared_embedder
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.requests import tool
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

EXPERTS = ("ann", "ben", "cid", "dan")
TRIO = frozenset(EXPERTS[:3])
CANBERRA = "The capital of Australia is Canberra."
CHAT = "/api/chat"
COUNTS = {"ann": (11, 2), "ben": (12, 3), "cid": (13, 4), "dan": (90, 5)}


@pytest.fixture
def servers():
    running = {}
    for number, slug in enumerate(EXPERTS, start=1):
        model = ScriptedModel(name=slug, parameter_size=f"{number}B", capabilities=("completion", "tools"))
        server = running[slug] = ScriptedServer([model]).start()
        server.loaded[slug] = Residency(context_length=8192)
        read, written = COUNTS[slug]
        server.default_reply = Reply(content=CANBERRA, prompt_tokens=read, completion_tokens=written)
    yield running
    for server in running.values():
        server.close()


class Desk:
    """The doors, over a catalog of our own: ``moe`` asks three experts and has a fourth one make it one answer."""

    def __init__(self, servers, monkeypatch):
        self.servers, self.monkeypatch, self.records = servers, monkeypatch, []
        monkeypatch.setattr(
            account, "journal", SimpleNamespace(note=lambda record, **_: self.records.append(record), rules_hit=list)
        )
        monkeypatch.setattr(account, "traces", SimpleNamespace(note=lambda trace: None))
        monkeypatch.setattr(keys, "_value", {})
        monkeypatch.setattr(guards, "_value", Guards())
        monkeypatch.setattr(active, "_value", Active(problem="none"))
        self.has()

    def has(self, **mixing):
        shared = {"mixing": Mixing(**{"aggregator": "dan", "patience": 0.3} | mixing), "asks_program": False}
        profiles = [
            Profile(slug="auto", asks_program=False),
            Profile(slug="moe", mode=Mode.MIXTURE, experts=TRIO, **shared),
            Profile(slug="steps", mode=Mode.CASCADE, experts=TRIO, **shared),
        ]
        shown = Catalog(
            experts={slug: self.expert(slug, number) for number, slug in enumerate(EXPERTS, start=1)},
            models={},
            rules=(),
            default="ann",
            profiles={one.slug: one for one in profiles},
        )
        self.monkeypatch.setattr(catalog, "_value", shown)

    def expert(self, slug, number):
        address = ServerAddress(name=slug, kind=ServerKind.OLLAMA, base_url=self.servers[slug].url)
        replica = Replica(server=address, embedded=False, model=slug, parameters=float(number))
        return Expert(slug=slug, system_prompt=f"You are {slug}.", price_in=1.0, price_out=2.0, replicas=(replica,))

    async def send(self, door=ChatCompletions, leave_when=(), **body):
        given = {"model": "moe", "messages": [{"role": "user", "content": "What is the capital of Australia?"}]}
        connection = Connection(json.dumps(given | body).encode())
        connection.scope["headers"] += [(b"host", b"localhost:8000"), (b"authorization", b"Bearer ")]
        running = asyncio.create_task(connection.run(door))
        for slug in leave_when:
            await asyncio.to_thread(self.servers[slug].wait_for_work, CHAT)
        if leave_when:
            connection.leave()
        await running
        return Answer(connection)

    def asked(self, slug):
        return [request.json for request in self.servers[slug].work_at(CHAT)]

    @property
    def why(self):
        (record,) = self.records
        return record.why


class Answer:
    def __init__(self, connection):
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
    def content(self):
        if not self.text.startswith("{"):
            pieces = [choice["delta"].get("content") for chunk in self.chunks for choice in chunk["choices"]]
            return "".join(piece or "" for piece in pieces)
        return ChatCompletion.model_validate(self.json).choices[0].message.content


@pytest.fixture
async def desk(servers, monkeypatch, settings):
    settings.REQUIRE_API_KEY = False
    settings.STREAM_HEARTBEAT_SECONDS = 0
    await asyncio.to_thread(shared_embedder().embed, "warm")
    yield Desk(servers, monkeypatch)
    await close_shared_pool()


def told(why):
    return [(part["role"], part["expert"], part["status"]) for part in why["parts"]]


EXPLAIN = {"moe": {"explain": True}}
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


class TestSynthesis:
    """Three experts, one slow and one failing."""

    @pytest.fixture(autouse=True)
    def trouble(self, desk, servers):
        desk.has(patience=30)
        servers["ben"].reply(Reply(content=CANBERRA, first_delay=0.5, prompt_tokens=12, completion_tokens=3))
        servers["cid"].reply(Reply(status=500, error="out of memory"), times=None)
        servers["dan"].reply(Reply(content=["It is ", "Canberra."], prompt_tokens=90, completion_tokens=5))

    @STREAMS
    async def test_the_client_gets_one_answer(self, desk, stream):
        answer = await desk.send(stream=stream)
        assert (answer.status, answer.content) == (200, "It is Canberra.")
        assert answer.headers["x-moe-expert"] == "dan"
        assert answer.headers["x-moe-replica"] == "dan@dan"
        assert answer.headers["x-moe-parts"] == "asked=3; answered=2; failed=1"
        assert answer.headers["x-moe-route"] == "default"
        assert "x-moe-fallback" not in answer.headers

    @STREAMS
    async def test_the_decision_shows_all_parts_their_cost_and_time(self, desk, stream):
        await desk.send(stream=stream)
        why = desk.why
        assert told(why) == [
            ("member", "ann", "answered"),
            ("member", "cid", "failed"),
            ("member", "ben", "answered"),
            ("aggregator", "dan", "answered"),
        ]
        ann, cid, ben, dan = why["parts"]
        assert (ann["replica"], ann["prompt_tokens"], ann["completion_tokens"]) == ("ann@ann", 11, 2)
        assert (ann["cost"], dan["cost"]) == (15 / 1_000_000, 100 / 1_000_000)
        assert (cid["error"], cid["cost"], cid["prompt_tokens"]) == ("upstream_error", None, None)
        assert ben["first_s"] >= 0.5
        assert dan["start_s"] >= ben["seconds"]
        assert (why["asked"], why["expansions"], why["agreement"], why["notes"]) == (3, 0, 1.0, [])
        assert why["mixture"]["members"] == ["ann", "cid", "ben"]
        record = desk.records[0]
        assert (record.expert, record.answered_by, record.replica, record.outcome) == ("ann", "dan", "dan@dan", "stop")

    async def test_usage_is_what_all_of_it_took(self, desk, caplog):
        with caplog.at_level(logging.INFO, logger="gateway"):
            answer = await desk.send()
        assert answer.json["usage"] == {"prompt_tokens": 113, "completion_tokens": 10, "total_tokens": 123}
        [line] = [record for record in caplog.records if record.getMessage() == "Request processed"]
        assert (line.kind, line.prompt_tokens, line.completion_tokens) == ("completion", 113, 10)

    async def test_usage_in_a_stream(self, desk):
        answer = await desk.send(stream=True, stream_options={"include_usage": True})
        assert answer.chunks[-1]["usage"]["total_tokens"] == 123
        assert {chunk["model"] for chunk in answer.chunks} == {"dan"}

    async def test_who_asks_is_told_the_parts(self, desk):
        moe = (await desk.send(**EXPLAIN)).json["moe"]
        assert told(moe) == told(desk.why)
        assert moe["explain"]["mixture"]["aggregator"] == "dan"
        assert moe["cost"] == pytest.approx((113 + 2 * 10) / 1_000_000)

    async def test_in_a_stream_they_come_with_the_end(self, desk):
        *begin, end = (await desk.send(stream=True, **EXPLAIN)).chunks
        assert begin[0]["moe"]["explain"]["mixture"]["mode"] == "mixture"
        assert "parts" not in begin[0]["moe"]
        assert end["choices"][0]["finish_reason"] == "stop"
        assert told(end["moe"]) == told(desk.why)

    async def test_nobody_else_is(self, desk):
        assert "moe" not in (await desk.send()).json
        assert not any("moe" in chunk for chunk in (await desk.send(stream=True)).chunks)

    async def test_heartbeats_come_while_members_work_and_headers_with_the_first(self, desk, settings):
        settings.STREAM_HEARTBEAT_SECONDS = 0.1
        answer = await desk.send(stream=True)
        assert answer.text.startswith(":")
        assert (answer.headers["x-moe-expert"], answer.headers["x-moe-replica"]) == ("dan", "dan@dan")
        assert answer.headers["x-moe-decision"] == desk.records[0].id
        assert "x-moe-parts" not in answer.headers
        assert answer.content == "It is Canberra."

    async def test_the_sdks_own_accumulator_puts_the_stream_together(self, desk):
        state = ChatCompletionStreamState()
        for chunk in (await desk.send(stream=True, **EXPLAIN)).chunks:
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
        assert state.get_final_completion().choices[0].message.content == "It is Canberra."


class TestWhatFails:
    @STREAMS
    async def test_the_only_answer_is_given_as_it_is(self, desk, servers, stream):
        for slug in ("ann", "cid"):
            servers[slug].reply(Reply(status=500, error="out of memory"), times=None)
        answer = await desk.send(stream=stream)
        assert (answer.headers["x-moe-expert"], answer.content) == ("ben", CANBERRA)
        assert answer.headers["x-moe-parts"] == "asked=3; answered=1; failed=2"
        assert not desk.asked("dan")
        assert desk.records[0].answered_by == "ben"

    @STREAMS
    async def test_no_answer_at_all_is_an_error_with_a_status(self, desk, servers, stream):
        for slug in TRIO:
            servers[slug].reply(Reply(status=500, error="out of memory"), times=None)
        answer = await desk.send(stream=stream)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error")
        assert [status for _, _, status in told(desk.why)] == ["failed"] * 3
        assert desk.records[0].outcome == "upstream_error"

    @STREAMS
    async def test_without_the_aggregator_the_best_answer_is_given(self, desk, servers, stream):
        servers["ben"].reply(Reply(content=["Canberra."], logprobs=[-0.01]))
        servers["dan"].reply(Reply(status=500, error="out of memory"), times=None)
        answer = await desk.send(stream=stream, **EXPLAIN)
        assert (answer.headers["x-moe-expert"], answer.content) == ("ben", "Canberra.")
        last = answer.chunks[-1]["moe"] if stream else answer.json["moe"]
        assert "the answer of ben is given as it is" in last["notes"][0]
        assert told(last)[-1] == ("aggregator", "dan", "failed")

    async def test_the_aggregator_breaking_off_ends_the_stream_with_an_error(self, desk, servers):
        servers["dan"].reply(Reply(content=["It is ", "Canberra."], error_after=1))
        answer = await desk.send(stream=True)
        assert '"error"' in answer.text.split("\n\n")[-2]
        assert told(desk.why)[-1] == ("aggregator", "dan", "failed")


class TestLeaving:
    @STREAMS
    async def test_while_members_answer(self, desk, servers, stream):
        for slug in TRIO:
            servers[slug].reply(Reply(content=["a"] * 300, delay=0.05))
        await desk.send(stream=stream, leave_when=TRIO)
        for slug in TRIO:
            assert await asyncio.to_thread(servers[slug].work_at(CHAT)[0].wait_disconnected)
        assert {status for _, _, status in told(desk.why)} == {"cancelled"}
        assert desk.records[0].outcome == "cancelled"

    @STREAMS
    async def test_while_the_aggregator_speaks(self, desk, servers, stream):
        servers["dan"].reply(Reply(content=["a"] * 300, delay=0.05))
        await desk.send(stream=stream, leave_when=["dan"])
        assert await asyncio.to_thread(servers["dan"].work_at(CHAT)[0].wait_disconnected)
        assert told(desk.why)[-1] == ("aggregator", "dan", "cancelled")
        assert desk.why["parts"][0]["prompt_tokens"] == 11


class TestCascade:
    @STREAMS
    async def test_a_confident_answer_is_the_first_experts(self, desk, servers, stream):
        servers["ann"].reply(Reply(content=["Canberra."], logprobs=[-0.1]))
        answer = await desk.send(model="steps", stream=stream)
        assert (answer.headers["x-moe-expert"], answer.content) == ("ann", "Canberra.")
        assert answer.headers["x-moe-parts"] == "asked=1; answered=1; failed=0"
        assert told(desk.why) == [("step", "ann", "answered")]
        assert (desk.why["parts"][0]["signal"], desk.why["parts"][0]["confidence"]) == ("logprobs", 0.9048)

    @STREAMS
    async def test_one_that_is_not_goes_on(self, desk, servers, stream):
        servers["ann"].reply(Reply(content=["Sydney."], logprobs=[-2.0], prompt_tokens=11, completion_tokens=2))
        answer = await desk.send(model="steps", stream=stream)
        assert (answer.headers["x-moe-expert"], answer.content) == ("ben", CANBERRA)
        assert told(desk.why) == [("step", "ann", "answered"), ("step", "ben", "answered")]
        assert desk.why["expansions"] == 1
        if not stream:
            assert answer.json["usage"]["prompt_tokens"] == 23


class TestWithOtherThings:
    @STREAMS
    async def test_several_choices_are_several_mixtures(self, desk, stream):
        answer = await desk.send(n=2, stream=stream, **EXPLAIN)
        assert sorted(part["choice"] for part in desk.why["parts"]) == [0] * 4 + [1] * 4
        assert len(desk.asked("dan")) == 2
        if stream:
            ends = [one for one in answer.chunks if one["choices"] and one["choices"][0]["finish_reason"]]
            assert [len(end["moe"]["parts"]) for end in ends] == [4, 4]
        else:
            assert answer.json["usage"]["prompt_tokens"] == 2 * 126
            assert answer.headers["x-moe-parts"] == "asked=6; answered=6; failed=0"

    async def test_json_that_was_promised_is_asked_for_again_of_the_aggregator_alone(self, desk, servers):
        for slug in TRIO:
            servers[slug].reply(Reply(content='{"city": "Canberra"}', prompt_tokens=10, completion_tokens=1))
        servers["dan"].reply(Reply(content="Canberra!", prompt_tokens=50, completion_tokens=5))
        servers["dan"].reply(Reply(content='{"city": "Canberra"}', prompt_tokens=60, completion_tokens=6))
        answer = await desk.send(response_format={"type": "json_object"})
        assert json.loads(answer.content) == {"city": "Canberra"}
        assert [len(desk.asked(slug)) for slug in EXPERTS] == [1, 1, 1, 2]
        assert all(asked["format"] == "json" for asked in desk.asked("dan"))
        assert answer.json["usage"]["total_tokens"] == 3 * 11 + 55 + 66
        assert [role for role, _, _ in told(desk.why)] == ["member"] * 3 + ["aggregator"] * 2

    async def test_tools_are_for_one_expert(self, desk):
        answer = await desk.send(tools=[tool()], **EXPLAIN)
        assert answer.headers["x-moe-expert"] == "ann"
        assert "x-moe-parts" not in answer.headers
        assert "mixture: a request with tools is answered by one expert" in answer.json["moe"]["explain"]["skipped"]
        assert "parts" not in desk.why

    async def test_probabilities_are_those_of_the_final_answer(self, desk, servers):
        servers["dan"].reply(Reply(content=["Yes"], logprobs=[-0.5]))
        choice = (await desk.send(logprobs=True, top_logprobs=1)).json["choices"][0]
        assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["Yes"]
        assert "logprobs" not in (await desk.send()).json["choices"][0]

    async def test_grounded_answers_keep_their_passages_and_citations(self, desk, servers, monkeypatch):
        text = "Canberra has been the capital since 1913."
        given = {"document": 1, "revision": 1, "ordinal": 0, "collection": "atlas", "title": "Atlas", "source": "a.md"}
        found = Retrieval(
            query="", passages=(Passage(chunk=1, text=text, score=0.9, **given),), collections=("atlas",), strength=0.7
        )

        async def search(request, *, access):
            return found

        async def look(access, names):
            return {"atlas": None}

        monkeypatch.setattr(library, "search", search)
        monkeypatch.setattr(library, "_look", look)
        servers["ann"].reply(Reply(content="Canberra, since 1913 [1]."))
        servers["dan"].reply(Reply(content="Canberra [1], not Sydney [7]."))
        answer = await desk.send(use_rag=True)
        for slug in EXPERTS:
            assert text in desk.asked(slug)[0]["messages"][-1]["content"]
        assert "since 1913 [1]." in desk.asked("dan")[0]["messages"][0]["content"]
        assert answer.content == "Canberra [1], not Sydney."
        assert answer.json["sources"][0]["cited"]
        alone = await desk.send(model="auto", use_rag=True)
        # The answers need room beside the passages.
        assert answer.json["grounding"]["budget"] <= alone.json["grounding"]["budget"] // 2 + 100

    async def test_ollamas_chat(self, desk):
        answer = await desk.send(NativeChat, stream=False)
        assert answer.json["message"]["content"] == CANBERRA
        assert answer.json["prompt_eval_count"] == 126
        assert answer.headers["x-moe-parts"] == "asked=3; answered=3; failed=0"
        assert answer.headers["x-moe-expert"] == "dan"

    async def test_ollamas_generate(self, desk):
        answer = await desk.send(NativeGenerate, prompt="What is the capital of Australia?", stream=False)
        assert answer.json["response"] == CANBERRA
        assert answer.headers["x-moe-expert"] == "dan"

    async def test_a_text_completion_is_made_by_one_expert(self, desk):
        answer = await desk.send(TextCompletions, prompt="The capital of Australia is", **EXPLAIN)
        assert answer.json["choices"][0]["text"] == CANBERRA
        assert answer.headers["x-moe-expert"] == "ann"
        explained = answer.json["moe"]["explain"]
        assert explained["mixture"] is None
        assert "mixture: a text completion is made by one expert" in explained["skipped"]

    async def test_the_decision_alone_shows_the_plan(self, desk):
        answer = await desk.send(Decisions)
        assert answer.json["explain"]["mixture"]["members"] == ["ann", "cid", "ben"]
        assert not any(desk.asked(slug) for slug in EXPERTS)

    async def test_ordinary_profiles_know_nothing_of_it(self, desk):
        answer = await desk.send(model="auto", **EXPLAIN)
        assert answer.headers["x-moe-expert"] == "ann"
        assert "x-moe-parts" not in answer.headers
        assert "parts" not in answer.json["moe"]
        assert "logprobs" not in desk.asked("ann")[0]


@pytest.mark.served
class TestServed:
    def test_the_openai_sdk_asks_for_moe(self, served_ollama, ollama):
        with served_ollama.client().chat.completions.stream(
            model="moe", messages=[{"role": "user", "content": "Hello"}], stream_options={"include_usage": True}
        ) as stream:
            answer = stream.get_final_completion()
        assert answer.choices[0].message.content.startswith("Hello from")
        asked = ollama.work_at(CHAT)
        assert len(asked) >= 3
        assert answer.usage.completion_tokens == 4 * len(asked)

    def test_a_cascade_too(self, served_ollama, ollama):
        raw = served_ollama.client().chat.completions.with_raw_response.create(
            model="cascade", messages=[{"role": "user", "content": "Hello"}]
        )
        assert raw.headers["x-moe-parts"] == "asked=1; answered=1; failed=0"
        assert len(ollama.work_at(CHAT)) == 1
