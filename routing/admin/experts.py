from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from routing.admin.meanwhile import UndoesNothing
from routing.models import Expert, ExpertFallback, Replica


class ReplicaInline(admin.TabularInline):
    model = Replica
    extra = 0
    autocomplete_fields = ("server",)


class ExpertFallbackInline(admin.TabularInline):
    model = ExpertFallback
    fk_name = "expert"
    extra = 0
    autocomplete_fields = ("fallback",)


@admin.register(Expert)
class ExpertAdmin(UndoesNothing):
    list_display = ("name", "slug", "description", "models", "is_default", "enabled", "position")
    list_editable = ("enabled", "position")
    list_filter = ("enabled", "replicas__server")
    search_fields = ("slug", "name", "description")
    inlines = (ReplicaInline, ExpertFallbackInline)
    fieldsets = (
        (None, {"fields": ("slug", "name", "description", "enabled", "is_default", "position")}),
        ("What it is told", {"fields": ("system_prompt", "defaults")}),
        ("When it cannot answer", {"fields": ("answers_while_loading", "text_only")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Expert]:
        return super().get_queryset(request).prefetch_related("replicas__server")

    @admin.display(description="runs on")
    def models(self, expert: Expert) -> str:
        return ", ".join(str(replica) for replica in expert.replicas.all() if replica.enabled) or "nothing yet"


@admin.register(Replica)
class ReplicaAdmin(UndoesNothing):
    list_display = ("expert", "model", "server", "num_ctx", "concurrency", "keep_alive", "enabled")
    list_editable = ("enabled",)
    list_filter = ("enabled", "server", "expert")
    list_select_related = ("expert", "server")
    search_fields = ("model", "expert__slug", "expert__name", "server__name")
    autocomplete_fields = ("expert", "server")
