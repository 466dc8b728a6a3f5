"""Files and stores as one caller sees them; what is not open to it does not exist."""

from gateway.errors import PermissionDenied
from gateway.ragapi.access import collection_at, open_documents
from gateway.vectorstores.ids import uid_of
from knowledge.access import Access, Level
from knowledge.exceptions import CollectionNotFound, StoredFileNotFound
from knowledge.models import Collection, Document, StoredFile
from knowledge.models.documents import FILE_START, DocumentQuerySet, StoredFileQuerySet

Kept = StoredFile | Document
"""What answers to a file's id: an uploaded file, or a document that came to its collection in another way."""


def store_at(access: Access, name: str, level: Level = Level.READ) -> Collection:
    """Return a store that may be used at ``level``; raises CollectionNotFound and PermissionDenied."""
    try:
        return collection_at(access, name, level)
    except CollectionNotFound:
        raise no_store(name) from None


def no_store(name: str) -> CollectionNotFound:
    return CollectionNotFound(
        f"There is no vector store '{name[:200]}'. GET /v1/vector_stores lists those you may read.",
        param="vector_store_id",
        code="vector_store_not_found",
    )


def open_files(access: Access) -> StoredFileQuerySet:
    """Return the uploaded files that may be read."""
    return StoredFile.objects.open_to(access).unexpired()


def file_at(access: Access, file_id: str) -> Kept:
    """Return what answers to a file's id; raises StoredFileNotFound."""
    if uid := uid_of(file_id, FILE_START):
        if file := open_files(access).filter(uid=uid).first():
            return file
        if document := open_documents(access).filter(uid=uid, file=None).first():
            return document
    raise no_file(file_id)


def no_file(file_id: str, param: str = "file_id") -> StoredFileNotFound:
    return StoredFileNotFound(
        f"There is no file '{file_id[:200]}'. GET /v1/files lists those you may read.", param=param
    )


def document_of(store: Collection, file_id: str) -> Document:
    """Return the document of a store that ``file_id`` stands for; raises StoredFileNotFound."""
    found = find_document(store.documents.all(), file_id) if uid_of(file_id, FILE_START) else None
    if found is None:
        raise StoredFileNotFound(
            f"There is no file '{file_id[:200]}' in this vector store. GET /v1/vector_stores/{store.public_id}/files "
            "lists those there are.",
            param="file_id",
        )
    return found


def find_document(rows: DocumentQuerySet, file_id: str) -> Document | None:
    """Return which of ``rows`` a file's id stands for; raises ValueError for what is no such id."""
    uid = uid_of(file_id, FILE_START)
    if uid is None:
        raise ValueError(f"{file_id} is no file's id")
    return rows.filter(file=uid).first() or rows.filter(file=None, uid=uid).first()


def check_deletable(access: Access, file: StoredFile) -> None:
    """Raise PermissionDenied unless a file and all documents of it may be deleted."""
    is_owned = StoredFile.objects.owned_by(access).filter(pk=file.pk).exists()
    if not is_owned and (file.key_id is not None or file.group):
        raise PermissionDenied(
            "The file was uploaded with another API key. Remove it from a vector store by DELETE "
            "/v1/vector_stores/{id}/files/{file id}, or ask whoever uploaded it."
        )
    holders = Collection.objects.filter(documents__file=file)
    closed = holders.exclude(pk__in=Collection.objects.open_to(access, Level.WRITE).values("pk"))
    if not (slugs := set(closed.values_list("slug", flat=True))):
        return
    readable = Collection.objects.open_to(access).filter(slug__in=slugs)
    told = [f"'{row.slug}' ({row.public_id})" for row in readable]
    if hidden := len(slugs) - len(told):
        told.append(f"{hidden} that it may not read")
    raise PermissionDenied(
        f"The file is in collections from which this API key may delete nothing: {', '.join(told)}. Have it removed "
        "there first, or ask an administrator for the right."
    )
