"""The second factor of people: setting it up, checking a code, taking it away.

The tables are django-otp's; what is in them, see codes.py.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice, default_key

from moe_site.signing_in.codes import recovery_codes, recovery_digest, step_of

APP = "authenticator app"
PAPER = "recovery codes"


class CodeRefused(Exception):
    """A code is not right, or cannot be tried now; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a right code was; ``left`` is how many recovery codes are left where it was one of those."""

    kind: str
    left: int | None = None


def has_factor(user: User) -> bool:
    """Tell whether a password alone is not enough for ``user``."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def enrolment_begin(user: User) -> TOTPDevice:
    """Return the app that ``user`` is setting up, which does not count before a first code confirms it."""
    # Two pages at once may each make one; from then on all of them show the first, which is the one that is confirmed.
    begun = _begun(user).first()
    return begun or TOTPDevice.objects.create(user=user, confirmed=False, name=APP, key=default_key())


def _begun(user: User) -> QuerySet[TOTPDevice]:
    found: QuerySet[TOTPDevice] = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("pk")
    return found


@transaction.atomic
def enrolment_confirm(user: User, code: str) -> list[str]:
    """Make the app that showed ``code`` the user's second factor, and return new recovery codes; raises CodeRefused.

    Any other app does not count any more.
    """
    device = _begun(user).select_for_update().first()
    step = device and step_of(code, device.key, now=time.time(), after=device.last_t)
    if device is None or step is None:
        raise CodeRefused("This is not the code the app should show now. Is the clock of that device right?")
    TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
    device.confirmed, device.last_t = True, step
    device.set_last_used_timestamp(commit=False)
    device.save()
    audit(user, by=user, message="Set up an authenticator app.")
    return recovery_renew(user)


@transaction.atomic
def recovery_renew(user: User) -> list[str]:
    """Return new recovery codes, which replace all earlier ones."""
    StaticDevice.objects.filter(user=user).delete()
    paper = StaticDevice.objects.create(user=user, name=PAPER, confirmed=True)
    codes = recovery_codes()
    StaticToken.objects.bulk_create(StaticToken(device=paper, token=recovery_digest(code)) for code in codes)
    return codes


def code_check(user: User, code: str) -> Accepted:
    """Return what ``code`` is, which then cannot be used again; raises CodeRefused.

    After a wrong code the next one is looked at only after a while that doubles each time.
    """
    accepted = _checked(user, code)
    if accepted is None:
        raise CodeRefused("This code is not right, or was used before. Enter the one the app shows now.")
    if accepted.kind == PAPER:
        audit(user, by=user, message=f"Signed in with a recovery code; {accepted.left} left.")
    return accepted


def _checked(user: User, code: str) -> Accepted | None:
    with transaction.atomic():  # one that is wrong is written down, so nothing may be raised in here
        app = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
        if app is None:
            return None
        allowed, reason = app.verify_is_allowed()
        if allowed:
            step = step_of(code, app.key, now=time.time(), after=app.last_t)
            accepted = Accepted(kind=APP) if step is not None else _recovered(user, code)
            if accepted is None:
                app.throttle_increment()
                return None
            app.last_t = app.last_t if step is None else step
            app.throttle_reset(commit=False)
            app.set_last_used_timestamp(commit=False)
            app.save()
            return accepted
    until = reason["locked_until"]
    raise CodeRefused(
        f"The last code was wrong. Wait until {timezone.localtime(until):%H:%M:%S}, then enter a new one."
    )


def _recovered(user: User, code: str) -> Accepted | None:
    gone, _ = StaticToken.objects.filter(device__user=user, token=recovery_digest(code)).delete()
    return Accepted(kind=PAPER, left=StaticToken.objects.filter(device__user=user).count()) if gone else None


def factor_remove(users: Iterable[User], *, by: User | None = None) -> int:
    """Let ``users`` sign in with their passwords alone again; return how many had a second factor."""
    removed = 0
    for user in users:
        with transaction.atomic():
            gone, _ = TOTPDevice.objects.filter(user=user).delete()
            StaticDevice.objects.filter(user=user).delete()
            if gone:
                audit(user, by=by or user, message="Removed the second factor." if by else "Removed it by command.")
                removed += 1
    return removed


def audit(user: User, *, by: User, message: str) -> None:
    """Write what was done about ``user`` into the admin's log."""
    LogEntry.objects.log_actions(by.pk, [user], CHANGE, message)
