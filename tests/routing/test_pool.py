"""The pool against scripted servers: where requests start, who waits, what is survived and what is told."""

import asyncio
import random
import statistics
import time
from contextlib import aclosing

import pytest

from routing.admission import Limits
from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.protocol import Delta, ServerAddress, ServerKind
from routing.catalog import Expert, Replica
from routing.decision import Decision
from routing.exceptions import (
    BadRequest,
    ContextLengthExceeded,
    EndpointError,
    QueueFull,
    Unavailable,
    Unreachable,
    UpstreamFailed,
    UpstreamTimedOut,
)
from routing.pool import Pool
from routing.residency import FRESH_SECONDS
from routing.trial import Attempt
from tests.requests import chat_request
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

MODEL = "llama3.2:3b"


@pytest.fixture
def one():
    with ScriptedServer([ScriptedModel(name=MODEL)]) as server:
        server.loaded[MODEL] = Residency(context_length=4096)
        yield server


@pytest.fixture
def two():
    with ScriptedServer([ScriptedModel(name=MODEL, context_length=131072)]) as server:
        server.loaded[MODEL] = Residency(context_length=4096)
        yield server


@pytest.fixture
async def make_pool():
    pools = []

    def make(*, max_retries=0, load_seconds=30.0, idle=20.0, first_byte=20.0, **limits):
        limits = {"wait": 20.0, "threshold": 3, "cooldown": 0.3, "outage": 1.0} | limits
        client = UpstreamClient(Timeouts(connect=10, first_byte=first_byte, idle=idle))
        pools.append(Pool(client, max_retries=max_retries, limits=Limits(**limits), load_seconds=load_seconds))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()


def replica(server, **fields):
    address = ServerAddress(name=fields.pop("name", "gpu"), kind=ServerKind.OLLAMA, base_url=server.url)
    return Replica(**({"server": address, "embedded": False, "model": MODEL} | fields))


def decision(*replicas, fallbacks=()):
    expert = Expert(slug="general", replicas=tuple(replicas))
    return Decision(id="dec_1", expert=expert, route="explicit", why="", fallbacks=tuple(fallbacks))


async def ask(pool, chosen, *, tenant="key", **fields):
    """Return the text of an answer and the attempts it took."""
    attempts, text = [], ""
    async with aclosing(pool.chat(chosen, chat_request(**fields), tenant=tenant)) as events:
        async for event in events:
            if isinstance(event, Attempt):
                attempts.append(event)
            elif isinstance(event, Delta):
                text += event.content
    return text, attempts


def idle(pool):
    lanes = pool.admission.lanes.values()
    return all(lane.in_flight == 0 and lane.waiting == 0 for lane in lanes) and not len(pool.admission.queue)


