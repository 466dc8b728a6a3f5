"""How answers were grounded, kept to be looked up: written in batches, off the path of the answers."""

import asyncio
import contextlib
import datetime as dt
import logging
import threading
import time
from collections import deque
from itertools import islice
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DataError, Error, transaction
from django.utils import timezone

from knowledge.models import RetrievalTrace
from routing.journal import storable

logger = logging.getLogger("knowledge")

CAPACITY = 2_000
"""Traces that wait while the database is away; later ones are dropped."""
BATCH = 200
WRITE_SECONDS = 1.0
LAST_WRITE_SECONDS = 2.0
SWEEP_SECONDS = 3600.0
SWEEP_BATCH = 1_000


class Traces:
    """Traces that wait to be written; what does not fit or is refused is counted in ``dropped``."""

    def __init__(self) -> None:
        self._waiting: deque[RetrievalTrace] = deque()
        self._writing = threading.Lock()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, trace: RetrievalTrace) -> None:
        """Keep an unsaved trace until it is written."""
        if len(self._waiting) < CAPACITY:
            self._waiting.append(trace)
        else:
            self.dropped += 1

    def flush(self) -> int:
        """Write everything and return how many; raises django.db.Error, and keeps what was not written."""
        written = 0
        with self._writing:
            while batch := list(islice(self._waiting, BATCH)):
                written += self._write(batch)
                for _ in batch:
                    self._waiting.popleft()  # only here is anything taken out
        return written

    def _write(self, batch: list[RetrievalTrace]) -> int:
        try:
            with transaction.atomic():
                return len(RetrievalTrace.objects.bulk_create([storable(trace) for trace in batch]))
        except DataError:
            if len(batch) == 1:
                logger.exception("the database does not take a retrieval trace, which is dropped")
                self.dropped += 1
                return 0
            return sum(self._write([trace]) for trace in batch)


traces = Traces()


def traces_flush() -> int:
    """Write what was noted and return how many; raises django.db.Error."""
    return traces.flush()


def traces_sweep() -> int:
    """Delete some of the traces that are older than decisions are kept, and return how many."""
    days = settings.DECISION_RETENTION_DAYS
    if days <= 0:
        return 0
    before = timezone.now() - dt.timedelta(days=min(days, 36_500))
    old = RetrievalTrace.objects.filter(created_at__lt=before).order_by("created_at")
    with transaction.atomic():
        # Other processes sweep too; each takes what no other has.
        ids = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:SWEEP_BATCH])
        RetrievalTrace.objects.filter(pk__in=ids).delete()
    return len(ids)


async def write_traces() -> None:
    """Write what waits each second, for ever, and hourly delete what is too old; survives outages."""
    sweep_at = time.monotonic()
    failing = False
    try:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                if traces:
                    await _in_thread(traces_flush)
                if time.monotonic() >= sweep_at and await _in_thread(traces_sweep) < SWEEP_BATCH:
                    sweep_at = time.monotonic() + SWEEP_SECONDS
            except Exception as error:
                if not failing:
                    unexpected = not isinstance(error, Error | OSError)
                    logger.warning("cannot write retrieval traces, they wait error=%s", error, exc_info=unexpected)
                failing = True
            else:
                failing = False
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await _in_thread(traces_flush)
        raise


async def _in_thread(work: Any) -> int:
    return await database_sync_to_async(work, thread_sensitive=False)()  # type: ignore[no-any-return]
