"""Vector stores: collections as OpenAI's clients see them."""

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.fields import Fields
from gateway.ragapi.access import check_store_creatable, open_collections
from gateway.ragapi.serializers import checked_text
from gateway.vectorstores.access import store_at
from gateway.vectorstores.adding import files_add, kept_files, sample_of
from gateway.vectorstores.ids import uid_of
from gateway.vectorstores.paging import page
from gateway.vectorstores.resource import StoreResource
from gateway.vectorstores.standing import COMPLETED, IN_PROGRESS, Holding, holdings
from gateway.vectorstores.wishes import LONGEST_NAME, kept_cut, read_days, read_metadata, read_store
from knowledge.access import Access, Level
from knowledge.collections import collection_delete
from knowledge.models import Collection
from knowledge.models.collections import STORE_START
from knowledge.stores import store_create


class Stores(StoreResource):
    """GET and POST /v1/vector_stores"""

    def get(self, request: Request) -> Response:
        access, query = self.access, self.query()
        rows = open_collections(access)
        return self.answer(page(rows, query, find=lambda text: _find(access, text), shown=store_objects))

    def post(self, request: Request) -> Response:
        fields = Fields(self.body())
        wish = read_store(fields)
        check_store_creatable(self.access)
        kept = kept_files(self.access, wish.additions)
        if kept:
            self.check_budgets()
        store = store_create(
            name=wish.name,
            description=wish.description,
            metadata=wish.metadata,
            expires_after_days=wish.days,
            cut=kept_cut(wish.cut),
            sample=sample_of(kept),
            access=self.access,
        )
        files_add(store, wish.additions, kept, author=self.author)
        is_lowered = wish.cut[0] is not None and store.cut_of(None, None) != wish.cut
        return self.answer(_object(store), fields, adjusted=is_lowered)


class OneStore(StoreResource):
    """GET, POST and DELETE /v1/vector_stores/{id}"""

    def get(self, request: Request, store: str) -> Response:
        return self.answer(_object(store_at(self.access, store)))

    def post(self, request: Request, store: str) -> Response:
        """Change what is said in the body; null takes metadata and expiry away."""
        row = store_at(self.access, store, Level.MANAGE)
        body = self.body()
        fields = Fields(body)
        if name := checked_text(fields.text("name") or "", "name", LONGEST_NAME).strip():
            row.name = name
        metadata, days = read_metadata(fields), read_days(fields)
        if "metadata" in body:
            row.metadata = metadata
        if "expires_after" in body:
            row.expires_after_days = days
        row.last_active_at = timezone.now()  # or a store that nobody searched for long would be gone with the change
        row.save(update_fields=["name", "metadata", "expires_after_days", "last_active_at"])
        return self.answer(_object(row), fields)

    def delete(self, request: Request, store: str) -> Response:
        row = store_at(self.access, store, Level.MANAGE)
        collection_delete(collection=row)
        return Response({"id": row.public_id, "object": "vector_store.deleted", "deleted": True})


def store_objects(rows: Sequence[Collection]) -> list[dict[str, Any]]:
    """Return collections as vector stores."""
    held = holdings(rows)
    return [_shown(row, held[row.pk]) for row in rows]


def _object(row: Collection) -> dict[str, Any]:
    return store_objects([row])[0]


def _shown(row: Collection, held: Holding) -> dict[str, Any]:
    days, ends = row.expires_after_days, row.expires_at
    status = IN_PROGRESS if held.counts[IN_PROGRESS] else COMPLETED
    return {
        "id": row.public_id,
        "object": "vector_store",
        "created_at": int(row.created_at.timestamp()),
        "name": row.name,
        "description": row.description or None,
        "status": "expired" if row.is_expired else status,
        "file_counts": held.counts,
        "usage_bytes": held.size,
        "metadata": row.metadata,
        "expires_after": {"anchor": "last_active_at", "days": days} if days else None,
        "expires_at": int(ends.timestamp()) if ends else None,
        "last_active_at": int((row.last_active_at or row.created_at).timestamp()),
    }


def _find(access: Access, text: str) -> Collection | None:
    uid = uid_of(text, STORE_START)
    if uid is None:
        raise ValueError(f"{text} is no store's id")
    return open_collections(access).filter(uid=uid).first()