class TestFaultMatrix:
    """For each fault: what the client sees, that nothing hangs past its budget, that no request is answered twice."""

    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            (Reply(status=429, error="slow", headers={"Retry-After": "60"}), EndpointError),
            (Reply(status=429, error="slow"), EndpointError),
            (Reply(status=500, error="boom"), UpstreamFailed),
            (Reply(status=502, body="<html>nginx</html>"), UpstreamFailed),
            (Reply(status=500, body={"error": '{"error":{"code":500,"message":"nested"}}'}), UpstreamFailed),
            (Reply(load_delay=30), UpstreamTimedOut),
            (Reply(content=["a", "b"], hang_after=1), UpstreamTimedOut),
            (Reply(content=["a", "b"], drop_after=1, reset=True), UpstreamFailed),
            (Reply(content=["a", "b"], error_after=1), UpstreamFailed),
            (Reply(content=["a", "b"], end_without_done=True), UpstreamFailed),
            (Reply(content=["a", "b"], drop_after=0), EndpointError),
        ],
        ids=[
            "429 with Retry-After", "429", "500", "HTML page", "nested JSON", "slow headers", "stall mid-stream",
            "reset mid-stream", "error line", "no end marker", "dropped before the first piece",
        ],
    )  # fmt: skip
    async def test_with_one_replica(self, make_pool, one, reply, error):
        pool = make_pool(idle=1, first_byte=1) if error is UpstreamTimedOut else make_pool()
        one.reply(reply, path="/api/chat", times=None)
        began = time.monotonic()
        with pytest.raises(error) as caught:
            await ask(pool, decision(replica(one)))
        assert time.monotonic() - began < 15
        assert caught.value.message
        assert idle(pool)

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=429, error="slow", headers={"Retry-After": "60"}),
            Reply(status=500, error="boom"),
            Reply(status=502, body="<html>nginx</html>"),
            Reply(status=404, error="model 'x' not found"),
            Reply(load_delay=30),
            Reply(content=["a"], drop_after=0),
            Reply(error_after=0, error="CUDA error"),
        ],
        ids=["429", "500", "HTML page", "not installed", "slow headers", "dropped", "error at once"],
    )
    async def test_another_replica_answers_before_the_first_byte(self, make_pool, one, two, reply):
        pool = make_pool(first_byte=2) if reply.load_delay else make_pool()
        one.reply(reply, path="/api/chat", times=None)
        two.reply(Reply(content="from two"), times=None)
        text, attempts = await ask(pool, decision(replica(one, name="one"), replica(two, name="two")))
        assert text == "from two"
        assert attempts[-1].replica.server.name == "two"
        assert len(two.requests_to("/api/chat")) == 1
        assert idle(pool)

    async def test_after_the_first_byte_nothing_is_spliced(self, make_pool, one, two):
        pool = make_pool()
        for server in (one, two):
            server.reply(Reply(content=["half", "rest"], error_after=1), times=None)
        seen = []
        with pytest.raises(UpstreamFailed):
            async with aclosing(
                pool.chat(decision(replica(one), replica(two, name="b")), chat_request(), tenant="k")
            ) as events:
                async for event in events:
                    seen.append(event)
        assert sum(isinstance(event, Attempt) for event in seen) == 1
        assert len(one.requests_to("/api/chat")) + len(two.requests_to("/api/chat")) == 1

    async def test_a_server_that_is_gone(self, make_pool, one, two):
        pool = make_pool(max_retries=1)
        one.refuse()
        text, attempts = await ask(pool, decision(replica(one, name="gone"), replica(two, name="there")))
        assert text
        assert attempts[-1].replica.server.name == "there"
        with pytest.raises(Unreachable) as caught:
            await ask(pool, decision(replica(one, name="gone")))
        assert caught.value.retry_after

    async def test_a_slow_trickle_and_a_long_line_arrive_whole(self, make_pool, one):
        pool = make_pool()
        one.reply(Reply(content="Grüße 🙂", split_bytes=16, byte_delay=0.02))
        assert (await ask(pool, decision(replica(one))))[0] == "Grüße 🙂"
        long = "x" * 1_000_000
        one.reply(Reply(content=long))
        assert (await ask(pool, decision(replica(one))))[0] == long

    async def test_a_restart_under_load_loses_and_doubles_nothing(self, make_pool, one, two):
        pool = make_pool(max_retries=2)
        one.reply(Reply(content=["a"] * 3, delay=0.02), times=None)
        two.reply(Reply(content=["a"] * 3, delay=0.02), times=None)
        both = decision(replica(one, name="one"), replica(two, name="two"))

        async def client(number):
            try:
                return (await ask(pool, both, tenant=f"k{number % 3}"))[0]
            except EndpointError as error:
                return error

        tasks = [asyncio.create_task(client(number)) for number in range(40)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(one.stop)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(one.restart)
        results = await asyncio.gather(*tasks)
        whole = [result for result in results if result == "aaa"]
        broken = [result for result in results if isinstance(result, EndpointError)]
        assert len(whole) + len(broken) == 40, "an answer was cut or spliced in silence"
        assert len(broken) <= 4, "only answers that were running on the stopped server may break"
        assert idle(pool)


class TestRetries:
    async def test_a_short_fault_is_mended(self, make_pool, one):
        pool = make_pool(max_retries=2)
        one.reply(Reply(status=500, error="boom"), times=2)
        text, attempts = await ask(pool, decision(replica(one)))
        assert text
        assert len(attempts) == 3

    async def test_retry_after_is_honoured(self, make_pool, one):
        pool = make_pool(max_retries=1)
        one.reply(Reply(status=429, error="slow", headers={"Retry-After": "0.5"}))
        began = time.monotonic()
        assert (await ask(pool, decision(replica(one))))[0]
        assert time.monotonic() - began >= 0.5

    async def test_what_no_retry_mends_is_not_tried_again(self, make_pool, one):
        pool = make_pool(max_retries=2)
        for reply in (Reply(status=500, error="out of memory"), Reply(status=400, error="invalid option")):
            one.reply(reply)
            asked = len(one.requests_to("/api/chat"))
            with pytest.raises(EndpointError):
                await ask(pool, decision(replica(one)))
            assert len(one.requests_to("/api/chat")) == asked + 1

    async def test_an_experts_fallback_answers_last(self, make_pool, one, two):
        pool = make_pool()
        one.reply(Reply(status=500, error="boom"), times=None)
        other = Expert(slug="other", system_prompt="You are other.", replicas=(replica(two, name="two"),))
        text, attempts = await ask(pool, decision(replica(one), fallbacks=[other]))
        assert text
        assert [attempt.expert.slug for attempt in attempts] == ["general", "other"]
        assert two.requests_to("/api/chat")[0].json["messages"][0]["content"] == "You are other."

    async def test_each_attempt_tells_of_those_before_it(self, make_pool, one, two):
        pool = make_pool(max_retries=1)
        one.reply(Reply(status=500, error="boom"), times=1)
        one.reply(Reply(status=503, error="busy"), times=1)
        other = Expert(slug="other", replicas=(replica(two, name="two"),))
        _, attempts = await ask(pool, decision(replica(one), fallbacks=[other]))
        first, second = (f"{MODEL}@gpu", "upstream_error"), (f"{MODEL}@gpu", "service_unavailable")
        assert [attempt.failed for attempt in attempts] == [(), (first,), (first, second)]

    async def test_a_wrong_request_is_the_clients_and_goes_nowhere_else(self, make_pool, one, two):
        pool = make_pool()
        one.reply(Reply(status=400, error="invalid schema"), times=None)
        with pytest.raises(BadRequest):
            await ask(pool, decision(replica(one), replica(two, name="two")))
        assert not two.requests_to("/api/chat")
        assert all(lane.breaker.failures == 0 for lane in pool.admission.lanes.values())


class TestBreaker:
    async def test_an_open_replica_is_not_asked_and_waited_for(self, make_pool, one):
        pool = make_pool(threshold=2, cooldown=0.4)
        one.reply(Reply(status=500, error="boom"), times=2)
        for _ in range(2):
            with pytest.raises(UpstreamFailed):
                await ask(pool, decision(replica(one)))
        asked = len(one.requests_to("/api/chat"))
        began = time.monotonic()
        assert (await ask(pool, decision(replica(one))))[0], "the probe after the cool-down answers"
        assert time.monotonic() - began > 0.2
        assert len(one.requests_to("/api/chat")) == asked + 1

    async def test_a_long_outage_is_told_at_once(self, make_pool, one):
        pool = make_pool(threshold=1, cooldown=30)
        one.reply(Reply(status=500, error="boom"))
        with pytest.raises(UpstreamFailed):
            await ask(pool, decision(replica(one)))
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await ask(pool, decision(replica(one)))
        assert time.monotonic() - began < 10
        assert 20 < caught.value.retry_after <= 30

    async def test_one_request_probes_and_the_others_wait_for_it(self, make_pool, one):
        pool = make_pool(threshold=1, cooldown=0.2)
        one.reply(Reply(status=500, error="boom"))
        with pytest.raises(UpstreamFailed):
            await ask(pool, decision(replica(one)))
        one.reply(Reply(content="back", load_delay=0.3), times=1)
        results = await asyncio.gather(*(ask(pool, decision(replica(one))) for _ in range(4)))
        assert all(text for text, _ in results)
        first, second = one.requests_to("/api/chat")[1:3]
        assert second.received_at >= first.finished_at - 0.05


class TestChoice:
    async def test_resident_beats_cold(self, make_pool, one, two):
        pool = make_pool()
        one.loaded.clear()
        for _ in range(3):
            _, attempts = await ask(pool, decision(replica(one, name="cold"), replica(two, name="warm")))
            assert attempts[-1].replica.server.name == "warm"
        assert not one.requests_to("/api/chat")

    async def test_the_idle_one_beats_the_busy_one(self, make_pool, one, two):
        pool = make_pool()
        for server in (one, two):
            server.reply(Reply(content=["x"], load_delay=0.3), times=None)
        both = decision(replica(one, name="one", concurrency=1), replica(two, name="two", concurrency=1))
        results = await asyncio.gather(ask(pool, both), ask(pool, both))
        assert {attempts[-1].replica.server.name for _, attempts in results} == {"one", "two"}

    async def test_a_conversation_stays_where_its_prompt_is_cached(self, make_pool, one, two):
        pool = make_pool()
        both = decision(replica(one, name="one"), replica(two, name="two"))
        turns = [{"role": "user", "content": f"Conversation {random.random()}"}]
        _, attempts = await ask(pool, both, messages=turns)
        home = attempts[-1].replica.server.name
        for _ in range(4):
            turns = [*turns, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "And?"}]
            _, attempts = await ask(pool, both, messages=turns)
            assert attempts[-1].replica.server.name == home

    async def test_the_embedded_model_answers_only_when_the_others_cannot(self, make_pool, one, two):
        pool = make_pool()
        one.reply(Reply(content=["x"], load_delay=0.2), times=None)
        both = decision(replica(one, name="own", concurrency=1), replica(two, name="embedded", embedded=True))
        results = await asyncio.gather(*(ask(pool, both) for _ in range(3)))
        assert {attempts[-1].replica.server.name for _, attempts in results} == {"own"}
        one.refuse()
        _, attempts = await ask(pool, both)
        assert attempts[-1].replica.server.name == "embedded"


