"""How documents stand, in the words that files of vector stores have for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, CharField, Count, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from gateway.fields import invalid
from knowledge.attributes import attributes_of
from knowledge.models import (
    Collection,
    Document,
    DocumentRevision,
    DocumentStatus,
    IngestionJob,
    JobState,
    RevisionState,
)

IN_PROGRESS, COMPLETED, CANCELLED, FAILED = "in_progress", "completed", "cancelled", "failed"
STATUSES = (IN_PROGRESS, COMPLETED, FAILED, CANCELLED)

UNSUPPORTED = frozenset({"unsupported", "scanned"})
INVALID = frozenset({"broken", "empty", "encrypted", "too_large", "out_of_memory"})
"""What can be wrong with a document, by the codes of its jobs; everything else is the server's fault."""


def standing() -> Case:
    """Return the status of a vector store's file, as an expression on its document."""
    was_cancelled = Exact(_of_last_job("state"), Value(JobState.CANCELLED.value))
    return Case(
        When(status__in=(DocumentStatus.PENDING, DocumentStatus.PROCESSING), then=Value(IN_PROGRESS)),
        When(status=DocumentStatus.READY, then=Value(COMPLETED)),
        When(was_cancelled, then=Value(CANCELLED)),
        default=Value(FAILED),
        output_field=CharField(),
    )


def _of_last_job(column: str) -> Subquery:
    return Subquery(IngestionJob.objects.filter(document=OuterRef("pk")).order_by("-created_at").values(column)[:1])


def described(rows: QuerySet[Document]) -> QuerySet[Document]:
    """Return documents with everything that is told of them as files of a vector store."""
    return rows.select_related("file", "collection__embedding_model").annotate(
        standing=standing(),
        used=_used(),
        last_code=Coalesce(_of_last_job("error_code"), Value("")),
    )


def narrowed(rows: QuerySet[Document], status: str | None) -> QuerySet[Document]:
    """Return those that stand so, all where nothing is said; raises BadRequest."""
    if status is None:
        return rows
    if status not in STATUSES:
        raise invalid("filter", f"'filter' must be one of {', '.join(STATUSES)}.")
    return rows.alias(wanted=standing()).filter(wanted=status)


def public_id_of(document: Document) -> str:
    """Return the id of a document as a file: that of the file it came as, or its own."""
    return document.file.public_id if document.file else document.public_id


def file_object(document: Any) -> dict[str, Any]:
    """Return a document, ``described``, as a file of its vector store."""
    return {
        "id": public_id_of(document),
        "object": "vector_store.file",
        "created_at": int(document.created_at.timestamp()),
        "usage_bytes": document.used,
        "vector_store_id": document.collection.public_id,
        "status": document.standing,
        "last_error": _last_error(document),
        "attributes": attributes_of(document.metadata),
        "chunking_strategy": strategy_object(*document.cut),
    }


def strategy_object(tokens: int, overlap: int) -> dict[str, Any]:
    static = {"max_chunk_size_tokens": tokens, "chunk_overlap_tokens": overlap}
    return {"type": "static", "static": static}


def _last_error(document: Any) -> dict[str, str] | None:
    if not document.error or document.standing in (IN_PROGRESS, CANCELLED):
        return None
    kinds = (("unsupported_file", UNSUPPORTED), ("invalid_file", INVALID))
    code = next((kind for kind, codes in kinds if document.last_code in codes), "server_error")
    return {"code": code, "message": document.error}


def counts_of(rows: QuerySet[Document]) -> dict[str, int]:
    """Return how many of ``rows`` stand how."""
    found = rows.order_by().values(told=standing()).annotate(number=Count("pk"))
    return _counts({row["told"]: row["number"] for row in found})


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a store holds: how many documents stand how, and the bytes of what is found as it was uploaded."""

    counts: Mapping[str, int]
    size: int


def holdings(stores: Iterable[Collection]) -> Mapping[int, Holding]:
    """Return what each of ``stores`` holds, by its key."""
    found: dict[int, dict[str, tuple[int, int]]] = {row.pk: {} for row in stores}
    rows = Document.objects.filter(collection__in=list(found)).order_by()
    told = rows.values("collection", told=standing()).annotate(number=Count("pk"), size=Sum(_used()))
    for row in told:
        found[row["collection"]][row["told"]] = (row["number"], row["size"])
    return {
        store: Holding(
            counts=_counts({status: number for status, (number, _) in one.items()}),
            size=sum(size for _, size in one.values()),
        )
        for store, one in found.items()
    }


def _used() -> Coalesce:
    """Return the bytes of a document's live revision, as an expression on the document."""
    live = DocumentRevision.objects.filter(document=OuterRef("pk"), state=RevisionState.LIVE)
    return Coalesce(Subquery(live.values("content__size")[:1]), 0)


def _counts(numbers: Mapping[str, int]) -> dict[str, int]:
    return {status: numbers.get(status, 0) for status in STATUSES} | {"total": sum(numbers.values())}
