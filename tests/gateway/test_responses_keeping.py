"""What a client is told of whether its response is kept, and what is kept: the same, however slow the database is."""

import asyncio
import contextlib
import json
import threading

import pytest
from django.db import connection, transaction

from gateway.auth import Caller, keys
from gateway.models import ApiKey, Exchange, key_digest
from gateway.responses import stored
from gateway.responses.doors import Responses
from routing.pool import close_shared_pool
from tests.gateway.test_caching import Desk, in_thread
from tests.gateway.test_caching import _server as _server
from tests.gateway.test_caching import server as server
from tests.gateway.test_http import Connection

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "sk-moe-keeper"
TABLE = Exchange._meta.db_table
SLOW = f"""
CREATE FUNCTION slow_commit() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END' LANGUAGE plpgsql;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON {TABLE} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow_commit();
"""


@pytest.fixture
async def ask(server, monkeypatch, settings):
    """Ask with a key whose texts are kept, and return the response as the client has it in the end."""
    settings.STREAM_HEARTBEAT_SECONDS = 0
    row = await in_thread(ApiKey.objects.create, name="keeper", prefix="sk-moe-k", digest=key_digest(TEXT))
    Desk(server, monkeypatch)
    caller = Caller(key_id=row.pk, name="keeper", prefix="sk-moe-k", keeps_texts="key")
    monkeypatch.setattr(keys, "_value", {key_digest(TEXT): caller})

    async def asked(*, stream=False, opened=None):
        opened = opened or Connection(json.dumps({"model": "general", "input": "Hi", "stream": stream}).encode())
        opened.scope["headers"] += [(b"host", b"localhost"), (b"authorization", f"Bearer {TEXT}".encode())]
        await opened.run(Responses)
        if not opened.sent:
            return None
        if not stream:
            return json.loads(opened.body)
        (*_, last) = (line for line in opened.body.decode().splitlines() if line.startswith("data: "))
        return json.loads(last.removeprefix("data: "))["response"]

    yield asked
    await close_shared_pool()


@contextlib.contextmanager
def locked():
    """Let nobody write responses; when it ends, those who waited to have done so, or given up."""
    holding, let_go = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            lock()
            holding.set()
            let_go.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(60)
    try:
        yield
    finally:
        let_go.set()
        thread.join()


def lock():
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")


def is_waited_for():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [TABLE])
        return cursor.fetchone()[0] > 0


def kept():
    """Return the ids that are kept, once everybody who wanted to write before has written or given up."""
    with transaction.atomic():
        lock()  # behind them in the queue
        return set(Exchange.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_that_is_told_to_be_kept_is(ask, stream):
    response = await ask(stream=stream)
    assert response["store"] is True
    assert await in_thread(kept) == {response["id"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_could_not_be_written_in_time_never_is(ask, monkeypatch, stream):
    monkeypatch.setattr(stored, "SECONDS", 0.3)
    with locked():
        response = await ask(stream=stream)
    assert response["store"] is False
    assert await in_thread(kept) == set()


async def test_one_whose_client_leaves_while_it_is_written_never_is(ask):
    with locked():
        opened = Connection(json.dumps({"model": "general", "input": "Hi"}).encode())
        asking = asyncio.create_task(ask(opened=opened))
        for _ in range(3_000):
            if await in_thread(is_waited_for):
                break
            await asyncio.sleep(0.02)
        opened.leave()
        assert await asking is None
    assert await in_thread(kept) == set()


async def test_one_that_is_all_but_committed_in_time_is(ask, monkeypatch):
    monkeypatch.setattr(stored, "SECONDS", 1.0)
    await in_thread(execute, SLOW)
    try:
        response = await ask()
    finally:
        await in_thread(execute, f"DROP TRIGGER slow_commit ON {TABLE}; DROP FUNCTION slow_commit")
    assert response["store"] is True
    assert await in_thread(kept) == {response["id"]}


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
