"""The pages of evaluations: one run with its questions, two beside each other, and all of a collection over time."""

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from knowledge.admin.plots import Point, over_time
from knowledge.admin.rights import may, may_see
from knowledge.admin.wording import counted
from knowledge.comparing import paired
from knowledge.golden import OWN, golden_evaluate
from knowledge.judging import MEASURES
from knowledge.models import Collection, EvaluationRun
from routing.admin.measured import mapping, shown
from routing.admin.readonly import ReadOnly
from routing.exceptions import EndpointError

TITLES = {
    "recall_1": "recall@1",
    "recall_3": "recall@3",
    "recall_5": "recall@5",
    "recall_10": "recall@10",
    "mrr": "MRR",
    "ndcg_10": "nDCG@10",
}
PLOTTED = ("recall_5", "ndcg_10", "mrr")
MOST_PLOTTED = 200
MOST_CHANGES = 100
BY_HAND = "measured in admin"
NOTHING = "The collection has no golden queries that say what answers them. Add some first."


class ComparePages(admin.ModelAdmin):
    """The pages that show more than one run."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("compare/", view(self.compare_view), name="knowledge_evaluationrun_compare"),
            path("over-time/<int:pk>/", view(self.time_view), name="knowledge_evaluationrun_time"),
            *super().get_urls(),
        ]

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        """Show which questions a second run answers better, and which worse, than the first."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        first, second = (self._run(request, request.GET.get(name, "")) for name in ("first", "second"))
        found = paired(first.details, second.details)
        context = {
            "title": "Two evaluations compared",
            "first": first,
            "second": second,
            "found": found,
            "differences": [(TITLES[one.name], one) for one in found.differences],
            "changes": (
                ("Answered better", found.better[:MOST_CHANGES], len(found.better)),
                ("Answered worse", found.worse[:MOST_CHANGES], len(found.worse)),
            ),
        }
        return self._page(request, "compare", context)

    def time_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how a collection answered its golden queries from run to run."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        collection = Collection.objects.lasting().filter(pk=pk).first()
        if collection is None:
            raise Http404("There is no such collection.")
        own = EvaluationRun.objects.filter(**{"collection": collection, f"settings__{OWN}": True})
        runs = list(own.select_related("embedding_model").defer("details").order_by("-created_at")[:MOST_PLOTTED])
        points = [
            Point(at=run.created_at, model=str(run.embedding_model or "a former model"), measures=mapping(run.measures))
            for run in reversed(runs)
        ]
        plots = (over_time(points, name, TITLES[name]) for name in PLOTTED)
        context = {
            "title": f"{collection} over time",
            "collection": collection,
            "plots": [plot for plot in plots if plot is not None],
            "runs": [(run, [shown("", mapping(run.measures).get(name)) for name in MEASURES]) for run in runs],
            "columns": [TITLES[name] for name in MEASURES],
            "may_measure": may(request, "add", "evaluationrun"),
        }
        return self._page(request, "time", context)

    def _run(self, request: HttpRequest, pk: str) -> EvaluationRun:
        run = self.get_object(request, pk) if pk.isdecimal() else None
        if run is None:
            raise Http404("There is no such evaluation.")
        return run  # type: ignore[no-any-return]

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = self.admin_site.each_context(request) | {"opts": self.opts}
        return TemplateResponse(request, f"admin/knowledge/evaluationrun/{name}.html", shared | context)


@admin.register(EvaluationRun)
class EvaluationRunAdmin(ComparePages, ReadOnly):
    list_display = ("created_at", "collection", "embedding_model", "reason", "queries", "measured")
    list_filter = ("collection", "embedding_model", ("created_at", admin.DateFieldListFilter))
    list_select_related = ("collection", "embedding_model")
    search_fields = ("reason",)
    actions = ("compare",)
    change_form_template = "admin/knowledge/evaluationrun/change_form.html"
    fieldsets = (
        (
            None,
            {"fields": ("collection", "created_at", "reason", "queries", "measured", "embedding_model", "settings")},
        ),
    )
    readonly_fields = ("measured",)

    class Media:
        css = {"all": ("knowledge/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[EvaluationRun]:
        runs: QuerySet[EvaluationRun] = super().get_queryset(request)
        return runs.filter(collection__scratch=False)

    @admin.display(description="measured")
    def measured(self, run: EvaluationRun) -> str:
        told = (
            f"{TITLES.get(name, name.replace('_', ' '))} {shown('', value)}"
            for name, value in sorted(mapping(run.measures).items())
        )
        return ", ".join(told) or f"nothing of {counted(run.queries, 'question')}"

    @admin.action(description="Compare the two selected evaluations", permissions=["view"])
    def compare(self, request: HttpRequest, runs: QuerySet[EvaluationRun]) -> HttpResponse | None:
        chosen = list(runs.order_by("created_at", "pk").values_list("pk", flat=True)[:3])
        if len(chosen) != 2:
            self.message_user(request, "Select two evaluations, which are then compared.", messages.ERROR)
            return None
        return HttpResponseRedirect(compare_address(*chosen))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Evaluation"}
        run = self.get_object(request, object_id)
        if run is not None:
            earlier = EvaluationRun.objects.filter(collection=run.collection, created_at__lt=run.created_at)
            before = earlier.filter(**{f"settings__{OWN}": True}).order_by("-created_at").first()
            context |= {
                "rows": [(row, [shown("", row.get(name)) for name in MEASURES]) for row in run.details],
                "columns": [TITLES[name] for name in MEASURES],
                "compare_with_before": compare_address(before.pk, run.pk) if before else "",
                "sees_documents": may_see(request, "document"),
            }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def compare_address(first: int, second: int) -> str:
    """Return where two runs are shown beside each other."""
    return f"{reverse('admin:knowledge_evaluationrun_compare')}?{urlencode({'first': first, 'second': second})}"


class MeasurePages(admin.ModelAdmin):
    """Where the button of a collection leads that measures it."""

    def get_urls(self) -> list[URLPattern]:
        measure = self.admin_site.admin_view(self.measure_view)
        return [path("<int:pk>/measure/", measure, name="knowledge_collection_measure"), *super().get_urls()]

    def measure_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Measure a collection on its golden queries, and go to what came of it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        collection = self.get_object(request, str(pk))
        if collection is None:
            raise Http404("There is no such collection.")
        if not may(request, "add", "evaluationrun"):
            raise PermissionDenied
        own = reverse("admin:knowledge_evaluationrun_time", args=[pk])
        try:
            run = async_to_sync(golden_evaluate)(collection, reason=BY_HAND)
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(own)
        if run is None:
            self.message_user(request, NOTHING, messages.WARNING)
            return HttpResponseRedirect(own)
        return HttpResponseRedirect(reverse("admin:knowledge_evaluationrun_change", args=[run.pk]))
