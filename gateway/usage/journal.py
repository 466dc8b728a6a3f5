"""Records of requests on their way to the database, with their sums by hour and when keys were used last."""

import datetime as dt
import threading
from collections.abc import Mapping, Sequence

from django.conf import settings
from django.db import connection
from django.utils import timezone

from gateway.auth import Caller
from gateway.limits.ledger import ledger
from gateway.models import UsageHour, UsageRecord
from gateway.usage.sums import sums_add
from routing.batches import Batches, rows_copy
from routing.sweeping import rows_sweep
from routing.writing import keep_writing

CAPACITY = 50_000
"""Records that wait while the database is away: minutes of a busy machine, and some 100 MB."""

# Keys deleted meanwhile are left out; the lock keeps the others until it is written. In the order of their ids, lest
# two processes wait for each other.
_USED = """
INSERT INTO gateway_keyuse AS known (key_id, last_used_at, last_address)
SELECT used.key_id, used.at, used.address
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS used (key_id, at, address)
JOIN gateway_apikey AS key ON key.id = used.key_id
ORDER BY used.key_id
FOR KEY SHARE OF key
ON CONFLICT (key_id) DO UPDATE SET
    last_used_at = EXCLUDED.last_used_at,
    last_address = EXCLUDED.last_address
WHERE known.last_used_at < EXCLUDED.last_used_at
"""


class UsageJournal(Batches[UsageRecord]):
    """Records that wait to be written. A batch and its sums are one transaction, so that each record counts once."""

    def __init__(self) -> None:
        super().__init__("records of usage", capacity=CAPACITY)
        self._used: dict[int, tuple[dt.datetime, str]] = {}
        self._using = threading.Lock()

    def __len__(self) -> int:
        return super().__len__() + len(self._used)

    def used(self, caller: Caller) -> None:
        """Note that a key is used, and from where."""
        if caller.key_id is not None:
            with self._using:
                self._used[caller.key_id] = timezone.now(), caller.address

    def flush(self) -> int:
        written = super().flush()
        self._write_used()
        return written

    def _insert(self, records: Sequence[UsageRecord]) -> None:
        rows_copy(records)
        sums_add(records)

    def _write(self, records: Sequence[UsageRecord]) -> None:
        with ledger.writing(records):
            super()._write(records)

    def _resolved(self) -> int:
        unsure = self._oldest(self._unsure)
        written = super()._resolved()
        if written:
            with ledger.writing(unsure):
                pass  # it was written when nobody was told
        return written

    def _is_written(self, record: UsageRecord) -> bool:
        same = UsageRecord.objects.filter(created_at=record.created_at, request_id=record.request_id)
        return same.filter(what=record.what, key_id=record.key_id).exists()

    def _write_used(self) -> None:
        with self._using:
            used, self._used = self._used, {}
        if not used:
            return
        try:
            _uses_write(used)
        except BaseException:
            with self._using:
                self._used = used | self._used
            raise


def _uses_write(used: Mapping[int, tuple[dt.datetime, str]]) -> None:
    times, addresses = zip(*used.values(), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_USED, [list(used), list(times), list(addresses)])


usage = UsageJournal()


def usage_flush() -> int:
    """Write what was noted and return how many records; raises django.db.Error, and keeps what was not written."""
    return usage.flush()


def usage_sweep() -> int:
    """Delete some of the records and sums that are older than they are kept, and return how many."""
    sums = rows_sweep(UsageHour, days=settings.USAGE_SUMS_RETENTION_DAYS, column="hour")
    return max(sums, rows_sweep(UsageRecord, days=settings.USAGE_RETENTION_DAYS))


async def write_usage() -> None:
    """Write what waits each second, for ever, and hourly delete what is too old; survives outages."""
    await keep_writing(
        "records of usage", waiting=lambda: len(usage), flush=lambda: usage_flush(), sweep=lambda: usage_sweep()
    )
