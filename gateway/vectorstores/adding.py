"""Files put into a store, together or one by one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import BinaryField, Func, Value

from gateway.ragapi.ingesting import SAMPLE, SAMPLES, as_text
from gateway.vectorstores.access import Kept, no_file, open_files
from gateway.vectorstores.ids import uid_of
from gateway.vectorstores.wishes import Addition, kept_cut
from knowledge.access import Access
from knowledge.authors import Author
from knowledge.expiring import activity
from knowledge.filing import document_fit, file_receive
from knowledge.models import Collection, Document, FileBatch, StoredContent, StoredFile
from knowledge.models.documents import FILE_START
from routing.exceptions import BadRequest


def kept_files(access: Access, additions: Sequence[Addition], store: Collection | None = None) -> Mapping[str, Kept]:
    """Return what the additions' ids stand for: uploaded files, and what is in ``store`` already.

    Raises StoredFileNotFound, and BadRequest for what is no file that could be put into another store.
    """
    uids = {uid: one.file_id for one in additions if (uid := uid_of(one.file_id, FILE_START))}
    found: dict[str, Kept] = {uids[row.uid]: row for row in open_files(access).filter(uid__in=uids)}
    others = Document.objects.open_to(access).filter(uid__in=uids, file=None).select_related("collection")
    for document in others:
        if document.collection != store:
            raise BadRequest(
                f"{document.public_id} is a document of the collection '{document.collection.slug}' that was not "
                "uploaded as a file. Upload it (POST /v1/files) to put it into another store.",
                param="file_id",
            )
        found[document.public_id] = document
    for one in additions:
        if one.file_id not in found:
            raise no_file(one.file_id, one.place)
    return found


def files_add(
    store: Collection,
    additions: Sequence[Addition],
    kept: Mapping[str, Kept],
    *,
    author: Author,
    batch: FileBatch | None = None,
) -> list[Document]:
    """Have files read into a store and return their documents; what is there already stays as it is."""
    documents = []
    for one in additions:
        file = kept[one.file_id]
        cut = None if one.cut is None else kept_cut(one.cut)
        wish: dict[str, Any] = {
            "attributes": one.attributes,
            "cut": cut,
            "batch": batch.uid if batch else None,
            "author": author,
        }
        if isinstance(file, StoredFile):
            received = file_receive(collection=store, file=file, **wish)
        else:
            received = document_fit(document=file, **wish)
        documents.append(received.document)
    if batch:
        batch.documents.add(*documents)
    activity.note((store.pk,))
    return documents


def is_lowered(store: Collection, additions: Sequence[Addition]) -> bool:
    """Tell whether a file is cut otherwise than was asked for, as the store or its embedding model cannot."""
    return any(one.cut and one.cut[0] and store.cut_of(*kept_cut(one.cut)) != one.cut for one in additions)


def sample_of(files: Mapping[str, Kept]) -> Iterator[str]:
    """Yield the beginnings of some files that look like texts, by which a store's language is recognised."""
    contents = [file.content_id for file in list(files.values())[:SAMPLES] if isinstance(file, StoredFile)]
    beginning = Func("data", Value(1), Value(SAMPLE * 4), function="substr", output_field=BinaryField())
    rows = StoredContent.objects.filter(pk__in=contents).annotate(beginning=beginning)
    for data in rows.values_list("beginning", flat=True):
        if text := as_text(bytes(data)):
            yield text
