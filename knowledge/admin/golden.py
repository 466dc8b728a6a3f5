from typing import Any, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from knowledge.admin.wording import counted, excerpt
from knowledge.models import EvaluationRun, GoldenQuery
from routing.admin.measured import mapping, shown
from routing.admin.rules import LinesField
from routing.admin.trying import LONGEST_IN_ADDRESS


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


@admin.register(GoldenQuery)
class GoldenQueryAdmin(admin.ModelAdmin):
    form = GoldenQueryForm
    list_display = ("question", "collection", "document_count", "answer_count", "created_at", "ask")
    list_filter = ("collection",)
    list_select_related = ("collection",)
    search_fields = ("query", "answers")
    autocomplete_fields = ("collection", "documents")

    def get_queryset(self, request: HttpRequest) -> QuerySet[GoldenQuery]:
        queries: QuerySet[GoldenQuery] = super().get_queryset(request)
        return queries.filter(collection__scratch=False).annotate(documents_there=Count("documents"))

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


@admin.register(EvaluationRun)
class EvaluationRunAdmin(admin.ModelAdmin):
    list_display = ("created_at", "collection", "queries", "measured")
    list_filter = ("collection", ("created_at", admin.DateFieldListFilter))
    list_select_related = ("collection",)
    fieldsets = ((None, {"fields": ("collection", "created_at", "queries", "measured", "settings")}),)
    readonly_fields = ("measured",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="measured")
    def measured(self, run: EvaluationRun) -> str:
        told = (f"{name.replace('_', ' ')} {shown('', value)}" for name, value in sorted(mapping(run.measures).items()))
        return ", ".join(told) or f"nothing of {counted(run.queries, 'question')}"
