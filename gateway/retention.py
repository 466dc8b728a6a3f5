"""What is kept for a time only, and how much of it has had its time.

The background of each process deletes the same, a little at a time; here it can be counted, and deleted at once.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from gateway.models import CachedAnswer, Exchange, UsageHour, UsageRecord
from knowledge.models import IngestionJob, JobState, RetrievalTrace
from routing.models import CachedVector, DecisionRecord, Feedback
from routing.sweeping import kept_since, old_rows_delete
from routing.vectorcache import UNUSED_DAYS

BATCH = 10_000
ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perishable:
    """Rows of a kind; ``old`` are those that have had their time."""

    name: str
    old: QuerySet[Any]

    def count(self) -> int:
        return self.old.count()

    def delete(self) -> int:
        """Delete all of the old rows, many at a time, and return how many."""
        deleted = 0
        while count := old_rows_delete(self.old, most=BATCH):
            deleted += count
        return deleted


def perishables() -> Iterator[Perishable]:
    """Yield everything that is kept for a time only."""
    decisions, usage = settings.DECISION_RETENTION_DAYS, settings.USAGE_RETENTION_DAYS
    yield Perishable(name="decisions", old=_older(DecisionRecord.objects.all(), "created_at", decisions))
    yield Perishable(name="feedback", old=_older(Feedback.objects.all(), "created_at", decisions))
    yield Perishable(name="retrieval traces", old=_older(RetrievalTrace.objects.all(), "created_at", decisions))
    yield Perishable(name="records of usage", old=_older(UsageRecord.objects.all(), "created_at", usage))
    yield Perishable(
        name="sums of usage", old=_older(UsageHour.objects.all(), "hour", settings.USAGE_SUMS_RETENTION_DAYS)
    )
    yield Perishable(name="texts", old=_older(Exchange.objects.all(), "created_at", settings.TEXT_RETENTION_DAYS))
    yield Perishable(name="cached answers", old=CachedAnswer.objects.filter(expires_at__lte=timezone.now()))
    yield Perishable(name="cached vectors", old=_older(CachedVector.objects.all(), "used_at", UNUSED_DAYS))
    yield Perishable(
        name="ended ingestion jobs", old=_older(_superseded_jobs(), "finished_at", settings.JOB_RETENTION_DAYS)
    )


def _older(rows: QuerySet[Any], column: str, days: int) -> QuerySet[Any]:
    before: dt.datetime | None = kept_since(days)
    return rows.none() if before is None else rows.filter(**{f"{column}__lt": before})


def _superseded_jobs() -> QuerySet[IngestionJob]:
    """Return ended jobs that tell nothing any more: the last one of a document says how that stands."""
    later = IngestionJob.objects.filter(document=OuterRef("document"), created_at__gt=OuterRef("created_at"))
    return IngestionJob.objects.filter(state__in=ENDED).filter(Q(document=None) | Exists(later))
