"""Documents as they come, change and go.

What comes is stored with the job that will read it in one transaction; the document is found as it was until the job
publishes the new revision (knowledge/publishing.py). What is already there is a success that makes no work.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction

from knowledge.attributes import with_attributes
from knowledge.authors import NOBODY, Author
from knowledge.contents import content_store, contents_forget, sha256_of
from knowledge.exceptions import CollectionNotFound, DocumentNotFound, Expired, StoredFileNotFound
from knowledge.jobs import document_settle, job_end
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentStatus,
    Embedding,
    IngestionJob,
    JobState,
    RevisionState,
    StoredFile,
)
from knowledge.models.chunks import ChunkQuerySet
from knowledge.postings import ChunkTerms, Tally, chunk_terms, collection_tally, postings_delete, postings_write
from knowledge.revisions import (
    CREATED,
    UNCHANGED,
    UPDATED,
    Received,
    content_read_again,
    document_lock,
    document_supersede,
    is_content_of,
    is_settled,
    job_add,
    revision_add,
    revision_live,
    revision_waiting,
)
from knowledge.tasks import job_defer, job_withdraw
from routing.exceptions import BadRequest

CANCELLED = "It was cancelled before it was done."
LONGEST_SOURCE = 1000

OwnCut = tuple[int | None, int | None]
"""Tokens of a document's longest chunk and those repeated; None as its collection's others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A document as somebody brings it; ``source`` is what it is recognised by when it comes again.

    Of a document that is there already, an empty title, url, language or metadata leaves what it has. ``watch`` is the
    id of the watched source that it comes from.
    """

    source: str
    name: str
    data: bytes
    mime: str = ""
    title: str = ""
    url: str = ""
    language: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: Document.Origin = Document.Origin.UPLOAD
    etag: str = ""
    last_modified: str = ""
    author: Author = NOBODY
    reason: str = ""
    watch: int | None = None


def document_receive(
    *, collection: Collection, incoming: Incoming, batch: UUID | None = None, again: bool = False, hold: float = 0
) -> Received:
    """Store what came and have it read, unless it is what is there or is being read already.

    ``again`` has it read in any case. For ``hold`` seconds no worker takes the job: the caller runs it itself. Raises
    BadRequest for a source that is too long or empty, CollectionNotFound if the collection was deleted meanwhile.
    """
    _check(incoming)
    sha256 = sha256_of(incoming.data)
    with _into(collection):
        document, is_new = _locked(collection, incoming.source, origin=incoming.origin)
        read_anew = _described(document, incoming) or again
        pending = None if is_new else revision_waiting(document)
        if not read_anew and pending is not None and is_content_of(pending, sha256=sha256, name=incoming.name):
            return Received(document=document, job=pending.jobs.unfinished().first(), result=UNCHANGED)
        if not is_new:
            document_supersede(document)
        if not (read_anew or is_new) and is_settled(document, sha256=sha256, name=incoming.name):
            document_settle(document.pk, error="" if document.revision else document.error)
            document.refresh_from_db()
            return Received(document=document, job=None, result=UNCHANGED)
        content_store(incoming.data, sha256)
        revision = revision_add(
            document,
            sha256=sha256,
            name=incoming.name,
            mime=incoming.mime,
            author=incoming.author,
            reason=incoming.reason,
        )
        job = job_add(document, revision=revision, batch=batch, hold=hold)
    return Received(document=document, job=job, result=UPDATED if document.revision else CREATED)


def page_receive(
    *,
    collection: Collection,
    url: str,
    metadata: Mapping[str, Any] | None = None,
    batch: UUID | None = None,
    hold: float = 0,
) -> IngestionJob:
    """Have the page at ``url`` fetched and read; one that waits to be fetched is not asked for twice.

    Raises BadRequest for what is no address of a page.
    """
    source = _page_identity(url)
    with _into(collection):
        document, _ = _locked(collection, source, origin=Document.Origin.URL)
        if metadata:
            document.metadata = dict(metadata)
        document.url = document.url or source
        document.save(update_fields=["metadata", "url", "updated_at"])
        waiting = document.jobs.unfinished().filter(url=source, revision=None).first()
        return waiting or job_add(document, url=source, batch=batch, hold=hold)


def sitemap_receive(
    *,
    collection: Collection,
    url: str,
    metadata: Mapping[str, Any] | None = None,
    batch: UUID | None = None,
    hold: float = 0,
) -> IngestionJob:
    """Have every page of a sitemap, feed or site fetched and read. Raises BadRequest for what is no address."""
    source = _page_identity(url)
    with _into(collection):
        job = IngestionJob.objects.create(
            kind=IngestionJob.Kind.SITEMAP,
            collection=collection,
            url=source,
            metadata=dict(metadata or {}),
            batch=batch or uuid4(),
        )
        job_defer(job, seconds=hold)
    return job


def file_receive(
    *,
    collection: Collection,
    file: StoredFile,
    attributes: Mapping[str, Any] | None = None,
    cut: OwnCut | None = None,
    batch: UUID | None = None,
    author: Author = NOBODY,
) -> Received:
    """Have an uploaded file read into a collection.

    ``attributes`` become its metadata; those and the ``cut`` of a file that is there stay where None is given. It is
    read again only if it could not be read before, or is to be cut otherwise. Raises StoredFileNotFound and
    CollectionNotFound if either was deleted meanwhile.
    """
    with _into(collection):
        # Nobody deletes the file, or adds it to the same collection, before this is done.
        if not list(StoredFile.objects.select_for_update(no_key=True).filter(pk=file.pk).values_list("pk")):
            raise StoredFileNotFound(f"The file {file.public_id} was deleted meanwhile.", param="file_id")
        document = Document.objects.select_for_update(no_key=True).filter(collection=collection, file=file).first()
        is_there = document is not None and document.status != DocumentStatus.FAILED
        document = document or _shelved(collection, file)
        if not _fitted(document, attributes, cut) and is_there:
            return Received(document=document, job=document.jobs.unfinished().first(), result=UNCHANGED)
        document_supersede(document)
        revision = revision_add(document, sha256=file.content_id, name=file.name, mime="", author=author)
        job = job_add(document, revision=revision, batch=batch)
    return Received(document=document, job=job, result=UPDATED if document.revision else CREATED)


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


def document_fit(
    *,
    document: Document,
    attributes: Mapping[str, Any] | None = None,
    cut: OwnCut | None = None,
    batch: UUID | None = None,
    author: Author = NOBODY,
) -> Received:
    """Give a document other attributes, or another ``cut``, by which it is read again; None leaves what it has.

    Raises DocumentNotFound if it is gone.
    """
    with transaction.atomic():
        document = document_lock(document)
        newest = document.revisions.exclude(state=RevisionState.REJECTED).order_by("-number").first()
        if _fitted(document, attributes, cut) and newest is not None:
            return content_read_again(document, newest, batch=batch, author=author)
        return Received(document=document, job=document.jobs.unfinished().first(), result=UNCHANGED)


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


def _check(incoming: Incoming) -> None:
    if not incoming.source or len(incoming.source) > LONGEST_SOURCE:
        raise BadRequest(
            f"A document's source (its file name, path or address) has 1 to {LONGEST_SOURCE:,} characters. "
            "Give it a shorter one.",
            param="source",
        )


def _page_identity(url: str) -> str:
    from knowledge.web import identity

    try:
        source = identity(url)
    except ValueError as error:
        raise BadRequest(str(error), param="url") from error
    if len(source) > LONGEST_SOURCE:
        raise BadRequest(f"The address has more than {LONGEST_SOURCE:,} characters.", param="url")
    return source


@contextmanager
def _into(collection: Collection) -> Iterator[None]:
    """Open a transaction that adds to a collection; raises Expired, and CollectionNotFound if it was deleted."""
    if collection.is_expired:
        raise Expired(collection.slug, collection.expires_after_days)
    try:
        with transaction.atomic():
            yield
    except IntegrityError:  # what refers to what is only looked at in the end
        if Collection.objects.filter(pk=collection.pk).exists():
            raise
        raise CollectionNotFound(f"The collection '{collection.slug}' was deleted meanwhile.") from None


def _locked(collection: Collection, source: str, *, origin: Document.Origin) -> tuple[Document, bool]:
    """Return the document that ``source`` stands for, with its row locked, and whether it was made just now."""
    rows = Document.objects.select_for_update(no_key=True)
    while True:  # others may make it or delete it between two of these statements
        if document := rows.filter(collection=collection, source=source).first():
            return document, False
        try:
            with transaction.atomic():
                return Document.objects.create(collection=collection, source=source, origin=origin), True
        except IntegrityError:
            continue


def _described(document: Document, incoming: Incoming) -> bool:
    """Write what comes with the content to a document; tell whether its chunks change by it."""
    given = {
        "title": incoming.title[:500],
        "language": incoming.language[:8],
        "url": incoming.url[:2000],
        "metadata": dict(incoming.metadata),
        "etag": incoming.etag[:300],
        "last_modified": incoming.last_modified[:100],
        "watch_id": incoming.watch,
    }
    changed = [name for name, value in given.items() if value and value != getattr(document, name)]
    for name in changed:
        setattr(document, name, given[name])
    if changed:
        document.save(update_fields=[*changed, "updated_at"])
    return bool({"title", "language"} & {*changed})


def _shelved(collection: Collection, file: StoredFile) -> Document:
    """Make the document of a file; other documents of the same name stay what they are."""
    try:
        with transaction.atomic():
            return Document.objects.create(collection=collection, source=file.name, file=file)
    except IntegrityError:
        source = f"{file.name} ({file.public_id})"
        return Document.objects.create(collection=collection, source=source, file=file)


def _fitted(document: Document, attributes: Mapping[str, Any] | None, cut: OwnCut | None) -> bool:
    """Write to a document how it is wanted; tell whether it is cut otherwise by it."""
    recipe = document.recipe
    given: dict[str, Any] = {}
    if attributes is not None:
        given["metadata"] = with_attributes(document.metadata, attributes)
    if cut is not None:
        given |= {"chunk_tokens": cut[0], "chunk_overlap": cut[1]}
    changed = [name for name, value in given.items() if value != getattr(document, name)]
    for name in changed:
        setattr(document, name, given[name])
    if changed:
        document.save(update_fields=[*changed, "updated_at"])
    return document.recipe != recipe


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
