"""Collections and files that are kept for a time: when a collection was used last, and the end of what has expired.

What has expired is not found any more from that moment on (knowledge/scope.py); its contents are deleted by a sweep.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connection

from knowledge.documents import document_delete
from knowledge.models import Collection, Document, StoredFile
from knowledge.storedfiles import file_delete
from routing.sweeping import SWEEP_BATCH
from routing.writing import keep_writing

logger = logging.getLogger("knowledge")

NOTED_SECONDS = 60.0
"""How often at most it is written that a collection is in use."""
SWEEP_SECONDS = 60.0
SWEPT_SECONDS = 2.0
"""How long one sweep goes on deleting; the next one follows at once."""
SWEEP_LOCK = (0x4D4F4549, -1)  # of the numbers our processes agree on, one that no embedding model has


class Activity:
    """Collections that were used since it was written last; each is noted once a minute."""

    def __init__(self) -> None:
        self._noted: dict[int, float] = {}
        self._waiting: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, collections: Iterable[int]) -> None:
        now = time.monotonic()
        with self._lock:
            for collection_id in collections:
                if now - self._noted.get(collection_id, -NOTED_SECONDS) >= NOTED_SECONDS:
                    self._noted[collection_id] = now
                    self._waiting.add(collection_id)

    def flush(self) -> int:
        """Write when they were used and return of how many; raises django.db.Error, and keeps what was not written."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        try:
            return _write(waiting) if waiting else 0
        except BaseException:
            with self._lock:
                self._waiting |= waiting
            raise


def _write(collections: set[int]) -> int:
    with connection.cursor() as cursor:
        # Rows in one order, as other processes write theirs at the same time.
        cursor.execute(
            """
            UPDATE knowledge_collection SET last_active_at = now() WHERE id IN (
              SELECT id FROM knowledge_collection WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
            )
            """,
            [sorted(collections)],
        )
        return int(cursor.rowcount)


activity = Activity()


def expired_sweep() -> int:
    """Delete some of what has expired and return how much, SWEEP_BATCH where there is more.

    A collection stays as it is, without its documents; a file goes with all that was made of it.
    """
    with _only_here() as is_mine:
        if not is_mine:
            return 0
        ends, deleted = time.monotonic() + SWEPT_SECONDS, 0
        for document in Document.objects.filter(collection__in=Collection.objects.expired()).iterator():
            document_delete(document=document)
            deleted += 1
            if time.monotonic() > ends:
                return SWEEP_BATCH
        for file in StoredFile.objects.expired().iterator():
            file_delete(file=file)
            deleted += 1
            if time.monotonic() > ends:
                return SWEEP_BATCH
    if deleted:
        logger.info("deleted what had expired documents_and_files=%d", deleted)
    return deleted


@contextmanager
def _only_here() -> Iterator[bool]:
    """Tell whether no other process sweeps, and keep them from it meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", SWEEP_LOCK)
        (is_mine,) = cursor.fetchone()
        try:
            yield is_mine
        finally:
            if is_mine:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", SWEEP_LOCK)


async def keep_expiring() -> None:
    """Write each second which collections are in use, and delete each minute what has expired, for ever."""
    await keep_writing(
        "which collections are in use",
        waiting=lambda: len(activity),
        flush=lambda: activity.flush(),
        sweep=expired_sweep,
        every=SWEEP_SECONDS,
    )
