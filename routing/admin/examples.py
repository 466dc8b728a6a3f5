from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin.meanwhile import UndoesNothing
from routing.admin.uploads import TextFileField
from routing.examplefile import MAX_BYTES, ImportReport, examples_export, examples_import
from routing.models import Expert, RouteExample

_SHOWN_LINES = 50


class ExpertField(forms.ModelChoiceField):
    """An expert, by name and slug."""

    def label_from_instance(self, expert: Any) -> str:
        return f"{expert} ({expert.slug}{'' if expert.enabled else ', disabled'})"


class ExpertForm(forms.Form):
    expert = ExpertField(Expert.objects.all(), empty_label="Choose an expert")


class RouteExampleForm(forms.ModelForm):
    class Meta:
        model = RouteExample
        fields = ("prompt", "expert", "split", "enabled", "note")
        field_classes = {"expert": ExpertField}
        widgets = {
            "prompt": forms.Textarea(attrs={"rows": 12, "cols": 100}),
            "note": forms.Textarea(attrs={"rows": 3, "cols": 100}),
        }


class ExampleFileForm(forms.Form):
    file = TextFileField(
        max_bytes=MAX_BYTES,
        too_large="Split it.",
        help_text='JSON lines such as {"prompt": "Translate this: …", "expert": "translation"}.',
    )
    split = forms.ChoiceField(
        choices=RouteExample.Split.choices, label="Use", help_text="Of new examples whose lines do not say."
    )


