"""Filters of documents that somebody should look at: those long unchanged, gone from their source, or never used."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from knowledge.models import ChunkEdit, Document, DocumentRevision, RevisionState

MISSING = "missing"
NEVER, UNCITED = "never", "uncited"
DAYS = (30, 90, 180, 365)


class StaleFilter(admin.SimpleListFilter):
    """By when a document's content came, or somebody last changed its text; reading it again does not count."""

    title = "freshness"
    parameter_name = "stale"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(MISSING, "Not in its source any more"), *((str(days), f"Unchanged for {days} days") for days in DAYS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        wanted = self.value() or ""
        if wanted == MISSING:
            return queryset.filter(missing_since__isnull=False)
        if wanted not in set(map(str, DAYS)):
            return queryset
        since = timezone.now() - dt.timedelta(days=int(wanted))
        old = DocumentRevision.objects.filter(
            document=OuterRef("pk"), state=RevisionState.LIVE, content__created_at__lt=since
        )
        changed = ChunkEdit.objects.filter(document=OuterRef("pk"), updated_at__gte=since)
        return queryset.filter(Exists(old), ~Exists(changed))


class UseFilter(admin.SimpleListFilter):
    """By what documents were used for since they are counted; chats count, plain searches do not."""

    title = "use in answers"
    parameter_name = "use"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        lately = ((str(days), f"Not retrieved for {days} days") for days in DAYS)
        return [(NEVER, "Never retrieved"), (UNCITED, "Retrieved and never cited"), *lately]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        wanted = self.value() or ""
        if wanted == NEVER:
            return queryset.filter(use=None)
        if wanted == UNCITED:
            return queryset.filter(use__cited=0)
        if wanted in set(map(str, DAYS)):
            since = timezone.now() - dt.timedelta(days=int(wanted))
            return queryset.exclude(use__retrieved_at__gte=since)
        return queryset
