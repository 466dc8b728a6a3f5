"""Whether the endpoint can answer, and what of its surroundings cannot."""

import asyncio
import shutil
import time
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection

from gateway.exposition import journals, redis_states
from knowledge.rescue import jobs_unattended
from routing.backends.protocol import ServerAddress
from routing.catalog import catalog
from routing.pool import shared_pool

DATABASE_SECONDS = 2.0
MOST_WAITING = 1_000
MB = 1024**2
LEAST_FREE = 200 * MB
"""Bytes on the data directory's disk, where the embedded database is: an import or its log takes them in a moment."""
REUSED_SECONDS = 2.0  # so that no caller can make us ask model servers more often than that


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``ready`` decides the status; ``dependencies`` maps each one's name to "ok" or the reason it is not."""

    ready: bool
    dependencies: dict[str, str]

    @property
    def state(self) -> str:
        if not self.ready:
            return "unavailable"
        return "ok" if all(reason == "ok" for reason in self.dependencies.values()) else "degraded"


_latest: tuple[float, Health] | None = None


async def health() -> Health:
    """Return the state of every dependency, at most two seconds old."""
    global _latest
    if _latest and time.monotonic() - _latest[0] < REUSED_SECONDS:
        return _latest[1]
    result = await _examine()
    _latest = (time.monotonic(), result)
    return result


async def _examine() -> Health:
    told = await _of_the_database()
    try:
        known = await catalog.aget()
    except DatabaseError:
        return Health(ready=False, dependencies=told | _redis())
    servers: dict[str, ServerAddress] = {}
    for expert in (*known.experts.values(), *known.models.values()):
        servers |= {replica.server.name: replica.server for replica in expert.replicas}
    answers = await asyncio.gather(*(shared_pool().answers(server) for server in servers.values()))
    states = {
        f"model server {name}": "ok" if answer else "does not answer"
        for name, answer in zip(servers, answers, strict=True)
    }
    if not servers:
        states["model servers"] = "none has an expert or a model; add one in admin"
    # Chat goes on from memory while the database is away; without a model server it cannot.
    return Health(ready=any(answers), dependencies=told | _redis() | states | _backlog())


def _redis() -> dict[str, str]:
    return {f"redis for {use}": state for use, state in redis_states()}


async def _of_the_database() -> dict[str, str]:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            return await database_sync_to_async(_stored, thread_sensitive=False)()  # type: ignore[no-any-return]
    except TimeoutError:  # its pool goes on waiting for a connection, and whoever asks for our health does not
        return {"database": f"does not answer within {DATABASE_SECONDS:g} s"}


def _stored() -> dict[str, str]:
    return _database() | _disk()


def _disk() -> dict[str, str]:
    """Return what to do about a disk that is nearly full, or nothing."""
    try:
        free = shutil.disk_usage(settings.MOE_DATA_DIR).free
    except OSError as error:
        return {"disk": f"the data directory cannot be looked at ({error.strerror}); see MOE_DATA_DIR"}
    if free >= LEAST_FREE:
        return {}
    return {"disk": f"{free // MB} MB are free; make room where MOE_DATA_DIR is, or nothing more can be stored"}


def _database() -> dict[str, str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        unattended = jobs_unattended()
    except DatabaseError as error:
        return {"database": f"does not answer ({type(error).__name__})"}
    if unattended:
        return {"database": "ok", "ingestion": f"{unattended} jobs wait and no worker runs; see INGESTION_CONCURRENCY"}
    return {"database": "ok"}


def _backlog() -> dict[str, str]:
    """Return the journals of this process that are not written as fast as they fill."""
    return {
        f"records of {journal.name}": f"{journal.waiting:,} wait to be written"
        for journal in journals()
        if journal.waiting > MOST_WAITING
    }
