"""The queue of ingestion jobs: how they get into it, and what becomes of one that did not come to its end.

procrastinate imports this module in every process, so what runs jobs is imported by the job that runs.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Iterator
from uuid import UUID

import psycopg
from django.db import connection, transaction
from django.utils import timezone
from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job

from knowledge.jobs import Postponed
from knowledge.models import IngestionJob

DOCUMENTS = "documents"
PAGES = "pages"
"""What is fetched waits for its sites' pace, and nothing else should wait behind it."""
UNKNOWN_SECONDS = 5

running: set[int] = set()
"""Jobs of the queue that run in this process."""


class _Again(BaseRetryStrategy):
    """What is known to pass says when to try again; everything else here is a lost database or a stopping worker.

    What fails for good is no exception: the job's row says so (see knowledge/ingest.py).
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, Postponed):
            return RetryDecision(retry_in={"seconds": exception.seconds})
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        return RetryDecision(retry_in={"seconds": UNKNOWN_SECONDS})


@app.task(name="knowledge:ingest", queue=DOCUMENTS, retry=_Again(), pass_context=True)
async def ingest_job(context: JobContext, *, job: str) -> None:
    from knowledge.ingest import ingest

    assert context.job.id is not None
    running.add(context.job.id)
    try:
        await ingest(UUID(job))
    except asyncio.CancelledError:
        if context.abort_reason() is AbortReason.USER_REQUEST:
            raise JobAborted from None
        raise
    finally:
        running.discard(context.job.id)


def job_defer(job: IngestionJob, *, seconds: float = 0) -> None:
    """Put a job into the queue, to be run after ``seconds`` at the earliest, with the transaction that is open."""
    later = timezone.now() + dt.timedelta(seconds=seconds) if seconds else None
    waiting = ingest_job.configure(queue=PAGES if job.url else DOCUMENTS, schedule_at=later)
    with _djangos_errors():
        job.queue_id = waiting.defer(job=str(job.pk))
    IngestionJob.objects.filter(pk=job.pk).update(queue_id=job.queue_id)


def job_withdraw(queue_id: int | None) -> bool:
    """Take a job out of the queue, or have the worker that runs it let go of it; tell whether it was there."""
    with _djangos_errors():
        return queue_id is not None and app.job_manager.cancel_job_by_id(queue_id, abort=True, delete_job=True)


def job_hold(job: IngestionJob, seconds: float) -> bool:
    """Keep workers for ``seconds`` from a job that waits in the queue; tell whether none of them has it already."""
    with transaction.atomic(), _djangos_errors():
        if job.queue_id is None or not app.job_manager.cancel_job_by_id(job.queue_id, delete_job=True):
            return False
        job_defer(job, seconds=seconds)
    return True


@contextlib.contextmanager
def _djangos_errors() -> Iterator[None]:
    """Raise django.db.Error for what the queue raises as its own, so that an outage is known for one."""
    try:
        yield
    except ConnectorException as error:
        if not isinstance(error.__cause__, psycopg.Error):
            raise
        with connection.wrap_database_errors:
            raise error.__cause__  # noqa: B904 - which says why, where the queue's own error does not
