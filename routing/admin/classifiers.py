import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin.profiles import GuardedDeletion
from routing.exceptions import EndpointError
from routing.models import ClassifierVersion

# What metrics are called on the page. The names are those of routing/classifier/measures.py.
_NUMBERS = {
    "count": "Examples measured with",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "quick_share": "Decided by the quick layer",
}
_COVERAGE = {"threshold": "Abstains below", "decided": "Decided", "right": "Decided rightly"}
_EVALUATION = {"count": "Examples for evaluation", "accuracy": "Of those rightly", "active": "The active one then"}
_TABLES = {"experts": "By expert", "languages": "By language", "stages": "By stage", "sources": "By source"}
# PostgreSQL keeps no order of names.
_COLUMNS = ("count", "accuracy", "confidence", "precision", "recall", "f1", "interval")
_SHARES = frozenset(
    ("active", "accuracy", "precision", "recall", "decided", "right", "quick_share", "threshold", "confidence")
)
_SHOWN = frozenset((*_NUMBERS, *_TABLES, "accuracy_interval", "coverage", "evaluation", "calibration", "confusion"))


@admin.register(ClassifierVersion)
class ClassifierVersionAdmin(GuardedDeletion):
    list_display = ("__str__", "created_at", "active", "examples", "expert_count", "accuracy", "threshold", "note")
    list_filter = ("active",)
    actions = ("activate", "deactivate", "delete_selected")
    change_form_template = "admin/routing/classifierversion/change_form.html"
    fieldsets = ((None, {"fields": ("created_at", "active", "examples", "expert_names", "fingerprint", "note")}),)
    readonly_fields = ("expert_names",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClassifierVersion]:
        return super().get_queryset(request).defer("weights")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.change_classifierversion")

    def reason_to_keep(self, row: ClassifierVersion) -> str:
        return f"{row} is active; activate another, or deactivate it first." if row.active else ""

    # --- columns

    @admin.display(description="experts")
    def expert_count(self, version: ClassifierVersion) -> int:
        return len(version.experts)

    @admin.display(description="experts")
    def expert_names(self, version: ClassifierVersion) -> str:
        return ", ".join(map(str, version.experts)) or "none"

    @admin.display(description="accuracy")
    def accuracy(self, version: ClassifierVersion) -> str:
        return _shown("accuracy", _mapping(version.metrics).get("accuracy"))

    @admin.display(description="abstains below")
    def threshold(self, version: ClassifierVersion) -> str:
        return _shown("threshold", _mapping(_mapping(version.metrics).get("coverage")).get("threshold"))

    # --- switching

    @admin.action(description="Activate this version …", permissions=["switch"])
    def activate(self, request: HttpRequest, versions: QuerySet[ClassifierVersion]) -> HttpResponse | None:
        chosen = list(versions[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose the one version that should decide.", messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:routing_classifierversion_activate", args=[chosen[0].pk]))

    @admin.action(description="Deactivate: route without a classifier …", permissions=["switch"])
    def deactivate(self, request: HttpRequest, versions: QuerySet[ClassifierVersion]) -> HttpResponse | None:
        active = next((version for version in versions if version.active), None)
        if active is None:
            self.message_user(request, "What is selected is not active.", messages.WARNING)
            return None
        return HttpResponseRedirect(reverse("admin:routing_classifierversion_deactivate", args=[active.pk]))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/activate/", view(self.activate_view), name="routing_classifierversion_activate"),
            path("<int:pk>/deactivate/", view(self.deactivate_view), name="routing_classifierversion_deactivate"),
            *super().get_urls(),
        ]

    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether a version should decide from now on; a POST says yes."""
        return self._switch(request, pk, "Activate", _activate)

    def deactivate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether to route without a classifier; a POST says yes."""
        return self._switch(request, pk, "Deactivate", _deactivate)

    def _switch(
        self, request: HttpRequest, pk: int, what: str, work: Callable[[ClassifierVersion], None]
    ) -> HttpResponse:
        version = self.get_object(request, str(pk))
        if version is None:
            raise Http404("There is no such version.")
        if not self.has_switch_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            context = self.admin_site.each_context(request) | {
                "title": f"{what} {version}?",
                "opts": self.opts,
                "version": version,
                "what": what,
                "active": ClassifierVersion.objects.defer("weights").filter(active=True).first(),
                "numbers": _numbers(_mapping(version.metrics)),
            }
            return TemplateResponse(request, "admin/routing/classifierversion/confirm.html", context)
        try:
            work(version)
        except (EndpointError, ValueError) as error:
            self.message_user(request, f"{version} could not be {what.lower()}d: {error}", messages.ERROR)
        else:
            self.log_change(request, version, f"{what}d.")
            self.message_user(request, f"{what}d {version}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:routing_classifierversion_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"may_switch": self.has_switch_permission(request)}
        version = self.get_object(request, object_id)
        if version is not None:
            context["measured"] = measured(version.metrics)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def _activate(version: ClassifierVersion) -> None:
    from routing.versions import version_activate  # its libraries are heavy

    version_activate(version)


def _deactivate(_: ClassifierVersion) -> None:
    from routing.versions import version_deactivate

    version_deactivate()


# --- metrics ----------------------------------------------------------------------------------------------------


def measured(metrics: Any) -> dict[str, Any]:
    """Return ``metrics`` as the page shows them; whatever is missing or of another shape is left out."""
    metrics = _mapping(metrics)
    tables = [_table(title, _most_first(_mapping(metrics.get(name)))) for name, title in _TABLES.items()]
    calibration = _mapping(metrics.get("calibration"))
    bins = {
        f"{_shown('confidence', row.get('from'))} to {_shown('confidence', row.get('to'))}": row
        for row in calibration.get("bins") or ()
        if isinstance(row, dict)
    }
    tables.append(_table("Calibration, by confidence", bins, without=("from", "to")))
    rest = {name: value for name, value in metrics.items() if name not in _SHOWN}
    return {
        "numbers": _numbers(metrics),
        "tables": [table for table in tables if table["rows"]],
        "confusion": _confusion(metrics.get("confusion")),
        "rest": json.dumps(rest, ensure_ascii=False, indent=2) if rest else "",
    }


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    numbers = [(title, _shown(name, metrics[name])) for name, title in _NUMBERS.items() if name in metrics]
    if isinstance(metrics.get("accuracy_interval"), list):
        numbers.append(("Accuracy, 95 % interval", _shown("accuracy", metrics["accuracy_interval"])))
    coverage = _mapping(metrics.get("coverage"))
    numbers += [(title, _shown(name, coverage[name])) for name, title in _COVERAGE.items() if name in coverage]
    evaluation = _mapping(metrics.get("evaluation"))
    numbers += [(title, _shown(name, evaluation[name])) for name, title in _EVALUATION.items() if name in evaluation]
    if "expected_error" in _mapping(metrics.get("calibration")):
        numbers.append(("Expected calibration error", _shown("", metrics["calibration"]["expected_error"])))
    return numbers


def _table(title: str, value: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """Return numbers by name, or objects by name, as a table."""
    rows = {name: row if isinstance(row, dict) else {"accuracy": row} for name, row in value.items()}
    there = {name for row in rows.values() for name in row if name not in without}
    columns = [name for name in _COLUMNS if name in there] + sorted(there - set(_COLUMNS))
    return {
        "title": title,
        "columns": [column.replace("_", " ") for column in columns],
        "rows": [
            (name, [_shown("accuracy" if column == "interval" else column, row.get(column)) for column in columns])
            for name, row in rows.items()
        ],
    }


def _most_first(value: Mapping[str, Any]) -> dict[str, Any]:
    def count(row: Any) -> float:
        found = _mapping(row).get("count")
        return found if isinstance(found, int | float) else 0

    return dict(sorted(value.items(), key=lambda item: (-count(item[1]), item[0])))


def _confusion(value: Any) -> dict[str, Any] | None:
    confusion = _mapping(value)
    labels, counts = confusion.get("labels"), confusion.get("counts")
    columns = confusion.get("predicted", labels)
    if not (isinstance(labels, list) and isinstance(columns, list) and isinstance(counts, list)):
        return None
    rows = [
        (label, [(count, label == column) for column, count in zip(columns, row, strict=False)])
        for label, row in zip(labels, counts, strict=False)
        if isinstance(row, list)
    ]
    return {"columns": columns, "rows": rows}


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_shown(name, one) for one in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if name in _SHARES:
        return f"{value:.1%}"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