class TestLoads:
    async def test_requests_for_a_cold_model_share_one_load(self, make_pool, one):
        pool = make_pool()
        one.loaded.clear()
        results = await asyncio.gather(*(ask(pool, decision(replica(one))) for _ in range(4)))
        assert all(text for text, _ in results)
        loads = [request for request in one.requests_to("/api/chat") if not request.json["messages"]]
        assert len(loads) == 1

    async def test_a_client_that_leaves_does_not_abort_a_load_others_wait_for(self, make_pool, one):
        pool = make_pool()
        one.loaded.clear()
        one.load_delay = 0.6
        first = asyncio.create_task(ask(pool, decision(replica(one))))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(ask(pool, decision(replica(one))))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second)[0]
        assert not one.requests_to("/api/chat")[0].disconnected

    async def test_a_load_has_a_budget_of_its_own_and_is_no_failure(self, make_pool, one):
        pool = make_pool(load_seconds=0.3, first_byte=5)
        one.loaded.clear()
        one.load_delay = 10
        with pytest.raises(UpstreamTimedOut) as caught:
            await ask(pool, decision(replica(one)))
        assert caught.value.code == "model_load_timeout"
        assert all(lane.breaker.failures == 0 for lane in pool.admission.lanes.values())

    async def test_a_model_that_was_unloaded_is_loaded_by_whoever_comes_next(self, make_pool, one):
        pool = make_pool()
        await ask(pool, decision(replica(one)))
        assert pool.residency.resident(replica(one))
        one.loaded.clear()
        pool.residency.unloaded(replica(one))
        assert pool.residency.resident(replica(one)) is False
        assert pool.outlook(decision(replica(one)).expert, frozenset()).start > 1
        await ask(pool, decision(replica(one)))
        assert [bool(request.json["messages"]) for request in one.requests_to("/api/chat")] == [True, False, True]

    async def test_a_model_that_answers_while_residency_is_asked_is_not_loaded_again(self, make_pool, one):
        pool = make_pool()
        await ask(pool, decision(replica(one)))
        pool.residency.memory(replica(one).server).asked_at -= FRESH_SECONDS
        # What the server tells, that it let the model go, is on its way while a chat has the model loaded again.
        one.reply(Reply(body={"models": []}, load_delay=0.2), path="/api/ps")
        await ask(pool, decision(replica(one)))
        await asyncio.sleep(0.4)
        await ask(pool, decision(replica(one)))
        assert len(one.requests_to("/api/ps")) == 2
        assert [request.idle for request in one.requests_to("/api/chat")] == [False, False, False]

    async def test_residency_is_asked_once_at_a_time(self, make_pool, one):
        pool = make_pool()
        await asyncio.gather(*(ask(pool, decision(replica(one, concurrency=50))) for _ in range(20)))
        assert len(one.requests_to("/api/ps")) == 1


