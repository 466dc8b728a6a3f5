"""Rows in memory follow the database, whoever changed it."""

import asyncio
import contextlib
import time

import psycopg
import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError, connection, connections

from gateway.auth import keys
from gateway.models import ApiKey
from routing.catalog import catalog
from routing.live import LiveSnapshot, follow_changes, is_following
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


async def test_a_database_that_cannot_be_started_yet_is_followed_when_it_is_there(monkeypatch):
    """The embedded one is started with the first connection, and says in Django's error that it could not be."""
    kind, refusals = type(connections["default"]), ["it recovers"]
    usual = kind.get_connection_params

    def not_yet(self):
        if refusals:
            raise OperationalError(refusals.pop())
        return usual(self)

    monkeypatch.setattr(kind, "get_connection_params", not_yet)
    task = asyncio.create_task(follow_changes())
    try:
        assert await visible(lambda: not refusals and is_following())
        row, _ = await database_sync_to_async(ApiKey.objects.issue)(name="x")
        assert await visible(lambda: row.digest in (keys.peek() or ()))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_change_whose_reading_was_broken_off_is_read_again(caplog):
    row, _ = await database_sync_to_async(ApiKey.objects.issue)(name="x")
    async with following(), await connected() as changing, await connected() as other:
        assert await visible(lambda: row.digest in keys.get())
        async with changing.transaction():
            await changing.execute("LOCK TABLE gateway_apikey")
            # Its own notice comes first, and is all that there is of it.
            await changing.execute("SET LOCAL session_replication_role = replica")
            await changing.execute("UPDATE gateway_apikey SET revoked_at = now() WHERE id = %s", [row.pk])
            await other.execute("SELECT pg_notify('moe_changed', 'gateway_apikey')")
            assert await broken_off(other)
        assert await visible(lambda: row.digest not in keys.get())
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []


async def broken_off(other, seconds=20.0):
    """Cancel what waits for the keys' table, as soon as something does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        cancelled = await other.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'gateway_apikey'::regclass"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        if await cancelled.fetchone():
            return True
        await asyncio.sleep(0.01)
    return False


async def connected():
    """Return a connection of its own to the tests' database."""
    options = await database_sync_to_async(lambda: connection.get_connection_params())()
    address = {name: options[name] for name in ("host", "port", "user", "password", "dbname") if name in options}
    return await psycopg.AsyncConnection.connect(**address, autocommit=True)


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
