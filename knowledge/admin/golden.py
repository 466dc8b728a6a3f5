from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from knowledge.admin.keeping import HistoryPages
from knowledge.admin.rights import may
from knowledge.admin.telling import tell_problems
from knowledge.admin.wording import excerpt
from knowledge.goldenfile import BadGoldenQueries, golden_import, golden_lines, golden_read
from knowledge.models import Collection, GoldenQuery
from routing.admin.fields import LinesField
from routing.admin.meanwhile import UndoesNothing
from routing.admin.trying import LONGEST_IN_ADDRESS
from routing.admin.uploads import TextFileField

MAX_BYTES = 20_000_000


class GoldenQueryForm(forms.ModelForm):
    answers = LinesField(
        required=False,
        help_text=GoldenQuery._meta.get_field("answers").help_text,
        widget=forms.Textarea(attrs={"rows": 4}),
    )

    class Meta:
        model = GoldenQuery
        fields = ("collection", "query", "documents", "answers")
        widgets = {"query": forms.Textarea(attrs={"rows": 3})}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        documents, collection = list(cleaned.get("documents") or ()), cleaned.get("collection")
        strange = [document for document in documents if collection and document.collection_id != collection.pk]
        if strange:
            self.add_error("documents", f"“{strange[0]}” is of another collection.")
        if not self.errors and not documents and not cleaned.get("answers"):
            raise ValidationError("Say what a right passage is: documents that answer it, or a text that it holds.")
        return cleaned


class GoldenFileForm(forms.Form):
    collection = forms.ModelChoiceField(Collection.objects.lasting(), empty_label="Choose a collection")
    file = TextFileField(
        max_bytes=MAX_BYTES,
        help_text='JSON lines such as {"query": "…", "documents": ["leave.md"], "answers": ["thirty days"]}; documents '
        "are named by their sources.",
    )


class FilePages(admin.ModelAdmin):
    """Golden queries from a file and into one."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(self.import_view), name="knowledge_goldenquery_import"),
            path("export/", view(self.export_view), name="knowledge_goldenquery_export"),
            *super().get_urls(),
        ]

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Make the lines of a file golden queries; those that are there already are changed to what it says."""
        if not (may(request, "add", "goldenquery") and may(request, "change", "goldenquery")):
            raise PermissionDenied
        named = Collection.objects.lasting().filter(slug=request.GET.get("collection", "").replace("\0", "")).first()
        form = GoldenFileForm(request.POST or None, request.FILES or None, initial={"collection": named})
        if form.is_valid():
            try:
                return self._import(request, form.cleaned_data["collection"], form.cleaned_data["file"])
            except BadGoldenQueries as error:
                form.add_error("file", f"{error} Nothing was changed.")
        context = self.admin_site.each_context(request) | {
            "title": "Import golden queries",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/knowledge/goldenquery/import.html", context)

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with a collection's golden queries as a file."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        slug = request.GET.get("collection", "").replace("\0", "")
        collection = Collection.objects.lasting().filter(slug=slug).first()
        if collection is None:
            raise Http404("There is no such collection.")
        response = HttpResponse("".join(golden_lines(collection)), content_type="application/jsonl; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{collection.slug}-golden-queries.jsonl"'
        return response

    def _import(self, request: HttpRequest, collection: Collection, text: str) -> HttpResponse:
        user: Any = request.user
        found = golden_import(collection, golden_read(text.split("\n")), by=user)
        words = f"{found.created:,} new, {found.updated:,} changed, {found.unchanged:,} as they were."
        self.message_user(request, words, messages.SUCCESS)
        tell_problems(
            self, request, [f"There is no document “{source}” in the collection." for source in found.unknown]
        )
        address = reverse("admin:knowledge_goldenquery_changelist")
        return HttpResponseRedirect(f"{address}?collection__id__exact={collection.pk}")


@admin.register(GoldenQuery)
class GoldenQueryAdmin(UndoesNothing, FilePages, HistoryPages):
    change_list_template = "admin/knowledge/goldenquery/change_list.html"
    form = GoldenQueryForm
    list_display = ("question", "collection", "document_count", "answer_count", "created_at", "ask")
    list_filter = ("collection",)
    list_select_related = ("collection",)
    search_fields = ("query", "answers")
    autocomplete_fields = ("collection", "documents")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        chosen = request.GET.get("collection__id__exact", "")
        known = chosen.isdecimal() and len(chosen) < 19
        context = {
            "chosen": Collection.objects.lasting().filter(pk=chosen).first() if known else None,
            "may_import": may(request, "add", "goldenquery") and may(request, "change", "goldenquery"),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def get_queryset(self, request: HttpRequest) -> QuerySet[GoldenQuery]:
        queries: QuerySet[GoldenQuery] = super().get_queryset(request)
        return queries.filter(collection__scratch=False).annotate(documents_there=Count("documents"))

    def save_model(self, request: HttpRequest, golden: GoldenQuery, form: Any, change: bool) -> None:
        if not change:
            golden.created_by = cast(Any, request.user)
        super().save_model(request, golden, form, change)

    @admin.display(description="question", ordering="query")
    def question(self, golden: GoldenQuery) -> str:
        return excerpt(golden.query, 100)

    @admin.display(description="documents", ordering="documents_there")
    def document_count(self, golden: GoldenQuery) -> int:
        return cast(Any, golden).documents_there  # type: ignore[no-any-return]

    @admin.display(description="texts")
    def answer_count(self, golden: GoldenQuery) -> int:
        return len(golden.answers)

    @admin.display(description="now")
    def ask(self, golden: GoldenQuery) -> SafeString:
        asked = urlencode({"question": golden.query[:LONGEST_IN_ADDRESS], "collection": golden.collection.slug})
        return format_html('<a href="{}?{}">Ask</a>', reverse("admin:knowledge_ask"), asked)
