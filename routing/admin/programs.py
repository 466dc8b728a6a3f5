from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin.meanwhile import UndoesNothing
from routing.admin.measured import mapping, measured, shown
from routing.admin.profiles import GuardedDeletion
from routing.admin.programfacts import facts, gained
from routing.catalog import catalog
from routing.models import Expert, RouterProgram
from routing.program.plan import Plan
from routing.program.runs import run_start, runs_settle
from routing.program.versions import (
    NotShownToHelp,
    StateDamaged,
    gains,
    program_activate,
    program_deactivate,
    program_judge_anew,
    reason_against,
)

LIST = "admin:routing_routerprogram_changelist"
USUAL = Plan()


class OptimizeForm(forms.Form):
    """What a program is to be compiled with."""

    optimizer = forms.ChoiceField(
        choices=RouterProgram.Optimizer.choices,
        initial=RouterProgram.Optimizer.BOOTSTRAP,
        help_text="Bootstrap looks for demonstrations; MIPROv2 and GEPA have a model write better instructions, too.",
    )
    expert = forms.ChoiceField(help_text="Its model runs the program, for every request the classifier is unsure of.")
    teacher = forms.ChoiceField(
        required=False, help_text="Its model writes instructions, for MIPROv2 and GEPA: the largest you have."
    )
    examples = forms.IntegerField(
        initial=USUAL.examples,
        min_value=10,
        max_value=1000,
        help_text="How many to compile with: your own first, then those that came with the project.",
    )
    held_out = forms.IntegerField(
        initial=USUAL.held_out, min_value=20, max_value=2000, label="Held out", help_text="How many to measure with."
    )
    minutes = forms.FloatField(
        initial=USUAL.minutes, min_value=1, max_value=720, help_text="In all. Then the best so far is measured."
    )
    time_limit = forms.FloatField(
        initial=1.5, min_value=0.1, max_value=30, help_text=RouterProgram._meta.get_field("time_limit").help_text
    )
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, experts: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = list(experts.items())
        self.fields["expert"].choices = choices  # type: ignore[attr-defined]
        self.fields["teacher"].choices = [("", "the same"), *choices]  # type: ignore[attr-defined]


