"""What stands between the admin's login and somebody who guesses."""

from typing import Any

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.http import HttpRequest

from gateway import addresses
from gateway.addresses import networks_of


class Throttle(AxesStandaloneBackend):
    """Refuses to look at passwords of a name that failed too often from one address."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        # Without a request it is a command or a test that asks, and those need no guessing.
        if request is not None:
            super().authenticate(request, **credentials)


def client_address(request: HttpRequest) -> str | None:
    """Return where a login comes from, behind proxies too (AXES_CLIENT_IP_CALLABLE)."""
    proxies = networks_of(tuple(settings.TRUSTED_PROXIES))
    told = addresses.client_address(
        request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""), proxies
    )
    return told or None
