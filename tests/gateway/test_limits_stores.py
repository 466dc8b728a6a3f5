"""Counting: both stores by the same rules, to the edges of the minute."""

import asyncio
import datetime as dt
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.limits.claims import GRAIN_MS, NEVER, Claim, Limit, Spent, period_of, renewed
from gateway.limits.local import LocalStore
from gateway.limits.shared import SharedStore
from tests.gateway.redisserver import RedisServer

MINUTE = 60_000
START = 1_800_000_000_000


@dataclass
class Clock:
    now: int = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@dataclass
class Both:
    """The two stores on one clock; what they answer must be the same."""

    clock: Clock
    local: LocalStore
    shared: SharedStore
    held: dict = field(default_factory=dict)

    def take(self, *claims, lease="a"):
        here, there = self.local.take(claims, lease), self.shared.take_now(claims, lease)
        assert here == there
        if here.is_granted:
            self.held[lease] = tuple(one for one in here.standings if one.is_returnable)
        return here

    def settle(self, lease="a", spent=None):
        held = self.held.pop(lease)
        self.local.settle(held, lease, spent)
        self.shared.settle_now(held, lease, spent)

    def close(self):
        asyncio.run(self.shared.aclose())


@pytest.fixture
def both(redis):
    redis.clear()
    clock = Clock()
    pair = Both(clock, LocalStore(clock), SharedStore(redis.url, seconds=5, clock=clock))
    yield pair
    pair.close()


def claim(name, most, amount=1, *, least=None, subject="key:1", period="", known=0):
    return Claim(Limit(subject, name, most), amount, amount if least is None else least, period, known)


class TestMinutes:
    def test_the_limit_and_not_one_more(self, both):
        made = [both.take(claim("requests_per_minute", 60)).is_granted for _ in range(61)]
        assert made == [True] * 60 + [False]

    def test_no_minute_has_more_wherever_it_begins(self, both):
        granted = []
        for _ in range(1500):
            if both.take(claim("requests_per_minute", 7)).is_granted:
                granted.append(both.clock.now)
            both.clock.now += 97
        assert len(granted) > 14
        for first in granted:
            assert sum(first <= at < first + MINUTE for at in granted) <= 7

    def test_it_comes_back_a_minute_after_its_grain_and_the_wait_says_when(self, both):
        both.clock.now = START + 100
        both.take(claim("requests_per_minute", 1))
        both.clock.now += 1
        (refused,) = both.take(claim("requests_per_minute", 1)).standings
        assert refused.granted is None
        assert MINUTE <= refused.wait + 1 <= MINUTE + GRAIN_MS
        both.clock.now += refused.wait - 1
        assert not both.take(claim("requests_per_minute", 1)).is_granted
        both.clock.now += 1
        assert both.take(claim("requests_per_minute", 1)).is_granted

    def test_the_wait_is_for_as_much_as_is_asked(self, both):
        both.take(claim("tokens_per_minute", 100, 60))
        both.clock.now += 10_000
        both.take(claim("tokens_per_minute", 100, 40))
        waits = {amount: both.take(claim("tokens_per_minute", 100, amount)).standings[0].wait for amount in (50, 70)}
        assert waits[70] - waits[50] == 10_000

    def test_reset_is_when_everything_is_free(self, both):
        both.take(claim("tokens_per_minute", 100, 60))
        (standing,) = both.take(claim("tokens_per_minute", 100, 0)).standings
        assert (standing.remaining, standing.reset) == (40, MINUTE + GRAIN_MS)
        both.clock.now += standing.reset
        (standing,) = both.take(claim("tokens_per_minute", 100, 0)).standings
        assert (standing.remaining, standing.reset) == (100, 0)

    def test_what_can_never_fit_is_told_so(self, both):
        assert both.take(claim("tokens_per_minute", 100, 101)).standings[0].wait == NEVER

    def test_what_was_not_spent_comes_back_and_what_was_more_is_taken(self, both):
        both.take(claim("tokens_per_minute", 100, 90), lease="a")
        both.settle("a", Spent(tokens=20))
        assert both.take(claim("tokens_per_minute", 100, 0)).standings[0].used == 20
        both.take(claim("tokens_per_minute", 100, 10), lease="b")
        both.settle("b", Spent(tokens=150))
        assert both.take(claim("tokens_per_minute", 100, 0)).standings[0].used == 170
        assert not both.take(claim("tokens_per_minute", 100, 1)).is_granted

    def test_what_is_settled_after_its_minute_frees_nothing_twice(self, both):
        both.take(claim("tokens_per_minute", 100, 90), lease="a")
        both.clock.now += MINUTE + GRAIN_MS
        both.take(claim("tokens_per_minute", 100, 50), lease="b")
        both.settle("a", None)
        assert both.take(claim("tokens_per_minute", 100, 0)).standings[0].used == 50


