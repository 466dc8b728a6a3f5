"""The text in which Prometheus is told every room's figures, and what is read for it rather than counted."""

import asyncio
import functools
import logging
import platform
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import metrics
from gateway.caching.inredis import shared_answers
from gateway.caching.writing import writing
from gateway.limits.limiter import shared_limiter
from gateway.usage.journal import usage
from gateway.usage.texts import texts
from knowledge.metrics import jobs_count
from knowledge.tracing import traces
from routing import live
from routing import metrics as pool
from routing.breaker import State
from routing.journal import journal
from routing.metrics import REGISTRY, shared_folder
from routing.pool import pool_state
from routing.vectorcache import vectors

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
JOBS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class JournalState:
    """How many records wait to be written, and how many were dropped since the process began."""

    name: str
    waiting: int
    dropped: int


def journals() -> Iterator[JournalState]:
    """Yield the state of each of this process's journals."""
    yield JournalState("decisions", len(journal), journal.dropped)
    yield JournalState("retrievals", len(traces), traces.dropped)
    yield JournalState("usage", len(usage), usage.dropped)
    yield JournalState("texts", len(texts), texts.dropped)
    yield JournalState("answers", len(writing), writing.dropped)
    yield JournalState("vectors", len(vectors), vectors.dropped)


def redis_states() -> Iterator[tuple[str, str]]:
    """Yield what this process uses Redis for, and how Redis is for that: "ok", or what is wrong and done about it."""
    if (counted := shared_limiter().state) is not None:
        yield "limits", counted
    if (shared := shared_answers()) and (kept := shared.state) is not None:
        yield "answers", kept


class Sums:
    """Takes what others count for themselves into counters: what it grew by since it was last told."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], int] = {}

    def take(self, counter: Counter, labels: tuple[str, ...], total: int) -> None:
        counter.labels(*labels).inc(max(0, total - self._told.get(labels, 0)))
        self._told[labels] = total


_sums = Sums()
_refreshing = threading.Lock()


def refresh(kind: str = "web") -> None:
    """Set what is read and not counted, for a process of this kind."""
    with _refreshing:  # whoever is asked for the text does so in a thread
        _refresh(kind)


def _refresh(kind: str) -> None:
    for lane in pool_state():
        place = lane["server"], lane["model"]
        pool.lane_in_flight.labels(*place).set(lane["in_flight"])
        pool.lane_waiting.labels(*place).set(lane["waiting"])
        pool.lane_first_token.labels(*place).set(lane["first_token_seconds"])
        pool.lane_speed.labels(*place).set(lane["tokens_per_second"])
        for state in State:
            pool.lane_breaker.labels(*place, state.value).set(lane["breaker"] == state)
    for one in journals():
        metrics.records_waiting.labels(one.name).set(one.waiting)
        _sums.take(metrics.records_dropped, (one.name,), one.dropped)
    _sums.take(metrics.cache, ("embedding", "hit"), vectors.hits)
    _sums.take(metrics.cache, ("embedding", "miss"), vectors.misses)
    metrics.database_up.set(live.is_following())
    for use, redis in redis_states():
        metrics.redis_up.labels(use).set(redis == "ok")
    metrics.processes.labels(kind).set(1)
    metrics.build.labels(version(), platform.python_version()).set(1)


async def keep_fresh(kind: str) -> None:
    """Refresh each second, for ever, so that whichever process is asked for figures finds this one's."""
    jobs_at = 0.0
    clock = asyncio.get_running_loop().time
    while True:
        refresh(kind)
        if kind == "ingestion" and clock() >= jobs_at:
            jobs_at = clock() + JOBS_SECONDS
            try:
                await database_sync_to_async(jobs_count, thread_sensitive=False)()
            except (Error, OSError) as error:
                logger.debug("cannot count ingestion jobs error=%s", error)
        await asyncio.sleep(FRESH_SECONDS)


def text() -> bytes:
    """Return every figure, of all processes together, in Prometheus' text format."""
    disable_created_metrics()  # when a series began is of no use to anybody, and doubles their number
    refresh()
    registry, folder = REGISTRY, shared_folder()
    if folder is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(folder))
    return generate_latest(registry)


@functools.cache
def version() -> str:
    """Return this project's version."""
    try:
        with (settings.BASE_DIR / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "unknown"
