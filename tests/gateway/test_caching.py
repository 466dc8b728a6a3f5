"""Answers that are given again, through the door: when, to whom, and what is told of it. The model is scripted."""

import asyncio
import contextlib
import json
import math
import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError
from django.utils import timezone

from gateway import account, library
from gateway.auth import Caller, keys
from gateway.caching import answers as answering
from gateway.caching import inredis, looking, purging, table
from gateway.caching.answers import Answers
from gateway.caching.purging import answers_purge, purges, selected_purge
from gateway.caching.writing import Writing
from gateway.consumers import ChatCompletions
from gateway.exposition import redis_states
from gateway.guards.findings import Action, Place
from gateway.guards.guard import Guard, Guards
from gateway.guards.judging import Judge
from gateway.guards.live import guards
from gateway.limits import entry
from gateway.limits.ledger import Ledger
from gateway.limits.limiter import shared_limiter
from gateway.models import ApiKey, CachedAnswer, CachePurge, key_digest
from gateway.native import NativeChat
from gateway.policy import Limits, Policy
from gateway.redisclient import RedisDown
from knowledge.passages import Passage, Retrieval
from knowledge.tracing import Traces
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.classifying import Active, active
from routing.pool import close_shared_pool
from routing.rules import Rule
from routing.vectorcache import vectors
from tests.gateway.redisserver import RedisServer
from tests.gateway.test_http import Connection
from tests.requests import tool
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

pytestmark = pytest.mark.django_db(transaction=True)

MODEL, SMALL = "llama3.2:3b", "qwen2.5:0.5b"
WHO = "Who approves sick leave?"
LONG = "The team lead approves it.\n\n" + "  A doctor's note — ärztlich — is needed. 請假\t" * 20 + "\n"


def passage(text):
    where = {"document": 1, "revision": 1, "ordinal": 0, "collection": "handbook", "chunk": 1}
    return Passage(**where, title="Leave", source="1.md", text=text, score=0.9)


@pytest.fixture(scope="module")
def _server():
    models = [ScriptedModel(name=name, capabilities=("completion", "tools", "vision")) for name in (MODEL, SMALL)]
    with ScriptedServer(models) as running:
        yield running


@pytest.fixture
def server(_server):
    _server.clear()
    _server.loaded[MODEL] = _server.loaded[SMALL] = Residency(context_length=8192)
    return _server


class Desk:
    """The doors in this process, with a catalog of our own, and a cache of their own."""

    def __init__(self, server, monkeypatch):
        self.server, self.monkeypatch = server, monkeypatch
        self.usage, self.accounts = [], []
        monkeypatch.setattr(account, "traces", Traces())
        monkeypatch.setattr(account, "journal", SimpleNamespace(note=lambda *_, **__: None, rules_hit=list))
        monkeypatch.setattr(account, "usage", SimpleNamespace(note=self.usage.append))
        monkeypatch.setattr(guards, "_value", Guards.of(()))
        monkeypatch.setattr(active, "_value", Active(problem="none"))
        self.process()
        self.has()

    def process(self):
        """Go on as another process, which has nothing in memory."""
        self.writing = Writing()
        self.answers = Answers(self.writing)
        self.monkeypatch.setattr(looking, "answers", self.answers)
        self.monkeypatch.setattr(purging, "_forgetting", [self.answers.forget])
        return self.answers

    def has(self, *rules, prompt="Be brief.", fallbacks=(), replica=None, **profile):
        address = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url=self.server.url)
        capabilities = frozenset({"completion", "tools", "vision"})
        usual = {"server": address, "embedded": False, "capabilities": capabilities}
        replicas = [Replica(**usual | {"model": tag} | (replica or {})) for tag in (MODEL, SMALL)]
        experts = {
            "general": Expert(slug="general", replicas=(replicas[0],), system_prompt=prompt, fallbacks=fallbacks),
            "small": Expert(slug="small", replicas=(replicas[1],)),
        }
        shown = Catalog(
            experts=experts,
            models={},
            rules=rules,
            default="general",
            profiles={"auto": Profile(slug="auto", **profile)},
        )
        self.monkeypatch.setattr(catalog, "_value", shown)

    async def send(self, text=WHO, door=ChatCompletions, leave_after=None, key="", headers=(), **body):
        given = {"model": "general", "temperature": 0, "messages": [{"role": "user", "content": text}]}
        connection = Connection(json.dumps(given | body).encode())
        connection.scope["headers"] += [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode()), *headers]
        running = asyncio.create_task(connection.run(door))
        if leave_after is not None:
            await asyncio.sleep(leave_after)
            connection.leave()
        await running
        return Answer(connection)

    @property
    def asked(self):
        """How often a model was asked."""
        return len(self.server.requests_to("/api/chat"))

    def says(self, *texts, **fields):
        for text in texts:
            self.server.reply(Reply(content=[text] if isinstance(text, str) else text, **fields))

    async def write(self):
        await in_thread(self.writing.flush)


