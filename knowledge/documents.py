"""Documents as they are read again, change and go; how they come is in receiving.py and filing.py."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from knowledge.authors import NOBODY, Author
from knowledge.contents import contents_forget
from knowledge.exceptions import DocumentNotFound
from knowledge.jobs import job_end
from knowledge.models import Chunk, Document, Embedding, IngestionJob, JobState, RevisionState
from knowledge.models.chunks import ChunkQuerySet
from knowledge.postings import ChunkTerms, Tally, chunk_terms, collection_tally, postings_delete, postings_write
from knowledge.revisions import Received, content_read_again, document_lock, revision_live, revision_waiting
from knowledge.tasks import job_withdraw

CANCELLED = "It was cancelled before it was done."


def document_reingest(
    *, document: Document, batch: UUID | None = None, author: Author = NOBODY, reason: str = ""
) -> Received:
    """Read a document's newest content again, as after a change of how its collection cuts or embeds.

    Content that was rejected is not read again. Raises DocumentNotFound if there is no other, or the document is gone.
    """
    with transaction.atomic():
        document = document_lock(document)
        newest = document.revisions.exclude(state=RevisionState.REJECTED).order_by("-number").first()
        if newest is None:
            raise DocumentNotFound("The document was never there to be read. Upload it, or have its page fetched.")
        return content_read_again(document, newest, batch=batch, author=author, reason=reason)


def document_update(
    *,
    document: Document,
    title: str | None = None,
    url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    language: str | None = None,
    enabled: bool | None = None,
) -> Document:
    """Change what is said of a document, and whether it is found.

    Title and language go into its chunks: a change has it read again, and until then it is found as it was. Raises
    DocumentNotFound if it is gone.
    """
    terms = _terms_of(document) if enabled and not document.enabled else {}
    given = {"title": title, "url": url, "metadata": metadata, "language": language, "enabled": enabled}
    with transaction.atomic():
        document = document_lock(document)
        changed = {name: value for name, value in given.items() if value is not None}
        changed = {name: value for name, value in changed.items() if value != getattr(document, name)}
        for name, value in changed.items():
            setattr(document, name, value)
        document.save(update_fields=[*changed, "updated_at"])
        if changed.keys() & {"title", "language"} and (wanted := revision_waiting(document) or revision_live(document)):
            content_read_again(document, wanted)
        if "enabled" in changed:
            _show(document, terms) if document.enabled else _hide(document)
    return document


def document_delete(*, document: Document) -> None:
    """Delete a document with everything made of it, and the jobs that were to read it."""
    with transaction.atomic():
        row = Document.objects.select_for_update().filter(pk=document.pk).first()
        if row is None:
            return
        for job in row.jobs.unfinished():
            job_withdraw(job.queue_id)
        found = list(Chunk.objects.findable().filter(document=row).values_list("pk", flat=True))
        contents = list(row.revisions.values_list("content", flat=True).distinct())
        tally = Tally() - postings_delete(found)
        chunks_delete(row)
        collection_id = row.collection_id
        row.delete()
        contents_forget(contents)
        collection_tally(collection_id, tally)


def chunks_delete(document: Document) -> None:
    """Delete a document's chunks of all revisions, as the ORM would but without reading them into memory first."""
    with connection.cursor() as cursor:
        for statement in (
            "DELETE FROM knowledge_posting WHERE chunk_id IN (SELECT id FROM knowledge_chunk WHERE document_id = %s)",
            "DELETE FROM knowledge_embedding WHERE chunk_id IN (SELECT id FROM knowledge_chunk WHERE document_id = %s)",
            "DELETE FROM knowledge_chunk WHERE document_id = %s",
        ):
            cursor.execute(statement, [document.pk])


def job_cancel(*, job: IngestionJob) -> bool:
    """Cancel a job that has not ended; the document stays as it was. Tell whether there was anything to cancel."""
    with transaction.atomic():
        if job.document_id is not None:
            list(Document.objects.select_for_update(no_key=True).filter(pk=job.document_id).values_list("pk"))
        row = IngestionJob.objects.select_for_update(no_key=True).filter(pk=job.pk).first()
        if row is None or row.is_finished:
            return False
        job_end(row, JobState.CANCELLED, code="cancelled", message=CANCELLED)
        job_withdraw(row.queue_id)
    return True


# --- inside ---------------------------------------------------------------------------------------------------


def _terms(document: Document, chunk: Chunk) -> ChunkTerms:
    return chunk_terms(title=document.title, heading=chunk.heading, text=chunk.text, language=chunk.language)


def _live(document: Document) -> ChunkQuerySet:
    return Chunk.objects.live().filter(document=document, enabled=True)


def _terms_of(document: Document) -> dict[int, ChunkTerms]:
    return {chunk.pk: _terms(document, chunk) for chunk in _live(document).iterator()}


def _show(document: Document, counted: Mapping[int, ChunkTerms]) -> None:
    """Let a document be found; ``counted`` are its chunks' terms as far as they were counted before the lock."""
    terms = {chunk.pk: counted.get(chunk.pk) or _terms(document, chunk) for chunk in _live(document).iterator()}
    tally = postings_write(document.collection_id, terms)
    Embedding.objects.filter(chunk__in=_live(document).values("pk")).update(findable=True)
    collection_tally(document.collection_id, tally)


def _hide(document: Document) -> None:
    tally = postings_delete(_live(document).values_list("pk", flat=True))
    Embedding.objects.filter(chunk__in=_live(document).values("pk")).update(findable=False)
    collection_tally(document.collection_id, Tally() - tally)
