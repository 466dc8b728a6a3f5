"""Documents as a resource: what a collection holds, with its revisions, its chunks and the original."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.errors import NotFound
from gateway.fields import invalid
from gateway.ragapi.access import collection_at, document_at, open_documents
from gateway.ragapi.jobs import job_object
from gateway.ragapi.paging import listing
from gateway.ragapi.resource import Resource
from gateway.ragapi.serializers import ConstantField, LanguageField, MetadataField, StrictSerializer
from knowledge import filters
from knowledge.access import Access, Level
from knowledge.documents import document_delete, document_reingest, document_update
from knowledge.models import Chunk, Document, DocumentRevision, DocumentStatus, StoredContent
from routing.backends import codec

ORDERS = {
    "-created": "-pk",
    "created": "pk",
    "-updated": "-updated_at",
    "updated": "updated_at",
    "source": "source",
    "-source": "-source",
    "title": "title",
    "-title": "-title",
}
READ_AGAIN = ("title", "language")
"""What goes into a document's chunks, so that a change has them embedded anew."""
# What a browser shows without running anything in it; the rest is sent as bytes of no kind.
HARMLESS = re.compile(
    r"application/(?:pdf|json|epub\+zip|rtf|vnd\.(?:openxmlformats-officedocument|oasis\.opendocument|ms-)[\w.\-]+)"
    r"|text/(?:plain|markdown|csv)|image/(?:png|jpeg)"
)