class Answer:
    def __init__(self, connection):
        start = connection.sent[0] if connection.sent else {"status": None, "headers": []}
        self.status = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        self.body = connection.body.decode()

    @property
    def cache(self):
        return self.headers.get("x-moe-cache")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def content(self):
        return self.json["choices"][0]["message"]["content"]

    @property
    def said(self):
        return self.streamed if self.body.startswith("data: ") else self.content

    @property
    def chunks(self):
        lines = [line[6:] for line in self.body.split("\n\n") if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return [json.loads(line) for line in lines[:-1]]

    @property
    def streamed(self):
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in self.chunks if chunk["choices"])


def in_thread(work, *arguments, **options):
    return database_sync_to_async(work, thread_sensitive=False)(*arguments, **options)


def rows(model, **wanted):
    return in_thread(lambda: list(model.objects.filter(**wanted)))


@pytest.fixture
async def desk(server, monkeypatch, settings):
    settings.REQUIRE_API_KEY = False
    settings.STREAM_HEARTBEAT_SECONDS = 0
    settings.RESPONSE_CACHE = "exact"
    vectors.clear()
    yield Desk(server, monkeypatch)
    await close_shared_pool()


class TestTheSameRequest:
    async def test_is_answered_again_without_a_model(self, desk):
        desk.says("The team lead.", "Somebody else.")
        first, again = await desk.send(), await desk.send()
        assert (first.cache, again.cache, desk.asked) == ("miss", "hit", 1)
        assert again.content == first.content == "The team lead."
        assert again.json["usage"] == first.json["usage"]
        assert again.json["id"] != first.json["id"]

    async def test_tells_no_replica_and_no_queue_as_there_was_none(self, desk):
        desk.says("The team lead.")
        first, again = await desk.send(), await desk.send()
        assert {"x-moe-replica", "x-moe-queue-position"} <= first.headers.keys()
        assert not {"x-moe-replica", "x-moe-queue-position"} & again.headers.keys()
        assert again.headers["x-moe-expert"] == "general"
        assert again.headers["x-moe-decision"] != first.headers["x-moe-decision"]

    async def test_takes_no_tokens_and_says_where_it_came_from(self, desk):
        desk.says("The team lead.")
        await desk.send()
        await desk.send()
        first, again = desk.usage
        assert (first.cache, again.cache) == ("", "exact")
        assert first.prompt_tokens > 0
        assert (again.prompt_tokens, again.completion_tokens, again.cost) == (0, 0, 0)
        assert again.outcome == "stop"

    @pytest.mark.parametrize("first_streams", [False, True])
    async def test_reads_the_same_streamed_or_whole(self, desk, first_streams):
        desk.says([LONG[at : at + 7] for at in range(0, len(LONG), 7)])
        usage = {"stream_options": {"include_usage": True}}
        first = await desk.send(stream=first_streams, **(usage if first_streams else {}))
        whole, streamed = await desk.send(), await desk.send(stream=True, **usage)
        assert (whole.cache, streamed.cache, desk.asked) == ("hit", "hit", 1)
        assert whole.content == streamed.streamed == LONG
        assert len(streamed.chunks) > 10
        assert streamed.chunks[-1]["usage"] == whole.json["usage"]
        assert streamed.chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert first.said == LONG

    async def test_has_thinking_and_log_probabilities_again(self, desk):
        desk.says("Yes.", thinking=["Hm", "m."])
        first = await desk.send(logprobs=True, top_logprobs=1)
        again = await desk.send(logprobs=True, top_logprobs=1)
        streamed = await desk.send(logprobs=True, top_logprobs=1, stream=True)
        assert (again.cache, again.json["choices"]) == ("hit", first.json["choices"])
        assert streamed.streamed == "Yes."

    async def test_may_have_several_answers(self, desk):
        desk.says("One.", "Two.")
        first, again = await desk.send(n=2), await desk.send(n=2)
        assert (again.cache, desk.asked) == ("hit", 2)
        assert again.json["choices"] == first.json["choices"]
        assert again.json["usage"] == first.json["usage"]

    async def test_is_the_same_by_other_doors(self, desk):
        desk.says("The team lead.")
        await desk.send()
        native = await desk.send(door=NativeChat, stream=False, temperature=None, options={"temperature": 0.0})
        assert native.json["message"]["content"] == "The team lead."
        assert (native.cache, desk.asked) == ("hit", 1)

    async def test_need_not_have_the_same_labels(self, desk):
        desk.says("The team lead.")
        await desk.send(user="a", metadata={"team": "x"})
        again = await desk.send(user="b", metadata={"team": "y"}, keep_alive="5m", moe={"explain": True})
        assert again.cache == "hit"
        assert again.json["moe"]["expert"] == "general"

    @pytest.mark.parametrize(
        "change",
        [
            {"text": "Who approves holidays?"},
            {"seed": 7},
            {"max_tokens": 500},
            {"response_format": {"type": "json_object"}},
            {"model": "small"},
            {"model": "auto"},
            {"n": 2},
            {"reasoning_effort": "low"},
            {"num_ctx": 4096},
        ],
    )
    async def test_is_another_one_if_it_would_be_answered_otherwise(self, desk, change):
        desk.says("{}", "{}", "{}", "{}")
        await desk.send()
        assert (await desk.send(**change)).cache == "miss"

    async def test_answers_nobody_else(self, desk, settings):
        settings.REQUIRE_API_KEY = True
        (_, one), (_, other) = [await in_thread(ApiKey.objects.issue, name=name, group="team") for name in "ab"]
        keys.forget()
        desk.says("For one.", "For the other.")
        await desk.send(key=one)
        answer = await desk.send(key=other)
        assert (answer.cache, answer.content) == ("miss", "For the other.")
        assert (await desk.send(key=one)).content == "For one."


