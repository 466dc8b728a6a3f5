"""Documents and pages as they come.

What comes is stored with the job that will read it in one transaction; the document is found as it was until the job
publishes the new revision (knowledge/publishing.py). What is already there is a success that makes no work.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction

from knowledge.authors import NOBODY, Author
from knowledge.contents import content_store, sha256_of
from knowledge.exceptions import CollectionNotFound, Expired
from knowledge.jobs import document_settle
from knowledge.models import Collection, Document, IngestionJob
from knowledge.revisions import (
    CREATED,
    UNCHANGED,
    UPDATED,
    Received,
    document_supersede,
    is_content_of,
    is_settled,
    job_add,
    revision_add,
    revision_waiting,
)
from knowledge.tasks import job_defer
from routing.exceptions import BadRequest

LONGEST_SOURCE = 1000


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
    with adding_to(collection):
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
    with adding_to(collection):
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
    with adding_to(collection):
        job = IngestionJob.objects.create(
            kind=IngestionJob.Kind.SITEMAP,
            collection=collection,
            url=source,
            metadata=dict(metadata or {}),
            batch=batch or uuid4(),
        )
        job_defer(job, seconds=hold)
    return job


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
def adding_to(collection: Collection) -> Iterator[None]:
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
