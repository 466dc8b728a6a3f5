"""Vectors of texts that were embedded before, by model and text: one cache for all rooms that embed.

Memory comes first and costs microseconds. The table behind it is shared by all processes and outlives them, and is
asked only where that is clearly quicker than embedding: for models on model servers, and for documents. Of a text its
SHA-256 is kept, never the text. /v1/embeddings goes past all this: its usage is what a server counted.
"""

import asyncio
import datetime as dt
import hashlib
import logging
import sys
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error, connection
from django.utils import timezone

from routing.models import CachedVector
from routing.sweeping import SWEEP_BATCH, old_rows_delete, surplus_rows_delete
from routing.writing import keep_writing

logger = logging.getLogger("routing")

Vector = Sequence[float]
Key = tuple[str, bytes]

QUERY, PASSAGE = " query", " passage"
"""What follows the name of a model that embeds questions in another way than passages."""

REMEMBERED = 4_096
"""Vectors in memory; 384 numbers are 1.5 kB."""
WAITING = 5_000
"""Vectors that wait to be written; what comes beyond it is made again some day."""
BATCH = 500
LOOKUP_SECONDS = 0.25
REST_SECONDS = 5.0
"""How long the table is left alone when it did not answer."""
UNUSED_DAYS = 30
"""Vectors that were not used for so long are deleted: what they were of may have been deleted as well."""
USED_SECONDS = 3_600.0
"""When a vector was used last is written about so exactly."""
TOUCHED = 50_000
"""Vectors of which it is noted until then."""

_INSERT = """
INSERT INTO routing_cachedvector (model, digest, vector, used_at)
SELECT model, digest, vector, now() FROM unnest(%s::varchar[], %s::bytea[], %s::bytea[]) AS made (model, digest, vector)
ORDER BY model, digest
ON CONFLICT (model, digest) DO UPDATE SET vector = EXCLUDED.vector, used_at = EXCLUDED.used_at
"""
_TOUCH = """
UPDATE routing_cachedvector SET used_at = now() WHERE id IN (
    SELECT known.id FROM unnest(%s::varchar[], %s::bytea[]) AS used (model, digest)
    JOIN routing_cachedvector AS known USING (model, digest) ORDER BY known.id FOR UPDATE OF known SKIP LOCKED
)
"""


