from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.timesince import timesince

from gateway.caching.purging import answers_purge, selected_purge
from gateway.models import ApiKey, CachedAnswer
from routing.admin.readonly import ReadOnly
from routing.models import RoutingProfile

LONGEST = 100
EVERYTHING, NO_PROFILE = "", "-"


class PurgeForm(forms.Form):
    profile = forms.ChoiceField(required=False, help_text="Answers that came about by it.")
    key = forms.ModelChoiceField(
        ApiKey.objects.all(), required=False, empty_label="of every API key", label="API key", help_text="Its answers."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["profile"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (EVERYTHING, "of every profile, and of none"),
            (NO_PROFILE, "of none: experts and models asked for by name"),
            *RoutingProfile.objects.values_list("slug", "slug"),
        ]


@admin.register(CachedAnswer)
class CachedAnswerAdmin(ReadOnly):
    """Deleting is purging: no process gives what was deleted here, whatever it has in memory."""

    list_display = ("asks", "profile", "expert", "key", "hits", "age", "expires", "similar")
    list_filter = ("profile", "expert", "key")
    search_fields = ("question",)
    list_select_related = ("key",)
    fields = (
        "question", "said", "asked", "profile", "expert", "key", "created_at", "expires_at", "hits", "last_hit_at",
        "similar", "digest",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedAnswer]:
        semantic = RoutingProfile.objects.filter(slug=OuterRef("profile"), cache=RoutingProfile.Cache.SEMANTIC)
        rows: QuerySet[CachedAnswer] = super().get_queryset(request).filter(expires_at__gt=timezone.now())
        return rows.defer("vector", "answer").annotate(threshold=Subquery(semantic.values("cache_threshold")))

    # --- columns

    @admin.display(description="question", ordering="question")
    def asks(self, row: CachedAnswer) -> str:
        text = " ".join(row.question.split())
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

    @admin.display(description="answers")
    def said(self, row: CachedAnswer) -> str:
        said = row.answer.get("said", ()) if isinstance(row.answer, dict) else ()
        return format_html_join("", '<pre style="white-space: pre-wrap">{}</pre>', ((one["content"],) for one in said))

    @admin.display(description="age", ordering="created_at")
    def age(self, row: CachedAnswer) -> str:
        return timesince(row.created_at, depth=1)

    @admin.display(description="expires in", ordering="expires_at")
    def expires(self, row: CachedAnswer) -> str:
        return timesince(timezone.now(), row.expires_at, depth=1)

    @admin.display(description="for similar questions")
    def similar(self, row: CachedAnswer) -> str:
        """Return from which similarity on it answers other questions, by its profile as it is now."""
        if not row.embedder:
            return "no"
        threshold = getattr(row, "threshold", None)
        return "not any more" if threshold is None else f"from {threshold:g}"

    # --- purging

    def delete_model(self, request: HttpRequest, obj: CachedAnswer) -> None:
        selected_purge([obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[CachedAnswer]) -> None:
        selected_purge(list(queryset.values_list("pk", flat=True)))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.purge_view)
        return [path("purge/", view, name="gateway_cachedanswer_purge"), *super().get_urls()]

    def purge_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what is to be purged; a POST does it."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        form = PurgeForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            key, profile = form.cleaned_data["key"], form.cleaned_data["profile"]
            count = answers_purge(
                key_id=key.pk if key else None,
                profile={EVERYTHING: None, NO_PROFILE: ""}.get(profile, profile),
            )
            self.message_user(request, f"{count} answers purged; no process gives them again.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:gateway_cachedanswer_changelist"))
        context = self.admin_site.each_context(request) | {"title": "Purge answers", "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/gateway/cachedanswer/purge.html", context)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {
            "may_purge": self.has_delete_permission(request),
            "subtitle": format_html(
                "RESPONSE_CACHE is {}; profiles may say otherwise. Answers are kept for {} seconds.",
                settings.RESPONSE_CACHE,
                settings.RESPONSE_CACHE_SECONDS,
            ),
        }
        return super().changelist_view(request, context | (extra_context or {}))
