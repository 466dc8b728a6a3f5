"""Deleting rows that have had their time, some at a time and beside requests; of several processes none waits."""

import datetime as dt

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

SWEEP_BATCH = 1_000


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


def surplus_rows_delete(rows: "models.QuerySet[models.Model]", *, kept: int) -> int:
    """Delete some of the rows after the first ``kept`` of their order, SWEEP_BATCH at most, and return how many."""
    # Found first and locked afterwards: with OFFSET, PostgreSQL locks those that stay as well.
    ids = list(rows.values_list("pk", flat=True)[kept : kept + SWEEP_BATCH])
    return old_rows_delete(rows.model._default_manager.filter(pk__in=ids))