class TestAllOrNothing:
    def test_where_one_refuses_nothing_is_taken(self, both):
        claims = [claim("requests_per_minute", 5), claim("requests_per_minute", 2, subject="group:a")]
        assert [both.take(*claims).is_granted for _ in range(4)] == [True, True, False, False]
        assert both.take(claim("requests_per_minute", 5, 0)).standings[0].used == 2


class TestSeats:
    def test_as_many_as_there_are_until_one_is_given_back(self, both):
        taken = [both.take(claim("concurrent_requests", 2), lease=lease).is_granted for lease in "abc"]
        assert taken == [True, True, False]
        both.settle("a")
        assert both.take(claim("concurrent_requests", 2), lease="d").is_granted

    def test_the_seats_of_a_process_that_is_gone_are_free_after_a_while(self, both):
        both.shared.take_now([claim("concurrent_requests", 1)], "a")
        both.clock.now += 29_999
        assert not both.shared.take_now([claim("concurrent_requests", 1)], "b").is_granted
        both.clock.now += 1
        assert both.shared.take_now([claim("concurrent_requests", 1)], "b").is_granted

    async def test_those_of_one_that_lives_are_kept(self, both):
        try:
            await both.shared.take([claim("concurrent_requests", 1)], "a")
            for _ in range(5):
                both.clock.now += 20_000
                await both.shared.renew()
            assert not (await both.shared.take([claim("concurrent_requests", 1)], "b")).is_granted
        finally:
            await both.shared.aclose()

    async def test_redis_is_told_again_what_it_has_lost(self, both, redis):
        budget = claim("tokens_per_day", 100, 60, period="2026-11-26")
        try:
            taken = await both.shared.take([claim("concurrent_requests", 1), budget], "a")
            redis.clear()
            await both.shared.renew()
            (seats, spent) = (await both.shared.take([claim("concurrent_requests", 1), budget], "b")).standings
            assert (seats.granted, spent.granted, spent.used) == (None, None, 60)
            await both.shared.settle(taken.standings, "a", Spent(tokens=5))
            assert (await both.shared.take([claim("concurrent_requests", 1), budget], "b")).standings[1].used == 65
        finally:
            await both.shared.aclose()


