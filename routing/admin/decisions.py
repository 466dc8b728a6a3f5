import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from routing.admin.examples import ExpertForm, with_chosen_expert
from routing.admin.figures import number, objects, percent, texts
from routing.admin.parts import NAMES, answered
from routing.admin.readonly import ReadOnly
from routing.admin.rowfeedback import RowFeedback
from routing.models import DecisionRecord, RouteExample

NOT_KEPT = "not kept"
# The names are those of Decision.explained.
_FACTS = {
    "task": "Background job",
    "needs": "Needs",
    "fallbacks": "Fallbacks",
    "collections": "Collections",
    "overrides": "Overrides",
}
_TOLD = ("sentence", "profile", "candidates", "stages", "skipped", "filtered", "rules", "held", "tokens", "hops")
# The list shows the last three.
_KNOWN = frozenset((*_TOLD, *_FACTS, *NAMES, "confidence", "sure", "language"))


@admin.register(DecisionRecord)
class DecisionRecordAdmin(RowFeedback, ReadOnly):
    list_display = ("created_at", "start", "expert", "route", "sure", "language", "asked", "key_name", "outcome")
    list_display_links = ("created_at", "start")
    list_filter = (("created_at", admin.DateFieldListFilter), "route", "expert", "language", "asked")
    search_fields = ("id", "prompt", "request_id")
    search_help_text = (
        "Part of a decision's id (header X-MoE-Decision), of a request's id, or of a prompt that was kept."
    )
    # Counting them all would take longer than showing a page of them.
    show_full_result_count = False
    actions = ("correct",)
    change_form_template = "admin/routing/decisionrecord/change_form.html"
    fieldsets = (
        (None, {"fields": ("created_at", "asked", "expert", "answered_by", "replica", "outcome")}),
        ("What was asked", {"fields": ("shown_prompt", "language", "key_name", "request_id", "id")}),
        ("How it was decided", {"fields": ("route", "sure", "took")}),
    )
    readonly_fields = ("shown_prompt", "sure", "took")

    def get_urls(self) -> list[URLPattern]:
        correct = self.admin_site.admin_view(self.correct_view)
        return [path("<str:pk>/correct/", correct, name="routing_decisionrecord_correct"), *super().get_urls()]

    # --- columns

    @admin.display(description="prompt")
    def start(self, record: DecisionRecord) -> str:
        line = " ".join(record.prompt[:400].split())
        return f"{line[:79]}…" if len(line) > 80 else line or NOT_KEPT

    @admin.display(description="prompt")
    def shown_prompt(self, record: DecisionRecord) -> str:
        return record.prompt or f"{NOT_KEPT}; the profile says whether prompts are"

    @admin.display(description="deciding took")
    def took(self, record: DecisionRecord) -> str:
        return number(record.milliseconds, 1, " ms")

    @admin.display(description="confidence", ordering="confidence")
    def sure(self, record: DecisionRecord) -> str:
        return percent(record.confidence)

    # --- corrections

    @admin.action(description="Should have been another expert …", permissions=["correct"])
    def correct(self, request: HttpRequest, records: QuerySet[DecisionRecord]) -> HttpResponse | None:
        kept = [record for record in records if record.prompt]
        if missing := len(records) - len(kept):
            skipped = f"The prompt of {missing} of the selected decisions was not kept; they are left out."
            self.message_user(request, skipped, messages.WARNING)
        if not kept:
            return None
        return with_chosen_expert(
            self,
            request,
            [self.start(record) for record in kept],
            title="Who should have answered these?",
            action="correct",
            work=lambda expert: self.correct_all(request, kept, expert),
        )

    def correct_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Make the prompt of one decision an example for the expert that should have answered it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        record = self.get_object(request, pk)
        if record is None:
            raise Http404("There is no such decision.")
        if not (self.has_view_permission(request, record) and self.has_correct_permission(request)):
            raise PermissionDenied
        form = ExpertForm(request.POST)
        if not record.prompt:
            self.message_user(request, "The prompt of this decision was not kept.", messages.ERROR)
        elif not form.is_valid():
            self.message_user(request, "Choose the expert that should have answered.", messages.ERROR)
        else:
            self.correct_all(request, [record], form.cleaned_data["expert"])
        return HttpResponseRedirect(reverse("admin:routing_decisionrecord_change", args=[quote(pk)]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Decision"}
        record = self.get_object(request, unquote(object_id))
        if record is not None:
            context["why"] = explained(record.why)
            if record.prompt and self.has_correct_permission(request):
                example = RouteExample.objects.of(record.prompt)
                context |= {"correction": ExpertForm(initial={"expert": example.expert} if example else None)}
                context["example"] = example
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def explained(why: Any) -> dict[str, Any]:
    """Return ``why`` as the page shows it; whatever is missing or of another shape is left out."""
    why = why if isinstance(why, dict) else {}
    rest = {name: value for name, value in why.items() if name not in _KNOWN}
    return {
        "sentence": why.get("sentence") or "",
        "profile": why.get("profile") or "",
        "held": why.get("held") or "",
        "tokens": why.get("tokens"),
        "facts": [
            (title, ", ".join(map(str, value)) if isinstance(value, list) else value)
            for name, title in _FACTS.items()
            if (value := why.get(name))
        ],
        "candidates": [
            {
                "expert": one.get("expert", "–"),
                "probability": percent(one.get("probability")),
                "utility": number(one.get("utility"), 3),
                "start": number(one.get("start_s"), 1, " s"),
                "price": number(one.get("price"), 4),
            }
            for one in objects(why.get("candidates"))
        ],
        "stages": [
            {
                "stage": one.get("stage", "–"),
                "took": number(one.get("milliseconds"), 2, " ms"),
                "result": one.get("result"),
            }
            for one in objects(why.get("stages"))
        ],
        "skipped": texts(why.get("skipped")),
        "filtered": objects(why.get("filtered")),
        "rules": [
            {
                "rule": one.get("rule", "–"),
                "fits": "fits" if one.get("fits") else "does not fit",
                "reason": one.get("reason"),
            }
            for one in objects(why.get("rules"))
        ],
        "hops": [f"{one.get('replica')} ({one.get('error')})" for one in objects(why.get("hops"))],
        "together": answered(why),
        "rest": json.dumps(rest, ensure_ascii=False, indent=2) if rest else "",
    }
