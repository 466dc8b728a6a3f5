from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse

from gateway.admin.policyform import POLICY_FIELDSETS, PolicyAdmin, PolicyForm, Suggesting, scopes_field
from gateway.keyring.wording import limits_in_words
from gateway.models import ApiKey, KeyGroup


def groups_in_use() -> list[str]:
    """Return the groups that stand on keys."""
    found = ApiKey.objects.usable().exclude(group="").order_by("group").values_list("group", flat=True)
    return list(found.distinct())


def groups_without_rules() -> list[str]:
    """Return the groups that stand on keys and have no row of their own."""
    known = set(KeyGroup.objects.values_list("name", flat=True))
    return [name for name in groups_in_use() if name not in known]


class KeyGroupForm(PolicyForm):
    scopes = scopes_field("None chosen: whatever each of its keys may do.")
    name = forms.CharField(
        max_length=100,
        widget=Suggesting,
        help_text=KeyGroup._meta.get_field("name").help_text,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        Suggesting.suggest(self, "name", groups_without_rules)


@admin.register(KeyGroup)
class KeyGroupAdmin(PolicyAdmin):
    form = KeyGroupForm
    list_display = ("name", "key_count", "limits", "note")
    search_fields = ("name", "note")
    fieldsets = ((None, {"fields": ("name", "note")}), *POLICY_FIELDSETS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[KeyGroup]:
        usable = ApiKey.objects.usable().filter(group=OuterRef("name")).order_by().values("group")
        counted = Subquery(usable.annotate(number=Count("pk")).values("number"))
        rows: QuerySet[KeyGroup] = super().get_queryset(request).annotate(key_count=Coalesce(counted, 0))
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        offered = groups_without_rules() if self.has_add_permission(request) else []
        return super().changelist_view(request, {"groups_without_rules": offered, **(extra_context or {})})

    @admin.display(description="keys", ordering="key_count")
    def key_count(self, group: Any) -> int:
        return int(group.key_count)

    @admin.display(description="limits, together")
    def limits(self, group: KeyGroup) -> str:
        return limits_in_words(group.policy.limits) or "none"