class TestQueue:
    async def test_a_flooding_key_does_not_hold_up_another(self, make_pool, one):
        pool = make_pool()
        one.reply(Reply(content=["x"], load_delay=0.03), times=None)
        chosen = decision(replica(one, concurrency=2))
        waits = {"flood": [], "calm": []}

        async def client(tenant):
            began = time.monotonic()
            await ask(pool, chosen, tenant=tenant)
            waits[tenant].append(time.monotonic() - began)

        flood = [asyncio.create_task(client("flood")) for _ in range(40)]
        await asyncio.sleep(0.05)
        for _ in range(5):
            await client("calm")
        await asyncio.gather(*flood)
        assert statistics.median(waits["calm"]) * 2 < statistics.median(waits["flood"])

    async def test_a_full_queue_is_told_and_the_flooder_gives_way(self, make_pool, one):
        pool = make_pool(queue=3)
        one.reply(Reply(content=["x"], load_delay=0.4), times=None)
        chosen = decision(replica(one, concurrency=1))
        flood = [asyncio.create_task(ask(pool, chosen, tenant="flood")) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert (await ask(pool, chosen, tenant="calm"))[0]
        results = await asyncio.gather(*flood, return_exceptions=True)
        refused = [result for result in results if isinstance(result, QueueFull)]
        assert len(refused) == 2
        assert all(error.retry_after for error in refused)
        assert idle(pool)

    async def test_a_passed_deadline_is_told(self, make_pool, one):
        pool = make_pool(wait=0.3)
        one.reply(Reply(content=["x"], load_delay=1.0), times=None)
        chosen = decision(replica(one, concurrency=1))
        running = asyncio.create_task(ask(pool, chosen))
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull) as caught:
            await ask(pool, chosen)
        assert caught.value.retry_after
        await running

    async def test_waiting_is_measured(self, make_pool, one):
        pool = make_pool()
        one.reply(Reply(content=["x"], load_delay=0.2), times=None)
        chosen = decision(replica(one, concurrency=1))
        results = await asyncio.gather(ask(pool, chosen), ask(pool, chosen))
        waits = sorted(attempts[0].waited for _, attempts in results)
        assert waits[0] < 0.05
        assert sorted(attempts[0].position for _, attempts in results) == [0, 1]
        assert 0.15 < waits[1] < 0.6

    async def test_a_heavier_key_gets_more_turns(self, make_pool, one):
        pool = make_pool()
        one.reply(Reply(content=["x"], load_delay=0.02), times=None)
        chosen = decision(replica(one, concurrency=1))
        done = []

        async def client(tenant, weight):
            async with aclosing(pool.chat(chosen, chat_request(), tenant=tenant, weight=weight)) as events:
                async for _ in events:
                    pass
            done.append(tenant)

        await asyncio.gather(*(client(name, weight) for name, weight in [("low", 1.0), ("high", 4.0)] * 15))
        assert done[:15].count("high") >= 9