class TestWhenNothingIsKept:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"temperature": 0.2}, "temperature"),
            ({"temperature": None}, "temperature"),
            ({"tools": [tool()]}, "tools"),
            ({"tools": [tool()], "tool_choice": "none"}, "tools"),
            ({"headers": [(b"cache-control", b"no-store")]}, "no-store"),
        ],
    )
    async def test_the_answer_says_why(self, desk, fields, reason):
        desk.says("One.", "Two.")
        answers = [await desk.send(**fields), await desk.send(**fields)]
        assert [answer.cache for answer in answers] == [f"bypass ({reason})"] * 2
        assert [answer.content for answer in answers] == ["One.", "Two."]
        assert len(desk.writing) == 0

    async def test_images(self, desk):
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,bm90aGluZw=="}}
        desk.says("A cat.")
        messages = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
        assert (await desk.send(messages=messages)).cache == "bypass (images)"

    async def test_conversations_in_which_tools_were_called(self, desk):
        call = {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        turns = [
            {"role": "user", "content": WHO},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": "sun"},
        ]
        desk.says("It shines.")
        assert (await desk.send(messages=turns)).cache == "bypass (tools)"

    async def test_a_temperature_that_only_a_rule_wants(self, desk):
        desk.has(_rule(temperature=0))
        desk.says("One.", "Two.")
        answers = [await desk.send(model="auto", temperature=0.7) for _ in range(2)]
        assert [answer.cache for answer in answers] == ["bypass (temperature)"] * 2

    async def test_off_looks_nowhere_and_says_nothing(self, desk, settings):
        settings.RESPONSE_CACHE = "off"
        desk.says("One.", "Two.")
        answers = [await desk.send(), await desk.send()]
        assert [answer.cache for answer in answers] == [None, None]
        assert [answer.content for answer in answers] == ["One.", "Two."]

    async def test_a_profile_may_have_it_otherwise(self, desk, settings):
        desk.has(cache="off")
        desk.says("One.", "Two.", "Three.")
        assert [(await desk.send(model="auto")).cache for _ in range(2)] == [None, None]
        settings.RESPONSE_CACHE = "off"
        desk.has(cache="exact")
        assert [(await desk.send(model="auto")).cache for _ in range(2)] == ["miss", "hit"]

    async def test_answers_that_were_cut_short(self, desk):
        desk.says("One", "Two", done_reason="length")
        answers = [await desk.send(), await desk.send()]
        assert [answer.cache for answer in answers] == ["miss", "miss"]

    async def test_answers_of_a_fallback(self, desk, settings):
        settings.UPSTREAM_MAX_RETRIES = 0
        await close_shared_pool()
        desk.has(fallbacks=("small",))
        desk.server.reply(Reply(status=500, error="broken"))
        desk.says("The small one.", "The general one.")
        first, again = await desk.send(), await desk.send()
        assert (first.headers.get("x-moe-fallback"), first.cache) == ("general -> small", "miss")
        assert (again.content, again.cache) == ("The general one.", "miss")

    async def test_errors(self, desk, settings):
        settings.UPSTREAM_MAX_RETRIES = 0
        await close_shared_pool()
        desk.server.reply(Reply(status=500, error="broken"))
        desk.says("Well again.")
        first, again = await desk.send(), await desk.send()
        assert (first.status, again.status, again.cache) == (502, 200, "miss")

    async def test_what_a_client_did_not_wait_for(self, desk):
        desk.says(["One", " and", " more"], delay=0.2)
        desk.says("Two.")
        await desk.send(stream=True, leave_after=0.25)
        assert (await desk.send()).cache == "miss"

    async def test_no_cache_asks_anew_and_keeps_that(self, desk):
        desk.says("Old.", "New.")
        await desk.send()
        anew = await desk.send(headers=[(b"cache-control", b"max-age=0, no-cache")])
        assert (anew.cache, anew.content) == ("bypass (no-cache)", "New.")
        assert (await desk.send()).content == "New."

    async def test_after_its_time_it_is_forgotten(self, desk, settings):
        settings.RESPONSE_CACHE_SECONDS = 0
        desk.says("One.", "Two.")
        await desk.send()
        await desk.write()
        assert (await desk.send()).cache == "miss"
        await desk.write()
        assert await in_thread(table.answers_sweep) == 1
        assert not await rows(CachedAnswer)


def _rule(**sampling):
    return Rule(id=1, name="cold", overrides=sampling)


class TestWhatReachesTheModel:
    @pytest.mark.parametrize(
        "change", [{"prompt": "Be rude."}, {"replica": {"num_ctx": 2048}}, {"replica": {"revision": "b"}}]
    )
    async def test_a_changed_expert_answers_anew(self, desk, change):
        desk.says("One.", "Two.")
        await desk.send()
        desk.has(**change)
        assert (await desk.send()).cache == "miss"
        desk.has()
        assert (await desk.send()).cache == "hit"

    async def test_so_does_a_rule_that_adds_to_the_prompt(self, desk):
        desk.says("One.", "Two.")
        await desk.send(model="auto")
        desk.has(_rule(seed=5))
        assert (await desk.send(model="auto")).cache == "miss"

    async def test_passages_count_by_what_they_say_and_citations_are_made_anew(self, desk, monkeypatch):
        found = Retrieval(query="", passages=(passage("The team lead approves it."),), collections=("handbook",))
        shelf = SimpleNamespace(found=found)

        async def search(request, *, access):
            return shelf.found

        async def look(access, names):
            return {"handbook": None}

        monkeypatch.setattr(library, "search", search)
        monkeypatch.setattr(library, "_look", look)
        desk.says("The lead [1].", "The king [1].")
        first, again = await desk.send(use_rag=True), await desk.send(use_rag=True)
        assert (again.cache, again.content) == ("hit", "The lead [1].")
        assert again.json["choices"][0]["message"]["annotations"] == first.json["choices"][0]["message"]["annotations"]
        assert again.headers["x-moe-grounding"] == "passages=1; weak=0; cut=0"
        shelf.found = replace(found, passages=(passage("The king approves it."),))
        assert (await desk.send(use_rag=True)).content == "The king [1]."


class TestALimitedKey:
    @pytest.fixture
    def limited(self, desk, monkeypatch, settings):
        """Return what makes the one key there is, with limits."""
        settings.REDIS_URL = ""
        monkeypatch.setattr(entry, "ledger", Ledger())
        monkeypatch.setattr(Ledger, "read", lambda self, also: None)
        shared_limiter.cache_clear()
        desk.server.default_reply = Reply(content="The team lead.", prompt_tokens=60, completion_tokens=40)

        def make(**limits):
            policy = Policy(subject="key:1", limits=Limits(**limits))
            caller = Caller(key_id=1, name="one", prefix="sk-moe-one", policies=(policy,))
            monkeypatch.setattr(keys, "_value", {key_digest("sk-moe-one"): caller})
            return "sk-moe-one"

        yield make
        shared_limiter.cache_clear()

    @pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day", "tokens_per_month"])
    async def test_whose_tokens_are_spent_is_answered_again(self, desk, limited, limit):
        key = limited(**{limit: 100})
        assert (await desk.send(key=key)).cache == "miss"
        again = await desk.send(key=key)
        assert (again.status, again.cache, again.content) == (200, "hit", "The team lead.")
        assert again.headers["x-ratelimit-remaining-tokens"] == "0"
        assert (await desk.send("Who else?", key=key)).status == 429
        assert desk.asked == 1

    async def test_whose_money_is_spent_is_answered_again(self, desk, limited):
        known = catalog._value
        dear = {slug: replace(expert, price_in=1_000_000.0) for slug, expert in known.experts.items()}
        desk.monkeypatch.setattr(catalog, "_value", replace(known, experts=dear))
        key = limited(cost_per_day=Decimal(60))
        assert (await desk.send(key=key)).cache == "miss"
        assert (await desk.send(key=key)).cache == "hit"
        refused = await desk.send("Who else?", key=key)
        assert (refused.status, refused.json["error"]["code"]) == (429, "insufficient_quota")

    async def test_is_answered_again_though_a_model_would_find_no_room(self, desk, limited):
        key = limited(tokens_per_minute=599)
        assert (await desk.send(key=key, max_tokens=500)).cache == "miss"
        assert (await desk.send(key=key, max_tokens=500)).cache == "hit"
        assert (await desk.send("Who else?", key=key, max_tokens=500)).status == 429

    async def test_that_waits_for_an_equal_request_needs_no_room(self, desk, limited):
        desk.says("The team lead.", first_delay=0.3)
        key = limited(tokens_per_minute=599)
        answers = await asyncio.gather(*(desk.send(key=key, max_tokens=500) for _ in range(5)))
        assert sorted(answer.cache for answer in answers) == ["hit"] * 4 + ["miss"]

    async def test_that_finds_no_room_leaves_nobody_waiting(self, desk, limited):
        key = limited(tokens_per_minute=599)
        refused = await asyncio.gather(*(desk.send(key=key, max_tokens=600) for _ in range(6)))
        assert [answer.status for answer in refused] == [429] * 6
        assert (await desk.send(key=key, max_tokens=500)).cache == "miss"
        assert desk.asked == 1

    async def test_whose_equal_request_is_broken_off_goes_on_with_its_own(self, desk, limited):
        desk.says("Too late.", first_delay=30)
        desk.says("The team lead.")
        key = limited(tokens_per_minute=10_000, tokens_per_day=10_000)
        leading = asyncio.create_task(desk.send(key=key))
        await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
        following = asyncio.create_task(desk.send(key=key))
        await asyncio.sleep(0)
        leading.cancel()
        answer = await following
        assert (answer.cache, answer.content, desk.asked) == ("miss", "The team lead.", 2)
        spent = sum(one.prompt_tokens + one.completion_tokens for one in desk.usage)
        again = await desk.send(key=key)
        assert int(again.headers["x-ratelimit-remaining-tokens"]) == 10_000 - spent

    async def test_is_held_to_its_requests_all_the_same(self, desk, limited):
        key = limited(requests_per_minute=2)
        answers = [await desk.send(key=key) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]

    async def test_whose_tokens_are_spent_may_not_have_experts_judge_what_is_given_again(self, desk, limited):
        key = limited(tokens_per_day=100)
        await desk.send(key=key)
        work = Judge(expert="small")
        judge = Guard(name="safe", check="expert", work=work, places=frozenset({Place.OUTPUT}), action=Action.REFUSE)
        desk.monkeypatch.setattr(guards, "_value", Guards.of((judge,)))
        assert (await desk.send(key=key)).status == 429
        assert desk.asked == 1


class TestAtTheSameTime:
    async def test_one_is_asked_and_all_are_answered(self, desk):
        desk.says("The team lead.", first_delay=0.3)
        answers = await asyncio.gather(*(desk.send(stream=number % 2 == 0) for number in range(6)))
        assert desk.asked == 1
        assert sorted(answer.cache for answer in answers) == ["hit"] * 5 + ["miss"]
        assert {answer.said for answer in answers} == {"The team lead."}

    async def test_where_the_first_leaves_the_next_goes_on(self, desk):
        desk.says("Never heard.", first_delay=1.0)
        desk.says("The team lead.", first_delay=0.1)
        left = asyncio.create_task(desk.send(leave_after=0.6))
        await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
        answers = await asyncio.gather(*(desk.send() for _ in range(3)))
        assert (await left).status is None
        assert desk.asked == 2
        assert sorted(answer.cache for answer in answers) == ["hit", "hit", "miss"]
        assert {answer.content for answer in answers} == {"The team lead."}

    async def test_where_the_first_fails_so_it_is(self, desk, settings):
        settings.UPSTREAM_MAX_RETRIES = 0
        await close_shared_pool()
        desk.server.reply(Reply(status=500, error="broken", first_delay=0.2))
        desk.says("The team lead.")
        answers = await asyncio.gather(*(desk.send() for _ in range(3)))
        assert sorted(answer.status for answer in answers) == [200, 200, 502]
        assert desk.asked == 2

    async def test_nobody_waits_in_line_for_what_is_not_kept(self, desk):
        for _ in range(4):
            desk.says("Cut", done_reason="length", first_delay=1.0)
        answers = await asyncio.gather(*(desk.send() for _ in range(4)))
        assert desk.asked == 4
        assert {answer.cache for answer in answers} == {"miss"}
        asked = desk.server.work_at("/api/chat")[1:]  # the first is waited for, and then all the others ask at once
        assert max(one.received_at for one in asked) < min(one.finished_at or math.inf for one in asked)

    async def test_one_that_waits_and_leaves_takes_nothing_from_the_others(self, desk):
        desk.says("The team lead.", first_delay=2)
        first = asyncio.create_task(desk.send())
        await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
        third = asyncio.create_task(desk.send(leave_after=0.3))
        assert (await desk.send(leave_after=0.1)).status is None
        assert ((await first).cache, (await third).cache) == ("miss", None)
        assert (await desk.send()).cache == "hit"


class TestAcrossProcesses:
    async def test_another_process_finds_what_was_written(self, desk):
        desk.says("The team lead.")
        await desk.send()
        await desk.write()
        desk.process()
        assert ((await desk.send()).cache, desk.asked) == ("hit", 1)

    async def test_hits_are_counted(self, desk):
        desk.says("The team lead.")
        for _ in range(4):
            await desk.send()
        await desk.write()
        row = (await rows(CachedAnswer))[0]
        assert (row.hits, row.question, row.expert, row.asked) == (3, WHO, "general", "general")
        assert row.last_hit_at is not None

    async def test_no_more_are_kept_than_there_may_be(self, desk, settings):
        settings.RESPONSE_CACHE_ENTRIES = 2
        for number in range(4):
            await desk.send(f"Question {number}?")
        await desk.write()
        await in_thread(table.answers_sweep)
        assert [row.question for row in await rows(CachedAnswer)] == ["Question 3?", "Question 2?"]
        assert len(desk.answers._memory) == 2

    async def test_those_given_again_are_kept_longest(self, desk, settings):
        for number in range(3):
            await desk.send(f"Question {number}?")
        await desk.send("Question 0?")
        await desk.write()
        settings.RESPONSE_CACHE_ENTRIES = 2
        assert await in_thread(table.answers_sweep) == 1
        assert {row.question for row in await rows(CachedAnswer)} == {"Question 2?", "Question 0?"}

    async def test_a_database_that_is_away_costs_little_and_no_answer(self, desk, monkeypatch):
        def gone(*_):
            raise OperationalError("gone")

        await in_thread(purges.reload)
        monkeypatch.setattr(table, "find", gone)
        desk.says("One.", "Two.")
        assert (await desk.send()).cache == "bypass (unreachable)"
        assert (await desk.send()).cache == "hit"

    async def test_nor_does_one_that_does_not_answer(self, desk, monkeypatch):
        await in_thread(purges.reload)
        gate = threading.Event()
        monkeypatch.setattr(table, "find", lambda _: gate.wait(30))
        monkeypatch.setattr(answering, "LOOKUP_SECONDS", 0.1)
        desk.says("One.", "Two.", "Three.")
        started = asyncio.get_running_loop().time()
        answers = [await desk.send(f"Question {number}?") for number in range(3)]
        gate.set()
        assert {answer.cache for answer in answers} == {"bypass (unreachable)"}
        assert asyncio.get_running_loop().time() - started < 10

    async def test_without_knowing_what_was_purged_nothing_is_given(self, desk, monkeypatch):
        desk.says("One.", "Two.")
        await desk.send()
        purges.forget()

        def gone():
            raise OperationalError("gone")

        monkeypatch.setattr(purges, "_load", gone)
        assert (await desk.send()).cache == "bypass (unreachable)"

    async def test_keys_that_were_deleted_meanwhile_harm_nothing(self, desk, settings):
        settings.REQUIRE_API_KEY = True
        row, text = await in_thread(ApiKey.objects.issue, name="a")
        keys.forget()
        desk.says("For one.")
        await desk.send(key=text)
        await in_thread(row.delete)
        await desk.write()
        assert len(desk.writing) == 0
        assert not await rows(CachedAnswer)


class TestPurging:
    async def filled(self, desk, settings):
        settings.REQUIRE_API_KEY = True
        row, text = await in_thread(ApiKey.objects.issue, name="a")
        keys.forget()
        desk.has(cache="exact")
        await desk.send(key=text)
        await desk.send(key=text, model="auto")
        await desk.write()
        return row, text

    async def caches(self, desk, text):
        return [(await desk.send(key=text, model=model)).cache for model in ("general", "auto")]

    async def test_everything(self, desk, settings):
        _, text = await self.filled(desk, settings)
        assert await self.caches(desk, text) == ["hit", "hit"]
        assert await in_thread(answers_purge) == 2
        assert await self.caches(desk, text) == ["miss", "miss"]
        assert await self.caches(desk, text) == ["hit", "hit"]

    async def test_a_profile(self, desk, settings):
        _, text = await self.filled(desk, settings)
        assert await in_thread(answers_purge, profile="auto") == 1
        assert await self.caches(desk, text) == ["hit", "miss"]

    async def test_those_chosen(self, desk, settings):
        _, text = await self.filled(desk, settings)
        row = (await rows(CachedAnswer, profile=""))[0]
        assert await in_thread(selected_purge, [row.pk]) == 1
        assert await self.caches(desk, text) == ["miss", "hit"]

    async def test_a_deleted_keys(self, desk, settings):
        row, _ = await self.filled(desk, settings)
        await in_thread(row.delete)
        assert not await rows(CachedAnswer)
        assert len(desk.answers._memory) == 0

    async def test_reaches_what_was_not_written_yet(self, desk):
        desk.says("One.", "Two.")
        await desk.send()
        await in_thread(answers_purge)
        await desk.write()
        assert not await rows(CachedAnswer)
        desk.process()
        assert (await desk.send()).cache == "miss"

    async def test_reaches_what_was_begun_before_it(self, desk):
        desk.says("One.", first_delay=0.3)
        desk.says("Two.")
        running = asyncio.create_task(desk.send())
        await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
        await in_thread(answers_purge)
        await running
        assert (await desk.send()).content == "Two."

    async def test_reaches_those_who_wait_for_what_was_begun_before_it(self, desk):
        desk.says("One.", first_delay=0.5)
        desk.says("Two.")
        running = asyncio.create_task(desk.send())
        await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
        await in_thread(answers_purge)
        later = await asyncio.gather(desk.send(), desk.send())
        assert (await running).content == "One."
        assert [answer.content for answer in later] == ["Two.", "Two."]
        assert sorted(answer.cache for answer in later) == ["hit", "miss"]

    async def test_lasts_as_long_as_an_answer_may(self, desk, settings):
        await in_thread(answers_purge)
        assert await in_thread(purging.purges_sweep) == 0
        await in_thread(CachePurge.objects.update, created_at=timezone.now() - timedelta(days=2))
        assert await in_thread(purging.purges_sweep) == 1


class TestSimilarQuestions:
    @pytest.fixture(autouse=True)
    def _semantic(self, desk):
        desk.has(cache="semantic", cache_threshold=0.9)

    async def ask(self, desk, text, **body):
        answer = await desk.send(text, model="auto", **body)
        await desk.write()
        return answer

    async def test_are_answered_alike(self, desk):
        desk.says("The team lead.")
        await self.ask(desk, WHO)
        again = await self.ask(desk, "Please tell me who approves the sick leave")
        assert again.content == "The team lead."
        name, _, similarity = again.cache.partition("; similarity=")
        assert name == "semantic"
        assert 0.9 <= float(similarity) <= 1
        assert desk.usage[-1].cache == "semantic"
        assert desk.asked == 1

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("What was the revenue in 2023?", "What was the revenue in 2024?"),
            ("Is it safe to take it?", "Is it not safe to take it?"),
            ("What is the capital of France?", "What is the capital of Spain?"),
            ("Convert 5 miles to kilometres", "Convert 5 kilometres to miles"),
        ],
    )
    async def test_that_ask_something_else_are_not(self, desk, one, other):
        desk.says("One.", "Two.")
        await self.ask(desk, one)
        assert (await self.ask(desk, other)).cache == "miss"

    async def test_in_another_conversation_are_not(self, desk):
        desk.says("One.", "Two.")
        await self.ask(desk, WHO)
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi!"}]
        other = [*turns, {"role": "user", "content": "Who approves the sick leave?"}]
        assert (await self.ask(desk, "", messages=other)).cache == "miss"

    async def test_of_another_key_are_not(self, desk, settings):
        settings.REQUIRE_API_KEY = True
        (_, one), (_, other) = [await in_thread(ApiKey.objects.issue, name=name) for name in "ab"]
        keys.forget()
        desk.says("One.", "Two.")
        await self.ask(desk, WHO, key=one)
        assert (await self.ask(desk, "Who approves the sick leave?", key=other)).cache == "miss"

    async def test_below_the_threshold_are_not(self, desk):
        desk.has(cache="semantic", cache_threshold=0.999)
        desk.says("One.", "Two.")
        await self.ask(desk, WHO)
        assert (await self.ask(desk, "Please tell me who approves the sick leave")).cache == "miss"

    async def test_too_long_to_be_read_as_a_whole_count_only_as_they_are(self, desk):
        long = " ".join(f"word{number}" for number in range(90))
        desk.says("One.", "Two.")
        await self.ask(desk, f"{long} the first?")
        assert (await self.ask(desk, f"{long} first?")).cache == "miss"
        assert (await self.ask(desk, f"{long} the first?")).cache == "hit"

    async def test_with_passages_are_not(self, desk, monkeypatch):
        async def search(request, *, access):
            return Retrieval(query="", passages=(passage("The lead."),), collections=("handbook",))

        async def look(access, names):
            return {"handbook": None}

        monkeypatch.setattr(library, "search", search)
        monkeypatch.setattr(library, "_look", look)
        desk.says("One.", "Two.")
        await self.ask(desk, WHO, use_rag=True)
        assert (await self.ask(desk, "Who approves the sick leave?", use_rag=True)).cache == "miss"


