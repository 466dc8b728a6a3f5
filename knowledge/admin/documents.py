from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString

from knowledge.admin.attention import StaleFilter, UseFilter
from knowledge.admin.confirming import confirmation, is_confirmed
from knowledge.admin.flags import badges, flag_note, flagged_address
from knowledge.admin.gone import GoneActions
from knowledge.admin.languages import LanguageFilter, language_code
from knowledge.admin.pasts import PastPages
from knowledge.admin.progress import job_cell
from knowledge.admin.rereading import read_again, to_batch
from knowledge.admin.rights import may, may_ask, may_see
from knowledge.admin.telling import tell_problems
from knowledge.admin.texts import TextPages, conflicts_of, unfinished_job_of, waiting_of
from knowledge.admin.uploading import UploadPages
from knowledge.admin.wording import counted, excerpt, times
from knowledge.authors import Author
from knowledge.documents import document_delete, document_reingest, document_update
from knowledge.models import Chunk, Document, DocumentRevision, DocumentStatus, GoldenQuery
from knowledge.receiving import page_receive
from routing.admin.meanwhile import UndoesNothing
from routing.exceptions import EndpointError

SHOWN_CHUNKS = 100
SHOWN_REVISIONS = 50
SHOWN_DELETED = 50
EDITED = ("title", "url", "language", "metadata", "enabled")


class DocumentForm(forms.ModelForm):
    metadata = forms.JSONField(
        required=False,
        help_text=Document._meta.get_field("metadata").help_text,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 80}),
    )

    class Meta:
        model = Document
        fields = EDITED
        labels = {"url": "Address"}
        widgets = {
            "title": forms.TextInput(attrs={"class": "vTextField"}),
            "url": forms.TextInput(attrs={"class": "vTextField"}),
        }

    def clean_language(self) -> str:
        return language_code(self.cleaned_data["language"])

    def clean_metadata(self) -> Any:
        metadata = self.cleaned_data["metadata"]
        if metadata is None:  # the box was emptied
            return {}
        if not isinstance(metadata, dict):
            raise ValidationError('Enter a JSON object, such as {"department": "sales"}.')
        return metadata