class TestCancellation:
    async def test_a_thousand_random_cancellations_leave_nothing_behind(self, make_pool, one, two):
        pool = make_pool(queue=2000)
        for server in (one, two):
            server.reply(Reply(content=["a"] * 4, load_delay=0.01, delay=0.01), times=None)
        both = decision(replica(one, name="one", concurrency=8), replica(two, name="two", concurrency=8))
        await ask(pool, both)
        before = len(asyncio.all_tasks())
        chance = random.Random(7)

        async def client():
            task = asyncio.create_task(ask(pool, both, tenant=f"k{chance.randrange(5)}"))
            await asyncio.sleep(chance.random() * 0.12)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for _ in range(10):
            await asyncio.gather(*(client() for _ in range(100)))
        assert idle(pool)
        assert len(asyncio.all_tasks()) <= before + 1
        assert (await ask(pool, both))[0]

    @pytest.mark.parametrize("stage", ["queued", "loading", "first token", "mid-stream"])
    async def test_at_every_stage(self, make_pool, one, stage):
        pool = make_pool(idle=30, first_byte=30)
        chosen = decision(replica(one, concurrency=1))
        if stage == "loading":
            one.loaded.clear()
            one.load_delay = 30
        elif stage == "mid-stream":
            one.reply(Reply(content=["a", "b"], hang_after=1))
        else:
            one.reply(Reply(load_delay=30), times=None)
        blocker = asyncio.create_task(ask(pool, chosen)) if stage == "queued" else None
        await asyncio.sleep(0.1)
        task = asyncio.create_task(ask(pool, chosen))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert time.monotonic() - began < 10
        if stage in ("first token", "mid-stream"):
            request = one.requests_to("/api/chat")[-1]
            assert await asyncio.to_thread(request.wait_disconnected)
        if blocker:
            blocker.cancel()
            await asyncio.gather(blocker, return_exceptions=True)
        assert idle(pool)


