"""The book that is kept of ingestion jobs: who runs one, how far it is, how it ended.

A job is run at least once, and perhaps by two who do not know of each other: a worker that was taken for dead, a
connection whose last statement still runs. So each run has a number (``attempts``), and everything a run writes, it
writes in a ``step`` that first makes sure the number is still its own. Whoever took the job over, cancelled it or
replaced it has shut the earlier run out by that.

Rows are locked in one order everywhere: uploaded file, document, stored content, job, collection.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, F
from django.utils import timezone

from knowledge.models import (
    Document,
    DocumentRevision,
    DocumentStatus,
    IngestionJob,
    JobState,
    RevisionState,
    Stage,
)

logger = logging.getLogger("knowledge")

PAUSES = (5, 15, 45, 120, 240, 480, 900)
"""Seconds before what went wrong for reasons that pass is tried again; after the last of them it has failed."""
MOST_RUNS = 40
"""Runs of a job that never came to an end, of their own or another's making: a document may be what kills them."""


class Gone(Exception):
    """The run no longer has its job: it was cancelled, replaced or taken over, or the document was deleted."""


class Postponed(Exception):
    """The job did not succeed for a reason that passes; it is to be run again after ``seconds``."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a job, until another begins."""

    job_id: UUID
    document_id: int | None
    attempt: int


def job_begin(job_id: UUID) -> IngestionJob | None:
    """Begin a run of a job and return it, or None if there is nothing left to do."""
    with transaction.atomic():
        document_id = IngestionJob.objects.filter(pk=job_id).values_list("document", flat=True).first()
        _lock_document(document_id)
        job = IngestionJob.objects.select_for_update(no_key=True).filter(pk=job_id).first()
        if job is None or job.is_finished:
            return None
        job.attempts += 1
        job.state, job.stage, job.done, job.total = JobState.RUNNING, Stage.WAITING, 0, 0
        job.started_at = job.started_at or timezone.now()
        job.save(update_fields=["attempts", "state", "stage", "done", "total", "started_at"])
        if job.attempts > MOST_RUNS:
            run = run_of(job)
            _fail(run, "given_up", f"It was begun {MOST_RUNS} times and never came to an end; the log says more.")
            return None
        if document_id is not None:
            Document.objects.filter(pk=document_id).update(status=DocumentStatus.PROCESSING)
    return job


def run_of(job: IngestionJob) -> Run:
    return Run(job_id=job.pk, document_id=job.document_id, attempt=job.attempts)


@contextmanager
def step(run: Run, **changes: Any) -> Iterator[None]:
    """Open a transaction in which ``run`` writes, and write ``changes`` to its job. Raises Gone."""
    with transaction.atomic():
        if run.document_id is not None and not _lock_document(run.document_id):
            raise Gone("the document was deleted")
        # An update, so that the row stays locked until the step is done.
        changes = changes or {"attempts": run.attempt}
        mine = IngestionJob.objects.filter(pk=run.job_id, attempts=run.attempt, state=JobState.RUNNING)
        if not mine.update(**changes):
            raise Gone("the job was cancelled or taken over")
        yield


def job_progress(run: Run, stage: Stage, done: int, total: int) -> None:
    """Write how far a run is. Raises Gone."""
    mine = IngestionJob.objects.filter(pk=run.job_id, attempts=run.attempt, state=JobState.RUNNING)
    if not mine.update(stage=stage, done=done, total=total):
        raise Gone("the job was cancelled or taken over")


def job_finish(run: Run, result: str, *, total: int = 0) -> None:
    """End a job well, inside its last step."""
    IngestionJob.objects.filter(pk=run.job_id).update(
        state=JobState.DONE,
        stage=Stage.FINISHED,
        done=total,
        total=total,
        result=result,
        error="",
        error_code="",
        finished_at=timezone.now(),
    )


def job_fail(run: Run, code: str, message: str) -> None:
    """End a job as failed: what it made is removed, the document keeps the revision it has. Raises Gone."""
    with step(run):
        _fail(run, code, message)


def job_postpone(run: Run, code: str, message: str) -> int | None:
    """Put a job back and return after how many seconds it is to be run again; None if it has failed too often.

    Raises Gone.
    """
    with step(run, failures=F("failures") + 1, error_code=code, error=message):
        failures = IngestionJob.objects.values_list("failures", flat=True).get(pk=run.job_id)
        if failures > len(PAUSES):
            _fail(run, code, f"{message} It was tried {failures} times.")
            return None
        IngestionJob.objects.filter(pk=run.job_id).update(state=JobState.QUEUED, stage=Stage.WAITING)
        Document.objects.filter(jobs=run.job_id).update(status=DocumentStatus.PENDING)
    return PAUSES[failures - 1]


def job_end(job: IngestionJob, state: JobState, *, code: str = "", message: str = "") -> None:
    """End a job that has failed or is cancelled, in a transaction that has locked its document."""
    IngestionJob.objects.filter(pk=job.pk).update(
        state=state, error_code=code, error=message, finished_at=timezone.now()
    )
    if job.revision_id is not None:
        _revision_end(job.revision_id, message)
    if job.document_id is not None:
        staged_delete(job.document_id)
        document_settle(job.document_id, error=message)


def staged_delete(document_id: int) -> None:
    """Delete the chunks of a document's revisions that will not be published, with their vectors."""
    staged = """
        SELECT chunk.id FROM knowledge_chunk AS chunk
        WHERE chunk.document_id = %s AND chunk.state = 'staged' AND NOT EXISTS (
          SELECT 1 FROM knowledge_documentrevision AS revision
          WHERE revision.document_id = chunk.document_id AND revision.number = chunk.revision
            AND revision.state IN ('pending', 'review')
        )
    """
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM knowledge_embedding WHERE chunk_id IN ({staged})", [document_id])  # noqa: S608
        cursor.execute(f"DELETE FROM knowledge_chunk WHERE id IN ({staged})", [document_id])  # noqa: S608


def document_settle(document_id: int, *, error: str) -> None:
    """Give a document that nobody works on any more the state its live revision gives it."""
    rows = Document.objects.filter(pk=document_id)
    review = DocumentRevision.objects.filter(document=document_id, state=RevisionState.REVIEW)
    new = rows.filter(revision=0)
    for status, one in (
        (DocumentStatus.FAILED, new.exclude(Exists(review))),
        (DocumentStatus.PENDING, new.filter(Exists(review))),
        (DocumentStatus.READY, rows.filter(revision__gt=0)),
    ):
        one.exclude(status=status, error=error).update(status=status, error=error, updated_at=timezone.now())


def _revision_end(revision_id: int, message: str) -> None:
    """Give up a revision that waits to be read or published; one that was approved waits for review again."""
    waiting = DocumentRevision.objects.filter(pk=revision_id, state=RevisionState.PENDING)
    approved = waiting.filter(reviewed_at__isnull=False)
    unanswered = {"reviewer": None, "reviewer_name": "", "reviewed_at": None, "review_note": ""}
    if not approved.update(state=RevisionState.REVIEW, error=message, **unanswered):
        waiting.update(state=RevisionState.FAILED, error=message, chunk_ids=[], edits=[])


def _fail(run: Run, code: str, message: str) -> None:
    job_end(IngestionJob.objects.get(pk=run.job_id), JobState.FAILED, code=code, message=message)
    logger.warning("ingestion failed job=%s code=%s", run.job_id, code)


def _lock_document(document_id: int | None) -> bool:
    if document_id is None:
        return False
    return bool(Document.objects.select_for_update(no_key=True).filter(pk=document_id).values_list("pk"))