@admin.register(RouterProgram)
class RouterProgramAdmin(UndoesNothing, GuardedDeletion):
    list_display = ("__str__", "created_at", "active", "status", "optimizer", "runs_on", "accuracy", "gain")
    list_filter = ("active", "status", "optimizer")
    list_select_related = ("runs_on",)
    actions = ("activate", "deactivate", "compare", "delete_selected")
    change_form_template = "admin/routing/routerprogram/change_form.html"
    readonly_fields = ("expert_names",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("created_at", "created_by", "active", "status", "optimizer", "runs_on", "examples"),
                    *("expert_names", "time_limit", "loads_model", "accept_from", "note"),
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        compiled = ("created_at", "created_by", "active", "status", "optimizer", "runs_on", "examples")
        return (*compiled, *super().get_readonly_fields(request, obj))

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.change_routerprogram")

    def has_compile_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.add_routerprogram")

    def reason_to_keep(self, row: RouterProgram) -> str:
        if row.status == RouterProgram.Status.RUNNING:
            return f"{row} is being compiled; wait until it is done."
        return f"{row} is active; activate another, or deactivate it first." if row.active else ""

    def save_model(self, request: HttpRequest, obj: RouterProgram, form: ModelForm, change: bool) -> None:
        """Save, with its report brought up to other settings; say so where they make the active one no help."""
        if {"time_limit", "accept_from"} & set(form.changed_data):
            program_judge_anew(obj)
            if obj.active and (reason := reason_against(obj)):
                self.message_user(request, f"It stays active, but with these settings {reason}", messages.WARNING)
        super().save_model(request, obj, form, change)

    # --- columns

    @admin.display(description="experts")
    def expert_names(self, version: RouterProgram) -> str:
        return ", ".join(map(str, version.experts)) or "none"

    @admin.display(description="accuracy, as in production")
    def accuracy(self, version: RouterProgram) -> str:
        return shown("accuracy", mapping(mapping(version.metrics).get("stage")).get("accuracy"))

    @admin.display(description="better than the classifier alone, 95 % interval")
    def gain(self, version: RouterProgram) -> str:
        found = gains(version)
        if not found:
            return "–"
        numbers = found[0].numbers
        low, high = numbers["interval"]
        return f"{100 * numbers['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"

    # --- actions

    @admin.action(description="Activate this version …", permissions=["switch"])
    def activate(self, request: HttpRequest, versions: QuerySet[RouterProgram]) -> HttpResponse | None:
        chosen = list(versions[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose the one version that should decide.", messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:routing_routerprogram_activate", args=[chosen[0].pk]))

    @admin.action(description="Deactivate: route without a program …", permissions=["switch"])
    def deactivate(self, request: HttpRequest, versions: QuerySet[RouterProgram]) -> HttpResponse | None:
        active = next((version for version in versions if version.active), None)
        if active is None:
            self.message_user(request, "What is selected is not active.", messages.WARNING)
            return None
        return HttpResponseRedirect(reverse("admin:routing_routerprogram_deactivate", args=[active.pk]))

    @admin.action(description="Compare two versions", permissions=["view"])
    def compare(self, request: HttpRequest, versions: QuerySet[RouterProgram]) -> HttpResponse | None:
        chosen = list(versions.order_by("pk")[:3])
        if len(chosen) != 2:
            self.message_user(request, "Choose two versions.", messages.ERROR)
            return None
        address = reverse("admin:routing_routerprogram_compare", args=[version.pk for version in chosen])
        return HttpResponseRedirect(address)

    # --- pages

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "routing_routerprogram"
        return [
            path("optimize/", view(self.optimize_view), name=f"{name}_optimize"),
            path("<int:pk>/activate/", view(self.activate_view), name=f"{name}_activate"),
            path("<int:pk>/deactivate/", view(self.deactivate_view), name=f"{name}_deactivate"),
            path("<int:pk>/now/", view(self.now_view), name=f"{name}_now"),
            path("<int:first>/compare/<int:second>/", view(self.compare_view), name=f"{name}_compare"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        runs_settle()
        may = {"may_compile": self.has_compile_permission(request)}
        return super().changelist_view(request, may | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        runs_settle()
        context: dict[str, Any] = {"may_switch": self.has_switch_permission(request)}
        version = self.get_object(request, object_id)
        if version is not None:
            context |= {"facts": facts(version), "measured": measured(mapping(version.metrics).get("stage"))}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def now_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the part of a version's page that changes while it is compiled."""
        runs_settle()
        version = self._version(request, pk)
        if not self.has_view_or_change_permission(request, version):
            raise PermissionDenied
        return TemplateResponse(request, "admin/routing/routerprogram/now.html", {"original": version})

    def compare_view(self, request: HttpRequest, first: int, second: int) -> HttpResponse:
        """Show two versions side by side."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        both = self._version(request, first), self._version(request, second)
        found = [dict(facts(version)) for version in both]
        titles = dict.fromkeys(title for one in found for title in one)
        return self._page(
            request,
            "compare",
            title=f"{both[0]} and {both[1]}",
            versions=both,
            rows=[(title, [one.get(title, "–") for one in found]) for title in titles],
        )

    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether a version should decide from now on, by how much it is better; a POST says yes."""
        version = self._to_switch(request, pk)
        if request.method != "POST":
            return self._page(
                request,
                "confirm",
                title=f"Activate {version}?",
                version=version,
                what="Activate",
                active=RouterProgram.objects.filter(active=True).exclude(pk=pk).first(),
                gains=[(gain.over, gained(gain)) for gain in gains(version)],
                reason=reason_against(version),
                may_force=version.status == RouterProgram.Status.DONE,
            )
        forced = "force" in request.POST and bool(reason_against(version))
        try:
            program_activate(version, force=forced)
        except (NotShownToHelp, StateDamaged) as error:
            self.message_user(request, f"{version} was not activated: {error}", messages.ERROR)
        else:
            self.log_change(request, version, "Activated by force." if forced else "Activated.")
            self.message_user(request, f"Activated {version}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse(LIST))

    def deactivate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether to route without a program; a POST says yes."""
        version = self._to_switch(request, pk)
        if request.method != "POST":
            return self._page(
                request, "confirm", title=f"Deactivate {version}?", version=version, what="Deactivate", may_force=False
            )
        program_deactivate()
        self.log_change(request, version, "Deactivated.")
        self.message_user(request, f"Deactivated {version}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse(LIST))

    def optimize_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what to compile with; a POST starts a process that does."""
        if not self.has_compile_permission(request):
            raise PermissionDenied
        known = catalog.get()
        able = {slug: f"{one.name} ({slug})" for slug, one in known.experts.items() if one.replicas}
        form = OptimizeForm(
            request.POST if request.method == "POST" else None, experts=able, initial={"expert": known.default}
        )
        problem = self._problem(able)
        if request.method != "POST" or problem or not form.is_valid():
            return self._page(request, "optimize", title="Compile a program", form=form, problem=problem)
        version = self._started(request, form.cleaned_data)
        self.log_addition(request, version, "Compiling was started.")
        return HttpResponseRedirect(reverse("admin:routing_routerprogram_change", args=[version.pk]))

    def _problem(self, able: Mapping[str, str]) -> str:
        runs_settle()
        running = RouterProgram.objects.filter(status=RouterProgram.Status.RUNNING).first()
        if running is not None:
            return f"{running} is being compiled; wait until it is done."
        return "" if able else "No expert has a replica on a model server that is known. Add a model server first."

    def _started(self, request: HttpRequest, wanted: Mapping[str, Any]) -> RouterProgram:
        version = RouterProgram.objects.create(
            created_by_id=request.user.pk,
            optimizer=wanted["optimizer"],
            runs_on=Expert.objects.get(slug=wanted["expert"]),
            time_limit=wanted["time_limit"],
            note=wanted["note"],
        )
        arguments = [f"--{name.replace('_', '-')}={wanted[name]}" for name in ("examples", "held_out", "minutes")]
        arguments += [f"--teacher={wanted['teacher']}"] if wanted["teacher"] else []
        transaction.on_commit(lambda: run_start(version, arguments))
        return version

    def _to_switch(self, request: HttpRequest, pk: int) -> RouterProgram:
        version = self._version(request, pk)
        if not self.has_switch_permission(request):
            raise PermissionDenied
        return version

    def _version(self, request: HttpRequest, pk: int) -> RouterProgram:
        version: RouterProgram | None = self.get_object(request, str(pk))
        if version is None:
            raise Http404("There is no such program.")
        return version

    def _page(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        context = self.admin_site.each_context(request) | {"opts": self.opts} | context
        return TemplateResponse(request, f"admin/routing/routerprogram/{name}.html", context)
