"""Jobs that nobody runs any more although they have not ended, put back into the queue.

Their worker was killed, the database went away when their end was to be written, or the command that ran them in the
foreground is gone. One process at a time looks, so that nothing is put back twice.
"""

import datetime as dt
import logging
from collections.abc import Collection

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from knowledge.models import IngestionJob
from knowledge.tasks import DOCUMENTS, PAGES, job_defer

logger = logging.getLogger("knowledge")

STALLED_SECONDS = 15.0
"""Without a heartbeat for so long a worker is taken for dead."""
ABSENT_SECONDS = 60.0
"""A worker that has been silent for so long is being started again by nobody."""
RESCUE_LOCK = 0x4D4F4552  # any number all our processes agree on


def jobs_rescue(*, lost: Collection[int] = ()) -> int:
    """Put back what nobody runs, and jobs of the queue in ``lost``; return how many."""
    with transaction.atomic():
        if not _alone():
            return 0
        stalled = _stalled(lost)
        for queue_id in stalled:
            app.job_manager.retry_job_by_id(queue_id, timezone.now())
        forgotten = _forgotten()
        for job in forgotten:
            job_defer(job)
    if found := len(stalled) + len(forgotten):
        logger.warning("put back ingestion jobs that nobody ran any more count=%d", found)
    return found


def jobs_unattended() -> int:
    """Return how many jobs of the queue could begin while no worker is there to take them."""
    now = timezone.now()
    if ProcrastinateWorker.objects.filter(last_heartbeat__gt=now - dt.timedelta(seconds=ABSENT_SECONDS)).exists():
        return 0
    due = Q(scheduled_at=None) | Q(scheduled_at__lte=now)
    return ProcrastinateJob.objects.filter(due, status="todo").count()


def jobs_taken(workers: Collection[int]) -> list[int]:
    """Return which jobs of the queue these workers are said to run."""
    return list(ProcrastinateJob.objects.filter(status="doing", worker__in=workers).values_list("pk", flat=True))


def workers_forget(ids: Collection[int]) -> None:
    """Take workers for dead at once, of whom it is known that their process is gone."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_workers WHERE id = ANY(%s)", [list(ids)])


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [RESCUE_LOCK])
        return bool(cursor.fetchone()[0])


def _stalled(lost: Collection[int]) -> list[int]:
    before = timezone.now() - dt.timedelta(seconds=STALLED_SECONDS)
    gone = Q(worker=None) | Q(worker__last_heartbeat__lt=before) | Q(pk__in=lost)
    doing = ProcrastinateJob.objects.filter(status="doing", queue_name__in=(DOCUMENTS, PAGES))
    return list(doing.filter(gone).values_list("pk", flat=True))


def _forgotten() -> list[IngestionJob]:
    """Return jobs that have not ended and are in no queue."""
    waiting = ProcrastinateJob.objects.filter(pk=OuterRef("queue_id"), status__in=("todo", "doing"))
    return list(IngestionJob.objects.unfinished().filter(~Exists(waiting)))
