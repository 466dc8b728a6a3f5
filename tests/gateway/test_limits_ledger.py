"""What was spent of days and months outlives processes, and counts once."""

import asyncio
import datetime as dt
import time
from decimal import Decimal

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from gateway.limits import entry as entries
from gateway.limits import ledger as ledgers
from gateway.limits.claims import Spent
from gateway.limits.demand import Demand
from gateway.limits.entry import entry_of
from gateway.limits.ledger import Ledger
from gateway.limits.limiter import shared_limiter
from gateway.limits.refusals import QuotaSpent
from gateway.models import ApiKey, KeyGroup, UsageHour, UsageRecord

pytestmark = pytest.mark.django_db(transaction=True)

NOW = dt.datetime(2026, 11, 26, 12, 30, tzinfo=dt.UTC)
DAY, MONTH = "2026-11-26", "2026-11"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    class Clock:
        now = NOW

    monkeypatch.setattr(ledgers.timezone, "now", lambda: Clock.now)
    return Clock


@pytest.fixture
def key():
    row, _ = ApiKey.objects.issue(name="one", group="sales")
    ApiKey.objects.filter(pk=row.pk).update(tokens_per_day=1000)
    KeyGroup.objects.create(name="sales", cost_per_month=10)
    row.refresh_from_db()
    return row


def hour(key, at, tokens, cost="0", **fields):
    UsageHour.objects.create(
        hour=at.replace(minute=0),
        key_id=key.pk,
        group="sales",
        what="completion",
        prompt_tokens=tokens - 1,
        completion_tokens=1,
        cost=Decimal(cost),
        **fields,
    )


def record(key, tokens, at=NOW, cost="0"):
    return UsageRecord(
        created_at=at, key_id=key.pk, group="sales", prompt_tokens=tokens, completion_tokens=0, cost=Decimal(cost)
    )


def read():
    ledger = Ledger()
    ledger.read()
    return ledger


class TestSums:
    def test_are_those_of_the_day_and_the_month_by_key_and_group(self, key):
        other, _ = ApiKey.objects.issue(name="two", group="sales")
        hour(key, NOW, 100, "0.5")
        hour(key, NOW, 20, asked="auto")
        hour(key, dt.datetime(2026, 11, 26, 0, 0, tzinfo=dt.UTC), 3)
        hour(key, dt.datetime(2026, 11, 25, 23, 0, tzinfo=dt.UTC), 1000, "2.25")
        hour(key, dt.datetime(2026, 10, 31, 23, 0, tzinfo=dt.UTC), 50_000, "70")
        hour(other, NOW, 7, "0.00000001")
        ledger = read()
        assert ledger.known(f"key:{key.pk}", DAY, "tokens") == 123
        assert ledger.known(f"key:{key.pk}", MONTH, "tokens") == 1123
        assert ledger.known("group:sales", DAY, "tokens") == 130
        assert ledger.known("group:sales", MONTH, "cost") == 275_000_001

    def test_what_is_written_later_to_an_earlier_day_is_found_too(self, key):
        ledger = read()
        late = record(key, 9, NOW - dt.timedelta(days=1))
        ledger.spend([f"key:{key.pk}"], late.created_at, Spent(tokens=9))
        ledger.settled([f"key:{key.pk}"], late.created_at, Spent(tokens=9))
        with ledger.writing([late]):
            hour(key, late.created_at, 9)
        ledger.read()
        assert ledger.known(f"key:{key.pk}", MONTH, "tokens") == 9

    def test_cost_no_query_where_nobody_has_a_budget(self):
        ApiKey.objects.issue(name="free")
        read()
        with CaptureQueriesContext(connection) as queries:
            read()
        assert len(queries) == 0

    def test_a_new_day_begins_at_nothing_and_the_month_goes_on(self, key, clock):
        hour(key, NOW, 100)
        ledger = read()
        clock.now = NOW + dt.timedelta(days=1)
        ledger.read()
        assert ledger.known(f"key:{key.pk}", "2026-11-27", "tokens") == 0
        assert ledger.known(f"key:{key.pk}", MONTH, "tokens") == 100


