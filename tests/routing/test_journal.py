"""What is kept of decisions reaches the database, whatever happens to it, and nobody waits for it."""

import asyncio
import contextlib
import datetime as dt
import math
import threading
import time

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError, connection
from django.utils import timezone

from routing import journal as module
from routing import sweeping
from routing import writing as loop
from routing.journal import Journal, records_flush, records_sweep, write_journal
from routing.models import DecisionRecord, Expert, RoutingRule, RuleUse

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def journal(monkeypatch):
    fresh = Journal()
    monkeypatch.setattr(module, "journal", fresh)
    monkeypatch.setattr(loop, "WRITE_SECONDS", 0.05)
    return fresh


def record(number=1, **fields):
    values = {"created_at": timezone.now(), "asked": "auto", "expert": "code", "route": "rule"}
    return DecisionRecord(id=f"dec_{number}", **(values | fields))


def make_rule(name="r"):
    expert, _ = Expert.objects.get_or_create(slug="code", name="Code")
    return RoutingRule.objects.create(name=name, keywords=["x"], expert=expert)


@contextlib.asynccontextmanager
async def writing():
    task = asyncio.create_task(write_journal())
    try:
        await asyncio.sleep(0)  # it has begun
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def stored(count, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await asked(DecisionRecord.objects.count) == count:
            return True
        await asyncio.sleep(0.02)
    return False


async def asked(query):
    """Return what a query says; unlike Django's own async ones it gives its connection back."""
    return await database_sync_to_async(query)()


@database_sync_to_async
def sql(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


# Writing


async def test_what_is_noted_is_soon_in_the_database(journal):
    async with writing():
        journal.note(record(1, prompt="Hello", why={"sentence": "As a rule said."}, confidence=0.5))
        assert await stored(1)
    row = await asked(DecisionRecord.objects.get)
    assert (row.id, row.prompt, row.why, row.confidence) == ("dec_1", "Hello", {"sentence": "As a rule said."}, 0.5)
    assert len(journal) == 0


async def test_what_is_noted_last_is_written_when_the_process_ends(journal, monkeypatch):
    monkeypatch.setattr(loop, "WRITE_SECONDS", 60)
    rule = await asked(make_rule)
    async with writing() as task:
        journal.note(record())
        journal.rules_hit([rule.pk])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asked(DecisionRecord.objects.count) == 1
    assert (await asked(RuleUse.objects.get)).hits == 1


async def test_the_end_of_the_process_does_not_wait_long_for_the_database(journal, monkeypatch, caplog):
    gate = threading.Event()
    monkeypatch.setattr(module, "records_flush", lambda: gate.wait(10))
    monkeypatch.setattr(loop, "LAST_WRITE_SECONDS", 0.2)
    async with writing() as task:
        journal.note(record())
        task.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 8
    gate.set()
    assert "were lost" in caplog.text


async def test_an_outage_keeps_the_records_until_it_is_over(journal, caplog):
    rule = await asked(make_rule)
    await sql("ALTER TABLE routing_decisionrecord RENAME TO away")
    try:
        async with writing():
            journal.note(record(1))
            journal.rules_hit([rule.pk])
            await asyncio.sleep(0.3)
            journal.note(record(2))
            await asyncio.sleep(0.2)
            assert len(journal) == 3
            await sql("ALTER TABLE away RENAME TO routing_decisionrecord")
            assert await stored(2)
    finally:
        await sql("ALTER TABLE IF EXISTS away RENAME TO routing_decisionrecord")
    assert journal.dropped == 0
    assert caplog.text.count("cannot write decisions") == 1  # told once, not each second
    assert (await asked(RuleUse.objects.get)).hits == 1


async def test_a_lost_connection_does_not_lose_records(journal):
    async with writing():
        journal.note(record(1))
        assert await stored(1)
        await sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
        journal.note(record(2))
        assert await stored(2)


async def test_an_idle_journal_asks_the_database_nothing(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "records_flush", lambda: calls.append(1))
    async with writing() as task:
        await asyncio.sleep(0.2)
        assert not task.done()
        assert not calls


def test_many_are_written_in_batches(journal, django_assert_max_num_queries):
    for number in range(1200):
        journal.note(record(number))
    with django_assert_max_num_queries(12):
        assert records_flush() == 1200
    assert DecisionRecord.objects.count() == 1200


def test_the_same_record_twice_is_one(journal):
    journal.note(record())
    journal.note(record())
    records_flush()
    assert DecisionRecord.objects.count() == 1


# What cannot be stored


def test_what_clients_send_is_made_storable(journal):
    why = {"a\0": ["\ud800", math.nan, {"b": (1, True, None)}], "c": {3}, "d": timezone}
    journal.note(record(1, prompt="nul \0 half \ud800 whole 😀", asked="x" * 1000, why=why))
    assert records_flush() == 1
    row = DecisionRecord.objects.get()
    assert row.prompt == "nul � half ? whole 😀"
    assert len(row.asked) == 300
    assert row.why["a�"] == ["?", None, {"b": [1, True, None]}]
    assert row.why["c"] == [3]


def test_one_that_cannot_be_stored_does_not_take_the_others_with_it(journal, caplog):
    for number in range(10):
        journal.note(record(number))
    journal.note(record(10, created_at=None))
    journal.note(record(11, milliseconds="slow"))
    journal.note(record(12))
    assert records_flush() == 11
    assert (DecisionRecord.objects.count(), journal.dropped) == (11, 2)
    assert caplog.text.count("decisions are not kept") == 1


# Bounds


def test_what_does_not_fit_is_counted_and_told_once_a_minute(journal, monkeypatch, caplog):
    monkeypatch.setattr(journal, "capacity", 3)
    for number in range(8):
        journal.note(record(number))
    assert (len(journal), journal.dropped) == (3, 5)
    assert caplog.text.count("decisions are not kept") == 1
    records_flush()
    journal.note(record(9))
    records_flush()
    assert sorted(DecisionRecord.objects.values_list("id", flat=True)) == ["dec_0", "dec_1", "dec_2", "dec_9"]


def test_long_prompts_do_not_fill_the_memory(journal, monkeypatch):
    monkeypatch.setattr(journal, "characters", 1000)
    for number in range(3):
        journal.note(record(number, prompt="x" * 400), characters=400)
    assert (len(journal), journal.dropped) == (2, 1)
    records_flush()
    journal.note(record(3, prompt="x" * 900), characters=900)
    assert journal.dropped == 1


def test_noting_does_not_wait_while_the_database_is_written(journal, monkeypatch):
    inside, gate = threading.Event(), threading.Event()

    def slow(*_args, **_kwargs):
        inside.set()
        gate.wait(30)
        raise OperationalError("gone")

    monkeypatch.setattr(journal, "_write", slow)
    journal.note(record())

    def flush():
        with pytest.raises(OperationalError):
            records_flush()

    thread = threading.Thread(target=flush)
    thread.start()
    inside.wait(20)
    start = time.perf_counter()
    journal.note(record(2))
    journal.rules_hit([1])
    assert time.perf_counter() - start < 10
    gate.set()
    thread.join()
    assert len(journal) == 3


# Rules


def test_hits_are_added_up(journal):
    rules = [make_rule("a"), make_rule("b")]
    before = timezone.now()
    for _ in range(3):
        journal.rules_hit([rules[0].pk])
    journal.rules_hit(rule.pk for rule in rules)
    records_flush()
    journal.rules_hit([rules[1].pk])
    records_flush()
    assert list(RuleUse.objects.order_by("rule").values_list("hits", flat=True)) == [4, 2]
    assert all(before - dt.timedelta(seconds=1) <= use.last_hit_at <= timezone.now() for use in RuleUse.objects.all())


def test_a_rule_that_is_gone_is_left_out(journal):
    rule = make_rule()
    journal.rules_hit([rule.pk, 999_999_999])
    records_flush()
    assert RuleUse.objects.get().rule == rule
    assert len(journal) == 0


def test_hits_that_could_not_be_written_are_added_to_later_ones(journal, monkeypatch):
    rule = make_rule()
    statement = module._ADD_HITS
    monkeypatch.setattr(module, "_ADD_HITS", "SELECT 1/0, %s, %s, %s")
    journal.rules_hit([rule.pk])
    with pytest.raises(Exception, match="division by zero"):
        records_flush()
    monkeypatch.setattr(module, "_ADD_HITS", statement)
    journal.rules_hit([rule.pk])
    records_flush()
    assert RuleUse.objects.get().hits == 2


# Retention


def aged(*days):
    now = timezone.now()
    rows = [record(number, created_at=now - dt.timedelta(days=day)) for number, day in enumerate(days)]
    DecisionRecord.objects.bulk_create(rows)


def test_what_is_older_than_it_is_kept_is_deleted_in_small_batches(settings, monkeypatch):
    settings.DECISION_RETENTION_DAYS = 7
    monkeypatch.setattr(sweeping, "SWEEP_BATCH", 2)
    aged(0, 6.9, 7.1, 30, 400)
    assert [records_sweep(), records_sweep(), records_sweep()] == [2, 1, 0]
    assert DecisionRecord.objects.count() == 2


@pytest.mark.parametrize(("days", "left"), [(0, 2), (10_000_000, 2), (1, 1)])
def test_nought_keeps_for_ever(settings, days, left):
    settings.DECISION_RETENTION_DAYS = days
    aged(0, 4000)
    records_sweep()
    assert DecisionRecord.objects.count() == left


async def test_the_background_deletes_what_is_old(settings, monkeypatch):
    settings.DECISION_RETENTION_DAYS = 7
    for each in (sweeping, loop):
        monkeypatch.setattr(each, "SWEEP_BATCH", 1)
    await database_sync_to_async(aged)(0, 8, 9, 10)
    async with writing():
        assert await stored(1)
