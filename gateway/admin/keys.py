from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gateway.admin.groups import groups_in_use
from gateway.admin.policyform import POLICY_FIELDSETS, PolicyAdmin, PolicyForm, Suggesting
from gateway.keyring.wording import rights_in_words
from gateway.models import ApiKey, KeyGroup
from knowledge.admin.confirming import confirmation, is_confirmed
from routing.exceptions import EndpointError

OVERLAPS = ((0, "no longer"), (1, "an hour"), (24, "a day"), (24 * 7, "a week"), (24 * 30, "30 days"))
"""Hours that a former text may work on beside the new one."""
MOST_NAMED = 20


class ApiKeyForm(PolicyForm):
    group = forms.CharField(
        max_length=100,
        required=False,
        widget=Suggesting,
        help_text=ApiKey._meta.get_field("group").help_text,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        Suggesting.suggest(self, "group", _groups)


def _groups() -> list[str]:
    return sorted({*groups_in_use(), *KeyGroup.objects.values_list("name", flat=True)})


def _when(at: datetime) -> str:
    """Return a time as the clock of TIME_ZONE shows it, as the other columns do."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}"


def _former(key: ApiKey) -> str:
    """Return until when a text from before a rotation works, in words; "" where none does."""
    return f"{key.previous_prefix}…, the one before, works until {_when(until)}." if (until := key.former_until) else ""


class RotationForm(forms.Form):
    """``known`` is how the text begins that the page was opened for: a form that is sent twice counts once."""

    known = forms.CharField(required=False, widget=forms.HiddenInput)
    hours = forms.TypedChoiceField(
        label="The text it has works for",
        coerce=int,
        choices=OVERLAPS,
        initial=24,
        help_text="So that those who use it can be changed one by one.",
    )


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in ApiKey.STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = self.value()
        return queryset & ApiKey.objects.in_state(state) if state in ApiKey.STATES else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(PolicyAdmin):
    form = ApiKeyForm
    list_display = ("name", "group", "owner", "prefix", "state", "last_used", "priority", "expires_at")
    list_filter = (StateFilter, "group", "owner", "priority", "created_at", "expires_at")
    list_select_related = ("owner", "use")
    search_fields = ("name", "group", "prefix", "note", "owner__username")
    autocomplete_fields = ("owner",)
    readonly_fields = ("begins_with", "state", "created_at", "last_used", "former_text", "rights")
    actions = ("revoke",)

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Return the fieldsets; a new key has no state yet."""
        whose = ("name", "group", "owner", "priority", "expires_at", "note")
        if obj is None:
            return ((None, {"fields": whose}), *POLICY_FIELDSETS)
        standing = ("begins_with", "state", "former_text", "created_at", "last_used", "rights")
        return ((None, {"fields": whose}), ("As it stands", {"fields": standing}), *POLICY_FIELDSETS)

    def get_urls(self) -> list[URLPattern]:
        rotating = self.admin_site.admin_view(self.rotate_view)
        return [path("<int:pk>/rotate/", rotating, name="gateway_apikey_rotate"), *super().get_urls()]

    # --- texts, each shown once

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            # For the page that follows in this same request; neither stored nor put in a message or session.
            request.new_key_text = obj.renew()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def store(self, obj: ApiKey, form: Any, change: bool) -> None:
        """Store of a key what was changed and nothing else: meanwhile it may have been revoked or got a new text."""
        obj.save(update_fields=form.changed_data if change else None)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._shown_once(request, obj, request.new_key_text)  # type: ignore[attr-defined]

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask how long the former text is to work; a POST gives the key a new one and shows it."""
        key = self.get_object(request, str(pk))
        if key is None:
            raise Http404("There is no such key.")
        if not self.has_change_permission(request, key):
            raise PermissionDenied
        form = RotationForm(request.POST or None, initial={"known": key.prefix})
        if request.method == "POST" and form.is_valid():
            overlap = timedelta(hours=form.cleaned_data["hours"])
            try:
                text = key.rotate(overlap, prefix=form.cleaned_data["known"])
            except EndpointError as error:
                self.message_user(request, error.message, messages.ERROR)
                return HttpResponseRedirect(reverse("admin:gateway_apikey_change", args=[key.pk]))
            self.log_change(request, key, "Gave it a new text.")
            return self._shown_once(request, key, text)
        context = self.admin_site.each_context(request) | {
            "title": f"Give {key.name} a new text",
            "opts": self.opts,
            "original": key,
            "former": _former(key),
            "form": form,
        }
        return TemplateResponse(request, "admin/gateway/apikey/rotate.html", context)

    def _shown_once(self, request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "Copy the key now",
            "key": key,
            "text": text,
            "opts": self.opts,
        }
        response = TemplateResponse(request, "admin/gateway/apikey/created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # --- actions

    @admin.action(description="Revoke the selected keys …", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> HttpResponse | None:
        if not is_confirmed(request):
            sentences = (
                f"From now on these are refused, and so they stay: {', '.join(map(str, keys[:MOST_NAMED]))}"
                f"{' and others' if keys.count() > MOST_NAMED else ''}.",
                "For the same clients with another text, give the key a new one on its page instead.",
            )
            return confirmation(self, request, title="Revoke these keys?", sentences=sentences, action="revoke")
        count = 0
        for key in keys.filter(revoked_at=None):
            key.revoke()
            self.log_change(request, key, "Revoked it.")
            count += 1
        words = {0: "Those keys were revoked before.", 1: "1 key revoked; it is refused from now on."}
        told = words.get(count, f"{count} keys revoked; they are refused from now on.")
        self.message_user(request, told, messages.SUCCESS)
        return None

    # --- what is shown

    @admin.display(description="begins with")
    def begins_with(self, key: ApiKey) -> SafeString:
        return format_html("<code>{}…</code>", key.prefix)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        return key.state if key.revoked_at is None else f"revoked on {_when(key.revoked_at)}"

    @admin.display(description="last used", ordering="use__last_used_at")
    def last_used(self, key: ApiKey) -> str:
        use = getattr(key, "use", None)
        if use is None:
            return "never"
        return _when(use.last_used_at) + (f" from {use.last_address}" if use.last_address else "")

    @admin.display(description="text")
    def former_text(self, key: ApiKey) -> SafeString:
        """Tell until when a text from before a rotation works, and lead to the next one."""
        if key.state != "active":
            return format_html("{}", f"None works: it is {key.state}.")
        link = reverse("admin:gateway_apikey_rotate", args=[key.pk])
        return format_html('{} <a href="{}">Give it a new one</a>', _former(key), link)

    @admin.display(description="what it may do now")
    def rights(self, key: ApiKey) -> SafeString:
        if key.state != "active":
            return format_html("{}", f"nothing: it is {key.state}")
        return format_html("<dl>{}</dl>", format_html_join("", "<dt>{}</dt><dd>{}</dd>", rights_in_words(key)))
