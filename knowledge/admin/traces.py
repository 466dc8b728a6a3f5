import json
from collections.abc import Iterable
from typing import Any, cast

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.rights import may_see
from knowledge.admin.wording import excerpt
from knowledge.models import Chunk, Document, RetrievalTrace
from routing.admin.figures import number
from routing.admin.measured import mapping
from routing.admin.readonly import ReadOnly
from routing.models import DecisionRecord

NOT_KEPT = "not kept"
# The names are those of Grounded.trace of the gateway.
_FACTS = {
    "state": "State",
    "by": "Wanted by",
    "condensed": "Searched for",
    "condensed_by": "Rewritten by",
    "also": "Searched for beside it",
    "tokens": "Tokens of the passages",
    "budget": "Room for them",
    "window": "Window of the model",
    "cited": "Cited",
    "invented_citations": "Citations of what there was not",
}
# The list shows the first four.
_KNOWN = frozenset(
    ("collections", "question", "weak", "strength", *_FACTS, "notes", "steps", "passages", "packed", "cut")
)
_EMPTY: tuple[Any, ...] = (None, "", [], {})


class DocumentFilter(admin.SimpleListFilter):
    """Answers that one document was retrieved for; a document's page leads here."""

    title = "document"
    parameter_name = "document"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        pk = request.GET.get(self.parameter_name, "")
        document = Document.objects.filter(pk=pk).first() if pk.isdecimal() and len(pk) < 19 else None
        return [(pk, str(document))] if document else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[RetrievalTrace]) -> QuerySet[RetrievalTrace]:
        wanted = self.value()
        return queryset.filter(trace__passages__contains=[{"document": int(wanted)}]) if wanted else queryset


@admin.register(RetrievalTrace)
class RetrievalTraceAdmin(ReadOnly):
    list_display = ("created_at", "start", "searched", "shown_strength", "weak", "decision_link")
    list_display_links = ("created_at", "start")
    list_filter = (("created_at", admin.DateFieldListFilter), "weak", DocumentFilter)
    search_fields = ("decision", "question")
    search_help_text = "Part of a decision's id (header X-MoE-Decision), or of a question that was kept."
    show_full_result_count = False
    change_form_template = "admin/knowledge/retrievaltrace/change_form.html"
    fieldsets = (
        (None, {"fields": ("created_at", "shown_question", "searched", "shown_strength", "weak", "decision_link")}),
    )
    readonly_fields = ("shown_question", "searched", "shown_strength", "decision_link")

    class Media:
        css = {"all": ("knowledge/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[RetrievalTrace]:
        traces: QuerySet[RetrievalTrace] = super().get_queryset(request)
        # Of decisions only a share is kept.
        kept = DecisionRecord.objects.filter(pk=OuterRef("decision"))
        return traces.annotate(decision_there=Exists(kept))

    # --- columns

    @admin.display(description="question")
    def start(self, trace: RetrievalTrace) -> str:
        return excerpt(trace.question, 80) or NOT_KEPT

    @admin.display(description="question")
    def shown_question(self, trace: RetrievalTrace) -> str:
        return trace.question or f"{NOT_KEPT}; the profile says whether prompts are"

    @admin.display(description="collections")
    def searched(self, trace: RetrievalTrace) -> str:
        return _joined(trace.collections) or "none"

    @admin.display(description="strength", ordering="strength")
    def shown_strength(self, trace: RetrievalTrace) -> str:
        return number(trace.strength, 2)

    @admin.display(description="decision", ordering="decision")
    def decision_link(self, trace: RetrievalTrace) -> SafeString | str:
        if not cast(Any, trace).decision_there:
            return trace.decision
        address = reverse("admin:routing_decisionrecord_change", args=[trace.decision])
        return format_html('<a href="{}">{}</a>', address, trace.decision)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Retrieval"}
        trace = self.get_object(request, object_id)
        if trace is not None:
            context["told"] = told(trace.trace)
            context["sees_documents"] = may_see(request, "document")
            context["sees_chunks"] = may_see(request, "chunk")
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def told(trace: Any) -> dict[str, Any]:
    """Return ``trace`` as the page shows it; whatever is missing or of another shape is left out."""
    trace = mapping(trace)
    passages, cut = _objects(trace.get("passages")), _objects(trace.get("cut"))
    chunks, documents = _there((*passages, *cut))
    numbers = {
        chunk: source.get("n") for source in _objects(trace.get("packed")) for chunk in source.get("chunks") or ()
    }
    rest = {name: value for name, value in trace.items() if name not in _KNOWN}
    return {
        "facts": [
            (title, _joined(value)) for name, title in _FACTS.items() if (value := trace.get(name)) not in _EMPTY
        ],
        "notes": [str(note) for note in trace.get("notes") or ()],
        "steps": [
            (one.get("step", "–"), number(one.get("milliseconds"), 1, " ms"), one.get("result"))
            for one in _objects(trace.get("steps"))
        ],
        "passages": [
            {
                **one,
                "number": numbers.get(one.get("chunk")),
                "chunk_there": one.get("chunk") in chunks,
                "document_there": one.get("document") in documents,
                "score": number(one.get("score"), 3),
                "similarity": number(one.get("similarity"), 3),
                "text_score": number(one.get("text_score"), 2),
                "rerank_score": number(one.get("rerank_score"), 3),
            }
            for one in passages
        ],
        "cut": [{**one, "chunk_there": one.get("chunk") in chunks} for one in cut],
        "rest": json.dumps(rest, ensure_ascii=False, indent=2) if rest else "",
    }


def _there(passages: Iterable[dict[str, Any]]) -> tuple[set[int], set[int]]:
    """Return which chunks and documents that ``passages`` name are still there."""
    rows = list(passages)
    chunks = [one["chunk"] for one in rows if isinstance(one.get("chunk"), int)]
    documents = [one["document"] for one in rows if isinstance(one.get("document"), int)]
    return (
        set(Chunk.objects.filter(pk__in=chunks).values_list("pk", flat=True)),
        set(Document.objects.filter(pk__in=documents).values_list("pk", flat=True)),
    )


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
