"""Uploaded files as documents of collections: with attributes of their own, and cut as is wanted of each."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from knowledge.attributes import with_attributes
from knowledge.authors import NOBODY, Author
from knowledge.exceptions import StoredFileNotFound
from knowledge.models import Collection, Document, DocumentStatus, RevisionState, StoredFile
from knowledge.receiving import adding_to
from knowledge.revisions import (
    CREATED,
    UNCHANGED,
    UPDATED,
    Received,
    content_read_again,
    document_lock,
    document_supersede,
    job_add,
    revision_add,
)

OwnCut = tuple[int | None, int | None]
"""Tokens of a document's longest chunk and those repeated; None as its collection's others."""


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
    with adding_to(collection):
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
