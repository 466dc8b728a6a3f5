"""What stands between the admin's login and somebody who guesses."""

from typing import Any

from axes.backends import AxesStandaloneBackend
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest
from django.utils import timezone

from gateway import addresses
from gateway.addresses import networks_of

NAMES_AN_ADDRESS = 10
"""How many names' worth of failures lock an address: so many of an office may have forgotten their passwords."""


class Throttle(AxesStandaloneBackend):
    """Refuses to look at passwords of a name, or from an address, that failed too often."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        # Without a request it is a command or a test that asks, and those need no guessing.
        if request is not None:
            super().authenticate(request, **credentials)


class Failures(AxesDatabaseHandler):
    """Counts the failures of a name from one address, and those of an address with whatever names (AXES_HANDLER).

    Whoever tries one password with many names is stopped by the latter. A successful login takes back its own name's
    failures only, or whoever has one password could go on guessing others for ever.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Return the failures that count, of which LOGIN_FAILURES lock."""
        of_name: int = super().get_failures(request, credentials)
        if of_name >= settings.LOGIN_FAILURES or _of_address(request) < NAMES_AN_ADDRESS * settings.LOGIN_FAILURES:
            return of_name
        return int(settings.LOGIN_FAILURES)


def _of_address(request: HttpRequest) -> int:
    """Return the failures from where ``request`` comes from, 0 where nobody knows, as behind a Unix socket."""
    if not (known := client_address(request)):
        return 0
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    attempts = AccessAttempt.objects.filter(ip_address=known, attempt_time__gte=since)
    return attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0


def client_address(request: HttpRequest) -> str | None:
    """Return where a login comes from, behind proxies too (AXES_CLIENT_IP_CALLABLE)."""
    proxies = networks_of(tuple(settings.TRUSTED_PROXIES))
    told = addresses.client_address(
        request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""), proxies
    )
    return told or None
