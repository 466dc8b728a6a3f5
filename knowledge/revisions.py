"""A document's revisions: added with the job that reads them, superseded, read again, compared with what comes.

Whoever adds or supersedes one has the document's row locked.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db.models import Max
from django.utils import timezone

from knowledge.authors import NOBODY, Author
from knowledge.curation.ledger import edits_wait
from knowledge.exceptions import DocumentNotFound
from knowledge.jobs import job_end, staged_delete
from knowledge.models import Document, DocumentRevision, DocumentStatus, IngestionJob, JobState, RevisionState
from knowledge.tasks import job_defer, job_withdraw

CREATED, UPDATED, UNCHANGED = "created", "updated", "unchanged"

REPLACED = "A newer version of the document came."


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """``result`` is "created", "updated" or "unchanged"; ``job`` is what reads it, None if nothing has to be read."""

    document: Document
    job: IngestionJob | None
    result: str


def is_published(received: Received) -> bool:
    """Tell whether what came is found already, without anything that has to be done first."""
    return received.job is None or received.job.state == JobState.DONE


def document_lock(document: Document) -> Document:
    """Lock a document's row and return it as it is now. Raises DocumentNotFound if it is gone."""
    row = Document.objects.select_for_update(no_key=True).filter(pk=document.pk).first()
    if row is None:
        raise DocumentNotFound("The document was deleted meanwhile.")
    return row


def document_supersede(document: Document, *, keep: UUID | None = None) -> None:
    """Shut out the jobs that read a document's earlier content, but for job ``keep``, and what waits for review.

    The document's row must be locked.
    """
    waiting = document.revisions.filter(state__in=(RevisionState.PENDING, RevisionState.REVIEW))
    waiting.update(state=RevisionState.SUPERSEDED, chunk_ids=[], edits=[])
    staged_delete(document.pk)
    for job in document.jobs.unfinished():
        if job.pk == keep:
            continue
        job_end(job, JobState.CANCELLED, code="superseded", message=REPLACED)
        job_withdraw(job.queue_id)


def revision_add(
    document: Document, *, sha256: str, name: str, mime: str, author: Author = NOBODY, reason: str = ""
) -> DocumentRevision:
    """Add a revision that waits to be read to a document whose row is locked."""
    if document.file is not None and document.file.content_id != sha256:
        document.file = None  # what came under its name from elsewhere is not that file any more
        document.save(update_fields=["file"])
    highest = document.revisions.aggregate(Max("number"))["number__max"] or 0
    return DocumentRevision.objects.create(
        document=document,
        number=highest + 1,
        content_id=sha256,
        name=name[:500],
        declared_mime=mime[:150],
        reason=reason,
        **author.fields(),
    )


def job_add(
    document: Document,
    *,
    revision: DocumentRevision | None = None,
    url: str = "",
    batch: UUID | None = None,
    hold: float = 0,
) -> IngestionJob:
    """Have a revision read, or what is at ``url`` fetched first; the document's row must be locked."""
    job = IngestionJob.objects.create(
        collection_id=document.collection_id, document=document, revision=revision, url=url, batch=batch or uuid4()
    )
    job_defer(job, seconds=hold)
    document.status = DocumentStatus.PENDING
    Document.objects.filter(pk=document.pk).update(status=document.status, updated_at=timezone.now())
    return job


def content_read_again(
    document: Document,
    revision: DocumentRevision,
    *,
    batch: UUID | None = None,
    author: Author = NOBODY,
    reason: str = "",
) -> Received:
    """Have the content of one of a document's revisions read as its next one; its row must be locked."""
    document_supersede(document)
    added = revision_add(
        document,
        sha256=revision.content_id,
        name=revision.name,
        mime=revision.declared_mime,
        author=author,
        reason=reason,
    )
    job = job_add(document, revision=added, batch=batch)
    return Received(document=document, job=job, result=UPDATED if document.revision else CREATED)


def revision_live(document: Document) -> DocumentRevision | None:
    """Return the revision that is found."""
    return document.revisions.filter(state=RevisionState.LIVE).first()


def revision_waiting(document: Document) -> DocumentRevision | None:
    """Return the revision that waits to be read, or for review."""
    waiting = (RevisionState.PENDING, RevisionState.REVIEW)
    return document.revisions.filter(state__in=waiting).order_by("-number").first()


def is_settled(document: Document, *, sha256: str, name: str) -> bool:
    """Tell whether nothing would come of reading this content: it is what is found, or what was rejected last."""
    settled = document.revisions.filter(state__in=(RevisionState.LIVE, RevisionState.REJECTED)).order_by("number")
    by_state = {row.state: row for row in settled}
    rejected, live = by_state.get(RevisionState.REJECTED), by_state.get(RevisionState.LIVE)
    is_last = rejected is not None and (live is None or live.number < rejected.number)
    if rejected is not None and is_last and is_content_of(rejected, sha256=sha256, name=name):
        return True
    return (
        live is not None
        and is_made_alike(live, document, sha256=sha256, name=name)
        and not edits_wait(document.pk, live)
    )


def is_made_alike(revision: DocumentRevision, document: Document, *, sha256: str, name: str) -> bool:
    """Tell whether reading this content for its ``document`` would make of it what ``revision`` is."""
    return is_content_of(revision, sha256=sha256, name=name) and revision.recipe == document.recipe


def is_content_of(revision: DocumentRevision, *, sha256: str, name: str) -> bool:
    return revision.content_id == sha256 and revision.name == name[:500]
