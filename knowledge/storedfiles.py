"""Uploaded files: kept by themselves, read into any number of collections (knowledge/filing.py), and deleted."""

import datetime as dt

from django.db import transaction

from knowledge.access import Access
from knowledge.contents import content_store, contents_forget, sha256_of
from knowledge.documents import document_delete
from knowledge.models import Document, StoredFile


def file_store(
    *, name: str, purpose: str, data: bytes, access: Access, expires_at: dt.datetime | None = None
) -> StoredFile:
    """Keep a file for the key and the group that ``access`` is of; nothing reads it yet."""
    sha256 = sha256_of(data)
    with transaction.atomic():
        content_store(data, sha256)
        return StoredFile.objects.create(
            name=name,
            purpose=purpose,
            content_id=sha256,
            size=len(data),
            key_id=access.key_id,
            group=access.group,
            expires_at=expires_at,
        )


def file_delete(*, file: StoredFile) -> None:
    """Delete a file with the documents that were made of it, in every collection."""
    while True:
        # Each in a transaction of its own: the rows of several collections are never locked at once.
        for document in Document.objects.filter(file=file):
            document_delete(document=document)
        if _deleted(file):
            return


def _deleted(file: StoredFile) -> bool:
    """Delete the row of a file that no document is of; False if one was made of it meanwhile."""
    with transaction.atomic():
        row = StoredFile.objects.select_for_update().filter(pk=file.pk).first()
        if row is None:
            return True
        if row.documents.exists():
            return False
        row.delete()
        contents_forget([row.content_id])
    return True
