from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.text import capfirst

from routing.admin.fields import LinesField
from routing.admin.meanwhile import UndoesNothing
from routing.catalog import AUTO
from routing.models import RoutingProfile

SEVERAL = "Where several experts answer"


class GuardedDeletion(admin.ModelAdmin):
    """Deletes rows but those there is a reason to keep, and tells it."""

    def reason_to_keep(self, row: Any) -> str:
        """Return why ``row`` must not be deleted, in a sentence; empty where it may be."""
        raise NotImplementedError

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj is not None and self.reason_to_keep(obj))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is not None and super().has_delete_permission(request, row) and (reason := self.reason_to_keep(row)):
            self.message_user(request, reason, messages.ERROR)
            path = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
            return HttpResponseRedirect(path)
        return super().delete_view(request, object_id, extra_context)

    @admin.action(description="Delete the selected %(verbose_name_plural)s", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, rows: QuerySet[Any]) -> Any:
        if reason := next(filter(None, map(self.reason_to_keep, rows)), ""):
            self.message_user(request, f"{reason} Nothing was deleted; choose the others alone.", messages.ERROR)
            return None
        return delete_selected(self, request, rows)


def _as_the_expert_says(name: str) -> forms.NullBooleanField:
    column: Any = RoutingProfile._meta.get_field(name)
    field = forms.NullBooleanField(required=False, label=capfirst(column.verbose_name))
    field.widget.choices = [("unknown", "as the expert says"), ("true", "yes"), ("false", "no")]
    return field


class RoutingProfileForm(forms.ModelForm):
    collections = LinesField(
        required=False,
        help_text=RoutingProfile._meta.get_field("collections").help_text,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    answers_while_loading = _as_the_expert_says("answers_while_loading")
    text_only = _as_the_expert_says("text_only")

    class Meta:
        model = RoutingProfile
        fields = (
            *("slug", "name", "description", "enabled", "position", "experts", "quality", "speed", "cost", "strength"),
            *("asks_program", "mode", "breadth", "breadth_most", "aggregator", "agreement", "confidence", "patience"),
            *("aggregator_prompt", "system_prompt", "defaults", "collections", "sticky", "failover"),
            *("answers_while_loading", "text_only"),
            *("log_share", "log_prompts", "cache", "cache_threshold"),
        )
        widgets = {
            "description": forms.Textarea(attrs={"rows": 3}),
            "aggregator_prompt": forms.Textarea(attrs={"rows": 5}),
            "system_prompt": forms.Textarea(attrs={"rows": 5}),
            "defaults": forms.Textarea(attrs={"rows": 3}),
        }

    def clean_defaults(self) -> Any:
        defaults = self.cleaned_data["defaults"]
        return {} if defaults is None else defaults  # the box was emptied


@admin.register(RoutingProfile)
class RoutingProfileAdmin(UndoesNothing, GuardedDeletion):
    form = RoutingProfileForm
    list_display = ("name", "slug", "mode", "chooses_among", "weights", "keeps", "enabled", "position")
    list_filter = ("enabled", "mode", "experts")
    search_fields = ("slug", "name", "description")
    autocomplete_fields = ("experts", "aggregator")
    actions = ("delete_selected",)
    fieldsets = (
        (None, {"fields": ("slug", "name", "description", ("enabled", "position"), "experts")}),
        (
            "Between experts that suit about equally",
            {
                "fields": (("quality", "speed"), ("cost", "strength")),
                "description": "Weights from 0 to 10. What is 0 does not count.",
            },
        ),
        ("How many answer", {"fields": ("mode", "asks_program")}),
        (
            SEVERAL,
            {
                "fields": (
                    *("breadth", "breadth_most", "aggregator", "agreement", "confidence", "patience"),
                    "aggregator_prompt",
                ),
                "description": "Several experts cost the tokens of all of them, and take as long as the slowest "
                "one that is waited for. What each did is on the page of the decision.",
            },
        ),
        (
            "What every request of the profile gets",
            {
                "fields": (
                    *("system_prompt", "defaults", "collections", "sticky"),
                    *("failover", "answers_while_loading", "text_only"),
                )
            },
        ),
        ("What is kept", {"fields": ("log_share", "log_prompts")}),
        ("Answers given again", {"fields": ("cache", "cache_threshold")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets; what concerns several experts is closed where one answers."""
        classes = ["collapse"] if obj is None or obj.mode == RoutingProfile.Mode.ROUTE else []
        return [
            (title, options | {"classes": classes} if title == SEVERAL else options)
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RoutingProfile]:
        return super().get_queryset(request).prefetch_related("experts")

    def reason_to_keep(self, row: RoutingProfile) -> str:
        return "Clients count on “auto”; it cannot be deleted." if row.slug == AUTO else ""

    # --- columns

    @admin.display(description="chooses among")
    def chooses_among(self, profile: RoutingProfile) -> str:
        return ", ".join(expert.slug for expert in profile.experts.all()) or "every expert"

    @admin.display(description="weights")
    def weights(self, profile: RoutingProfile) -> str:
        named = {name: getattr(profile, name) for name in ("quality", "speed", "cost", "strength")}
        return ", ".join(f"{name} {weight:g}" for name, weight in named.items() if weight) or "none"

    @admin.display(description="keeps")
    def keeps(self, profile: RoutingProfile) -> str:
        if not profile.log_share:
            return "nothing"
        return f"{profile.log_share}% of decisions, {'with' if profile.log_prompts else 'without'} prompts"