class VectorCache:
    """Vectors in memory and in the table; safe to share between threads. The figures count texts."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, bytes] = OrderedDict()
        self._waiting: dict[Key, bytes] = {}
        self._touched: dict[Key, float] = {}
        self._lock = threading.Lock()  # held for a few operations in memory
        self._writing = threading.Lock()  # held while the database is asked
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="vectors")
        self._rests_until = 0.0
        self.hits = 0
        self.misses = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    # --- memory -------------------------------------------------------------------------------------------------

    def get(self, model: str, text: str) -> list[float] | None:
        """Return the vector of ``text`` if it is in memory."""
        if not _entries():
            return None
        with self._lock:
            found = self._remembered(_key(model, text))
            self._count(found is not None)
        return None if found is None else _numbers(found)

    def set(self, model: str, text: str, vector: Vector, *, stored: bool) -> None:
        """Remember a vector, and with ``stored`` have it written to the table."""
        if not _entries():
            return
        key, packed = _key(model, text), _packed(vector)
        with self._lock:
            self._remember(key, packed)
            if stored and len(self._waiting) < WAITING:
                self._waiting[key] = packed
            elif stored:
                self.dropped += 1

    def clear(self) -> None:
        """Forget what is in memory and what waits."""
        with self._lock:
            self._known.clear()
            self._waiting.clear()
            self._touched.clear()

    def _remembered(self, key: Key) -> bytes | None:
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def _remember(self, key: Key, packed: bytes) -> None:
        self._known[key] = packed
        self._known.move_to_end(key)
        while len(self._known) > min(REMEMBERED, _entries()):
            self._known.popitem(last=False)

    def _count(self, hit: bool) -> None:
        self.hits += hit
        self.misses += not hit

    # --- the table ----------------------------------------------------------------------------------------------

    async def find(self, model: str, texts: Sequence[str]) -> dict[str, list[float]]:
        """Return the vectors that are known of ``texts``, by text; asks the table for those not in memory.

        Never fails: a database that is away or slow knows none.
        """
        if not _entries():
            return {}
        keys = {text: _key(model, text) for text in texts}
        with self._lock:
            found = {text: packed for text, key in keys.items() if (packed := self._remembered(key)) is not None}
        if missing := [key for text, key in keys.items() if text not in found]:
            stored = await self._stored(model, missing)
            found |= {text: stored[key] for text, key in keys.items() if key in stored}
        with self._lock:
            for text in keys:
                self._count(text in found)
        return {text: _numbers(packed) for text, packed in found.items()}

    async def _stored(self, model: str, keys: Sequence[Key]) -> Mapping[Key, bytes]:
        if time.monotonic() < self._rests_until:
            return {}
        look = database_sync_to_async(_look, thread_sensitive=False, executor=self._threads)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found: Mapping[Key, bytes] = await look(model, [digest for _, digest in keys])
        except (Error, OSError, TimeoutError) as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            logger.warning("vectors are embedded again error=%s", str(error) or type(error).__name__)
            return {}
        now = time.monotonic()
        with self._lock:
            for key, packed in found.items():
                self._remember(key, packed)
                if len(self._touched) < TOUCHED:
                    self._touched[key] = now
        return found

    def flush(self) -> int:
        """Write what waits and return how many vectors; raises django.db.Error, and keeps what was not written."""
        written = 0
        with self._writing:
            while batch := self._oldest():
                with connection.cursor() as cursor:
                    names, digests = _columns(batch)
                    cursor.execute(_INSERT, [names, digests, list(batch.values())])
                with self._lock:
                    for key, packed in batch.items():
                        if self._waiting.get(key) is packed:
                            del self._waiting[key]
                written += len(batch)
        return written

    def _oldest(self) -> dict[Key, bytes]:
        with self._lock:
            return dict(islice(self._waiting.items(), BATCH))

    def touch(self) -> None:
        """Write which vectors were used; raises django.db.Error."""
        with self._lock:
            used, self._touched = self._touched, {}
        if used:
            with connection.cursor() as cursor:
                cursor.execute(_TOUCH, list(_columns(used)))


vectors = VectorCache()


def vectors_sweep() -> int:
    """Note which vectors were used, delete some of those that were not or are too many; return how many."""
    vectors.touch()
    before = timezone.now() - dt.timedelta(days=UNUSED_DAYS)
    count = old_rows_delete(CachedVector.objects.filter(used_at__lt=before))
    if count < SWEEP_BATCH:
        count += surplus_rows_delete(CachedVector.objects.order_by("-used_at", "-pk"), kept=_entries())
    return count


async def write_vectors() -> None:
    """Write what waits each second, for ever, and sweep now and then; survives outages."""
    await keep_writing(
        "vectors of texts",
        waiting=lambda: len(vectors),
        flush=vectors.flush,
        sweep=vectors_sweep,
        every=USED_SECONDS,
    )


def _entries() -> int:
    entries: int = settings.EMBEDDING_CACHE_ENTRIES
    return max(0, entries)


def _look(model: str, digests: Sequence[bytes]) -> dict[Key, bytes]:
    rows = CachedVector.objects.filter(model=model, digest__in=digests).values_list("digest", "vector")
    return {(model, bytes(digest)): bytes(packed) for digest, packed in rows}


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[bytes]]:
    return [model for model, _ in keys], [digest for _, digest in keys]


def _key(model: str, text: str) -> Key:
    return model, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _packed(vector: Vector) -> bytes:
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _numbers(packed: bytes) -> list[float]:
    numbers = array("f", packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
