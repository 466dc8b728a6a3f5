"""What is kept of decisions and of rules that fitted, written in batches off the hot path."""

import asyncio
import contextlib
import datetime as dt
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import orjson
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DataError, Error, IntegrityError, connection, models, transaction
from django.utils import timezone

from routing.models import DecisionRecord, Feedback

logger = logging.getLogger("routing")

Record = TypeVar("Record", bound=models.Model)
CAPACITY = 10_000
CAPACITY_CHARACTERS = 50_000_000
"""What the kept prompts may hold together: long ones must not fill the memory while the database is away."""
BATCH = 500
WRITE_SECONDS = 1.0
LAST_WRITE_SECONDS = 2.0
WARN_SECONDS = 60.0
SWEEP_SECONDS = 3600.0
SWEEP_BATCH = 1_000

# Rules deleted meanwhile are left out; the lock keeps the others until the counts are in. In the order of their ids,
# lest two processes wait for each other.
_ADD_HITS = """
INSERT INTO routing_ruleuse AS use (rule_id, hits, last_hit_at)
SELECT hit.rule_id, hit.hits, to_timestamp(hit.at)
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[]) AS hit (rule_id, hits, at)
JOIN routing_routingrule AS rule ON rule.id = hit.rule_id
ORDER BY hit.rule_id
FOR KEY SHARE OF rule
ON CONFLICT (rule_id) DO UPDATE
SET hits = use.hits + EXCLUDED.hits, last_hit_at = GREATEST(use.last_hit_at, EXCLUDED.last_hit_at)
"""


class Journal:
    """Records and rule hits that wait to be written; those who note them never wait.

    What does not fit, or what the database refuses, is counted in ``dropped``.
    """

    def __init__(self) -> None:
        self._records: deque[tuple[DecisionRecord, int]] = deque()
        self._characters = 0
        self._hits: dict[int, tuple[int, float]] = {}
        self._lock = threading.Lock()  # held for a few operations in memory
        self._writing = threading.Lock()  # held while the database is asked
        self._warned_at = -math.inf
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._records) + len(self._hits)

    def note(self, record: DecisionRecord) -> None:
        """Keep an unsaved record until it is written."""
        size = len(record.prompt or "")
        with self._lock:
            fits = len(self._records) < CAPACITY and self._characters + size <= CAPACITY_CHARACTERS
            if fits:
                self._records.append((record, size))
                self._characters += size
        if not fits:
            self._drop("they come faster than the database takes them")

    def rules_hit(self, rule_ids: Iterable[int]) -> None:
        """Count a hit for each of these rules."""
        now = time.time()
        with self._lock:
            for rule_id in rule_ids:
                self._hits[rule_id] = (self._hits.get(rule_id, (0, 0.0))[0] + 1, now)

    def flush(self) -> int:
        """Write everything and return how many records; raises django.db.Error, and keeps what was not written."""
        written = 0
        with self._writing:
            while batch := self._oldest():
                written += self._write(batch)
                self._forget(len(batch))
            self._write_hits()
        return written

    def _oldest(self) -> list[DecisionRecord]:
        with self._lock:
            return [record for record, _ in islice(self._records, BATCH)]

    def _forget(self, count: int) -> None:
        # Only here is anything taken out, so they are the ones that were written.
        with self._lock:
            for _ in range(count):
                self._characters -= self._records.popleft()[1]

    def _write(self, records: Sequence[DecisionRecord]) -> int:
        """Insert ``records``, without those that the database refuses for what they hold; return how many."""
        try:
            with transaction.atomic():
                if len(records) > 1:
                    _copy(records)
                else:  # the one that a whole batch failed of: it may be there already
                    DecisionRecord.objects.bulk_create([storable(one) for one in records], ignore_conflicts=True)
        except Exception as error:
            if isinstance(error, Error | OSError) and not isinstance(error, DataError | IntegrityError):
                raise
            if len(records) == 1:
                self._drop(f"the database refuses one ({type(error).__name__})")
                return 0
            half = len(records) // 2
            return self._write(records[:half]) + self._write(records[half:])
        return len(records)

    def _write_hits(self) -> None:
        with self._lock:
            hits, self._hits = self._hits, {}
        if not hits:
            return
        try:
            with connection.cursor() as cursor:
                counts, times = zip(*hits.values(), strict=True)
                cursor.execute(_ADD_HITS, [list(hits), list(counts), list(times)])
        except BaseException:
            with self._lock:
                for rule_id, (count, at) in hits.items():
                    newer, newer_at = self._hits.get(rule_id, (0, 0.0))
                    self._hits[rule_id] = (count + newer, max(at, newer_at))
            raise

    def _drop(self, reason: str) -> None:
        with self._lock:
            self.dropped += 1
            now = time.monotonic()
            if now - self._warned_at < WARN_SECONDS:
                return
            self._warned_at = now
        logger.warning("decisions are not kept dropped=%d, as %s", self.dropped, reason)


