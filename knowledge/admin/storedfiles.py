"""Uploaded files: whose they are, which collections they are in, and their end."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from knowledge.admin.rights import may
from knowledge.models import Document, StoredFile
from knowledge.storedfiles import file_delete
from routing.admin.readonly import ReadOnly

SHOWN_DELETED = 20


@admin.register(StoredFile)
class StoredFileAdmin(ReadOnly):
    list_display = ("name", "purpose", "shown_size", "owner", "collections", "created_at", "expires_at")
    list_filter = ("purpose", "documents__collection", "group")
    list_select_related = ("key",)
    search_fields = ("name", "documents__source")
    date_hierarchy = "created_at"
    fields = ("name", "public_id", "purpose", "shown_size", "owner", "collections", "created_at", "expires_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredFile]:
        files: QuerySet[StoredFile] = super().get_queryset(request)
        documents = Document.objects.select_related("collection").order_by("collection__slug")
        return files.prefetch_related(Prefetch("documents", queryset=documents))

    # --- columns

    @admin.display(description="id")
    def public_id(self, file: StoredFile) -> str:
        return file.public_id

    @admin.display(description="size", ordering="size")
    def shown_size(self, file: StoredFile) -> str:
        return filesizeformat(file.size)

    @admin.display(description="whose", ordering="key__name")
    def owner(self, file: StoredFile) -> str:
        return ", ".join(part for part in (str(file.key or ""), file.group) if part) or "nobody's"

    @admin.display(description="in")
    def collections(self, file: StoredFile) -> str:
        return ", ".join(document.collection.slug for document in file.documents.all()) or "no collection"

    # --- deleting

    def delete_model(self, request: HttpRequest, file: StoredFile) -> None:
        file_delete(file=file)

    def delete_queryset(self, request: HttpRequest, files: QuerySet[StoredFile]) -> None:
        for file in files:
            file_delete(file=file)

    def get_deleted_objects(
        self, objs: Iterable[StoredFile], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Tell of the documents that go with them, which the database would else protect."""
        files = list(objs)
        documents = Document.objects.filter(file__in=files)
        counts = {"uploaded files": len(files), "documents made of them": documents.count()}
        shown = [str(file) for file in files[:SHOWN_DELETED]]
        shown += [f"{row} in {row.collection}" for row in documents.select_related("collection")[:SHOWN_DELETED]]
        lacking = {name for name in ("storedfile", "document") if not may(request, "delete", name)}
        if not documents:
            lacking.discard("document")
        return shown, {name: count for name, count in counts.items() if count}, lacking, []
