"""What others can reach, and whether that is meant."""

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

SHORTEST_KEY = 32
# Of examples in manuals and other projects; whoever has read those can sign sessions here.
KNOWN_KEYS = ("changeme", "change-me", "change_me", "secret", "your-secret", "django-insecure-", "example")


@register()
def check_secret_key(**_: Any) -> list[CheckMessage]:
    if settings.SECRET_KEY_PROBLEM:
        return [
            Error(
                f"The secret key of this installation can be neither read nor made: {settings.SECRET_KEY_PROBLEM}",
                hint=f"See that the account that runs this may read and write {settings.MOE_DATA_DIR}, and that its "
                "disk has room; or set MOE_DATA_DIR to another folder.",
                id="moe_site.E023",
            )
        ]
    key = settings.SECRET_KEY
    if len(key) >= SHORTEST_KEY and len(set(key)) >= 8 and not key.lower().startswith(KNOWN_KEYS):
        return []
    return [
        Error(
            "SECRET_KEY is too short or no secret: with it anybody can sign sessions and read stored secrets.",
            hint=f"Leave SECRET_KEY empty, and one is made in the data directory, or set {SHORTEST_KEY} random "
            'characters and more: python -c "import secrets; print(secrets.token_urlsafe(50))".',
            id="moe_site.E018",
        )
    ]


@register()
def check_api_keys_required(**_: Any) -> list[CheckMessage]:
    if settings.REQUIRE_API_KEY:
        return []
    return [
        Warning(
            "REQUIRE_API_KEY is false: whoever reaches the endpoint may use it.",
            hint="Set REQUIRE_API_KEY=true unless only you reach this machine; 'serve' then listens on loopback only.",
            id="moe_site.W005",
        )
    ]


@register()
def check_proxies(**_: Any) -> list[CheckMessage]:
    if not settings.BEHIND_TLS or settings.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "BEHIND_TLS is true, but no proxy is trusted to say that a request came by https: forms of the admin are "
            "refused, and links in answers begin with http.",
            hint="Set TRUSTED_PROXIES to the address the proxy connects from, such as 127.0.0.1, and have it send "
            "X-Forwarded-Proto and X-Forwarded-For.",
            id="moe_site.W004",
        )
    ]


@register(Tags.security, deploy=True)
def check_tls(**_: Any) -> list[CheckMessage]:
    if not settings.BEHIND_TLS:
        if not (names := _names_of_elsewhere()):
            return []  # nothing but this machine's own name is answered
        return [
            Warning(
                f"This endpoint answers to {', '.join(names)}, and neither passwords nor API keys are encrypted on "
                "their way here: BEHIND_TLS is false.",
                hint="Put a proxy in front that ends TLS (docs/threat-model.md shows one), and set BEHIND_TLS=true and "
                "TRUSTED_PROXIES.",
                id="moe_site.W003",
            )
        ]
    if not settings.HSTS_SECONDS:
        return [
            Warning(
                "HSTS_SECONDS is 0: browsers may be led to ask by http first, where their requests can be read.",
                hint="Set HSTS_SECONDS to 3600, and to 31536000 when everything under this name is reached by https.",
                id="moe_site.W013",
            )
        ]
    return []


@register()
def check_data_directory(**_: Any) -> list[CheckMessage]:
    """Check that the data directory can be written, and that others cannot read what is secret in it."""
    folder: Path = settings.MOE_DATA_DIR
    found: list[CheckMessage] = []
    if reason := _unwritable(folder):
        found.append(
            Error(
                f"The data directory {folder} cannot be written: {reason}",
                hint="Set MOE_DATA_DIR to a folder of the account that runs this, or give that account the folder.",
                id="moe_site.E019",
            )
        )
    found += [
        Warning(
            f"Other accounts of this machine can read {path}.",
            hint=f"chmod {mode:o} {path} ('manage.py doctor' does it).",
            id="moe_site.W006",
        )
        for path, mode in exposed()
    ]
    return found


def _names_of_elsewhere() -> list[str]:
    """Return what somebody added to ALLOWED_HOSTS by which other machines reach this one."""
    if not settings.ENVIRONMENT.is_set("ALLOWED_HOSTS"):
        return []
    return [name for name in settings.ALLOWED_HOSTS if not _is_loopback(name.strip("[]"))]


def exposed() -> Iterator[tuple[Path, int]]:
    """Yield what of the data directory other accounts can read and should not, with the mode that it should have."""
    folder: Path = settings.MOE_DATA_DIR
    # Others may pass through the directory: the embedded PostgreSQL of a root account has one of its own.
    for path, forbidden, mode in ((folder, stat.S_IROTH | stat.S_IWOTH, 0o711), (folder / "secret_key", 0o077, 0o600)):
        if _mode(path) & forbidden:
            yield path, mode


def _unwritable(folder: Path) -> str:
    """Return why nothing can be written to ``folder``, or ""."""
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


# --- what only `serve` knows -----------------------------------------------------------------------------------


def start_warnings(*, host: str, workers: int) -> list[CheckMessage]:
    """Return what is likely not meant about listening on ``host`` with so many workers."""
    found: list[CheckMessage] = []
    if not _is_loopback(host) and not settings.ENVIRONMENT.is_set("ALLOWED_HOSTS"):
        found.append(
            Warning(
                f"--host {host} listens to other machines, but ALLOWED_HOSTS is empty: only those that use the name "
                f"{settings.ALLOWED_HOSTS[-1]} are answered.",
                hint="Set ALLOWED_HOSTS to the names and addresses under which this machine is reached.",
                id="moe_site.W011",
            )
        )
    if workers > 1 and not settings.REDIS_URL:
        found.append(
            Warning(
                f"Each of {workers} workers counts limits for itself: together they let {workers} times as much in.",
                hint="Set REDIS_URL, so that they count together, or use one worker.",
                id="moe_site.W010",
            )
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
