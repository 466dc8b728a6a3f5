"""The page that shows a model server as it is now, and manages its models."""

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.backends.loading import full_tag
from routing.exceptions import BadRequest, EndpointError
from routing.modelcare import (
    PROBE_TIMEOUTS,
    checked_name,
    server_refresh,
    server_state,
    server_unload,
    server_warm,
    with_client,
)
from routing.models import ModelServer
from routing.pool import pool_state
from routing.pulls import pull_cancel, pull_start, pulls_of

Work = Callable[[ModelServer, str], str]


def _pull(server: ModelServer, name: str) -> str:
    pull = pull_start(server, checked_name(name))
    return f"Pulling {pull.model} to {server}; the progress is shown below."


def _cancel(server: ModelServer, name: str) -> str:
    pull_cancel(server, name)
    return f"Cancelling the pull of {name}; what arrived is kept, and pulling again goes on from there."


WORKS: Mapping[str, Work] = {
    "warm": lambda server, name: server_warm(server, checked_name(name)),
    "unload": lambda server, name: server_unload(server, checked_name(name)),
    "pull": _pull,
    "cancel": _cancel,
    "refresh": lambda server, _: server_refresh(server),
}


class StatePages(admin.ModelAdmin):
    """The pages beside a model server's form."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/state/", view(self.state_view), name="routing_modelserver_state"),
            path("<int:pk>/state/now/", view(self.state_now_view), name="routing_modelserver_state_now"),
            *super().get_urls(),
        ]

    def state_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the page; a POST does one of WORKS to one model first."""
        server = self._server(request, pk)
        if request.method == "POST":
            self._work(request, server)
            return HttpResponseRedirect(reverse("admin:routing_modelserver_state", args=[pk]))
        context = self.admin_site.each_context(request) | self._now(request, server) | {"title": f"State of {server}"}
        return _fresh(TemplateResponse(request, "admin/routing/modelserver/state.html", context))

    def state_now_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the part of the page that changes by itself."""
        context = self._now(request, self._server(request, pk))
        return _fresh(TemplateResponse(request, "admin/routing/modelserver/state_now.html", context))

    def _server(self, request: HttpRequest, pk: int) -> ModelServer:
        server = self.get_object(request, str(pk))
        if server is None:
            raise Http404("There is no such model server.")
        if not self.has_view_or_change_permission(request, server):
            raise PermissionDenied
        return server  # type: ignore[no-any-return]

    def _work(self, request: HttpRequest, server: ModelServer) -> None:
        if not self.has_change_permission(request, server):
            raise PermissionDenied
        try:
            work = WORKS.get(request.POST.get("do", ""))
            if work is None:
                raise BadRequest("There is nothing of that name to do.")
            self.message_user(request, work(server, request.POST.get("model", "")), messages.SUCCESS)
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)

    def _now(self, request: HttpRequest, server: ModelServer) -> dict[str, Any]:
        state = with_client(lambda client: server_state(server.address(), client), PROBE_TIMEOUTS)
        resident = {full_tag(model.name) for model in state.resident}
        installed = list(server.installed_models.all())
        return {
            "opts": self.opts,
            "server": server,
            "state": state,
            "is_ollama": server.kind == ModelServer.Kind.OLLAMA,
            "installed": [(model, full_tag(model.name) in resident) for model in installed],
            "seen_at": max((model.seen_at for model in installed), default=None),
            "pulls": pulls_of(server),
            "replicas": server_replicas(server),
            "may_change": self.has_change_permission(request, server),
            "may_delete": request.user.has_perm("routing.delete_installedmodel"),
        }


def server_replicas(server: ModelServer) -> list[dict[str, Any]]:
    """Return the server's replicas, each with this process's lane for it (None while nobody asked it)."""
    base_url = server.address().base_url
    lanes = {full_tag(lane["model"]): lane for lane in pool_state() if lane["server"] == base_url}
    replicas = server.replicas.select_related("expert", "server").order_by("model", "expert__position")
    return [{"replica": replica, "lane": lanes.get(full_tag(replica.model))} for replica in replicas]


def _fresh(response: TemplateResponse) -> TemplateResponse:
    response["Cache-Control"] = "no-store"
    return response