class DocumentSerializer(StrictSerializer[Document]):
    object = ConstantField("rag.document")
    collection = serializers.ReadOnlyField(source="collection.slug")
    title = serializers.CharField(max_length=500, allow_blank=True, required=False)
    url = serializers.CharField(max_length=2000, allow_blank=True, required=False)
    language = LanguageField(required=False)
    metadata = MetadataField(required=False)
    error = serializers.SerializerMethodField()

    class Meta:
        model = Document
        fields = [
            "id",
            "object",
            "collection",
            "source",
            "origin",
            "title",
            "url",
            "mime",
            "language",
            "metadata",
            "enabled",
            "revision",
            "status",
            "error",
            "warnings",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["source", "origin", "mime", "revision", "status", "warnings", "created_at", "updated_at"]

    def get_error(self, row: Document) -> str | None:
        return row.error or None

    def validate_url(self, value: str) -> str:
        if value and not value.lower().startswith(("http://", "https://")):
            raise serializers.ValidationError("Must begin with http:// or https://.")
        return value


class Documents(Resource):
    """GET /v1/rag/documents"""

    def get(self, request: Request) -> Response:
        query, rows = self.query(*FILTERS, "order"), open_documents(self.access)
        for name, narrowed in FILTERS.items():
            if value := query.get(name):
                rows = narrowed(rows, value, self.access)
        order = query.get("order", "-created")
        if order not in ORDERS:
            raise invalid("order", f"'order' must be one of {', '.join(ORDERS)}.")
        return listing(rows, query, order=ORDERS[order], cursor="pk", shown=_object)


class OneDocument(Resource):
    """GET, PATCH and DELETE /v1/rag/documents/{id}"""

    def get(self, request: Request, number: int) -> Response:
        document = document_at(self.access, number)
        revisions = _revisions(document).defer("content__data")
        return Response(_object(document) | {"revisions": [_revision_object(row) for row in revisions]})

    def patch(self, request: Request, number: int) -> Response:
        document = document_at(self.access, number, Level.WRITE)
        changed = DocumentSerializer(document, data=request.data, partial=True)
        changed.is_valid(raise_exception=True)
        if any(changed.validated_data.get(name) not in (None, getattr(document, name)) for name in READ_AGAIN):
            self.check_budgets()
        document_update(document=document, **changed.validated_data)
        return Response(_object(document_at(self.access, number)))

    def delete(self, request: Request, number: int) -> Response:
        document_delete(document=document_at(self.access, number, Level.WRITE))
        return Response({"id": number, "object": "rag.document.deleted", "deleted": True})


class Reingestion(Resource):
    """POST /v1/rag/documents/{id}/reingest: read, cut and embed what is stored of it anew"""

    def post(self, request: Request, number: int) -> Response:
        document = document_at(self.access, number, Level.WRITE)
        self.check_budgets()
        received = document_reingest(document=document)
        told = {
            "document": _object(received.document),
            "result": received.result,
            "job": job_object(received.job) if received.job else None,
        }
        return Response(told, status=status.HTTP_202_ACCEPTED if received.job else status.HTTP_200_OK)


class Chunks(Resource):
    """GET /v1/rag/documents/{id}/chunks: those that are found, in the order they are read"""

    def get(self, request: Request, number: int) -> Response:
        rows = Chunk.objects.live().filter(document=document_at(self.access, number))
        return listing(rows, self.query(), order="ordinal", cursor="pk", shown=_chunk_object)


class Content(Resource):
    """GET /v1/rag/documents/{id}/content: the bytes it was made of; ``?revision=`` those of an earlier one"""

    def get(self, request: Request, number: int) -> HttpResponse:
        document = document_at(self.access, number)
        revision = _revision(document, request.query_params.get("revision"))
        return download(revision.content, name=revision.name, mime=revision.declared_mime or document.mime)


def download(content: StoredContent, *, name: str, mime: str) -> HttpResponse:
    """Return bytes that somebody uploaded, so that no browser runs anything in them."""
    response = HttpResponse(
        bytes(content.data),
        content_type=mime if HARMLESS.fullmatch(mime) else "application/octet-stream",
        headers={
            "Content-Disposition": content_disposition_header(True, name) or "attachment",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "ETag": f'"{content.sha256}"',
        },
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _object(document: Document) -> dict[str, Any]:
    return dict(DocumentSerializer(document).data)


def _revisions(document: Document) -> QuerySet[DocumentRevision]:
    return document.revisions.select_related("content").order_by("-number")


def _revision(document: Document, asked: str | None) -> DocumentRevision:
    """Return the revision asked for, else the one that is found, else the last; raises BadRequest and NotFound."""
    rows = _revisions(document)
    if asked is not None:
        if not asked.isascii() or not asked.isdigit():
            raise invalid("revision", "'revision' must be a whole number.")
        rows = rows.filter(number=asked)
    elif document.revision:
        rows = rows.filter(number=document.revision)
    if (row := rows.first()) is None:
        raise NotFound(f"Document {document.pk} has no such revision. GET /v1/rag/documents/{document.pk} lists them.")
    return row


def _revision_object(row: DocumentRevision) -> dict[str, Any]:
    return {
        "number": row.number,
        "state": row.state,
        "title": row.title,
        "name": row.name,
        "mime": row.declared_mime,
        "size": row.content.size,
        "sha256": row.content_id,
        "chunks": len(row.chunk_ids),
        "metadata": row.metadata,
        "warnings": row.warnings,
        "error": row.error or None,
        "created_at": row.created_at,
    }


def _chunk_object(chunk: Chunk) -> dict[str, Any]:
    return {
        "id": chunk.pk,
        "object": "rag.chunk",
        "document": chunk.document_id,
        "revision": chunk.revision,
        "ordinal": chunk.ordinal,
        "content": chunk.text,
        "heading": chunk.heading,
        "page": chunk.page,
        "tokens": chunk.tokens,
        "language": chunk.language,
        "enabled": chunk.enabled,
    }


# --- which documents are listed ---------------------------------------------------------------------------------


def _of_collection(rows: QuerySet[Document], value: str, access: Access) -> QuerySet[Document]:
    return rows.filter(collection=collection_at(access, value))


def _of_status(rows: QuerySet[Document], value: str, access: Access) -> QuerySet[Document]:
    if value not in DocumentStatus.values:
        raise invalid("status", f"'status' must be one of {', '.join(DocumentStatus.values)}.")
    return rows.filter(status=value)


def _of_source(rows: QuerySet[Document], value: str, access: Access) -> QuerySet[Document]:
    return rows.filter(source=value)


def _fitting(rows: QuerySet[Document], value: str, access: Access) -> QuerySet[Document]:
    try:
        wanted = filters.parse(codec.loads(value), place="'filters'")
    except filters.InvalidFilter as error:
        raise invalid("filters", str(error)) from error
    except ValueError as error:
        raise invalid("filters", f"'filters' is not valid JSON: {error}") from error
    return rows.filter(filters.to_q(wanted, metadata="metadata", document=""))


Narrowing = Callable[[QuerySet[Document], str, Access], QuerySet[Document]]
FILTERS: Mapping[str, Narrowing] = {
    "collection": _of_collection,
    "status": _of_status,
    "source": _of_source,
    "filters": _fitting,
}
