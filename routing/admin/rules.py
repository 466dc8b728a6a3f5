from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms.models import construct_instance
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from routing.admin.fields import LinesField
from routing.admin.meanwhile import UndoesNothing
from routing.admin.rulepages import RulePages
from routing.admin.trying import TryPages
from routing.conditions import WEEKDAYS
from routing.models import Expert, RoutingRule
from routing.rulebook import Finding, check
from routing.ruleset import prefetched, rule_of, rules_all
from routing.rulewords import actions_in_words, conditions_in_words

_SHOWN_FINDINGS = 20


def _lines(name: str, rows: int = 3) -> LinesField:
    column: Any = RoutingRule._meta.get_field(name)
    return LinesField(
        required=False,
        label=capfirst(column.verbose_name),
        help_text=column.help_text,
        widget=forms.Textarea(attrs={"rows": rows}),
    )


def _flag(name: str) -> forms.NullBooleanField:
    column: Any = RoutingRule._meta.get_field(name)
    field = forms.NullBooleanField(required=False, label=capfirst(column.verbose_name), help_text=column.help_text)
    field.widget.choices = [("unknown", "either way"), ("true", "yes"), ("false", "no")]
    return field


class RoutingRuleForm(forms.ModelForm):
    keywords = _lines("keywords", rows=8)
    all_keywords = _lines("all_keywords")
    none_keywords = _lines("none_keywords")
    languages = _lines("languages")
    keys = _lines("keys")
    groups = _lines("groups")
    collections = _lines("collections")
    evidence_collections = _lines("evidence_collections")
    has_images = _flag("has_images")
    has_tools = _flag("has_tools")
    wants_json = _flag("wants_json")
    weekdays = forms.TypedMultipleChoiceField(
        required=False,
        coerce=int,
        choices=list(enumerate(WEEKDAYS)),
        widget=forms.CheckboxSelectMultiple,
        help_text="None: on every day. A window that goes past midnight belongs to the day it begins on.",
    )

    class Meta:
        model = RoutingRule
        fields = (
            *("name", "priority", "enabled", "note", "look_in", "keywords", "all_keywords", "none_keywords", "pattern"),
            *("has_images", "has_tools", "wants_json", "min_tokens", "max_tokens", "languages", "keys", "groups"),
            *("headers", "metadata", "profiles", "weekdays", "from_time", "until_time", "min_evidence"),
            *("evidence_collections", "expert", "candidates"),
            *("collections", "overrides", "system_mode", "system_text", "stop", "interrupts"),
        )
        widgets = {
            **{name: forms.Textarea(attrs={"rows": 3}) for name in ("headers", "metadata", "overrides", "note")},
            "system_text": forms.Textarea(attrs={"rows": 5}),
            "profiles": forms.CheckboxSelectMultiple,
        }

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("headers", "metadata", "overrides"):
            if name in cleaned and cleaned[name] is None:  # the box was emptied
                cleaned[name] = {}
        return cleaned

    def _post_clean(self) -> None:
        # Candidates are no part of the row yet, so the model cannot look at them by itself.
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                self.instance.clean_actions(list(self.cleaned_data["candidates"]))
            except ValidationError as error:
                self.add_error(None, error)


class RuleRowForm(forms.ModelForm):
    """What is edited in the list; the rest of the rule is not judged there, as the list could not show how."""

    def _post_clean(self) -> None:
        self.instance = construct_instance(self, self.instance, self._meta.fields)
        others = [column.name for column in RoutingRule._meta.fields if column.name not in self.fields]
        try:
            self.instance.clean_fields(exclude=others)
        except ValidationError as error:
            self.add_error(None, error)