class DocumentLanguageFilter(LanguageFilter):
    """By what somebody said of a document, or else by what its chunks were found to be in."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        if self.wanted is None:
            return queryset
        first = Chunk.objects.live().filter(document=OuterRef("pk"), ordinal=0, language=self.wanted)
        return queryset.filter(Q(language="") & Exists(first) | Q(language=self.wanted, language__gt=""))


class DocumentPages(admin.ModelAdmin):
    """The pages beside a document's form: its originals, and reading it again."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/original/<int:number>/", view(self.original_view), name="knowledge_document_original"),
            path("<int:pk>/reingest/", view(self.reingest_view), name="knowledge_document_reingest"),
            *super().get_urls(),
        ]

    def original_view(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """Give the bytes a revision was made of, to be saved: never shown, as they may be a page with scripts."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        revision = DocumentRevision.objects.select_related("content").filter(document=pk, number=number).first()
        if revision is None:
            raise Http404("There is no such revision.")
        response = HttpResponse(bytes(revision.content.data), content_type="application/octet-stream")
        header = content_disposition_header(as_attachment=True, filename=revision.name.replace("/", "_"))
        response["Content-Disposition"] = header or "attachment"
        return response

    def reingest_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have a document read again, its page fetched first if "do" says so, and go back to it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        document = self.get_object(request, str(pk))
        if document is None:
            raise Http404("There is no such document.")
        if not self.has_change_permission(request, document):
            raise PermissionDenied
        try:
            if request.POST.get("do") == "fetch" and document.origin == Document.Origin.URL:
                page_receive(collection=document.collection, url=document.source)
                done, words = "Fetched again.", f"“{document}” is being fetched, and read if it has changed."
            else:
                document_reingest(document=document, author=Author.of(request.user), reason="Read again.")
                done, words = "Read again.", f"“{document}” is being read again."
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.log_change(request, document, done)
            self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:knowledge_document_change", args=[pk]))


@admin.register(Document)
class DocumentAdmin(UndoesNothing, DocumentPages, TextPages, PastPages, GoneActions, UploadPages):
    form = DocumentForm
    list_display = (
        "name",
        "collection",
        "shown_status",
        "chunk_count",
        "revision",
        "shown_language",
        "enabled",
        "retrieved",
        "updated_at",
    )
    list_filter = ("status", "enabled", "collection", "origin", StaleFilter, UseFilter, DocumentLanguageFilter)
    list_select_related = ("collection", "use")
    search_fields = ("title", "source")
    search_help_text = "Part of a title, or of a file name or address."
    show_full_result_count = False
    actions = ("reingest", "enable", "disable", "keep")
    change_form_template = "admin/knowledge/document/change_form.html"
    fieldsets = (
        (None, {"fields": EDITED}),
        (
            "What it is",
            {"fields": ("shown_collection", "source", "origin", "shown_type", "created_at", "updated_at")},
        ),
        ("How it was read", {"fields": ("shown_status", "revision", "shown_warnings")}),
        ("What it was used for", {"fields": ("retrieved", "cited")}),
    )
    readonly_fields = (
        *("shown_collection", "source", "origin", "shown_type", "created_at", "updated_at"),
        *("shown_status", "revision", "shown_warnings", "retrieved", "cited"),
    )

    class Media:
        css = {"all": ("knowledge/admin.css",)}
        js = ("knowledge/progress.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        documents: QuerySet[Document] = super().get_queryset(request)
        chunks = Chunk.objects.live().filter(document=OuterRef("pk")).order_by().values("document")
        counts = chunks.annotate(number=Count("pk")).values("number")
        first = Chunk.objects.live().filter(document=OuterRef("pk"), ordinal=0)
        return documents.filter(collection__scratch=False).annotate(
            chunks_there=Coalesce(Subquery(counts), 0), language_found=Subquery(first.values("language")[:1])
        )

    # --- columns

    @admin.display(description="title", ordering="title")
    def name(self, document: Document) -> str:
        return excerpt(str(document), 100)

    @admin.display(description="status", ordering="status")
    def shown_status(self, document: Document) -> SafeString:
        label = DocumentStatus(document.status).label
        if not document.error:
            return format_html('<span class="state {}">{}</span>', document.status, label)
        kept = " (the revision before it is still found)" if document.revision else ""
        return format_html(
            '<span class="state {}">{}</span> <span class="error">{}{}</span>',
            document.status,
            label,
            excerpt(document.error, 300),
            kept,
        )

    @admin.display(description="chunks")
    def chunk_count(self, document: Document) -> int:
        return cast(Any, document).chunks_there  # type: ignore[no-any-return]

    @admin.display(description="language")
    def shown_language(self, document: Document) -> str:
        return document.language or cast(Any, document).language_found or "–"

    @admin.display(description="type", ordering="mime")
    def shown_type(self, document: Document) -> str:
        return document.mime or "–"

    @admin.display(description="collection")
    def shown_collection(self, document: Document) -> SafeString:
        address = reverse("admin:knowledge_collection_change", args=[document.collection_id])
        return format_html('<a href="{}">{}</a>', address, document.collection)

    @admin.display(description="warnings")
    def shown_warnings(self, document: Document) -> SafeString:
        warnings = document.warnings if isinstance(document.warnings, list) else [document.warnings]
        return format_html_join("", "<p>{}</p>", ((warning,) for warning in warnings)) or SafeString("none")

    @admin.display(description="retrieved for answers", ordering="use__retrieved")
    def retrieved(self, document: Document) -> str | SafeString:
        use = getattr(document, "use", None)
        if use is None or not use.retrieved_at:
            return "never"
        address = f"{reverse('admin:knowledge_retrievaltrace_changelist')}?document={document.pk}"
        return format_html('<a href="{}">{}</a>, last {}', address, times(use.retrieved), use.retrieved_at.date())

    @admin.display(description="cited in answers")
    def cited(self, document: Document) -> str:
        use = getattr(document, "use", None)
        return f"{times(use.cited)}, last {use.cited_at.date()}" if use is not None and use.cited_at else "never"

    # --- changing

    def save_model(self, request: HttpRequest, document: Document, form: Any, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in EDITED if name in form.changed_data}
        kept = document_update(document=Document.objects.get(pk=document.pk), **values)
        if kept.status != DocumentStatus.READY and {"title", "language"} & set(values):
            words = "Title and language go into its chunks: it is being read again, and found as it was until then."
            self.message_user(request, words, messages.INFO)

    def delete_model(self, request: HttpRequest, document: Document) -> None:
        document_delete(document=document)

    def delete_queryset(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        for document in documents:
            document_delete(document=document)

    def get_deleted_objects(
        self, objs: Iterable[Document], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Count what goes, instead of naming every chunk of it."""
        documents = list(objs)
        chunks = Chunk.objects.filter(document__in=documents).count()
        golden = GoldenQuery.objects.filter(documents__in=documents).distinct().count()
        counts = {"documents": len(documents), "chunks": chunks, "golden queries that name it": golden}
        shown = [str(document) for document in documents[:SHOWN_DELETED]]
        if len(documents) > SHOWN_DELETED:
            shown.append(f"… and {len(documents) - SHOWN_DELETED:,} more")
        lacking = set() if may(request, "delete", "document") else {"document"}
        return shown, {name: count for name, count in counts.items() if count}, lacking, []

    # --- actions

    @admin.action(description="Read the selected documents again …", permissions=["change"])
    def reingest(self, request: HttpRequest, documents: QuerySet[Document]) -> HttpResponse:
        if not is_confirmed(request):
            sentences = (
                f"{counted(documents.count(), 'document')} will be read, cut and embedded again from what is stored.",
                "Each is found as it is now until that is done.",
            )
            title = "Read these again?"
            return confirmation(self, request, title=title, sentences=sentences, action="reingest")
        batch = read_again(self, request, documents)
        return to_batch(request, batch, otherwise=request.get_full_path())

    @admin.action(description="Let the selected documents be found", permissions=["change"])
    def enable(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self._switch(request, documents, enabled=True)

    @admin.action(description="Keep the selected documents from being found", permissions=["change"])
    def disable(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self._switch(request, documents, enabled=False)

    def _switch(self, request: HttpRequest, documents: QuerySet[Document], *, enabled: bool) -> None:
        what, done, problems = "Enabled" if enabled else "Disabled", 0, []
        for document in documents.exclude(enabled=enabled):
            try:
                document_update(document=document, enabled=enabled)
            except EndpointError as error:
                problems.append(f"“{document}”: {error.message}")
                continue
            self.log_change(request, document, f"{what}.")
            done += 1
        tell_problems(self, request, problems)
        self.message_user(request, f"{what} {counted(done, 'document')}.", messages.SUCCESS)

    # --- pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        into = request.GET.get("collection__id__exact", "")
        context = {"may_ask": may_ask(request), "adding_to": into if into.isdecimal() else ""}
        return super().changelist_view(request, context | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"show_save_and_add_another": False}
        document = self.get_object(request, object_id)
        if document is not None:
            context |= {"may_reingest": self.has_change_permission(request, document), **beside(document)}
            context["sees_jobs"] = may_see(request, "ingestionjob")
            context["sees_chunks"] = may_see(request, "chunk")
            context["sees_revisions"] = may_see(request, "documentrevision")
            context["may_switch"] = may(request, "change", "chunk")
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def beside(document: Document) -> dict[str, Any]:
    """Return what is shown beside a document's form: what works on it, its revisions and its chunks."""
    # First what is under way: what is published after it is shown, rather than shown as missing and finished.
    job = unfinished_job_of(document)
    waiting = waiting_of(document)
    live = Chunk.objects.live().filter(document=document).select_related("edit").order_by("ordinal")
    chunks = list(live[: SHOWN_CHUNKS + 1])
    length = Func(F("chunk_ids"), function="jsonb_array_length", output_field=IntegerField())
    # Neither their bytes nor the ids of all their chunks are read for it.
    rows = document.revisions.select_related("content", "author").defer("content__data", "chunk_ids")
    revisions = rows.annotate(chunks_made=length)[:SHOWN_REVISIONS]
    return {
        "chunks": [(chunk, excerpt(chunk.text, 120), badges(chunk.signals)) for chunk in chunks[:SHOWN_CHUNKS]],
        "flagged": flag_note(live.order_by(), flagged_address(document__id__exact=document.pk)),
        "more_chunks": len(chunks) > SHOWN_CHUNKS,
        "revisions": [
            (revision, "as now" if revision.recipe == document.recipe else "others") for revision in revisions
        ],
        "waiting": waiting,
        "conflicts": conflicts_of(document),
        "job": job,
        "job_now": job_cell(job) if job else "",
        "chunks_url": f"{reverse('admin:knowledge_chunk_changelist')}?document__id__exact={document.pk}",
    }
