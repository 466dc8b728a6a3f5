from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.archives import ArchivePages, may_export, may_import
from knowledge.admin.asking import AskPages
from knowledge.admin.evaluations import MeasurePages
from knowledge.admin.flags import flag_note, flagged_address
from knowledge.admin.keeping import HistoryPages
from knowledge.admin.languages import language_code
from knowledge.admin.mentions import mentions, unknown_mentions
from knowledge.admin.renewing import outdated
from knowledge.admin.rights import may, may_ask, may_see
from knowledge.admin.switching import EmbedPages
from knowledge.admin.wording import counted
from knowledge.collections import collection_delete, embedding_model_for
from knowledge.models import Chunk, Collection, Document, DocumentStatus, GoldenQuery, Grant, IngestionJob
from routing.admin.meanwhile import UndoesNothing
from routing.exceptions import BadRequest

CUT = ("chunk_tokens", "chunk_overlap", "embed_headings")
HOLDS = ("documents_link", "chunks", "flagged", "spoken", "at_work", "store_id", "last_active_at", "created_at")
"""Settings that go into chunks and their vectors."""


class CollectionForm(forms.ModelForm):
    class Meta:
        model = Collection
        fields = (
            *("slug", "name", "description", "language", "trusted", "keeps_tools", "everyone"),
            *("embedding_model", *CUT),
            *("review", "gate", "expires_after_days", "keeps_texts"),
            *("mode", "fusion", "vector_weight", "threshold", "neighbours", "reranker", "condenser"),
        )
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if model := self.fields.get("embedding_model"):
            model.required = False
            model.help_text = f"{model.help_text} Empty: the one that suits the language."

    def clean_language(self) -> str:
        return language_code(self.cleaned_data["language"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "embedding_model" in self.fields and not cleaned.get("embedding_model"):
            try:
                cleaned["embedding_model"] = embedding_model_for(cleaned.get("language", ""))
            except BadRequest as error:
                self.add_error("embedding_model", error.message)
        return cleaned


class GrantInline(admin.TabularInline):
    model = Grant
    extra = 0
    autocomplete_fields = ("key",)
    verbose_name_plural = "Grants, beside what everyone may"


@admin.register(Collection)
class CollectionAdmin(UndoesNothing, ArchivePages, AskPages, EmbedPages, MeasurePages, HistoryPages):
    form = CollectionForm
    list_display = (
        *("__str__", "slug", "shown_language", "embedding_model"),
        *("document_count", "chunks", "failed", "flagged_count", "trusted", "everyone"),
    )
    list_filter = ("embedding_model", "trusted", "everyone")
    list_select_related = ("embedding_model",)
    search_fields = ("slug", "name", "description")
    inlines = (GrantInline,)
    prepopulated_fields = {"slug": ("name",)}
    change_list_template = "admin/knowledge/collection/change_list.html"
    delete_confirmation_template = "admin/knowledge/collection/delete_confirmation.html"
    fieldsets = (
        (None, {"fields": ("name", "slug", "description", "language", "trusted", "keeps_tools", "everyone")}),
        (
            "How its documents are cut and embedded",
            {
                "fields": ("embedding_model", ("chunk_tokens", "chunk_overlap"), "embed_headings"),
                "description": "What is changed here holds for documents that are read from then on.",
            },
        ),
        (
            "How it is searched",
            {
                "fields": (
                    *(("mode", "fusion"), "vector_weight", "threshold"),
                    *("neighbours", "condenser", "reranker"),
                )
            },
        ),
        ("What goes live", {"fields": ("review", "gate")}),
        ("How long it is kept", {"fields": ("expires_after_days",)}),
        ("What is kept of requests", {"fields": ("keeps_texts",)}),
        ("What it holds", {"fields": HOLDS}),
    )
    readonly_fields = HOLDS

    class Media:
        css = {"all": ("knowledge/admin.css",)}
        js = ("knowledge/uploads.js", "knowledge/dropping.js")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        collections: QuerySet[Collection] = super().get_queryset(request)
        return collections.filter(scratch=False).annotate(
            documents_there=_number_of(Document.objects.all()),
            chunks_flagged=_flagged_number(),
            documents_failed=_number_of(Document.objects.filter(status=DocumentStatus.FAILED)),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        # What is new holds nothing yet.
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else fieldsets[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Another model first has to embed everything; there is a page for that.
        return (*self.readonly_fields, "embedding_model") if obj else self.readonly_fields

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else super().get_prepopulated_fields(request, obj)

    # --- columns

    @admin.display(description="id as a vector store")
    def store_id(self, collection: Collection) -> str:
        return collection.public_id

    @admin.display(description="language", ordering="language")
    def shown_language(self, collection: Collection) -> str:
        return collection.language or "of each document"

    @admin.display(description="documents", ordering="documents_there")
    def document_count(self, collection: Collection) -> SafeString:
        return _documents(collection, f"{cast(Any, collection).documents_there:,}")

    @admin.display(description="chunks", ordering="chunk_count")
    def chunks(self, collection: Collection) -> str:
        return f"{collection.chunk_count:,}"

    @admin.display(description="failed", ordering="documents_failed")
    def failed(self, collection: Collection) -> SafeString | str:
        number = cast(Any, collection).documents_failed
        return _documents(collection, f"{number:,}", status=DocumentStatus.FAILED) if number else "–"

    @admin.display(description="flagged", ordering="chunks_flagged")
    def flagged_count(self, collection: Collection) -> SafeString | str:
        number = cast(Any, collection).chunks_flagged
        address = flagged_address(collection__id__exact=collection.pk)
        return format_html('<a href="{}">{}</a>', address, f"{number:,}") if number else "–"

    @admin.display(description="flagged")
    def flagged(self, collection: Collection) -> SafeString | str:
        address = flagged_address(collection__id__exact=collection.pk)
        return flag_note(Chunk.objects.flagged().filter(collection=collection), address) or "nothing"

    @admin.display(description="documents")
    def documents_link(self, collection: Collection) -> SafeString:
        return _documents(collection, counted(cast(Any, collection).documents_there, "document"))

    @admin.display(description="languages")
    def spoken(self, collection: Collection) -> str:
        return ", ".join(code or "not known" for code in collection.languages) or "–"

    @admin.display(description="at work")
    def at_work(self, collection: Collection) -> SafeString | str:
        number = IngestionJob.objects.unfinished().filter(collection=collection).count()
        if not number:
            return "nothing"
        address = reverse("admin:knowledge_ingestionjob_changelist")
        words = counted(number, "unfinished job")
        return format_html('<a href="{}?collection__id__exact={}">{}</a>', address, collection.pk, words)

    # --- changing

    def save_model(self, request: HttpRequest, collection: Collection, form: Any, change: bool) -> None:
        super().save_model(request, collection, form, change)
        if change and set(CUT) & set(form.changed_data):
            self._tell_outdated(request, collection)

    def _tell_outdated(self, request: HttpRequest, collection: Collection) -> None:
        number = outdated(collection).count()
        if not number:
            return
        words = f"{counted(number, 'document was', 'documents were')} made with other settings."
        if may(request, "change", "document"):
            address = reverse("admin:knowledge_collection_reingest", args=[collection.pk])
            link = format_html('<a href="{}">Read them again</a>', address)
            self.message_user(request, format_html("{} {} to have them cut anew.", words, link), messages.WARNING)
        else:
            self.message_user(request, words, messages.WARNING)

    def delete_model(self, request: HttpRequest, collection: Collection) -> None:
        collection_delete(collection=collection)

    def delete_queryset(self, request: HttpRequest, collections: QuerySet[Collection]) -> None:
        for collection in collections:
            collection_delete(collection=collection)

    def get_deleted_objects(
        self, objs: Iterable[Collection], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Count what goes, instead of naming every chunk of it, and tell who would miss it."""
        collections = list(objs)
        counts = {
            "collections": len(collections),
            "documents": Document.objects.filter(collection__in=collections).count(),
            "chunks": Chunk.objects.filter(collection__in=collections).count(),
            "golden queries": GoldenQuery.objects.filter(collection__in=collections).count(),
            "grants": Grant.objects.filter(collection__in=collections).count(),
        }
        named = mentions()
        shown = [_with_mentions(collection, named.get(collection.slug, [])) for collection in collections]
        lacking = {name for name in ("collection", "document") if not may(request, "delete", name)}
        return shown, {name: number for name, number in counts.items() if number}, lacking, []

    # --- pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {"may_ask": may_ask(request), "may_import": may_import(request)}
        if request.method == "GET":
            context["findings"] = unknown_mentions()
        return super().changelist_view(request, context | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "may_ask": may_ask(request),
            "may_add_documents": may(request, "add", "document"),
            "most_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES,
            "may_reingest": may(request, "change", "document"),
            "may_embed": self.has_change_permission(request),
            "sees_golden": may_see(request, "goldenquery"),
            "may_export": may_export(request),
            "sees_evaluations": may_see(request, "evaluationrun"),
        }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def _number_of(documents: "QuerySet[Document]") -> Coalesce:
    """Return how many of ``documents`` a collection has, to be asked for with it."""
    rows = documents.filter(collection=OuterRef("pk")).order_by().values("collection")
    return Coalesce(Subquery(rows.annotate(number=Count("pk")).values("number")), 0)


def _flagged_number() -> Coalesce:
    """Return how many chunks of a collection are flagged, to be asked for with it."""
    rows = Chunk.objects.flagged().filter(collection=OuterRef("pk")).order_by().values("collection")
    return Coalesce(Subquery(rows.annotate(number=Count("pk")).values("number")), 0)


def _documents(collection: Collection, words: str, *, status: str = "") -> SafeString:
    address = f"{reverse('admin:knowledge_document_changelist')}?collection__id__exact={collection.pk}"
    return format_html('<a href="{}">{}</a>', f"{address}&status__exact={status}" if status else address, words)


def _with_mentions(collection: Collection, named_by: list[str]) -> str:
    if not named_by:
        return f"{collection} ({collection.slug})"
    return f"{collection} ({collection.slug}), named by {', '.join(named_by)}: they would find nothing in it any more"
