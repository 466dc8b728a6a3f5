import functools
import gc
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from pytest_django import DjangoDbBlocker

from gateway import health
from gateway.caching.writing import writing as answers
from gateway.limits.limiter import shared_limiter
from gateway.usage.journal import usage
from gateway.usage.texts import texts
from knowledge.tracing import traces
from routing import metering
from routing.journal import journal as decisions
from routing.live import LiveSnapshot
from routing.vectorcache import vectors
from tests.environment import DATA_DIR
from tests.scripted import ScriptedModel, ScriptedServer
from tests.serving import ROOT, Served, opened

_numbers = itertools.count(1)

# How long this process waits for what it can do without: a look in a table, Redis, a search, a model's rewording.
WAITS = (
    "gateway.caching.answers.LOOKUP_SECONDS",
    "gateway.caching.inredis.ANSWER_SECONDS",
    "gateway.condensing.CONDENSE_SECONDS",
    "gateway.health.DATABASE_SECONDS",
    "gateway.library.SEARCH_SECONDS",
    "gateway.limits.limiter.ANSWER_SECONDS",
    "gateway.native.PROBE_SECONDS",
    "gateway.responses.stored.SECONDS",
    "knowledge.reranking.SECONDS",
    "routing.classifying.EMBEDDING_SECONDS",
    "routing.mixture.agreement.EMBEDDING_SECONDS",
    "routing.pool.COUNT_SECONDS",
    "routing.residency.PROBE_SECONDS",
    "routing.vectorcache.LOOKUP_SECONDS",
    "routing.writing.LAST_WRITE_SECONDS",
)

# The same examples each time, and none refused for what the machine is busy with.
hypothesis.settings.register_profile(
    "suite", derandomize=True, database=None, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.sharing import ByFile

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Have garbage looked for among what tests leave, and not again and again among eight thousand of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # as the product's workers do, see moe_site/worker.py
        gc.enable()


def new_data_dir(*, empty: bool = False) -> Path:
    """Return a folder for an installation of a test's own, with a database that is migrated or with nothing.

    A migrated one is a copy, which saves each installation the seconds that its first start takes.
    """
    folder = DATA_DIR / f"installation-{next(_numbers)}"
    if not empty:
        (folder / "postgres").mkdir(parents=True)
        # By cp, which keeps the owner: the database of a run as root has an account of its own.
        subprocess.run(["cp", "-a", _migrated_cluster(), folder / "postgres"], check=True)
    return folder


@functools.cache
def _migrated_cluster() -> Path:
    data_dir = DATA_DIR / "migrated"
    environment = os.environ | {"MOE_DATA_DIR": str(data_dir)}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=environment, check=True)
    return data_dir / "postgres" / "cluster"


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """Hash passwords at once: what makes a real hash slow to guess costs each test with a login a fifth of a second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """Wait for it as long as it takes: a busy machine is no reason to go on without, and to answer otherwise.

    What happens where the wait is over is the matter of tests that set a short one for themselves.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in WAITS:
            patch.setattr(name, 60.0)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Give back, after each test with transactions of its own, the rows that migrations made.

    Django's own flush leaves every table empty, so that what a test finds depended on those before it. It is slower as
    well: of the tables most hold nothing, and TRUNCATE makes new files for each of them. Afterwards it makes content
    types and permissions anew, which took five times as long as all the rest, and are among the rows given back here.
    """
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        migrated = _set_aside(cursor)
        cursor.execute("ALTER SYSTEM SET fsync = off")  # nobody needs this database after a crash
        cursor.execute("SELECT pg_reload_conf()")

    def sql_flush(self: DatabaseOperations, style: Any, tables: Sequence[str], **options: bool) -> list[str]:
        names = [self.quote_name(table) for table in tables]
        statements = [
            # In this role the triggers of foreign keys rest, so that the tables' order does not matter.
            "SET LOCAL session_replication_role = replica",
            *(f"DELETE FROM {name}" for name in names),
            *(f"INSERT INTO {name} SELECT * FROM migrated.{name}" for name in names if name in migrated),
        ]
        return ["; ".join(statements)]  # one journey instead of a hundred

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_: None)
        yield


def _set_aside(cursor: Any) -> set[str]:
    """Copy every table with rows into a schema of its own, and return their quoted names."""
    names = map(connection.ops.quote_name, connection.introspection.django_table_names(only_existing=True))
    cursor.execute("CREATE SCHEMA migrated")
    filled = set()
    for name in names:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {name})")
        if cursor.fetchone()[0]:
            cursor.execute(f"CREATE TABLE migrated.{name} AS TABLE {name}")
            filled.add(name)
    return filled


@pytest.fixture(autouse=True)
def _fresh_snapshots() -> None:
    """No test sees the rows another one had."""
    for snapshot in LiveSnapshot.registry:
        snapshot.forget()
    vectors.clear()


@pytest.fixture(autouse=True)
def _fresh_process() -> None:
    """No test finds what requests of another one left to be written, nor the limits that they were counted in."""
    for journal in (decisions, traces, usage, texts, answers):
        journal.__init__()  # type: ignore[misc]
    shared_limiter.cache_clear()
    health._latest = None


@pytest.fixture(autouse=True)
def _no_request() -> None:
    """No test runs inside a request that another one began in this thread."""
    metering._meter.set(None)


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """An installation of a machine with nothing else: embedded database, embedded language model."""
    running = Served(new_data_dir(empty=True), environment={"EMBEDDED_MODELS": "auto"}).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def _ollama() -> Iterator[ScriptedServer]:
    models = [
        ScriptedModel(name="llama3.2:3b", capabilities=("completion", "tools"), context_length=131072),
        ScriptedModel(name="qwen2.5-coder:7b", parameter_size="7B", capabilities=("completion", "tools", "insert")),
        ScriptedModel(name="deepseek-r1:8b", parameter_size="8B", capabilities=("completion", "thinking")),
        ScriptedModel(name="llava:7b", parameter_size="7B", capabilities=("completion", "vision")),
        ScriptedModel(name="nomic-embed-text:latest", parameter_size="137M", capabilities=("embedding",)),
    ]
    with ScriptedServer(models) as server:
        yield server


@pytest.fixture(scope="session")
def _served_ollama(_ollama: ScriptedServer) -> Iterator[Served]:
    environment = {
        "OLLAMA_BASE_URL": _ollama.url,
        "STREAM_HEARTBEAT_SECONDS": "0.3",
        "UPSTREAM_FIRST_BYTE_TIMEOUT": "8",
        "UPSTREAM_IDLE_TIMEOUT": "5",
        # Each fault is met once and for itself; retries and breakers have tests of their own (tests/routing).
        "UPSTREAM_MAX_RETRIES": "0",
        "CIRCUIT_BREAKER_THRESHOLD": "1000",
    }
    running = Served(new_data_dir(), environment=environment).start()
    yield running
    running.stop()


@pytest.fixture
def ollama(_ollama: ScriptedServer) -> ScriptedServer:
    """A scripted Ollama server, without the traces of earlier tests."""
    _ollama.clear()
    return _ollama


@pytest.fixture
def served_ollama(_served_ollama: Served, ollama: ScriptedServer) -> Served:
    """An installation whose one model server is ``ollama``; its time limits are short."""
    return _served_ollama
