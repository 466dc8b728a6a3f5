"""Rows in memory follow the database, whoever changed it."""

import asyncio
import contextlib
import time

import pytest
from channels.db import database_sync_to_async
from django.db import connection

from gateway.auth import keys
from gateway.models import ApiKey
from routing.catalog import catalog
from routing.live import LiveSnapshot, follow_changes
from routing.models import Expert, RoutingRule

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.asynccontextmanager
async def following():
    task = asyncio.create_task(follow_changes())
    try:
        await catalog.aget()
        await asyncio.sleep(0.3)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def visible(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


@database_sync_to_async
def sql(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def make_expert(**fields):
    return Expert.objects.create(**({"slug": "code", "name": "Code"} | fields))


async def test_a_change_made_behind_djangos_back_is_seen():
    async with following():
        await database_sync_to_async(make_expert)()
        assert await visible(lambda: "code" in catalog.get().experts)
        await sql("UPDATE routing_expert SET system_prompt = 'Changed by hand.'")
        assert await visible(lambda: catalog.get().experts["code"].system_prompt == "Changed by hand.")
        await sql("TRUNCATE routing_expert CASCADE")
        assert await visible(lambda: not catalog.get().experts)


async def test_a_revoked_key_is_refused():
    async with following():
        row, _ = await database_sync_to_async(ApiKey.objects.issue)(name="x")
        assert await visible(lambda: row.digest in keys.get())
        await database_sync_to_async(ApiKey.objects.filter(pk=row.pk).update)(revoked_at="2026-01-01T00:00Z")
        assert await visible(lambda: row.digest not in keys.get())


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_caught_up():
    async with following():
        await sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        await database_sync_to_async(make_expert)()
        assert await visible(lambda: "code" in catalog.get().experts)


def test_every_table_that_is_kept_in_memory_tells_of_its_changes():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'moe_notify'")
        telling = {table for (table,) in cursor.fetchall()}
    watched = frozenset[str]().union(*(snapshot.tables for snapshot in LiveSnapshot.registry))
    assert watched
    assert watched <= telling


def test_in_the_process_that_saved_the_next_reading_is_new():
    expert = make_expert()
    assert catalog.get().rules == ()
    rule = RoutingRule.objects.create(name="r", keywords=["x"], expert=expert)
    assert [found.name for found in catalog.get().rules] == ["r"]
    rule.delete()
    assert catalog.get().rules == ()


def test_a_row_that_cannot_be_read_leaves_the_value_in_memory(monkeypatch):
    make_expert()
    before = catalog.get()
    monkeypatch.setattr(catalog, "_load", lambda: 1 / 0)
    Expert.objects.create(slug="math", name="Math")
    assert catalog.get() is before
