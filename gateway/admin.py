from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from gateway.models import SHOWN_CHARACTERS, ApiKey, key_digest, new_key_text


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    list_display = ("name", "group", "prefix", "state", "priority", "created_at", "expires_at")
    list_filter = ("group", "created_at", "expires_at")
    search_fields = ("name", "group", "prefix", "note")
    readonly_fields = ("prefix", "created_at", "revoked_at")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "group", "priority", "expires_at", "note")
        return ("name", "group", "prefix", "created_at", "priority", "expires_at", "revoked_at", "note")

    def save_model(self, request: HttpRequest, key: ApiKey, form: Any, change: bool) -> None:
        if not change:
            text = new_key_text()
            key.prefix, key.digest = text[:SHOWN_CHARACTERS], key_digest(text)
            # For the page that follows in this same request; neither stored nor put in a message or session.
            request.new_key_text = text  # type: ignore[attr-defined]
        super().save_model(request, key, form, change)

    def response_add(self, request: HttpRequest, key: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "Copy the key now",
            "key": key,
            "text": request.new_key_text,  # type: ignore[attr-defined]
            "opts": self.opts,
        }
        response = TemplateResponse(request, "admin/gateway/apikey/created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        count = 0
        for key in keys.filter(revoked_at=None):
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            count += 1
        self.message_user(request, f"{count} keys revoked; they are refused from now on.", messages.SUCCESS)
