from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from routing.admin.meanwhile import UndoesNothing
from routing.admin.state import StatePages
from routing.discovery import servers_refresh
from routing.exceptions import EndpointError
from routing.modelcare import discovered
from routing.models import InstalledModel, ModelServer


class ModelServerForm(forms.ModelForm):
    remove_api_key = forms.BooleanField(required=False, help_text="Forget the stored key.")

    class Meta:
        model = ModelServer
        fields = ("name", "kind", "base_url", "api_key", "enabled", "note")
        widgets = {"api_key": forms.PasswordInput(attrs={"autocomplete": "new-password"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.api_key and "api_key" in self.fields:  # not there for whoever may only look
            self.fields["api_key"].help_text += " One is stored; leave empty to keep it."

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if data is not None and data.get("remove_api_key"):
            data["api_key"] = ""
        elif data is not None and not data.get("api_key"):
            data["api_key"] = self.initial.get("api_key", "")
        return data


class InstalledModelInline(admin.TabularInline):
    model = InstalledModel
    fields = readonly_fields = (
        "name",
        "parameter_size",
        "quantization",
        "size",
        "context_length",
        "can",
        "seen_at",
    )
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="size")
    def size(self, model: InstalledModel) -> str:
        return filesizeformat(model.size_bytes) if model.size_bytes else "–"

    @admin.display(description="capabilities")
    def can(self, model: InstalledModel) -> str:
        return "not told" if model.capabilities is None else ", ".join(model.capabilities)


@admin.register(ModelServer)
class ModelServerAdmin(UndoesNothing, StatePages):
    form = ModelServerForm
    list_display = ("name", "kind", "base_url", "enabled", "model_count", "replica_count", "state_link")
    list_filter = ("kind", "enabled")
    search_fields = ("name", "base_url", "note")
    inlines = (InstalledModelInline,)
    actions = ("refresh",)

    def get_fields(self, request: HttpRequest, obj: ModelServer | None = None) -> list[Any]:
        """Return the fields, without the key for whoever may only look: what cannot be changed is shown as it is."""
        fields = list(super().get_fields(request, obj))
        if obj is None or self.has_change_permission(request, obj):
            return fields
        return [name for name in fields if name not in ("api_key", "remove_api_key")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelServer]:
        servers: QuerySet[ModelServer] = super().get_queryset(request)
        return servers.annotate(
            models_there=Count("installed_models", distinct=True), replicas_there=Count("replicas", distinct=True)
        )

    @admin.display(description="installed models", ordering="models_there")
    def model_count(self, server: ModelServer) -> int:
        return cast(Any, server).models_there  # type: ignore[no-any-return]

    @admin.display(description="replicas", ordering="replicas_there")
    def replica_count(self, server: ModelServer) -> int:
        return cast(Any, server).replicas_there  # type: ignore[no-any-return]

    @admin.display(description="now")
    def state_link(self, server: ModelServer) -> str:
        return format_html('<a href="{}">State</a>', reverse("admin:routing_modelserver_state", args=[server.pk]))

    def save_model(self, request: HttpRequest, server: ModelServer, form: Any, change: bool) -> None:
        super().save_model(request, server, form, change)
        if server.enabled and (not change or {"base_url", "kind", "api_key", "enabled"} & set(form.changed_data)):
            self.refresh(request, ModelServer.objects.filter(pk=server.pk))

    @admin.action(description="Ask what is installed, and propose experts where none was proposed yet")
    def refresh(self, request: HttpRequest, servers: QuerySet[ModelServer]) -> None:
        for server, outcome in servers_refresh(servers).items():
            if isinstance(outcome, EndpointError):
                self.message_user(request, f"{server}: {outcome.message}", messages.ERROR)
                continue
            self.message_user(request, discovered(server, outcome), messages.SUCCESS)
