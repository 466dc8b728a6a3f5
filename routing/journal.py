"""What is kept of decisions and of rules that fitted, written in batches off the hot path."""

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error, connection, models, transaction
from django.utils import timezone

from routing.batches import Batches, rows_copy, storable
from routing.models import DecisionRecord, Feedback

logger = logging.getLogger("routing")

CAPACITY = 10_000
CAPACITY_CHARACTERS = 50_000_000
"""What the kept prompts may hold together: long ones must not fill the memory while the database is away."""
WRITE_SECONDS = 1.0
LAST_WRITE_SECONDS = 2.0
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


class Journal(Batches[DecisionRecord]):
    """Records and rule hits that wait to be written; those who note them never wait."""

    def __init__(self) -> None:
        super().__init__("decisions", capacity=CAPACITY, characters=CAPACITY_CHARACTERS)
        self._hits: dict[int, tuple[int, float]] = {}

    def __len__(self) -> int:
        return super().__len__() + len(self._hits)

    def rules_hit(self, rule_ids: Iterable[int]) -> None:
        """Count a hit for each of these rules."""
        now = time.time()
        with self._lock:
            for rule_id in rule_ids:
                self._hits[rule_id] = (self._hits.get(rule_id, (0, 0.0))[0] + 1, now)

    def flush(self) -> int:
        """Write everything and return how many records; raises django.db.Error, and keeps what was not written."""
        written = super().flush()
        self._write_hits()
        return written

    def _insert(self, records: Sequence[DecisionRecord]) -> None:
        if len(records) > 1:
            rows_copy(records)
        else:  # the one that a whole batch failed of: it may be there already
            DecisionRecord.objects.bulk_create([storable(one) for one in records], ignore_conflicts=True)

    def _is_written(self, record: DecisionRecord) -> bool:
        return DecisionRecord.objects.filter(pk=record.pk).exists()

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


def rows_sweep(kind: type[models.Model], *, days: int | None = None, column: str = "created_at") -> int:
    """Delete some of the rows of ``kind`` whose ``column`` is more than ``days`` ago, and return how many.

    None: as long ago as decisions are kept; 0 keeps them for ever.
    """
    before = kept_since(settings.DECISION_RETENTION_DAYS if days is None else days)
    return 0 if before is None else old_rows_delete(kind._default_manager.filter(**{f"{column}__lt": before}))


def kept_since(days: int) -> dt.datetime | None:
    """Return from when on things are kept that are kept for so many days; None: for ever."""
    return timezone.now() - dt.timedelta(days=min(days, 36_500)) if days > 0 else None


def old_rows_delete(old: "models.QuerySet[models.Model]", *, most: int | None = None) -> int:
    """Delete some of the rows (SWEEP_BATCH at most, or ``most``), in no order, and return how many."""
    with transaction.atomic():
        # Other processes sweep too; each takes what no other has.
        ids = list(
            old.order_by().select_for_update(skip_locked=True).values_list("pk", flat=True)[: most or SWEEP_BATCH]
        )
        old.model._default_manager.filter(pk__in=ids).delete()
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