@admin.register(RoutingRule)
class RoutingRuleAdmin(UndoesNothing, TryPages, RulePages):
    form = RoutingRuleForm
    list_display = ("name", "priority", "enabled", "when", "then", "hits", "last_hit", "move")
    list_editable = ("priority", "enabled")
    list_filter = ("enabled", "expert", "profiles", "stop")
    search_fields = ("name", "keywords", "pattern", "note")
    autocomplete_fields = ("expert", "candidates")
    ordering = ("priority", "id")
    actions = ("enable", "disable")
    save_on_top = True
    change_list_template = "admin/routing/routingrule/change_list.html"
    change_form_template = "admin/routing/routingrule/change_form.html"
    fieldsets = (
        (None, {"fields": ("name", ("priority", "enabled"))}),
        (
            "When: the words",
            {
                "fields": ("look_in", "keywords", "all_keywords", "none_keywords", "pattern"),
                "description": "A rule fits when everything below holds. What is left empty always does.",
            },
        ),
        (
            "When: the request",
            {"fields": (("has_images", "has_tools", "wants_json"), ("min_tokens", "max_tokens"), "languages")},
        ),
        ("When: who asks", {"fields": ("keys", "groups", "headers", "metadata", "profiles"), "classes": ("collapse",)}),
        (
            "When: the knowledge base",
            {"fields": ("min_evidence", "evidence_collections"), "classes": ("collapse",)},
        ),
        ("When: the time", {"fields": ("weekdays", ("from_time", "until_time")), "classes": ("collapse",)}),
        (
            "Then",
            {
                "fields": (
                    "expert",
                    "candidates",
                    "collections",
                    "overrides",
                    "system_mode",
                    "system_text",
                    "stop",
                    "interrupts",
                )
            },
        ),
        ("Notes", {"fields": ("note",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RoutingRule]:
        return prefetched(super().get_queryset(request)).select_related("expert", "use")

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[forms.ModelForm]:
        return super().get_changelist_form(request, form=RuleRowForm, **kwargs)

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        may_change = self.has_change_permission(request)
        return tuple(name for name in self.list_display if may_change or name != "move")

    # --- columns

    @admin.display(description="when")
    def when(self, rule: RoutingRule) -> str:
        return conditions_in_words(rule_of(rule))

    @admin.display(description="then", ordering="expert__slug")
    def then(self, rule: RoutingRule) -> str:
        return actions_in_words(rule_of(rule))

    @admin.display(description="hits", ordering="use__hits")
    def hits(self, rule: RoutingRule) -> int:
        return rule.use.hits if hasattr(rule, "use") else 0

    @admin.display(description="last hit", ordering="use__last_hit_at", empty_value="never")
    def last_hit(self, rule: RoutingRule) -> datetime | None:
        return rule.use.last_hit_at if hasattr(rule, "use") else None

    @admin.display(description="move")
    def move(self, rule: RoutingRule) -> SafeString:
        # Buttons of the form around the list, which has the token against forged requests.
        return format_html_join(
            " ",
            '<button type="submit" formaction="{}" name="move" value="{}" aria-label="Move {} {}">{}</button>',
            (
                (reverse("admin:routing_routingrule_move", args=[rule.pk]), way, rule.name, way, arrow)
                for way, arrow in (("up", "↑"), ("down", "↓"))
            ),
        )

    # --- actions

    @admin.action(description="Enable the selected rules", permissions=["change"])
    def enable(self, request: HttpRequest, rules: QuerySet[RoutingRule]) -> None:
        self._switch(request, rules, enabled=True)

    @admin.action(description="Disable the selected rules", permissions=["change"])
    def disable(self, request: HttpRequest, rules: QuerySet[RoutingRule]) -> None:
        self._switch(request, rules, enabled=False)

    @transaction.atomic
    def _switch(self, request: HttpRequest, rules: QuerySet[RoutingRule], *, enabled: bool) -> None:
        what = "Enabled" if enabled else "Disabled"
        changed = list(rules.exclude(enabled=enabled))
        for rule in changed:
            rule.enabled = enabled
            rule.save(update_fields=["enabled"])  # one by one: it tells this process's catalog
            self.log_change(request, rule, f"{what}.")
        self.message_user(request, f"{what} {len(changed)} rule{'' if len(changed) == 1 else 's'}.", messages.SUCCESS)

    # --- pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context: dict[str, Any] = {"may_import": self.has_import_permission(request), "try_url": _try_url()}
        if request.method == "GET":
            found = _findings()
            context |= {"findings": found[:_SHOWN_FINDINGS], "more_findings": max(0, len(found) - _SHOWN_FINDINGS)}
        return super().changelist_view(request, context | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"try_url": _try_url()}
        if request.method == "GET":
            context["findings"] = [finding for finding in _findings() if str(finding.rule.id) == object_id]
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def _findings() -> tuple[Finding, ...]:
    disabled = frozenset(Expert.objects.filter(enabled=False).values_list("slug", flat=True))
    return check(rules_all(), disabled_experts=disabled)


def _try_url() -> str:
    try:
        return reverse("admin:routing_try")
    except NoReverseMatch:  # a site without that page
        return ""
