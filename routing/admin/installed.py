from collections.abc import Callable, Iterable
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from routing.admin.readonly import ReadOnly
from routing.exceptions import EndpointError
from routing.modelcare import replicas_of, server_delete, server_unload, server_warm
from routing.models import InstalledModel


@admin.register(InstalledModel)
class InstalledModelAdmin(ReadOnly):
    list_display = ("name", "server", "parameter_size", "quantization", "context_length", "can", "seen_at")
    list_filter = ("server", "family")
    list_select_related = ("server",)
    search_fields = ("name", "family")
    actions = ("warm", "unload", "delete_from_server")

    @admin.display(description="capabilities")
    def can(self, model: InstalledModel) -> str:
        return "not told" if model.capabilities is None else ", ".join(model.capabilities)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whoever may change a model server may load and unload what is on it."""
        return request.user.has_perm("routing.change_modelserver")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)  # it would forget the row and leave the model where it is
        return actions

    @admin.action(description="Load into memory", permissions=["manage"])
    def warm(self, request: HttpRequest, models: QuerySet[InstalledModel]) -> None:
        self._each(request, models, lambda model: server_warm(model.server, model.name))

    @admin.action(description="Unload from memory", permissions=["manage"])
    def unload(self, request: HttpRequest, models: QuerySet[InstalledModel]) -> None:
        self._each(request, models, lambda model: server_unload(model.server, model.name))

    @admin.action(description="Delete from their servers", permissions=["delete"])
    def delete_from_server(self, request: HttpRequest, models: QuerySet[InstalledModel]) -> HttpResponse | None:
        models = models.select_related("server")
        if request.POST.get("post") != "yes":
            back = reverse("admin:routing_installedmodel_changelist")
            return self._ask(request, models, back, action="delete_from_server")
        self._delete(request, models)
        return None

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Delete one model from its server; the state page links here."""
        model = self.get_object(request, object_id)
        if model is None:
            return HttpResponseRedirect(reverse("admin:routing_installedmodel_changelist"))
        if not self.has_delete_permission(request, model):
            raise PermissionDenied
        back = reverse("admin:routing_modelserver_state", args=[model.server_id])
        if request.method != "POST":
            return self._ask(request, [model], back)
        self._delete(request, [model])
        return HttpResponseRedirect(back)

    def _ask(
        self, request: HttpRequest, models: Iterable[InstalledModel], back: str, *, action: str = ""
    ) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "Are you sure?",
            "opts": self.opts,
            "affected": [(model, replicas_of(model.server, model.name)) for model in models],
            "action": action,
            "back": back,
        }
        return TemplateResponse(request, "admin/routing/installedmodel/delete_from_server.html", context)

    def _delete(self, request: HttpRequest, models: Iterable[InstalledModel]) -> None:
        def delete(model: InstalledModel) -> str:
            using = replicas_of(model.server, model.name)
            done = server_delete(model.server, model.name)
            # It is typed for a queryset and only goes through it; the row itself is gone by now.
            self.log_deletions(request, cast(Any, [model]))
            if using:
                experts = ", ".join(str(replica.expert) for replica in using)
                done += f" Replicas of these experts point at nothing now: {experts}."
            return done

        self._each(request, models, delete)

    def _each(
        self, request: HttpRequest, models: Iterable[InstalledModel], work: Callable[[InstalledModel], str]
    ) -> None:
        for model in models:
            try:
                self.message_user(request, work(model), messages.SUCCESS)
            except EndpointError as error:
                self.message_user(request, error.message, messages.ERROR)
