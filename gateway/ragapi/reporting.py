"""What became of each document of an ingestion, as the client is told."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from gateway.errors import envelope
from knowledge.models import Document, DocumentStatus, IngestionJob, JobState
from routing.exceptions import BadRequest, EndpointError

READY, FAILED = DocumentStatus.READY.value, DocumentStatus.FAILED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was done with one thing in the request: a document and the job that reads it, or why it was not taken in.

    A sitemap has a job and no document; its pages follow with jobs of their own.
    """

    place: str
    source: str
    collection: str
    document: int | None = None
    job: uuid.UUID | None = None
    result: str = ""
    error: EndpointError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How something that was taken in stands: ``status`` is "ready", "failed", "pending" or "processing"."""

    taken: Taken
    status: str
    result: str
    code: str = ""
    message: str = ""

    def document_object(self) -> dict[str, Any]:
        taken = self.taken
        return {
            "id": taken.document,
            "source": taken.source,
            "collection": taken.collection,
            "result": self.result or None,
            "status": self.status,
            "job": str(taken.job) if taken.job else None,
        }

    def error_object(self) -> dict[str, Any]:
        return {"param": self.taken.place, "source": self.taken.source, "code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer; ``status`` is that of HTTP.

    200: everything is ready; 202: something is still being read; 207: some of it failed; 422: all of it did, and the
    body has OpenAI's error object as well.
    """

    status: int
    body: Mapping[str, Any]


def report(taken: Sequence[Taken], batch: uuid.UUID) -> Report:
    """Look how everything stands, the pages that a sitemap led to included."""
    own = [one.job for one in taken if one.job]
    rows = IngestionJob.objects.filter(Q(batch=batch) | Q(pk__in=own)).select_related("collection")
    jobs = {job.pk: job for job in rows}
    led_to = [_page(job) for job in jobs.values() if job.pk not in own]
    everything = [*taken, *led_to]
    found = Document.objects.filter(pk__in=[one.document for one in everything if one.document])
    states = dict(found.values_list("pk", "status"))
    return _report([_outcome(one, jobs, states) for one in everything], batch)


def _page(job: IngestionJob) -> Taken:
    return Taken(place="sitemap", source=job.url, collection=job.collection.slug, document=job.document_id, job=job.pk)


def _outcome(taken: Taken, jobs: Mapping[uuid.UUID, IngestionJob], states: Mapping[int, str]) -> Outcome:
    if taken.error:
        code = taken.error.code or "invalid_value"
        return Outcome(taken=taken, status=FAILED, result="", code=code, message=taken.error.message)
    job = jobs.get(taken.job) if taken.job else None
    if (taken.job and job is None) or (taken.document and taken.document not in states):
        message = "The document was deleted meanwhile."
        return Outcome(taken=taken, status=FAILED, result="", code="document_not_found", message=message)
    if job is None or job.state == JobState.DONE:
        return Outcome(taken=taken, status=READY, result=job.result if job and job.result else taken.result)
    if job.is_finished:
        return Outcome(taken=taken, status=FAILED, result="", code=job.error_code or FAILED, message=job.error)
    status = DocumentStatus.PROCESSING if job.state == JobState.RUNNING else DocumentStatus.PENDING
    return Outcome(taken=taken, status=status.value, result=taken.result)


def _report(outcomes: Sequence[Outcome], batch: uuid.UUID) -> Report:
    documents = [one for one in outcomes if one.taken.document or one.taken.error]
    ready = len({one.taken.document for one in documents if one.status == READY})
    failed = [one for one in outcomes if one.status == FAILED]
    waiting = [one for one in outcomes if one.status not in (READY, FAILED)]
    body: dict[str, Any] = {
        "success": not failed,
        "documents_ingested": ready,
        "message": _message(len(documents), ready, failed, waiting, batch),
        "documents": [one.document_object() for one in documents],
        "jobs": list(dict.fromkeys(str(one.taken.job) for one in outcomes if one.taken.job)),
        "batch": str(batch),
        "errors": [one.error_object() for one in failed],
    }
    if waiting:
        return Report(status=202, body=body)
    if not failed:
        return Report(status=200, body=body)
    if ready:
        return Report(status=207, body=body)
    first = failed[0]
    error = BadRequest(first.message, param=first.taken.place, code=first.code)
    return Report(status=422, body=body | envelope(error))


def _message(
    documents: int, ready: int, failed: Sequence[Outcome], waiting: Sequence[Outcome], batch: uuid.UUID
) -> str:
    sentences = [f"{ready} of {_counted(documents)} can be found." if documents else "The pages are being looked for."]
    if waiting:
        sentences.append(f"GET /v1/rag/jobs?batch={batch} tells how far the others are.")
    if failed:
        sentences.append(f"{len(failed)} failed; 'errors' says why.")
    return " ".join(sentences)


def _counted(documents: int) -> str:
    return "1 document" if documents == 1 else f"{documents} documents"
