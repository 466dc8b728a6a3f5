from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse

from gateway.admin.policyform import POLICY_FIELDSETS, PolicyAdmin, PolicyForm, Suggesting, scopes_field
from gateway.keyring.wording import limits_in_words
from gateway.models import ApiKey, KeyGroup
from routing.admin.profiles import GuardedDeletion

MOST_NAMED = 20
"""Keys that are named at most where a group is to be deleted."""


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

    def clean_name(self) -> str:
        """Refuse another name while keys bear the former one: nothing would hold for them any more."""
        name: str = self.cleaned_data["name"]
        former = self.initial.get("name", name) if self.instance.pk else name
        if name != former and (number := ApiKey.objects.usable().filter(group=former).count()):
            raise forms.ValidationError(
                f"{number} API keys are of the group '{former}' and would no longer be held to this. Make a group "
                f"'{name}' with the same rules, have the keys be of that, and delete this one."
            )
        return name


@admin.register(KeyGroup)
class KeyGroupAdmin(GuardedDeletion, PolicyAdmin):
    form = KeyGroupForm
    list_display = ("name", "key_count", "limits", "note")
    search_fields = ("name", "note")
    fieldsets = ((None, {"fields": ("name", "note")}), *POLICY_FIELDSETS)
    actions = ("delete_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[KeyGroup]:
        usable = ApiKey.objects.usable().filter(group=OuterRef("name")).order_by().values("group")
        counted = Subquery(usable.annotate(number=Count("pk")).values("number"))
        rows: QuerySet[KeyGroup] = super().get_queryset(request).annotate(key_count=Coalesce(counted, 0))
        return rows

    def reason_to_keep(self, row: Any) -> str:
        """Name the keys that would be held to nothing; the database ties them to their group by its name alone."""
        keys = ApiKey.objects.usable().filter(group=row.name).order_by("name", "pk")
        if not (number := keys.count()):
            return ""
        named = ", ".join(str(key) for key in keys[:MOST_NAMED]) + (" and others" if number > MOST_NAMED else "")
        return (
            f"Without the group “{row}” its API keys ({number}: {named}) would be held to none of its limits and "
            "rules. Have them be of another group, or revoke them, and then delete it; or empty its fields."
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        offered = groups_without_rules() if self.has_add_permission(request) else []
        return super().changelist_view(request, {"groups_without_rules": offered, **(extra_context or {})})

    @admin.display(description="keys", ordering="key_count")
    def key_count(self, group: Any) -> int:
        return int(group.key_count)

    @admin.display(description="limits, together")
    def limits(self, group: KeyGroup) -> str:
        return limits_in_words(group.policy.limits) or "none"
