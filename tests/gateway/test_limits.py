"""Limits through the whole door, in one process: exactly as many as they say, whatever happens on the way."""

import asyncio
import datetime as dt
import json
import threading
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace

import pytest

from gateway import library
from gateway.auth import Caller, keys
from gateway.guards.guard import Guards
from gateway.guards.live import guards
from gateway.limits import entry
from gateway.limits.ledger import Ledger
from gateway.limits.limiter import shared_limiter
from gateway.limits.refusals import RateLimited
from gateway.limits.rest import Stay, limits_middleware
from gateway.models import key_digest
from gateway.policy import Limits, Policy
from knowledge.passages import Retrieval
from routing.catalog import Expert, catalog
from routing.pool import close_shared_pool
from tests.gateway.observed import CHAT, MODEL, Endpoint, header
from tests.gateway.observed import model_server as model_server
from tests.gateway.redisserver import RedisServer
from tests.scripted import Reply, ScriptedModel

CROWD = 200
EMBEDDINGS = "/v1/embeddings"


@dataclass
class Door:
    """The application, and keys that are limited."""

    endpoint: Endpoint
    patch: pytest.MonkeyPatch
    callers: dict = field(default_factory=dict)

    def key(self, name="one", *, group=None, **limits):
        """Make a key with ``limits``, in a group with those of ``group``, and return its header."""
        number = len(self.callers) + 1
        policies = [Policy(subject=f"key:{number}", limits=Limits(**limits))]
        if group is not None:
            policies.append(Policy(subject="group:sales", limits=Limits(**group)))
        text = f"sk-moe-{name}"
        self.callers[key_digest(text)] = Caller(key_id=number, name=name, prefix=text, policies=tuple(policies))
        self.patch.setattr(keys, "_value", dict(self.callers))
        self.patch.setattr(guards, "_value", Guards())
        return (b"authorization", f"Bearer {text}".encode())

    def embeds(self, model):
        self.endpoint.server.models.append(ScriptedModel(name=model, capabilities=("embedding",)))
        known = catalog._value
        can = frozenset({"embedding"})
        replica = replace(known.experts["general"].replicas[0], model=model, capabilities=can)
        embedder = Expert(slug=model, replicas=(replica,))
        self.patch.setattr(catalog, "_value", replace(known, embedders={model: embedder}))

    def price(self, **prices):
        known = catalog._value
        experts = {slug: replace(expert, **prices) for slug, expert in known.experts.items()}
        self.patch.setattr(catalog, "_value", replace(known, experts=experts))

    async def reserved(self, **body):
        """Return the tokens that are reserved for such a request, and have models take just as many."""
        answer = await self.ask(self.key("measuring", tokens_per_minute=10_000), **body)
        tokens = 10_000 - int(header(answer, "x-ratelimit-remaining-tokens"))
        written = body["max_tokens"]
        self.endpoint.server.default_reply = Reply(
            content="Hi.", prompt_tokens=tokens - written, completion_tokens=written
        )
        return tokens

    async def ask(self, *headers, path=CHAT, **body):
        return await self.endpoint.send(path, headers=headers, **body)

    async def crowd(self, *headers, times=CROWD, **body):
        """Return the answers to so many requests at once, the keys by turns; every other one is a stream."""
        return await asyncio.gather(
            *(self.ask(headers[one % len(headers)], stream=bool(one // 2 % 2), **body) for one in range(times))
        )


@pytest.fixture
async def door(model_server, monkeypatch, settings):
    settings.STREAM_HEARTBEAT_SECONDS = 10
    settings.UPSTREAM_MAX_RETRIES = 0
    settings.REDIS_URL = ""
    monkeypatch.setattr(entry, "ledger", Ledger())
    monkeypatch.setattr(Ledger, "read", lambda self, also: None)
    shared_limiter.cache_clear()
    endpoint = Endpoint(model_server, monkeypatch)
    known = catalog._value
    wide = {
        slug: replace(expert, fallbacks=(), replicas=tuple(replace(one, concurrency=500) for one in expert.replicas))
        for slug, expert in known.experts.items()
    }
    monkeypatch.setattr(catalog, "_value", replace(known, experts=wide))
    yield Door(endpoint, monkeypatch)
    await close_shared_pool()
    shared_limiter.cache_clear()


def error(connection):
    return json.loads(connection.body)["error"]


def statuses(answers):
    return {status: sum(one.status == status for one in answers) for status in {one.status for one in answers}}


async def at_once(server):
    """Return how many requests the model server had at the same time, at most, once all have ended."""
    for _ in range(2_000):  # it notes the last one's end a moment after its client has the answer
        if all(one.finished_at is not None for one in server.work_at("/api/chat")):
            break
        await asyncio.sleep(0.01)
    spans = [(one.received_at, one.finished_at) for one in server.work_at("/api/chat")]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


class TestACrowd:
    @pytest.mark.parametrize("of_group", [False, True])
    async def test_so_many_requests_a_minute_and_not_one_more(self, door, of_group):
        limit = {"requests_per_minute": 50}
        some = [door.key("one", group=limit), door.key("two", group=limit)] if of_group else [door.key(**limit)]
        answers = await door.crowd(*some)
        assert statuses(answers) == {200: 50, 429: 150}
        assert len(door.endpoint.server.work_at("/api/chat")) == 50

    async def test_so_many_at_the_same_time_and_each_gives_its_seat_to_the_next(self, door):
        key = door.key(concurrent_requests=7)
        door.endpoint.server.default_reply = Reply(content=["a", "b"], delay=0.02)

        async def until_done(number):
            tries = 0
            while (answer := await door.ask(key, stream=bool(number % 2))).status == 429:
                assert header(answer, "retry-after") == "1"
                tries += 1
                await asyncio.sleep(0.01 * (1 + number % 5))
            return answer.status

        assert set(await asyncio.gather(*(until_done(number) for number in range(60)))) == {200}
        assert 2 <= await at_once(door.endpoint.server) <= 7
        answers = await door.crowd(key)
        assert statuses(answers) == {200: 7, 429: 193}

    async def test_so_many_tokens_a_minute_as_were_reserved(self, door):
        needed = await door.reserved(max_tokens=20)
        answers = await door.crowd(door.key(tokens_per_minute=12 * needed + needed - 1), max_tokens=20)
        assert statuses(answers) == {200: 12, 429: 188}

    async def test_no_more_of_a_days_tokens_or_cost_than_there_are(self, door):
        door.price(price_in=1.0, price_out=10.0)
        needed = await door.reserved(max_tokens=20)
        answers = await door.crowd(door.key(tokens_per_day=9 * needed), max_tokens=20)
        assert statuses(answers) == {200: 9, 429: 191}
        price = Decimal(needed - 20 + 200) / 1_000_000
        answers = await door.crowd(door.key("two", cost_per_month=5 * price), max_tokens=20)
        assert statuses(answers) == {200: 5, 429: 195}
        assert {error(one)["code"] for one in answers if one.status == 429} == {"insufficient_quota"}

    async def test_of_several_limits_a_refused_request_takes_from_none(self, door):
        key = door.key(requests_per_minute=100, concurrent_requests=5)
        assert statuses(await door.crowd(key, times=50))[200] == 5
        answer = await door.ask(key)
        assert header(answer, "x-ratelimit-remaining-requests") == str(100 - 6)


class TestWhatIsTaken:
    async def test_tokens_are_what_the_server_counted_once_it_has(self, door):
        key = door.key(tokens_per_minute=10_000)
        first = await door.ask(key, max_tokens=1000)
        assert int(header(first, "x-ratelimit-remaining-tokens")) < 9_000
        second = await door.ask(key, max_tokens=1)
        left = int(header(second, "x-ratelimit-remaining-tokens"))
        assert 10_000 - 15 - 50 < left < 10_000 - 15  # the first took 11 + 4, the second reserves its own

    async def test_a_stream_that_is_left_gives_back_its_seat_and_what_it_did_not_use(self, door):
        key = door.key(concurrent_requests=1, tokens_per_minute=2_000)
        door.endpoint.server.default_reply = Reply(content=["a"] * 50, delay=0.1)
        await door.endpoint.send(headers=[key], stream=True, max_tokens=1500, leave_when="/api/chat")
        door.endpoint.server.default_reply = Reply(content="Hi.")
        assert (await door.ask(key, max_tokens=1500)).status == 200

    async def test_a_failed_request_gives_back_its_seat_and_tokens_and_counts(self, door):
        key = door.key(requests_per_minute=10, concurrent_requests=1, tokens_per_minute=100)
        door.endpoint.server.default_reply = Reply(status=500, error="out of memory")
        for _ in range(2):  # once more, and its model would be left alone for a while
            assert (await door.ask(key, max_tokens=50)).status >= 500
        door.endpoint.server.default_reply = Reply(content="Hi.")
        answer = await door.ask(key, max_tokens=50)
        assert answer.status == 200
        assert header(answer, "x-ratelimit-remaining-requests") == "7"

    async def test_embeddings_take_what_is_read(self, door):
        door.embeds("nomic-embed-text:latest")
        key = door.key(tokens_per_day=1_000)
        asked = {"path": EMBEDDINGS, "model": "nomic-embed-text:latest", "input": "word " * 100}
        before = await door.ask(key, **asked)
        assert before.status == 200
        taken = json.loads(before.body)["usage"]["prompt_tokens"]
        reserved = 1_000 - int(header(before, "x-ratelimit-remaining-tokens"))
        assert 50 < reserved < 300
        again = await door.ask(key, **asked)
        assert 1_000 - int(header(again, "x-ratelimit-remaining-tokens")) == taken + reserved

    async def test_a_request_that_is_wrong_counts_and_one_without_a_key_does_not(self, door):
        key = door.key(requests_per_minute=3)
        wrong = await door.ask(key, messages="nonsense")
        assert (wrong.status, header(wrong, "x-ratelimit-remaining-requests")) == (400, "2")
        nobody = await door.ask((b"authorization", b"Bearer sk-moe-unknown"))
        assert (nobody.status, header(nobody, "x-ratelimit-limit-requests")) == (401, "")
        assert header(await door.ask(key), "x-ratelimit-remaining-requests") == "1"

    async def test_rest_views_count_and_give_their_seat_back(self, door):
        key = door.key(requests_per_minute=3, concurrent_requests=1)
        answers = [await door.endpoint.send("/v1/models", headers=[key], method="GET") for _ in range(4)]
        assert [one.status for one in answers] == [200, 200, 200, 429]
        assert [header(one, "x-ratelimit-remaining-requests") for one in answers] == ["2", "1", "0", "0"]
        assert error(answers[3])["code"] == "rate_limit_exceeded"
        assert 59 <= int(header(answers[3], "retry-after")) <= 61


async def test_a_view_that_comes_in_after_its_client_left_takes_nothing():
    shared_limiter.cache_clear()
    policy = Policy(subject="key:1", limits=Limits(concurrent_requests=1))
    has_left, request, other = threading.Event(), SimpleNamespace(), Stay()
    views = []

    async def view(request):
        def come_in():
            assert has_left.wait(20)
            request.stay.come_in(entry.entry_of([policy]))

        views.append(asyncio.create_task(asyncio.to_thread(come_in)))
        await asyncio.shield(views[0])

    served = asyncio.create_task(limits_middleware(view)(request))
    await asyncio.sleep(0)
    served.cancel()
    with pytest.raises(asyncio.CancelledError):
        await served
    has_left.set()
    await views[0]
    other.come_in(entry.entry_of([policy]))
    with pytest.raises(RateLimited):
        Stay().come_in(entry.entry_of([policy]))
    other.leave()
    Stay().come_in(entry.entry_of([policy]))
    shared_limiter.cache_clear()


async def test_an_answer_that_is_complete_goes_out_though_the_server_stops_while_it_is_settled(
    door, settings, tmp_path
):
    with RedisServer(tmp_path) as redis:
        settings.REDIS_URL = redis.url
        key = door.key(tokens_per_minute=10_000)
        door.endpoint.server.default_reply = Reply(content="Hi.", first_delay=0.3)
        asking = asyncio.create_task(door.ask(key))
        await asyncio.to_thread(door.endpoint.server.wait_for_work, "/api/chat")
        redis.pause()  # settling takes as long as Redis may take to answer
        answer = door.endpoint.connections[-1]
        await answer.begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        redis.resume()
        await shared_limiter().aclose()
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Hi."
    assert answer.complete


class TestWhatIsTold:
    async def test_an_unlimited_key_nothing(self, door):
        answer = await door.ask(door.key())
        assert not [name for name, _ in answer.sent[0]["headers"] if name.startswith(b"x-ratelimit")]

    async def test_the_tightest_of_several_limits_in_openais_headers(self, door):
        key = door.key(requests_per_minute=60, tokens_per_minute=5_000, group={"requests_per_minute": 40})
        answer = await door.ask(key, max_tokens=100)
        assert header(answer, "x-ratelimit-limit-requests") == "40"
        assert header(answer, "x-ratelimit-remaining-requests") == "39"
        assert header(answer, "x-ratelimit-reset-requests") in ("1m0s", "1m1s")
        assert header(answer, "x-ratelimit-limit-tokens") == "5000"

    async def test_whose_limit_it_is_its_value_and_when_to_come_back(self, door):
        key = door.key(group={"requests_per_minute": 1})
        await door.ask(key)
        refused = await door.ask(key)
        told = error(refused)
        assert (refused.status, told["type"], told["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
        assert "the group 'sales'".lower() in told["message"].lower()
        assert "limit is 1 request per minute" in told["message"]
        assert 59 <= int(header(refused, "retry-after")) <= 61

    async def test_what_can_never_fit_and_that_it_need_not_be_tried_again(self, door):
        refused = await door.ask(door.key(tokens_per_minute=100), max_tokens=500)
        assert (refused.status, header(refused, "x-should-retry"), header(refused, "retry-after")) == (429, "false", "")
        assert "100 tokens per minute: it can never be let in" in error(refused)["message"]

    async def test_an_answer_of_unknown_length_is_not_refused_for_a_guess(self, door):
        assert (await door.ask(door.key(tokens_per_minute=100))).status == 200
        assert (await door.ask(door.key("two", tokens_per_day=100))).status == 200

    async def test_a_spent_budget_and_when_it_is_renewed(self, door):
        key = door.key(tokens_per_day=40)
        assert (await door.ask(key)).status == 200
        assert (await door.ask(key)).status == 200
        refused = await door.ask(key, max_tokens=20)
        told = error(refused)
        assert (refused.status, told["type"], told["code"]) == (429, "insufficient_quota", "insufficient_quota")
        assert header(refused, "x-should-retry") == "false"
        tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
        assert f"renewed at {tomorrow} 00:00 UTC" in told["message"]
        assert (await door.endpoint.send("/v1/models", headers=[key], method="GET")).status == 200

    async def test_ollamas_clients_in_their_own_shape(self, door):
        key = door.key(requests_per_minute=1)
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
        await door.ask(key, path="/api/chat", **asked)
        refused = await door.ask(key, path="/api/chat", **asked)
        assert refused.status == 429
        assert "request per minute" in json.loads(refused.body)["error"]
        assert header(refused, "retry-after")


class TestAFollowUp:
    """A grounded one is put into words by a small model before the answer is made."""

    TURNS = (
        {"role": "user", "content": "Who approves sick leave?"},
        {"role": "assistant", "content": "The team lead."},
        {"role": "user", "content": "And how long may it last?"},
    )

    @pytest.fixture
    def words(self, door, monkeypatch):
        """Have collections whose follow-ups an expert puts into words, and return the texts that are searched for."""
        searched = []

        async def search(request, *, access):
            searched.append(request.query)
            return Retrieval(query=request.query, collections=("handbook",))

        async def look(access, names):
            return {"handbook": "general"}

        monkeypatch.setattr(library, "search", search)
        monkeypatch.setattr(library, "_look", look)
        return searched

    async def test_is_put_into_words_within_the_limits(self, door, words):
        door.endpoint.server.reply(
            Reply(content="How long may sick leave last?", prompt_tokens=90, completion_tokens=10)
        )
        door.endpoint.server.default_reply = Reply(content="Long.", prompt_tokens=30, completion_tokens=20)
        key = door.key(tokens_per_minute=5_000, tokens_per_day=5_000)
        assert (await door.ask(key, use_rag=True, messages=self.TURNS)).status == 200
        assert words == ["How long may sick leave last?"]
        assert self.left(await door.endpoint.send("/v1/models", headers=[key], method="GET")) == 5_000 - 150

    async def test_asks_no_model_where_a_budget_is_spent(self, door, words):
        door.endpoint.server.default_reply = Reply(content="Hi.", prompt_tokens=30, completion_tokens=20)
        key = door.key(tokens_per_day=50)
        assert (await door.ask(key)).status == 200
        refused = await door.ask(key, use_rag=True, messages=self.TURNS)
        assert (refused.status, error(refused)["code"]) == (429, "insufficient_quota")
        assert len(door.endpoint.server.work_at("/api/chat")) == 1
        assert words == ["And how long may it last?"]

    async def test_is_searched_for_as_it_stands_where_only_the_answer_has_room(self, door, words):
        needed = await door.reserved(max_tokens=1, messages=self.TURNS)
        key = door.key(tokens_per_minute=needed)
        answer = await door.ask(key, use_rag=True, max_tokens=1, messages=self.TURNS)
        assert answer.status == 200
        assert "can never be let in" in json.loads(answer.body)["grounding"]["notes"][0]
        assert words == ["And how long may it last?"]

    def left(self, answer):
        return int(header(answer, "x-ratelimit-remaining-tokens"))
