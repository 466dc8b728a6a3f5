"""Rows an answer needs, kept in memory as one immutable value and replaced as a whole when they change.

The database says so: triggers on the tables (see the migrations) notify every process, whoever made
the change and by whatever way. So the hot path asks no database, and goes on while it restarts.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import psycopg
from channels.db import database_sync_to_async
from django.db import Error, connection, models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

logger = logging.getLogger(__name__)

CHANNEL = "moe_changed"
RECONNECT_SECONDS = (0.2, 0.5, 1.0)
QUIET_SECONDS = 15.0
"""Without a notice for so long, it is looked whether the connection still is one."""
AGAIN_SECONDS = 1.0
"""Until what could not be read is read again."""
T = TypeVar("T")
_is_following = False


class LiveSnapshot(Generic[T]):
    """The value ``load()`` gives, loaded on first use and again after each change in ``models``."""

    registry: list["LiveSnapshot[Any]"] = []

    def __init__(self, load: Callable[[], T], *, name: str) -> None:
        self._load = load
        self._value: T | None = None
        self._lock = threading.Lock()
        self.name = name
        self.tables: frozenset[str] = frozenset()
        self.registry.append(self)

    def watch(self, watched: Iterable[type[models.Model]]) -> None:
        """Reload after changes in these models' tables; called once, from an app's ready()."""
        watched = tuple(watched)
        self.tables = frozenset(model._meta.db_table for model in watched)
        for model in watched:
            for signal in (post_save, post_delete, m2m_changed):
                signal.connect(self._after_commit, sender=model, dispatch_uid=f"{self.name}:{model.__name__}")

    def peek(self) -> T | None:
        """Return the current value, or None: it was not loaded yet. Asks nobody."""
        return self._value

    def get(self) -> T:
        """Return the current value; asks the database only the first time. Not for coroutines."""
        value = self._value
        return value if value is not None else self.reload()

    async def aget(self) -> T:
        """Return the current value; asks the database (in a thread) only the first time."""
        value = self._value
        return value if value is not None else await self.areload()

    def reload(self) -> T:
        with self._lock:  # one at a time, so that an older reading never replaces a newer one
            self._value = value = self._load()
        return value

    async def areload(self) -> T:
        return await database_sync_to_async(self.reload, thread_sensitive=False)()  # type: ignore[no-any-return]

    def forget(self) -> None:
        self._value = None

    def _after_commit(self, **_: Any) -> None:
        # In the process that made the change, the next request already sees it.
        if self._value is not None:
            transaction.on_commit(self.reload, robust=True)


def is_following() -> bool:
    """Tell whether this process hears of changes: it has its connection to the database."""
    return _is_following


async def follow_changes() -> None:
    """Reload snapshots as the database notifies of changes, for ever; survives its restarts."""
    global _is_following
    attempt = 0
    while True:
        try:
            async with await _connect() as listener:
                await listener.execute(f"LISTEN {CHANNEL}")
                attempt = 0
                _is_following = True
                # Changes made while nobody listened, at start or during an outage, are caught up here.
                await _follow(listener, await _reload(LiveSnapshot.registry))
        except (Error, psycopg.Error, OSError) as error:  # Django's where the embedded one cannot be started
            _is_following = False
            delay = RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)]
            attempt += 1
            logger.warning("lost the database's change notices, trying again in=%ss error=%s", delay, error)
            await asyncio.sleep(delay)


async def _follow(listener: psycopg.AsyncConnection, stale: "frozenset[LiveSnapshot[Any]]") -> None:
    """Reload what notices name, and what is ``stale``, until the connection is lost."""
    while True:
        tables: set[str] = set()
        async for notice in listener.notifies(timeout=AGAIN_SECONDS if stale else QUIET_SECONDS, stop_after=1):
            tables.add(notice.payload)
        if tables:
            await asyncio.sleep(0.02)  # a form saves several rows at once
            async for notice in listener.notifies(timeout=0):
                tables.add(notice.payload)
        else:
            await listener.execute("SELECT 1")  # a connection that died in silence is found here
        changed = [one for one in LiveSnapshot.registry if one in stale or one.tables & tables]
        stale = await _reload(changed, known=stale)


async def _reload(
    snapshots: Iterable[LiveSnapshot[Any]], *, known: "frozenset[LiveSnapshot[Any]]" = frozenset()
) -> "frozenset[LiveSnapshot[Any]]":
    """Reload snapshots and return those to be reloaded again, as the database broke it off; ``known`` were it before.

    The value in memory stays valid; a row that cannot be read must not stop the service.
    """
    stale = set()
    for snapshot in snapshots:
        try:
            await snapshot.areload()
        except (Error, OSError) as error:
            stale.add(snapshot)
            if snapshot not in known:
                logger.warning(
                    "could not reload snapshot=%s, trying again; the one in memory goes on error=%s",
                    snapshot.name,
                    error,
                )
        except Exception:
            logger.exception("could not reload snapshot=%s; the one in memory goes on", snapshot.name)
    return frozenset(stale)


async def _connect() -> psycopg.AsyncConnection:
    params = await database_sync_to_async(lambda: connection.get_connection_params(), thread_sensitive=False)()
    wanted = {
        name: value
        for name, value in params.items()
        if name not in ("cursor_factory", "context", "prepare_threshold", "client_encoding")
    }
    keepalives = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    return await psycopg.AsyncConnection.connect(**(keepalives | wanted), autocommit=True)