class ExampleFilePages(admin.ModelAdmin):
    """The pages beside the list of examples: export and import."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export_view), name="routing_routeexample_export"),
            path("import/", view(self.import_view), name="routing_routeexample_import"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return examples_download(RouteExample.objects.all())

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file and show what it would change; with its text sent back, change it."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        if request.method == "POST" and "text" in request.POST:
            return self._apply(request, request.POST["text"], _split_of(request.POST.get("split", "")))
        form = ExampleFileForm(request.POST or None, request.FILES or None)
        if request.method != "POST" or not form.is_valid():
            return self._import_page(request, form=form)
        text, split = form.cleaned_data["file"], form.cleaned_data["split"]
        report = examples_import(text, split=split, apply=False)
        if report.errors:
            return self._import_page(request, form=form, report=report)
        return self._import_page(request, report=report, text=text, split=split)

    def _apply(self, request: HttpRequest, text: str, split: str) -> HttpResponse:
        report = examples_import(text, user=request.user, split=split, apply=True)
        if report.errors:
            return self._import_page(request, form=ExampleFileForm(), report=report)
        self.message_user(request, f"Imported the examples: {report}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:routing_routeexample_changelist"))

    def _import_page(self, request: HttpRequest, *, report: ImportReport | None = None, **context: Any) -> HttpResponse:
        shown: dict[str, Any] = {"title": "Import examples", "opts": self.opts, "report": report}
        if report is not None:
            for name in ("errors", "changed", "unknown"):
                lines = getattr(report, name)
                shown |= {name: lines[:_SHOWN_LINES], f"more_{name}": max(0, len(lines) - _SHOWN_LINES)}
        context = self.admin_site.each_context(request) | shown | context
        return TemplateResponse(request, "admin/routing/routeexample/import.html", context)


@admin.register(RouteExample)
class RouteExampleAdmin(UndoesNothing, ExampleFilePages):
    form = RouteExampleForm
    list_display = ("start", "expert", "language", "source", "split", "enabled")
    list_filter = ("expert", "split", "source", "enabled", "language")
    list_select_related = ("expert",)
    search_fields = ("prompt", "note")
    actions = ("enable", "disable", "to_evaluation", "to_training", "change_expert", "export_selected")
    readonly_fields = ("source", "language", "created_at", "created_by")
    change_list_template = "admin/routing/routeexample/change_list.html"
    fieldsets = (
        (None, {"fields": ("prompt", "expert", "split", "enabled", "note")}),
        ("Where it comes from", {"fields": ("source", "language", "created_at", "created_by")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        # What is new comes from nowhere yet.
        return super().get_fieldsets(request, obj)[: None if obj else 1]

    def save_model(self, request: HttpRequest, example: RouteExample, form: Any, change: bool) -> None:
        if not change:
            example.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, example, form, change)

    @admin.display(description="prompt", ordering="prompt")
    def start(self, example: RouteExample) -> str:
        return str(example)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {"may_import": self.has_import_permission(request)}
        if request.method == "GET":
            context["counts"] = examples_counted()
        return super().changelist_view(request, context | (extra_context or {}))

    # --- actions

    @admin.action(description="Enable the selected examples", permissions=["change"])
    def enable(self, request: HttpRequest, examples: QuerySet[RouteExample]) -> None:
        self._set(request, examples, "Enabled", enabled=True)

    @admin.action(description="Disable the selected examples", permissions=["change"])
    def disable(self, request: HttpRequest, examples: QuerySet[RouteExample]) -> None:
        self._set(request, examples, "Disabled", enabled=False)

    @admin.action(description="Use the selected examples for evaluation only", permissions=["change"])
    def to_evaluation(self, request: HttpRequest, examples: QuerySet[RouteExample]) -> None:
        self._set(request, examples, "Moved to evaluation", split=RouteExample.Split.EVALUATION)

    @admin.action(description="Use the selected examples for training", permissions=["change"])
    def to_training(self, request: HttpRequest, examples: QuerySet[RouteExample]) -> None:
        self._set(request, examples, "Moved to training", split=RouteExample.Split.TRAINING)

    @admin.action(description="Change the expert of the selected examples …", permissions=["change"])
    def change_expert(self, request: HttpRequest, examples: QuerySet[RouteExample]) -> HttpResponse | None:
        return with_chosen_expert(
            self,
            request,
            examples,
            title="Who should answer these?",
            action="change_expert",
            work=lambda expert: self._set(request, examples, f"Moved to “{expert}”", expert=expert),
        )

    @admin.action(description="Export the selected examples", permissions=["view"])
    def export_selected(self, request: HttpRequest, examples: QuerySet[RouteExample]) -> HttpResponse:
        return examples_download(examples)

    @transaction.atomic
    def _set(self, request: HttpRequest, examples: QuerySet[RouteExample], done: str, **values: Any) -> None:
        changed = list(examples.exclude(**values))
        # In one statement, as they may be thousands; the database tells every process.
        RouteExample.objects.filter(pk__in=[example.pk for example in changed]).update(**values)
        if changed:
            LogEntry.objects.log_actions(request.user.pk, changed, CHANGE, f"{done}.")  # type: ignore[arg-type]
        count = len(changed)
        self.message_user(request, f"{done}: {count} example{'' if count == 1 else 's'}.", messages.SUCCESS)


def examples_counted() -> list[dict[str, Any]]:
    """Return, for each expert that is enabled or has some, how many examples are learnt from, measured with and off."""
    used = Q(examples__enabled=True)
    counted = Expert.objects.annotate(
        training=Count("examples", filter=used & Q(examples__split=RouteExample.Split.TRAINING)),
        evaluation=Count("examples", filter=used & Q(examples__split=RouteExample.Split.EVALUATION)),
        disabled=Count("examples", filter=Q(examples__enabled=False)),
    )
    rows = counted.values("pk", "slug", "name", "enabled", "training", "evaluation", "disabled")
    return [dict(row) for row in rows if row["enabled"] or row["training"] + row["evaluation"] + row["disabled"]]


def examples_download(examples: QuerySet[RouteExample]) -> HttpResponse:
    response = HttpResponse("".join(examples_export(examples)), content_type="application/jsonl; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="examples.jsonl"'
    return response


def with_chosen_expert(
    page: admin.ModelAdmin,
    request: HttpRequest,
    rows: Iterable[Any],
    *,
    title: str,
    action: str,
    work: Callable[[Expert], None],
) -> HttpResponse | None:
    """Ask for an expert on a page between the list and its action, then do ``work`` with it."""
    form = ExpertForm(request.POST if "chosen" in request.POST else None)
    if form.is_valid():
        work(form.cleaned_data["expert"])
        return None
    rows = list(rows[: _SHOWN_LINES + 1] if isinstance(rows, QuerySet) else rows)
    context = page.admin_site.each_context(request) | {
        "title": title,
        "opts": page.opts,
        "form": form,
        "rows": rows[:_SHOWN_LINES],
        "more": len(rows) > _SHOWN_LINES,
        "action": action,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "checkbox": ACTION_CHECKBOX_NAME,
        "across": request.POST.get("select_across", "0"),
        "back": reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist"),
    }
    return TemplateResponse(request, "admin/routing/routeexample/choose_expert.html", context)


def _split_of(text: str) -> str:
    return text if text in RouteExample.Split.values else RouteExample.Split.TRAINING
