from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms.models import construct_instance
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from routing.admin.trying import TryPages
from routing.admin.uploads import TextFileField
from routing.conditions import WEEKDAYS
from routing.models import Expert, RoutingRule
from routing.rulebook import Finding, check
from routing.rulefile import MAX_BYTES, ImportResult, RuleFileError, rules_export, rules_import
from routing.ruleset import prefetched, rule_move, rule_of, rules_all
from routing.rulewords import actions_in_words, conditions_in_words

_SHOWN_FINDINGS = 20


class LinesField(forms.CharField):
    """A list of texts, edited one a line."""

    widget = forms.Textarea(attrs={"rows": 8})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line))


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


class RuleFileForm(forms.Form):
    file = TextFileField(max_bytes=MAX_BYTES, help_text="An export, or a YAML file like one.")
    replace = forms.BooleanField(
        required=False, label="Delete the rules that the file does not have", help_text="Otherwise they stay."
    )


class RuleFilePages(admin.ModelAdmin):
    """The pages beside the list of rules: export, import, and moving one up or down."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export_view), name="routing_routingrule_export"),
            path("import/", view(self.import_view), name="routing_routingrule_import"),
            path("<int:pk>/move/", view(self.move_view), name="routing_routingrule_move"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        response = HttpResponse(rules_export(), content_type="application/yaml; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="rules.yaml"'
        return response

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file and show what it would change; with its text sent back, change it."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        if request.method == "POST" and "text" in request.POST:
            return self._apply(request, request.POST["text"], replace="replace" in request.POST)
        form = RuleFileForm(request.POST or None, request.FILES or None)
        if request.method != "POST" or not form.is_valid():
            return self._import_page(request, form=form)
        return self._preview(request, form, form.cleaned_data["file"], replace=form.cleaned_data["replace"])

    def _preview(self, request: HttpRequest, form: RuleFileForm, text: str, *, replace: bool) -> HttpResponse:
        try:
            self._check_may_replace(request, replace=replace)
            result = rules_import(text, replace=replace, dry_run=True)
        except RuleFileError as error:
            return self._import_page(request, form=form, problems=error.message.splitlines())
        return self._import_page(request, text=text, replace=replace, result=result)

    def _apply(self, request: HttpRequest, text: str, *, replace: bool) -> HttpResponse:
        try:
            self._check_may_replace(request, replace=replace)
            result = self._import(request, text, replace=replace)
        except RuleFileError as error:
            return self._import_page(request, form=RuleFileForm(), problems=error.message.splitlines())
        self.message_user(request, f"Imported the rules: {result}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:routing_routingrule_changelist"))

    def _check_may_replace(self, request: HttpRequest, *, replace: bool) -> None:
        if replace and not self.has_delete_permission(request):
            raise PermissionDenied

    @transaction.atomic
    def _import(self, request: HttpRequest, text: str, *, replace: bool) -> ImportResult:
        before = {row.name: row for row in RoutingRule.objects.all()}
        result = rules_import(text, replace=replace)
        after = {row.name: row for row in RoutingRule.objects.all()}
        for name in result.created:
            self.log_addition(request, after[name], "Imported.")
        for name in result.updated:
            self.log_change(request, after[name], "Imported.")
        if result.deleted:
            self.log_deletions(request, [before[name] for name in result.deleted])  # type: ignore[arg-type]
        return result

    def _import_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        context = self.admin_site.each_context(request) | {"title": "Import rules", "opts": self.opts} | context
        context["may_replace"] = self.has_delete_permission(request)
        return TemplateResponse(request, "admin/routing/routingrule/import.html", context)

    def move_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Move a rule by one place, up or down, and go back to the list as it was."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        rule = self.get_object(request, str(pk))
        if rule is None:
            raise Http404("There is no such rule.")
        if not self.has_change_permission(request, rule):
            raise PermissionDenied
        up = request.POST.get("move") != "down"
        if rule_move(pk, -1 if up else 1):
            self.log_change(request, rule, f"Moved {'up' if up else 'down'}.")
            self.message_user(request, f"Moved “{rule}” {'up' if up else 'down'}.", messages.SUCCESS)
        else:
            self.message_user(request, f"“{rule}” is {'first' if up else 'last'} already.", messages.WARNING)
        listing = reverse("admin:routing_routingrule_changelist")
        referer = urlsplit(request.headers.get("Referer", ""))
        query = f"?{referer.query}" if referer.path == listing and referer.query else ""
        return HttpResponseRedirect(f"{listing}{query}")


@admin.register(RoutingRule)
class RoutingRuleAdmin(TryPages, RuleFilePages):
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