class TestWithRedis:
    @pytest.fixture
    def redis(self, tmp_path_factory, settings):
        with RedisServer(tmp_path_factory.mktemp("r")) as running:
            settings.REDIS_URL = running.url
            yield running

    async def test_other_processes_find_it_there(self, desk, redis, monkeypatch):
        desk.says("The team lead.")
        await desk.send()
        await desk.write()
        desk.process()
        monkeypatch.setattr(table, "find", lambda _: pytest.fail("the table was asked"))
        assert (await desk.send()).cache == "hit"

    async def test_a_purge_reaches_it(self, desk, redis):
        from redis import Redis

        desk.says("One.", "Two.")
        await desk.send()
        await desk.write()
        with contextlib.closing(Redis.from_url(redis.url)) as client:
            assert len(client.keys()) == 1
            await in_thread(answers_purge)
            assert client.keys() == []
        desk.process()
        assert (await desk.send()).cache == "miss"

    async def test_while_it_is_away_the_table_is_asked(self, desk, redis):
        desk.says("The team lead.")
        await desk.send()
        await desk.write()
        redis.stop()
        desk.process()
        assert (await desk.send()).cache == "hit"
        assert dict(redis_states())["answers"] == "does not answer; answers are looked up in the database meanwhile"

    async def test_it_is_told_of_where_answers_are_looked_up_there(self, desk, redis):
        assert "answers" not in dict(redis_states())
        desk.says("The team lead.")
        await desk.send()
        assert dict(redis_states())["answers"] == "ok"

    async def test_one_that_takes_nothing_is_lost_until_it_does(self, desk, redis, monkeypatch):
        from redis import Redis

        monkeypatch.setattr(inredis, "PROBE_SECONDS", 0.01)
        desk.says("One.", "Two.")
        with contextlib.closing(Redis.from_url(redis.url)) as client:
            client.config_set("maxmemory", 1)
            await desk.send("One?")
            await desk.write()
            with pytest.raises(RedisDown, match="OutOfMemory"):
                await in_thread(inredis.shared_answers().probe)
            assert dict(redis_states())["answers"] != "ok"
            client.config_set("maxmemory", 0)
            tending = asyncio.create_task(inredis.tend_answers())
            for _ in range(3_000):
                if dict(redis_states())["answers"] == "ok":
                    break
                await asyncio.sleep(0.01)
            tending.cancel()
            await desk.send("Two?")
            await desk.write()
            assert len(client.keys(f"{inredis.PREFIX}*")) == 1

    async def test_a_purge_does_not_fail_where_it_is_away(self, desk, redis, caplog):
        desk.says("One.", "Two.")
        await desk.send()
        await desk.write()
        redis.stop()
        assert await in_thread(answers_purge) == 1
        assert "stay in Redis until they expire" in caplog.text
        redis.start()
        desk.process()
        assert (await desk.send()).cache == "miss"