journal = Journal()


def records_flush() -> int:
    """Write what was noted and return how many records; raises django.db.Error, and keeps what was not written."""
    return journal.flush()


def records_sweep() -> int:
    """Delete some of the records, and of what was said of them, that are older than they are kept; return how many.

    What somebody said of a decision may have its prompt, which is kept no longer than the decision's own.
    """
    return rows_sweep(DecisionRecord) + rows_sweep(Feedback)


async def write_journal() -> None:
    """Write what the journal holds each second, for ever, and hourly delete what is too old; survives outages."""
    await keep_writing(
        "decisions and rule hits",
        waiting=lambda: len(journal),
        flush=lambda: records_flush(),
        sweep=lambda: records_sweep(),
    )


# --- what is written beside requests, for this journal and others -----------------------------------------------


def rows_sweep(kind: type[models.Model]) -> int:
    """Delete some of the rows of ``kind`` that were created longer ago than decisions are kept; return how many."""
    days = settings.DECISION_RETENTION_DAYS
    if days <= 0:
        return 0
    before = timezone.now() - dt.timedelta(days=min(days, 36_500))
    rows = kind._default_manager
    old = rows.filter(created_at__lt=before).order_by("created_at")
    with transaction.atomic():
        # Other processes sweep too; each takes what no other has.
        ids = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:SWEEP_BATCH])
        rows.filter(pk__in=ids).delete()
    return len(ids)


async def keep_writing(
    what: str,
    *,
    waiting: Callable[[], int],
    flush: Callable[[], int],
    sweep: Callable[[], int],
    every: float = SWEEP_SECONDS,
) -> None:
    """Call ``flush`` each second while something waits, and ``sweep`` hourly or so often, for ever; survives outages.

    A sweep that returns SWEEP_BATCH has left something, and the next one follows at once; ``every`` is in seconds.
    Both run in threads; when cancelled, what waits is written if that is quick. ``what`` is what the log calls it.
    """
    sweep_at = time.monotonic()
    failing = False
    try:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                if waiting():
                    await _in_thread(flush)
                if time.monotonic() >= sweep_at and await _in_thread(sweep) < SWEEP_BATCH:
                    sweep_at = time.monotonic() + every
            except Exception as error:
                if not failing:
                    unexpected = not isinstance(error, Error | OSError)
                    logger.warning(
                        "cannot write %s, they wait and are tried again error=%s", what, error, exc_info=unexpected
                    )
                failing = True
            else:
                if failing:
                    logger.info("%s are written again", what)
                failing = False
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await _in_thread(flush)
        if count := waiting():
            logger.warning("%s were lost, as the database did not take them count=%d", what, count)
        raise


async def _in_thread(work: Callable[[], int]) -> int:
    return await database_sync_to_async(work, thread_sensitive=False)()  # type: ignore[no-any-return]


# --- what PostgreSQL takes --------------------------------------------------------------------------------------


def _copy(records: Sequence[DecisionRecord]) -> None:
    """Insert ``records`` by COPY, which costs a quarter of INSERT's time here."""
    columns = DecisionRecord._meta.concrete_fields
    names = ", ".join(connection.ops.quote_name(column.column or "") for column in columns)
    table = connection.ops.quote_name(DecisionRecord._meta.db_table)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for record in map(storable, records):
            copy.write_row([_column(column, getattr(record, column.attname)) for column in columns])


def _column(column: "models.Field[Any, Any]", value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(column, models.JSONField) else value


def storable(record: Record) -> Record:
    """Return ``record`` without what clients can send and PostgreSQL cannot store."""
    for column in record._meta.concrete_fields:
        value = getattr(record, column.attname)
        if isinstance(column, models.JSONField):
            setattr(record, column.attname, _plain(value))
        elif isinstance(value, str):
            setattr(record, column.attname, _text(value)[: column.max_length])
    return record


def _text(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # halves of surrogate pairs
    return text.replace("\0", "�")


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON that PostgreSQL takes: no null characters, no numbers that are none."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, dict):
        return {_text(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _text(str(value))