class TestSpending:
    def spent(self, ledger, key, tokens, *, settled=True):
        subjects = [f"key:{key.pk}", "group:sales"]
        ledger.spend(subjects, NOW, Spent(tokens=tokens))
        if settled:
            ledger.settled(subjects, NOW, Spent(tokens=tokens))

    def test_counts_once_before_and_after_it_is_written_and_read(self, key):
        ledger = read()
        seen = []

        def look():
            seen.append(ledger.known(f"key:{key.pk}", DAY, "tokens"))

        self.spent(ledger, key, 40)
        look()
        with ledger.writing([record(key, 40)]):
            hour(key, NOW, 40)
            look()
        look()
        ledger.read()
        look()
        assert seen == [40, 40, 40, 40]

    def test_that_could_not_be_written_goes_on_counting(self, key):
        ledger = read()
        self.spent(ledger, key, 40)
        with pytest.raises(OperationalError), ledger.writing([record(key, 40)]):
            raise OperationalError("away")
        ledger.read()
        assert ledger.known(f"key:{key.pk}", DAY, "tokens") == 40

    def test_that_its_store_still_holds_is_not_counted_beside_it(self, key):
        ledger = read()
        self.spent(ledger, key, 40, settled=False)
        assert ledger.known(f"key:{key.pk}", DAY, "tokens") == 0
        ledger.settled([f"key:{key.pk}"], NOW, Spent(tokens=40))
        assert ledger.known(f"key:{key.pk}", DAY, "tokens") == 40

    def test_records_of_before_there_was_a_budget_take_nothing_from_later_ones(self, key):
        ledger = read()
        self.spent(ledger, key, 40)
        with ledger.writing([record(key, 1000)]):
            hour(key, NOW, 1000)
        assert ledger.known(f"key:{key.pk}", DAY, "tokens") == 40
        with ledger.writing([record(key, 40)]):
            hour(key, NOW, 40, asked="other")
        ledger.read()
        assert ledger.known(f"key:{key.pk}", DAY, "tokens") == 1040


class TestAfterARestart:
    def demand(self, tokens):
        return Demand(tokens=tokens, least=tokens)

    async def enter(self, key, tokens):
        entry = entry_of([key.policy])
        await entry.come_in()
        return await entry.reserve(self.demand(tokens), NOW)

    def test_what_was_spent_before_still_counts(self, key, monkeypatch):
        hour(key, NOW, 900)

        async def run():
            shared_limiter.cache_clear()
            monkeypatch.setattr(entries, "ledger", Ledger())
            reservation = await self.enter(key, 100)
            with pytest.raises(QuotaSpent, match="renewed at 2026-11-27 00:00 UTC"):
                await self.enter(key, 1)
            reservation.settle(Spent(tokens=60))
            await self.enter(key, 40)
            with pytest.raises(QuotaSpent, match="spent its budget for today: 1,000 of 1,000 tokens"):
                await self.enter(key, 1)

        asyncio.run(run())

    def test_what_came_before_midnight_is_of_the_day_before_wherever_it_counts(self, key, monkeypatch, clock):
        ledger = read()
        clock.now = came = dt.datetime(2026, 11, 30, 23, 59, 59, tzinfo=dt.UTC)

        async def run():
            shared_limiter.cache_clear()
            monkeypatch.setattr(entries, "ledger", ledger)
            entry = entry_of([key.policy])
            await entry.come_in()
            clock.now += dt.timedelta(seconds=2)  # a search, and a follow-up put into words
            reservation = await entry.reserve(self.demand(1000), came)
            reservation.settle(Spent(tokens=1000))
            reservation = await entry_of([key.policy]).reserve(self.demand(1000), clock.now)
            reservation.settle(Spent())

        asyncio.run(run())
        with ledger.writing([record(key, 1000, came)]):
            hour(key, came, 1000)
        ledger.read()
        assert ledger.known(f"key:{key.pk}", "2026-12-01", "tokens") == 0
        assert ledger.known("group:sales", "2026-12", "tokens") == 0

    def test_without_the_database_budgets_begin_at_nothing(self, key, monkeypatch):
        ledger = Ledger()

        def away(self, also):
            raise OperationalError("away")

        async def run():
            shared_limiter.cache_clear()
            monkeypatch.setattr(entries, "ledger", ledger)
            monkeypatch.setattr(Ledger, "read", away)
            await self.enter(key, 1000)
            monkeypatch.setattr(Ledger, "read", None)  # nobody asks again before the next regular time
            with pytest.raises(QuotaSpent):
                await self.enter(key, 1)

        asyncio.run(run())

    def test_a_database_that_is_away_is_waited_for_once_by_all_who_come_meanwhile(self, monkeypatch):
        ledger, asked = Ledger(), []

        def away(self, also):
            asked.append(also)
            time.sleep(0.1)
            raise OperationalError("away")

        async def run():
            await asyncio.gather(*(ledger.know(frozenset({"key:1"})) for _ in range(5)))

        monkeypatch.setattr(Ledger, "read", away)
        asyncio.run(run())
        assert len(asked) == 1
