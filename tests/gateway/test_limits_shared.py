"""Limits that several processes count together, and what happens when Redis goes away."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis import Redis

from gateway.limits import limiter as limiters
from gateway.limits.claims import Claim, Limit, Spent
from gateway.limits.limiter import Limiter, WhenDown
from gateway.limits.refusals import Uncounted
from gateway.limits.scripts import PREFIX
from gateway.limits.shared import SharedStore
from tests.conftest import new_data_dir
from tests.gateway.crowd import MOST, SEATS
from tests.gateway.redisserver import RedisServer
from tests.scripted import Reply, ScriptedModel, ScriptedServer
from tests.serving import ROOT, Served

PROCESSES, EACH = 4, 50
REQUEST = Claim(Limit("key:1", "requests_per_minute", 3), 1, 1)
SEAT = Claim(Limit("key:1", "concurrent_requests", 1), 1, 1)


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def shared(redis, monkeypatch):
    """Make limiters on one Redis, whose background work runs."""
    monkeypatch.setattr(limiters, "PROBE_SECONDS", 0.05)
    made = []

    def make(*, seconds=10, **options):
        limiter = Limiter(shared=SharedStore(redis.url, seconds=seconds), **options)
        made.append((limiter, asyncio.create_task(limiter.tend())))
        return limiter

    yield make
    for limiter, tending in made:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        await limiter.aclose()


async def until(limiter, state):
    for _ in range(500):
        if (limiter.state == "ok") is state:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(limiter.state)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """When the requests that were let in came and left, of 200 by four processes for each kind of limit."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        command = [sys.executable, "-m", "tests.gateway.crowd", redis.url, str(EACH), str(PROCESSES)]
        running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
        answers = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    return {what: [span for answer in answers for span in answer[what]] for what in answers[0]}


class TestFourProcesses:
    @pytest.mark.parametrize("what", ["requests", "both", "tokens", "budget"])
    def test_together_let_in_as_many_as_the_limit_says(self, crowd, what):
        assert len(crowd[what]) == MOST

    def test_never_have_more_running_than_there_are_seats(self, crowd):
        spans = crowd["seats"]
        assert len(spans) == PROCESSES * EACH
        assert max(sum(came <= at < left for came, left in spans) for at, _ in spans) == SEATS


class TestAProcess:
    async def test_sees_what_another_has_taken(self, shared):
        one, two = shared(), shared()
        granted = [(await limiter.take([REQUEST])).taken.is_granted for limiter in (one, two, one, two)]
        assert granted == [True, True, True, False]

    async def test_of_a_request_that_is_left_while_redis_is_asked_keeps_no_seat(self, shared):
        limiter = shared()
        asking = asyncio.create_task(limiter.take([SEAT]))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert (await limiter.take([SEAT])).taken.is_granted

    def test_lets_threads_in_by_the_same_count(self, redis):
        limiter = Limiter(shared=SharedStore(redis.url, seconds=10))
        with ThreadPoolExecutor(8) as threads:
            holdings = list(threads.map(lambda _: limiter.take_now([REQUEST, SEAT]), range(20)))
        assert sum(holding.taken.is_granted for holding in holdings) == 1
        for holding in holdings:
            limiter.settle_now(holding)
        assert limiter.take_now([SEAT]).taken.is_granted
        asyncio.run(limiter.aclose())


