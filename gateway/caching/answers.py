"""The answers there are: in this process's memory, then in Redis or the database.

What cannot be reached is left out, and left alone for a while; nothing here fails a request, or keeps it waiting for
longer than LOOKUP_SECONDS at each place.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error
from django.utils import timezone

from gateway.caching import table
from gateway.caching.digests import Asked
from gateway.caching.flights import Flights, Found
from gateway.caching.inredis import shared_answers
from gateway.caching.kept import Kept
from gateway.caching.likeness import difference
from gateway.caching.memory import Memory
from gateway.caching.purging import Purges, forgets, purges
from gateway.caching.questions import EMBEDDER
from gateway.caching.writing import Writing, writing
from gateway.models import CachedAnswer
from gateway.redisclient import RedisDown

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOKUP_SECONDS = 0.25
REST_SECONDS = 5.0


class Away(Exception):
    """What is behind the memory does not answer."""


class Answers:
    """The answers as one process sees them; in any event loop."""

    def __init__(self, waiting: Writing) -> None:
        self._memory = Memory()
        self._writing = waiting
        self._flights: dict[asyncio.AbstractEventLoop, Flights] = {}
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="answers")
        self._rests_until = 0.0

    @property
    def flights(self) -> Flights:
        """The requests of the running event loop that others may wait for."""
        loop = asyncio.get_running_loop()
        if loop not in self._flights:
            for gone in [other for other in self._flights if other.is_closed()]:
                del self._flights[gone]
            self._flights[loop] = Flights()
        return self._flights[loop]

    async def known(self) -> Purges:
        """Return what was taken back; raises Away."""
        if (found := purges.peek()) is not None:
            return found
        return await self._in_table(purges.reload)

    def remembered(self, digest: str, known: Purges) -> Kept | None:
        """Return the answer to this very request if it is in memory."""
        kept = self._memory.get(digest)
        return kept if kept and _is_valid(kept, known) else None

    async def stored(self, digest: str, known: Purges) -> Kept | None:
        """Return the answer to this very request from Redis or the table; raises Away."""
        kept = await self._found(digest)
        if kept is None or not _is_valid(kept, known):
            return None
        self._memory.set(kept, most=settings.RESPONSE_CACHE_ENTRIES)
        return kept

    async def similar(self, asked: Asked, vector: Sequence[float], threshold: float, known: Purges) -> Found | None:
        """Return the answer to a question that asks the same in the same context; raises Away."""
        near = await self._in_table(lambda: table.nearest(asked.context, vector, EMBEDDER, threshold=threshold))
        for one in near:
            if _is_valid(one.kept, known) and not difference(asked.question, one.question):
                return Found(kept=one.kept, similarity=one.similarity)
        return None

    def keep(self, kept: Kept, row: CachedAnswer) -> None:
        """Remember an answer, and have it written as ``row``."""
        self._memory.set(kept, most=settings.RESPONSE_CACHE_ENTRIES)
        if settings.RESPONSE_CACHE_ENTRIES > 0:
            self._writing.note(row, kept)

    def count(self, kept: Kept) -> None:
        self._writing.hit(kept.digest)

    def forget(self, covers: Callable[[Kept], bool]) -> None:
        self._memory.forget(covers)

    async def _found(self, digest: str) -> Kept | None:
        shared = shared_answers()
        if shared and not shared.is_lost:
            with contextlib.suppress(RedisDown, TimeoutError):  # the database has it too
                return await self._in_time(lambda: shared.find(digest))
        return await self._in_table(lambda: table.find(digest))

    async def _in_table(self, ask: Callable[[], Result]) -> Result:
        """Return what ``ask`` finds in the database, in time; raises Away."""
        if time.monotonic() < self._rests_until:
            raise Away
        try:
            return await self._in_time(ask)
        except (Error, OSError, TimeoutError) as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            logger.warning(
                "answers are not looked up in the database for %ss error=%s",
                REST_SECONDS,
                str(error) or type(error).__name__,
            )
            raise Away from error

    async def _in_time(self, ask: Callable[[], Result]) -> Result:
        look = database_sync_to_async(ask, thread_sensitive=False, executor=self._threads)
        async with asyncio.timeout(LOOKUP_SECONDS):
            found: Result = await look()
            return found


def _is_valid(kept: Kept, known: Purges) -> bool:
    return kept.expires > timezone.now().timestamp() and not known.cover(kept)


answers = Answers(writing)
forgets(answers.forget)