class TestContext:
    async def test_a_prompt_that_surely_does_not_fit_is_told_with_both_numbers(self, make_pool, one):
        pool = make_pool()
        words = "The quick brown fox jumps over the lazy dog. " * 2000
        with pytest.raises(ContextLengthExceeded, match=r"about \d+ tokens.*holds 4096"):
            await ask(pool, decision(replica(one, num_ctx=4096)), messages=[{"role": "user", "content": words}])
        assert not one.requests_to("/api/chat")

    async def test_a_replica_with_a_larger_window_takes_it(self, make_pool, one, two):
        pool = make_pool()
        two.loaded[MODEL] = Residency(context_length=65536)
        words = "The quick brown fox jumps over the lazy dog. " * 2000
        small, large = replica(one, name="small", num_ctx=4096), replica(two, name="large", num_ctx=65536)
        text, attempts = await ask(pool, decision(small, large), messages=[{"role": "user", "content": words}])
        assert text
        assert attempts[-1].replica.server.name == "large"

    async def test_counts_are_learned(self, make_pool, one):
        pool = make_pool()
        words = "The quick brown fox jumps over the lazy dog. " * 20
        one.reply(Reply(content="x", prompt_tokens=500), times=None)
        for _ in range(5):
            await ask(pool, decision(replica(one)), messages=[{"role": "user", "content": words}])
        assert pool.tokens.of(MODEL).samples == 5
        assert pool.tokens.of(MODEL).ratio > 1.5


async def test_two_servers_share_the_work(make_pool, one, two):
    """How much more two do than one: tests/benchmarks/two_servers.py."""
    pool = make_pool(queue=200, wait=30)
    one.reply(Reply(content=["a"] * 2, load_delay=0.04), times=None)
    two.reply(Reply(content=["a"] * 2, load_delay=0.05), times=None)
    both = decision(replica(one, name="fast"), replica(two, name="slow"))
    await asyncio.gather(*(ask(pool, both) for _ in range(100)))
    shares = [len(server.requests_to("/api/chat")) for server in (one, two)]
    assert sum(shares) == 100
    assert min(shares) >= 25


@pytest.mark.slow
async def test_a_hundred_milliseconds_a_byte(make_pool, one):
    pool = make_pool()
    one.reply(Reply(content="Hi", split_bytes=1, byte_delay=0.1))
    assert (await ask(pool, decision(replica(one))))[0] == "Hi"


class TestWhileLoading:
    def chosen(self, wanted, resident, *, allowed=True):
        other = Expert(slug="quick", replicas=(replica(resident, name="two"),))
        expert = Expert(
            slug="wanted", fallbacks=("quick",), answers_while_loading=allowed, replicas=(replica(wanted, name="one"),)
        )
        return Decision(id="d", expert=expert, route="explicit", why="", fallbacks=(other,))

    async def test_a_resident_fallback_answers_and_the_load_goes_on(self, make_pool, one, two):
        pool = make_pool()
        one.loaded.clear()
        one.load_delay = 0.5
        _, attempts = await ask(pool, self.chosen(one, two))
        assert attempts[-1].expert.slug == "quick"
        for _ in range(2_000):
            if pool.residency.resident(replica(one, name="one")):
                break
            await asyncio.sleep(0.01)
        _, attempts = await ask(pool, self.chosen(one, two))
        assert attempts[-1].expert.slug == "wanted"

    async def test_only_where_it_is_allowed(self, make_pool, one, two):
        pool = make_pool()
        one.loaded.clear()
        _, attempts = await ask(pool, self.chosen(one, two, allowed=False))
        assert [attempt.expert.slug for attempt in attempts] == ["wanted"]


class TestExactCounts:
    async def test_llama_cpp_is_asked_where_an_estimate_leaves_doubt(self, make_pool, one):
        pool = make_pool()
        address = ServerAddress(name="cpp", kind=ServerKind.OPENAI, base_url=one.url)
        there = Replica(server=address, embedded=False, model=MODEL, context_length=200)
        words = "the quick brown fox jumps over the lazy dog " * 30
        with pytest.raises(ContextLengthExceeded):
            await ask(pool, decision(there), messages=[{"role": "user", "content": words}])
        assert one.requests_to("/tokenize")
        assert not one.requests_to("/v1/chat/completions")
