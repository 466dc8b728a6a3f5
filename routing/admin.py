"""The pages on which an administrator decides who answers."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from routing.discovery import servers_refresh
from routing.exceptions import EndpointError
from routing.models import Expert, InstalledModel, ModelServer, Replica, RoutingRule
from routing.shelf import replicas_propose


class LinesField(forms.CharField):
    """A list of texts, edited one a line."""

    widget = forms.Textarea(attrs={"rows": 8})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line))


class ModelServerForm(forms.ModelForm):
    remove_api_key = forms.BooleanField(required=False, help_text="Forget the stored key.")

    class Meta:
        model = ModelServer
        fields = ("name", "kind", "base_url", "api_key", "enabled", "note")
        widgets = {"api_key": forms.PasswordInput(attrs={"autocomplete": "new-password"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.api_key:
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
class ModelServerAdmin(admin.ModelAdmin):
    form = ModelServerForm
    list_display = ("name", "kind", "base_url", "enabled", "model_count", "replica_count")
    list_filter = ("kind", "enabled")
    search_fields = ("name", "base_url", "note")
    inlines = (InstalledModelInline,)
    actions = ("refresh",)

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
            made = replicas_propose(server)
            proposed = f"; {made} replicas proposed" if made else ""
            self.message_user(request, f"{server}: {outcome} models installed{proposed}.", messages.SUCCESS)


class ReplicaInline(admin.TabularInline):
    model = Replica
    extra = 0
    autocomplete_fields = ("server",)


@admin.register(Expert)
class ExpertAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "description", "models", "is_default", "enabled", "position")
    list_editable = ("enabled", "position")
    list_filter = ("enabled", "replicas__server")
    search_fields = ("slug", "name", "description")
    inlines = (ReplicaInline,)
    fieldsets = (
        (None, {"fields": ("slug", "name", "description", "enabled", "is_default", "position")}),
        ("What it is told", {"fields": ("system_prompt", "defaults")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Expert]:
        return super().get_queryset(request).prefetch_related("replicas__server")

    @admin.display(description="runs on")
    def models(self, expert: Expert) -> str:
        return ", ".join(str(replica) for replica in expert.replicas.all() if replica.enabled) or "nothing yet"


@admin.register(Replica)
class ReplicaAdmin(admin.ModelAdmin):
    list_display = ("expert", "model", "server", "num_ctx", "keep_alive", "enabled")
    list_editable = ("enabled",)
    list_filter = ("enabled", "server", "expert")
    list_select_related = ("expert", "server")
    search_fields = ("model", "expert__slug", "expert__name", "server__name")
    autocomplete_fields = ("expert", "server")


@admin.register(InstalledModel)
class InstalledModelAdmin(admin.ModelAdmin):
    list_display = ("name", "server", "parameter_size", "quantization", "context_length", "can", "seen_at")
    list_filter = ("server", "family")
    list_select_related = ("server",)
    search_fields = ("name", "family")

    @admin.display(description="capabilities")
    def can(self, model: InstalledModel) -> str:
        return "not told" if model.capabilities is None else ", ".join(model.capabilities)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RoutingRuleForm(forms.ModelForm):
    keywords = LinesField(help_text=RoutingRule._meta.get_field("keywords").help_text)

    class Meta:
        model = RoutingRule
        fields = ("name", "priority", "enabled", "keywords", "expert", "note")


@admin.register(RoutingRule)
class RoutingRuleAdmin(admin.ModelAdmin):
    form = RoutingRuleForm
    list_display = ("name", "priority", "enabled", "expert", "first_keywords")
    list_editable = ("priority", "enabled")
    list_filter = ("enabled", "expert")
    list_select_related = ("expert",)
    search_fields = ("name", "keywords", "note")
    autocomplete_fields = ("expert",)

    @admin.display(description="keywords")
    def first_keywords(self, rule: RoutingRule) -> str:
        shown = rule.keywords[:6]
        return ", ".join(shown) + (f" … ({len(rule.keywords)})" if len(rule.keywords) > len(shown) else "")
