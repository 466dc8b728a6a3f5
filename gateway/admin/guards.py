"""The pages of guards, and the one on which a text is tried on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gateway.guards.findings import Place
from gateway.guards.guard import Guard
from gateway.guards.live import guard_of
from gateway.guards.options import EXAMPLES, settings_of
from gateway.guards.trying import Trial, masked, tried
from gateway.models import Guard as GuardRow
from routing.admin.fields import TextField
from routing.admin.meanwhile import UndoesNothing
from routing.catalog import catalog
from routing.pool import new_pool


class GuardForm(forms.ModelForm):
    places = forms.MultipleChoiceField(
        choices=GuardRow.Place.choices,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="What it looks at.",
    )

    class Meta:
        model = GuardRow
        fields = (
            *("name", "check_kind", "places", "action", "profile", "expert", "settings"),
            *("enabled", "position", "note"),
        )
        widgets = {
            "settings": forms.Textarea(attrs={"rows": 6, "cols": 80}),
            "note": forms.Textarea(attrs={"rows": 2}),
        }

    def clean_settings(self) -> Any:
        settings = self.cleaned_data["settings"]
        return {} if settings is None else settings  # the box was emptied


class TrialForm(forms.Form):
    text = TextField(rows=10, help_text="It is not kept.")
    place = forms.ChoiceField(
        choices=GuardRow.Place.choices, initial=GuardRow.Place.INPUT, help_text="What the text is taken for."
    )
    profile = forms.ChoiceField(required=False, help_text="What the client asks for.")
    asks = forms.BooleanField(
        required=False,
        label="Ask experts",
        help_text="Guards in which an expert judges are asked too: it takes a while.",
    )

    def __init__(self, *args: Any, profiles: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        profile = self.fields["profile"]
        assert isinstance(profile, forms.ChoiceField)
        profile.choices = [("", "an expert or a model by its name"), *profiles.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A guard and what it makes of the text; ``off`` is why it has no say, "" where it has one."""

    row: GuardRow
    trial: Trial | None = None
    off: str = ""


def rows_tried(text: str, place: Place, profile: str, *, asks: bool) -> tuple[list[Row], str]:
    """Return what every guard makes of ``text``, and the text as masks would leave it; nothing is stored."""
    known = catalog.get()
    guards = [_readable(row, place, profile) for row in GuardRow.objects.select_related("profile", "expert")]
    trials = async_to_sync(_tried)([guard for _, guard, _ in guards if guard], text, place, known, asks)
    by_name = {trial.guard.name: trial for trial in trials}
    rows = [Row(row=row, trial=by_name.get(row.name), off=off) for row, _, off in guards]
    return rows, masked((guard for _, guard, off in guards if guard and not off), text)


def _readable(row: GuardRow, place: Place, profile: str) -> tuple[GuardRow, Guard | None, str]:
    """Return a row with its guard, and why it would not be asked; without a guard where it cannot be."""
    try:
        guard = guard_of(row)
    except ValueError as error:
        return row, None, f"cannot be used: {error}"
    if place not in guard.places:
        return row, None, "does not look at this"
    if guard.profile not in (None, profile or None):
        return row, guard, f"only for {guard.profile}"
    return row, guard, "" if row.enabled else "disabled"


async def _tried(guards: list[Guard], text: str, place: Place, known: Any, asks: bool) -> list[Trial]:
    pool = new_pool() if asks else None
    try:
        return [await tried(guard, text, place, known=known, pool=pool) for guard in guards]
    finally:
        if pool:
            await pool.aclose()


@admin.register(GuardRow)
class GuardAdmin(UndoesNothing):
    form = GuardForm
    list_display = ("name", "check_kind", "where", "action", "profile", "expert", "enabled", "position", "state")
    list_filter = ("enabled", "check_kind", "action", "profile")
    list_select_related = ("profile", "expert")
    search_fields = ("name", "note")
    autocomplete_fields = ("profile", "expert")
    readonly_fields = ("known_settings",)
    fieldsets = (
        (None, {"fields": ("name", ("enabled", "position"), "note")}),
        (
            "What it does",
            {
                "fields": ("check_kind", "places", "action", "profile"),
                "description": "A size guard is always there (INPUT_CHARACTERS_MOST); others are added here. An answer "
                "that an expert judges, or that is refused and does not stream, is held until it is whole.",
            },
        ),
        ("What the check needs to know", {"fields": ("settings", "expert", "known_settings")}),
    )

    # --- columns

    @admin.display(description="where")
    def where(self, row: GuardRow) -> str:
        return ", ".join(row.places)

    @admin.display(description="state")
    def state(self, row: GuardRow) -> str:
        try:
            guard_of(row)
        except ValueError as error:
            return f"left out: {error}"
        if row.expert and not row.expert.enabled:
            return "its expert is disabled"
        return "on" if row.enabled else "off"

    @admin.display(description="what each check knows")
    def known_settings(self, _: GuardRow) -> SafeString:
        rows = ((check, ", ".join(settings_of(check)), example) for check, example in EXAMPLES.items())
        return format_html(
            "<table><tr><th>check</th><th>settings</th><th>for example</th></tr>{}</table>",
            format_html_join("", "<tr><td>{}</td><td>{}</td><td><code>{}</code></td></tr>", rows),
        )

    # --- trying

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.try_view)
        return [path("try/", view, name="gateway_guard_try"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"try_url": reverse("admin:gateway_guard_try")}
        return super().changelist_view(request, context | (extra_context or {}))

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """Show what each guard makes of the text that is posted."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        profiles = {slug: profile.name or slug for slug, profile in catalog.get().profiles.items()}
        form = TrialForm(request.POST or None, profiles=profiles)
        context = self.admin_site.each_context(request) | {"title": "Try a text", "opts": self.opts, "form": form}
        if form.is_valid():
            found = form.cleaned_data
            rows, text = rows_tried(found["text"], Place(found["place"]), found["profile"], asks=found["asks"])
            context |= {"rows": rows, "masked": text if text != found["text"] else "", "is_tried": True}
        return TemplateResponse(request, "admin/gateway/guard/try.html", context)