class TestRedisGoesAway:
    async def test_each_process_counts_for_itself_until_it_is_back(self, shared, redis, caplog):
        caplog.set_level(logging.INFO, "gateway.redisclient")
        one, two = shared(), shared()
        assert (await one.take([REQUEST])).taken.is_granted
        redis.stop()
        for limiter in (one, two):
            granted = [(await limiter.take([REQUEST])).taken.is_granted for _ in range(4)]
            assert granted == [True, True, True, False]
            assert "counts limits for itself" in limiter.state
        redis.start()
        for limiter in (one, two):
            await until(limiter, True)
        assert (await one.take([REQUEST])).taken.is_granted
        said = [record.message for record in caplog.records]
        assert sum("lost Redis" in line for line in said) == 2
        assert sum("answers again" in line for line in said) == 2

    async def test_or_lets_nobody_in_if_the_operator_wants_that(self, shared, redis):
        limiter = shared(when_down=WhenDown.REFUSE)
        redis.stop()
        for _ in range(3):
            with pytest.raises(Uncounted, match="REDIS_DOWN=local") as caught:
                await limiter.take([REQUEST])
            assert (caught.value.status, caught.value.retry_after) == (503, limiters.PROBE_SECONDS)
        redis.start()
        await until(limiter, True)
        assert (await limiter.take([REQUEST])).taken.is_granted

    async def test_seats_that_are_held_are_counted_again_when_it_is_back(self, shared, redis):
        limiter, other = shared(), shared()
        holding = await limiter.take([SEAT])
        redis.stop()
        await limiter.take([REQUEST])
        redis.start()
        await until(limiter, True)
        assert not (await other.take([SEAT])).taken.is_granted
        await limiter.settle(holding)
        assert (await other.take([SEAT])).taken.is_granted

    async def test_a_silent_one_is_waited_for_once(self, shared, redis):
        limiter = shared(seconds=1)
        await limiter.take([REQUEST])
        redis.pause()
        started = time.monotonic()
        await asyncio.gather(*(limiter.take([REQUEST]) for _ in range(50)))
        assert 0.9 < time.monotonic() - started < 20, "one after the other they wait for 50 s"
        started = time.monotonic()
        await asyncio.gather(*(limiter.take([REQUEST]) for _ in range(50)))
        assert time.monotonic() - started < 0.9
        redis.resume()
        await until(limiter, True)

    @pytest.mark.parametrize("in_thread", [False, True])
    async def test_a_seat_that_it_gives_when_nobody_waits_any_more_goes_back(self, shared, redis, in_thread):
        limiter, other = shared(seconds=1), shared()
        assert (await limiter.take([REQUEST])).taken.is_granted
        limiter.take_now([REQUEST])  # so that both have connections
        redis.pause()
        holding = await asyncio.to_thread(limiter.take_now, [SEAT]) if in_thread else await limiter.take([SEAT])
        assert not holding.is_shared
        limiter.settle(holding)
        redis.resume()
        for _ in range(500):  # by itself it would be free after 30 s
            if (await other.take([SEAT])).taken.is_granted:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the seat is still held")

    async def test_what_was_taken_from_it_needs_no_settling_meanwhile(self, shared, redis):
        limiter = shared()
        holding = await limiter.take([Claim(Limit("key:1", "tokens_per_day", 100), 60, 60, "2026-11-26"), SEAT])
        redis.stop()
        assert await limiter.settle(holding, Spent(tokens=10)) is None

    async def test_a_budget_that_it_gave_up_for_want_of_memory_is_none_the_larger(self, shared, redis):
        limiter, limit = shared(), Limit("key:1", "tokens_per_day", 100)
        holding = await limiter.take([Claim(limit, 60, 60, "2026-11-26")])
        with Redis.from_url(redis.url) as client:
            assert client.delete(PREFIX + holding.taken.standings[0].claim.key) == 1
        await limiter.settle(holding, Spent(tokens=10))
        (standing,) = (await limiter.take([Claim(limit, 0, 0, "2026-11-26")])).taken.standings
        assert standing.used == 10

    async def test_scripts_that_it_has_forgotten_are_told_it_again(self, shared, redis):
        limiter = shared()
        await limiter.take([REQUEST])
        redis.forget_scripts()
        assert (await limiter.take([REQUEST])).taken.is_granted
        redis.forget_scripts()
        assert limiter.take_now([REQUEST]).taken.is_granted
        assert limiter.state == "ok"


async def test_an_address_that_is_none_is_a_redis_that_is_away():
    limiter = Limiter(shared=SharedStore("nonsense", seconds=0.3), when_down=WhenDown.REFUSE)
    with pytest.raises(Uncounted):
        await limiter.take([REQUEST])
    with pytest.raises(Uncounted):
        await asyncio.to_thread(limiter.take_now, [REQUEST])


@pytest.mark.slow
@pytest.mark.served
def test_an_installation_with_four_workers_lets_in_as_many_as_the_limit_says(redis):
    with ScriptedServer([ScriptedModel(name="llama3.2:3b")]) as server:
        server.default_reply = Reply(content="Hi.")
        environment = {"OLLAMA_BASE_URL": server.url, "REDIS_URL": redis.url, "QUEUE_LIMIT": "500"}
        served = Served(new_data_dir(), "--port", "0", "--workers", str(PROCESSES), environment=environment).start()
        try:
            key = served.manage("create_api_key", "crowd", "--rpm", "60").splitlines()[-1]
            time.sleep(2)  # by then every worker knows the key
            statuses = asyncio.run(_ask(served.url, key))
        finally:
            served.stop()
    assert {status: statuses.count(status) for status in set(statuses)} == {200: 60, 429: 140}


async def _ask(url, key):
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    limits = httpx.Limits(max_connections=PROCESSES * EACH)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as client:
        answers = await asyncio.gather(
            *(client.post("/v1/chat/completions", json=body) for _ in range(PROCESSES * EACH))
        )
    return [answer.status_code for answer in answers]
