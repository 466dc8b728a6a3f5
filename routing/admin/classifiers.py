from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin.evaluating import EvaluatePages
from routing.admin.measured import mapping, measured, numbers, shown
from routing.admin.profiles import GuardedDeletion
from routing.admin.readonly import ReadOnly
from routing.exceptions import EndpointError
from routing.models import ClassifierVersion


@admin.register(ClassifierVersion)
class ClassifierVersionAdmin(EvaluatePages, GuardedDeletion, ReadOnly):
    list_display = ("__str__", "created_at", "active", "examples", "expert_count", "accuracy", "threshold", "note")
    list_filter = ("active",)
    actions = ("activate", "deactivate", "delete_selected")
    change_form_template = "admin/routing/classifierversion/change_form.html"
    fieldsets = ((None, {"fields": ("created_at", "active", "examples", "expert_names", "fingerprint", "note")}),)
    readonly_fields = ("expert_names",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClassifierVersion]:
        return super().get_queryset(request).defer("weights")

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
        return shown("accuracy", mapping(version.metrics).get("accuracy"))

    @admin.display(description="abstains below")
    def threshold(self, version: ClassifierVersion) -> str:
        return shown("threshold", mapping(mapping(version.metrics).get("coverage")).get("threshold"))

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
                "numbers": numbers(version.metrics),
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
