"""Who signed in or tried to, who changed what, and who has a second factor."""

from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from moe_site.signing_in.factor import factor_remove
from routing.admin.meanwhile import UndoesNothing
from routing.admin.readonly import Kept, ReadOnly

# Django's own pages of accounts give way to those that undo nothing.
admin.site.unregister([User, Group])


@admin.register(User)
class AccountAdmin(UndoesNothing, UserAdmin):
    written_elsewhere = ("last_login",)


@admin.register(Group)
class AccountGroupAdmin(UndoesNothing, GroupAdmin):
    """Groups of accounts, with what each may do."""


@admin.register(LogEntry)
class ChangeAdmin(Kept):
    list_display = ("action_time", "user", "content_type", "object_repr", "what")
    list_filter = ("action_flag", "content_type", "user")
    search_fields = ("object_repr", "change_message", "user__username")
    date_hierarchy = "action_time"
    list_select_related = ("user", "content_type")
    fields = ("action_time", "user", "content_type", "object_repr", "what")

    @admin.display(description="what")
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message() or entry.get_action_flag_display()


@admin.register(AccessLog)
class SignInAdmin(Kept):
    list_display = ("attempt_time", "username", "ip_address", "logout_time", "user_agent")
    list_filter = ("attempt_time",)
    search_fields = ("username", "ip_address", "user_agent")
    date_hierarchy = "attempt_time"
    exclude = ("session_hash",)


@admin.register(AccessFailureLog)
class FailureAdmin(Kept):
    list_display = ("attempt_time", "username", "ip_address", "locked_out", "user_agent")
    list_filter = ("locked_out", "attempt_time")
    search_fields = ("username", "ip_address", "user_agent")
    date_hierarchy = "attempt_time"


@admin.register(AccessAttempt)
class LockAdmin(ReadOnly):
    """Deleting a row opens the lock."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time")
    search_fields = ("username", "ip_address")
    exclude = ("get_data", "post_data")


# django-otp's own pages, which would show and make seeds, give way to those that are there.
@admin.register(TOTPDevice)
class AuthenticatorAdmin(ReadOnly):
    """Deleting a row lets its owner sign in with the password alone."""

    list_display = ("user", "confirmed", "created_at", "last_used_at")
    fields = ("user", "confirmed", "created_at", "last_used_at")
    list_select_related = ("user",)

    def delete_model(self, request: HttpRequest, obj: TOTPDevice) -> None:
        factor_remove([obj.user], by=_who(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TOTPDevice]) -> None:
        factor_remove(User.objects.filter(pk__in=queryset.values("user")), by=_who(request))


@admin.register(StaticDevice)
class RecoveryAdmin(Kept):
    """How many recovery codes people have left; they make new ones themselves."""

    list_display = ("user", "created_at", "last_used_at", "left")
    fields = ("user", "created_at", "last_used_at", "left")
    list_select_related = ("user",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StaticDevice]:
        devices: QuerySet[StaticDevice] = super().get_queryset(request)
        return devices.annotate(left=Count("token_set"))  # type: ignore[no-any-return]

    @admin.display(description="codes left", ordering="left")
    def left(self, device: Any) -> int:
        return int(device.left)


def _who(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None
