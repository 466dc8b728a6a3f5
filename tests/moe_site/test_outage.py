"""PostgreSQL stopped under load: chats go on from memory, health says so, and no record is lost or written twice."""

import contextlib
import itertools
import threading
import time

import httpx
import psycopg
import pytest

from moe_site.embedded.postgres import EmbeddedPostgres
from tests.conftest import new_data_dir
from tests.scripted import Reply
from tests.serving import Served

pytestmark = pytest.mark.served

CLIENTS = 4
BEFORE_AND_AFTER = 1.5
"""Seconds of load before the database goes and after it is back."""


class Load:
    """Clients that chat without a pause, each second one streaming; ``failed`` is what did not come to its end."""

    def __init__(self, running):
        self._running = running
        self._numbers = itertools.count()
        self._ends = threading.Event()
        self.sent, self.failed = [], []

    def __enter__(self):
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _client(self):
        with self._running.http() as client:
            while not self._ends.is_set():
                number = next(self._numbers)
                name = f"load-{number}"
                body = {"model": "auto", "messages": [{"role": "user", "content": f"Hello {number}"}]}
                try:
                    answer = client.post(
                        "/v1/chat/completions", json=body | {"stream": number % 2 == 1}, headers={"X-Request-ID": name}
                    )
                    whole = answer.status_code == 200 and ("[DONE]" in answer.text or number % 2 == 0)
                except httpx.HTTPError as error:
                    whole, answer = False, error
                self.sent.append(name)
                if not whole:
                    self.failed.append((name, getattr(answer, "text", answer)))


@pytest.fixture
def installation(ollama):
    """An installation whose database is no child of its own, so that it can be stopped for as long as is wanted."""
    ollama.default_reply = Reply(content=["Hello", " there"], prompt_tokens=7, completion_tokens=2, delay=0.005)
    server = EmbeddedPostgres(new_data_dir())
    server.acquire()
    environment = {
        "DATABASE_URL": f"postgres://postgres@/moe?host={server.socket_dir}",
        "OLLAMA_BASE_URL": ollama.url,
        "INGESTION_CONCURRENCY": "0",
    }
    running = Served(new_data_dir(empty=True), environment=environment).start()
    yield running, server
    assert running.stop() == 0
    server.release()


def written(server):
    """Return the ids of the requests that are recorded, and the sums of their hours."""
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="moe") as connection:
        rows = connection.execute("SELECT request_id FROM gateway_usagerecord WHERE what = 'completion'").fetchall()
        sums = connection.execute(
            "SELECT coalesce(sum(requests), 0), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0)"
            " FROM gateway_usagehour"
            " WHERE what = 'completion'"
        ).fetchone()
        decisions = connection.execute("SELECT count(*) FROM routing_decisionrecord").fetchone()
    return [name for (name,) in rows], tuple(map(int, sums)), decisions[0]


def goes_on_without(installation, seconds):
    running, server = installation
    with Load(running) as load:
        time.sleep(BEFORE_AND_AFTER)
        server.release()
        gone, before = time.monotonic(), len(load.sent)
        health = httpx.get(f"{running.url}/health/ready", timeout=15)
        time.sleep(max(0.0, seconds - (time.monotonic() - gone)))
        meanwhile = len(load.sent) - before
        server.acquire()
        time.sleep(BEFORE_AND_AFTER)
    assert load.failed == []
    assert meanwhile > seconds * 5
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert "does not answer" in health.json()["dependencies"]["database"]
    until = time.monotonic() + 15
    # Requests and decisions have journals of their own, of which either may be the first.
    while min(len((found := written(server))[0]), found[2]) < len(load.sent) and time.monotonic() < until:
        time.sleep(0.25)
    names, sums, decisions = found
    assert sorted(names) == sorted(load.sent), running.output()[-4000:]
    assert sums == (len(names), 7 * len(names), 2 * len(names))
    assert decisions == len(names)
    with contextlib.suppress(httpx.HTTPError):
        assert httpx.get(f"{running.url}/health/ready", timeout=15).json()["dependencies"]["database"] == "ok"


def test_three_seconds_without_the_database(installation):
    goes_on_without(installation, 3)


@pytest.mark.slow
def test_half_a_minute_without_the_database(installation):
    goes_on_without(installation, 30)
