"""Files of a vector store: documents of a collection, each with its attributes and how it was cut."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.fields import Fields, invalid
from gateway.vectorstores.access import document_of, find_document, store_at
from gateway.vectorstores.adding import files_add, is_lowered, kept_files
from gateway.vectorstores.paging import page
from gateway.vectorstores.resource import StoreResource
from gateway.vectorstores.standing import described, file_object, narrowed, public_id_of
from gateway.vectorstores.wishes import read_addition, read_attributes
from knowledge.access import Level
from knowledge.documents import document_delete
from knowledge.filing import document_fit
from knowledge.models import Chunk, Document
from knowledge.models.documents import DocumentQuerySet
from knowledge.packing import overlap


class StoreFiles(StoreResource):
    """GET and POST /v1/vector_stores/{id}/files"""

    def get(self, request: Request, store: str) -> Response:
        return self.answer(files_page(self, store_at(self.access, store).documents.all()))

    def post(self, request: Request, store: str) -> Response:
        row = store_at(self.access, store, Level.WRITE)
        fields = Fields(self.body())
        additions = (read_addition(fields),)
        kept = kept_files(self.access, additions, row)
        self.check_budgets()
        (document,) = files_add(row, additions, kept, author=self.author)
        return self.answer(_object(document), fields, adjusted=is_lowered(row, additions))


class OneStoreFile(StoreResource):
    """GET, POST and DELETE /v1/vector_stores/{id}/files/{file id}"""

    def get(self, request: Request, store: str, file: str) -> Response:
        return self.answer(_object(document_of(store_at(self.access, store), file)))

    def post(self, request: Request, store: str, file: str) -> Response:
        """Put other attributes in the place of those it has; null takes all away."""
        document = document_of(store_at(self.access, store, Level.WRITE), file)
        body = self.body()
        fields = Fields(body)
        if "attributes" not in body:
            raise invalid("attributes", "'attributes' is missing. Send all that the file is to have, or null.")
        document_fit(document=document, attributes=read_attributes(fields) or {})
        return self.answer(_object(document), fields)

    def delete(self, request: Request, store: str, file: str) -> Response:
        """Take a file out of the store; the uploaded file stays, and a document that came otherwise is deleted."""
        document = document_of(store_at(self.access, store, Level.WRITE), file)
        told = {"id": public_id_of(document), "object": "vector_store.file.deleted", "deleted": True}
        document_delete(document=document)
        return Response(told)


class StoreFileContent(StoreResource):
    """GET /v1/vector_stores/{id}/files/{file id}/content: the text that is found, in the order it is read"""

    def get(self, request: Request, store: str, file: str) -> Response:
        document = document_of(store_at(self.access, store), file)
        data = [{"type": "text", "text": text} for text in _texts(document)]
        return Response(
            {"object": "vector_store.file_content.page", "data": data, "has_more": False, "next_page": None}
        )


def files_page(view: StoreResource, rows: DocumentQuerySet) -> dict[str, Any]:
    """Return a page of documents as files of a vector store; raises BadRequest."""
    query = view.query("filter")
    wanted: QuerySet[Document] = narrowed(described(rows), query.get("filter"))
    return page(wanted, query, find=lambda text: find_document(rows, text), shown=_objects)


def _objects(rows: Sequence[Document]) -> list[dict[str, Any]]:
    return [file_object(row) for row in rows]


def _object(document: Document) -> dict[str, Any]:
    return file_object(described(Document.objects.filter(pk=document.pk)).get())


def _texts(document: Document) -> Iterator[str]:
    before = ""
    for text in Chunk.objects.live().filter(document=document).order_by("ordinal").values_list("text", flat=True):
        yield text[overlap(before, text) :]
        before = text
