"""Ingestion jobs: how far they are and how they ended."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.fields import invalid
from gateway.ragapi.access import collection_at, job_at, open_jobs
from gateway.ragapi.paging import listing
from gateway.ragapi.resource import Resource
from knowledge.access import Access, Level
from knowledge.documents import job_cancel
from knowledge.models import IngestionJob, JobState, Stage


def job_object(job: IngestionJob) -> dict[str, Any]:
    """Return a job as clients see it; ``done`` and ``total`` are of its present stage.

    A job that is to be tried again has the error of its last try; one that went well may have a note instead.
    """
    is_done = job.state == JobState.DONE
    return {
        "id": str(job.pk),
        "object": "rag.job",
        "kind": job.kind,
        "batch": str(job.batch),
        "state": job.state,
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "percent": percent(job),
        "attempts": job.attempts,
        "result": job.result or None,
        "error": {"code": job.error_code or "failed", "message": job.error} if job.error and not is_done else None,
        "note": job.error if is_done and job.error else None,
        "document": job.document_id,
        "collection": job.collection.slug,
        "url": job.url or None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


# Where a document's stages begin and end, of a hundred; most of the time goes into embedding.
SPANS: Mapping[str, tuple[int, int]] = {
    Stage.WAITING: (0, 0),
    Stage.FETCHING: (0, 5),
    Stage.PARSING: (5, 15),
    Stage.CHUNKING: (15, 20),
    Stage.EMBEDDING: (20, 95),
    Stage.PUBLISHING: (95, 99),
    Stage.FINISHED: (99, 99),
}


def percent(job: IngestionJob) -> int:
    """Return how much of a job is done, 0 to 100; 100 only when it is done."""
    if job.state == JobState.DONE:
        return 100
    start, end = SPANS[job.stage] if job.kind == IngestionJob.Kind.DOCUMENT else (0, 99)
    return start + (end - start) * min(job.done, job.total) // job.total if job.total else start


class Jobs(Resource):
    """GET /v1/rag/jobs: newest first"""

    def get(self, request: Request) -> Response:
        query, rows = self.query(*FILTERS), open_jobs(self.access)
        for name, narrowed in FILTERS.items():
            if value := query.get(name):
                rows = narrowed(rows, value, self.access)
        return listing(rows, query, order="-created_at", cursor="pk", shown=job_object)


class Job(Resource):
    """GET and DELETE /v1/rag/jobs/{id}; DELETE cancels, and what is finished stays as it is"""

    def get(self, request: Request, job_id: str) -> Response:
        return Response(job_object(job_at(self.access, job_id)))

    def delete(self, request: Request, job_id: str) -> Response:
        job = job_at(self.access, job_id, Level.WRITE)
        job_cancel(job=job)
        job.refresh_from_db()
        return Response(job_object(job))


def _of_collection(rows: QuerySet[IngestionJob], value: str, access: Access) -> QuerySet[IngestionJob]:
    return rows.filter(collection=collection_at(access, value))


def _in_state(rows: QuerySet[IngestionJob], value: str, access: Access) -> QuerySet[IngestionJob]:
    if value not in JobState.values:
        raise invalid("state", f"'state' must be one of {', '.join(JobState.values)}.")
    return rows.filter(state=value)


def _of_batch(rows: QuerySet[IngestionJob], value: str, access: Access) -> QuerySet[IngestionJob]:
    try:
        return rows.filter(batch=uuid.UUID(value))
    except ValueError:
        raise invalid("batch", "'batch' must be the id of a batch, as ingestion answers it.") from None


def _of_document(rows: QuerySet[IngestionJob], value: str, access: Access) -> QuerySet[IngestionJob]:
    if not value.isascii() or not value.isdigit():
        raise invalid("document", "'document' must be a document's id, a whole number.")
    return rows.filter(document_id=value)


Narrowing = Callable[[QuerySet[IngestionJob], str, Access], QuerySet[IngestionJob]]
FILTERS: Mapping[str, Narrowing] = {
    "collection": _of_collection,
    "state": _in_state,
    "batch": _of_batch,
    "document": _of_document,
}
