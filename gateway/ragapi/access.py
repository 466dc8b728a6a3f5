"""Rows as one caller sees them: what is not open to it does not exist, and where it may only read it is told so."""

import uuid
from collections.abc import Mapping

from django.db.models import Exists, OuterRef, QuerySet

from gateway.errors import PermissionDenied
from gateway.ragapi.metadata import is_storable
from knowledge.access import Access, Level
from knowledge.exceptions import CollectionNotFound, DocumentNotFound, JobNotFound
from knowledge.models import Collection, Document, IngestionJob
from knowledge.models.collections import CollectionQuerySet

DOING: Mapping[Level, str] = {
    Level.READ: "read the collection '{}'",
    Level.WRITE: "add, change or delete documents of the collection '{}'",
    Level.MANAGE: "change or delete the collection '{}'",
}


def open_collections(access: Access) -> CollectionQuerySet:
    """Return the collections that may be read, without those of a running evaluation."""
    return Collection.objects.open_to(access).lasting()


def open_documents(access: Access) -> QuerySet[Document]:
    """Return the documents that may be read, with their collections."""
    rows = Document.objects.open_to(access).filter(collection__scratch=False)
    return rows.select_related("collection")


def open_jobs(access: Access) -> QuerySet[IngestionJob]:
    """Return the jobs that may be looked at, with their collections."""
    return IngestionJob.objects.open_to(access).filter(collection__scratch=False).select_related("collection")


def collection_at(access: Access, slug: str, level: Level = Level.READ) -> Collection:
    """Return a collection that may be used at ``level``, by its slug or its id as a vector store.

    Raises CollectionNotFound and PermissionDenied.
    """
    rows = open_collections(access).named([slug] if is_storable(slug) else ())
    row = rows.select_related("embedding_model").annotate(permitted=_at(access, level, "pk")).first()
    if row is None:
        raise CollectionNotFound(
            f"There is no collection '{slug}'. GET /v1/rag/collections lists those you may read.", param="collection"
        )
    _check(row.permitted, level, row.slug)
    return row


def document_at(access: Access, number: int, level: Level = Level.READ) -> Document:
    """Return a document whose collection may be used at ``level``; raises DocumentNotFound and PermissionDenied."""
    rows = open_documents(access).annotate(permitted=_at(access, level, "collection"))
    row = rows.filter(pk=number).first()
    if row is None:
        raise DocumentNotFound(
            f"There is no document {number}. GET /v1/rag/documents lists those you may read.", param="document"
        )
    _check(row.permitted, level, row.collection.slug)
    return row


def job_at(access: Access, job_id: str, level: Level = Level.READ) -> IngestionJob:
    """Return a job whose collection may be used at ``level``; raises JobNotFound and PermissionDenied."""
    rows = open_jobs(access).annotate(permitted=_at(access, level, "collection"))
    try:
        row = rows.filter(pk=uuid.UUID(job_id)).first()
    except ValueError:
        row = None
    if row is None:
        raise JobNotFound(f"There is no job {job_id}. GET /v1/rag/jobs lists those you may read.", param="job")
    _check(row.permitted, level, row.collection.slug)
    return row


def _at(access: Access, level: Level, column: str) -> Exists:
    return Exists(Collection.objects.open_to(access, level).filter(pk=OuterRef(column)))


def check_creatable(access: Access, slug: str) -> None:
    """Raise PermissionDenied unless a collection may be made under a name, whether or not that is taken."""
    if not access.permits(slug, Level.MANAGE):
        raise PermissionDenied(
            f"This API key may not make a collection '{slug[:100]}': it is narrowed to others. An administrator can "
            "permit it on the key's page in admin, or on its group's, as a pattern with manage."
        )


def check_store_creatable(access: Access) -> None:
    """Raise PermissionDenied unless there are names under which a collection may be made."""
    if not all(access.patterns(Level.MANAGE)):
        raise PermissionDenied(
            "This API key may make no vector stores: it is narrowed to collections that it may not manage. An "
            "administrator can permit it on the key's page in admin, or on its group's."
        )


def _check(permitted: bool, level: Level, slug: str) -> None:
    if not permitted:
        raise PermissionDenied(
            f"This API key may not {DOING[level].format(slug)}. An administrator grants that on the collection's page "
            "in admin."
        )
