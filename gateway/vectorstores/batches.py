"""Files added to a vector store together, and how far all of them are."""

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.errors import NotFound
from gateway.fields import Fields
from gateway.vectorstores.access import store_at
from gateway.vectorstores.adding import files_add, is_lowered, kept_files
from gateway.vectorstores.files import files_page
from gateway.vectorstores.ids import uid_of
from gateway.vectorstores.resource import StoreResource
from gateway.vectorstores.standing import CANCELLED, COMPLETED, FAILED, IN_PROGRESS, counts_of
from gateway.vectorstores.wishes import read_batch
from knowledge.access import Level
from knowledge.documents import job_cancel
from knowledge.models import Collection, FileBatch, IngestionJob
from knowledge.models.documents import BATCH_START


class Batches(StoreResource):
    """POST /v1/vector_stores/{id}/file_batches"""

    def post(self, request: Request, store: str) -> Response:
        row = store_at(self.access, store, Level.WRITE)
        fields = Fields(self.body())
        additions, ignored = read_batch(fields)
        kept = kept_files(self.access, additions, row)
        self.check_budgets()
        batch = FileBatch.objects.create(collection=row)
        files_add(row, additions, kept, author=self.author, batch=batch)
        return self.answer(_object(batch), fields, ignored=ignored, adjusted=is_lowered(row, additions))


class OneBatch(StoreResource):
    """GET /v1/vector_stores/{id}/file_batches/{batch id}"""

    def get(self, request: Request, store: str, batch: str) -> Response:
        return self.answer(_object(_batch_at(store_at(self.access, store), batch)))


class Cancellation(StoreResource):
    """POST /v1/vector_stores/{id}/file_batches/{batch id}/cancel: what is ready stays"""

    def post(self, request: Request, store: str, batch: str) -> Response:
        found = _batch_at(store_at(self.access, store, Level.WRITE), batch)
        for job in IngestionJob.objects.unfinished().filter(batch=found.uid):
            if job_cancel(job=job) and found.cancelled_at is None:
                found.cancelled_at = timezone.now()
                found.save(update_fields=["cancelled_at"])
        return self.answer(_object(found))


class BatchFiles(StoreResource):
    """GET /v1/vector_stores/{id}/file_batches/{batch id}/files"""

    def get(self, request: Request, store: str, batch: str) -> Response:
        return self.answer(files_page(self, _batch_at(store_at(self.access, store), batch).documents.all()))


def _batch_at(store: Collection, batch_id: str) -> FileBatch:
    uid = uid_of(batch_id, BATCH_START)
    found = uid and FileBatch.objects.select_related("collection").filter(uid=uid, collection=store).first()
    if not found:
        raise NotFound(f"There is no batch '{batch_id[:200]}' in this vector store.", param="batch_id")
    return found


def _object(batch: FileBatch) -> dict[str, Any]:
    counts = counts_of(batch.documents.all())
    return {
        "id": batch.public_id,
        "object": "vector_store.files_batch",
        "created_at": int(batch.created_at.timestamp()),
        "vector_store_id": batch.collection.public_id,
        "status": _status(batch, counts),
        "file_counts": counts,
    }


def _status(batch: FileBatch, counts: dict[str, int]) -> str:
    if batch.cancelled_at is not None:
        return CANCELLED
    if counts[IN_PROGRESS]:
        return IN_PROGRESS
    return FAILED if counts[FAILED] and counts[FAILED] == counts["total"] else COMPLETED