class TestBudgets:
    def day(self, most, amount, **more):
        return claim("tokens_per_day", most, amount, period="2026-11-26", **more)

    def test_what_runs_and_what_was_spent_count_together(self, both):
        both.take(self.day(100, 60), lease="a")
        assert not both.take(self.day(100, 60), lease="b").is_granted
        both.settle("a", Spent(tokens=30))
        assert both.take(self.day(100, 60), lease="b").standings[0].used == 90

    def test_less_is_granted_where_less_will_do(self, both):
        both.take(self.day(100, 60), lease="a")
        (standing,) = both.take(self.day(100, 60, least=10), lease="b").standings
        assert (standing.granted, standing.used) == (40, 100)

    def test_what_is_known_to_be_spent_counts_at_once(self, both):
        assert not both.take(self.day(100, 1, known=100)).is_granted
        assert not both.take(self.day(100, 1)).is_granted

    def test_each_day_has_its_own(self, both):
        both.take(self.day(100, 100))
        assert both.take(claim("tokens_per_day", 100, 100, period="2026-11-27"), lease="b").is_granted

    def test_of_the_largest_costs_not_a_hundred_millionth_is_lost(self, both):
        most = 9_000_000_000_000_000
        cost = claim("cost_per_month", most, most - 1, period="2026-11", known=1)
        assert both.take(cost).is_granted
        assert not both.take(claim("cost_per_month", most, 1, period="2026-11"), lease="b").is_granted
        both.settle("a", Spent(cost=most - 2))
        assert both.take(claim("cost_per_month", most, 1, period="2026-11"), lease="b").is_granted
        assert not both.take(claim("cost_per_month", most, 1, period="2026-11"), lease="c").is_granted


@pytest.mark.parametrize(
    ("at", "day", "month"),
    [
        ((2026, 11, 30, 23, 59, 59), (2026, 12, 1), (2026, 12, 1)),
        ((2024, 2, 28, 0, 0, 0), (2024, 2, 29), (2024, 3, 1)),
        ((2026, 12, 31, 12, 0, 0), (2027, 1, 1), (2027, 1, 1)),
    ],
)
def test_days_and_months_end_where_the_calendar_says(at, day, month):
    now = dt.datetime(*at, tzinfo=dt.UTC)
    of_day, of_month = Limit("key:1", "cost_per_day", 1).rule, Limit("key:1", "tokens_per_month", 1).rule
    assert renewed(of_day, now) == dt.datetime(*day, tzinfo=dt.UTC)
    assert renewed(of_month, now) == dt.datetime(*month, tzinfo=dt.UTC)
    assert (period_of(of_day, now), period_of(of_month, now)) == (f"{now:%Y-%m-%d}", f"{now:%Y-%m}")


NAMES = st.sampled_from(["requests_per_minute", "tokens_per_minute", "concurrent_requests", "tokens_per_day"])
CLAIMS = st.lists(
    st.builds(
        lambda name, subject, amount, slack, known: claim(
            name,
            {"requests_per_minute": 6, "tokens_per_minute": 50, "concurrent_requests": 3, "tokens_per_day": 90}[name],
            min(amount, 1) if name in ("requests_per_minute", "concurrent_requests") else amount,
            least=max(0, amount - slack) if name == "tokens_per_day" else None,
            subject=subject,
            period="2026-11-26" if name == "tokens_per_day" else "",
            known=known if name == "tokens_per_day" else 0,
        ),
        NAMES,
        st.sampled_from(["key:1", "group:a"]),
        st.integers(0, 55),
        st.integers(0, 20),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.key,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), CLAIMS),
        st.tuples(st.just("settle"), st.integers(0, 5), st.none() | st.integers(0, 80)),
        st.tuples(st.just("pass"), st.sampled_from([1, 249, 250, 4_000, 30_000, 60_001])),
    ),
    max_size=40,
)


async def renewed_by(shared):
    """Do for what runs what its process does all the time."""
    await shared.renew()
    await shared.aclose()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_both_stores_count_alike_whatever_happens(redis, steps):
    redis.clear()
    clock = Clock()
    both = Both(clock, LocalStore(clock), SharedStore(redis.url, seconds=5, clock=clock))
    try:
        for number, (what, *rest) in enumerate(steps):
            if what == "take":
                both.take(*rest[0], lease=str(number))
            elif what == "pass":
                clock.now += rest[0]
                asyncio.run(renewed_by(both.shared))
            elif both.held:
                lease = sorted(both.held)[rest[0] % len(both.held)]
                both.settle(lease, None if rest[1] is None else Spent(tokens=rest[1]))
    finally:
        both.close()
