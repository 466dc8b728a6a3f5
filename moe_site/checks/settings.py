"""Whether each variable can be what it says."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from gateway.policy import network
from moe_site.environment import unknown_names

MODES = ("auto", "on", "off")
LONGEST_MONTH = 31

ABOVE_ZERO = (
    "UPSTREAM_CONNECT_TIMEOUT",
    "UPSTREAM_FIRST_BYTE_TIMEOUT",
    "UPSTREAM_IDLE_TIMEOUT",
    "UPSTREAM_LOAD_TIMEOUT",
    "CIRCUIT_BREAKER_THRESHOLD",
    "CIRCUIT_BREAKER_COOLDOWN",
    "QUEUE_TIMEOUT",
    "MAX_BODY_BYTES",
    "BODY_TIMEOUT_SECONDS",
    "DATABASE_POOL_SIZE",
    "LOGIN_FAILURES",
    "LOGIN_LOCK_MINUTES",
    "RESPONSE_CACHE_SECONDS",
)
ZERO_OR_MORE = (
    "UPSTREAM_MAX_RETRIES",
    "QUEUE_LIMIT",
    "STREAM_HEARTBEAT_SECONDS",
    "DECISION_RETENTION_DAYS",
    "PROPOSAL_CORRECTIONS",
    "INGESTION_CONCURRENCY",
    "HSTS_SECONDS",
    "LOGIN_LOG_DAYS",
    "RESPONSE_CACHE_ENTRIES",
    "EMBEDDING_CACHE_ENTRIES",
    "INPUT_CHARACTERS_MOST",
    "JOB_RETENTION_DAYS",
    "TEXT_RETENTION_DAYS",
    "USAGE_RETENTION_DAYS",
    "USAGE_SUMS_RETENTION_DAYS",
)


@register()
def check_readable(**_: Any) -> list[CheckMessage]:
    """Tell what the environment says that could not be understood, and so counts as not set."""
    return [
        Error(
            f"{found.name} is '{found.value}', which is not {found.kind}.",
            hint=f"Set {found.name} to {found.kind}, or leave it empty for its default (.env.example has it).",
            id="moe_site.E008",
        )
        for found in settings.ENVIRONMENT.unreadable
    ]


@register()
def check_unknown(**_: Any) -> list[CheckMessage]:
    """Tell of lines in .env that nothing reads, which are mostly slips."""
    return [
        Warning(
            f"{settings.ENV_FILE.name} sets {name}, which nothing reads.",
            hint=f"Did you mean {meant}?" if meant else ".env.example lists what there is; delete the line.",
            id="moe_site.W016",
        )
        for name, meant in unknown_names(settings.ENV_FILE, settings.ENVIRONMENT.names)
    ]


@register()
def check_embedded_models(**_: Any) -> list[CheckMessage]:
    if settings.EMBEDDED_MODELS in MODES:
        return []
    return [
        Error(
            f"EMBEDDED_MODELS is '{settings.EMBEDDED_MODELS}'.",
            hint="Set EMBEDDED_MODELS to auto, on or off.",
            id="moe_site.E001",
        )
    ]


@register()
def check_model_servers(**_: Any) -> list[CheckMessage]:
    """Check that OLLAMA_BASE_URL holds addresses, and that the key does not travel in the clear."""
    found: list[CheckMessage] = []
    for url in settings.OLLAMA_BASE_URL:
        parts = _parts(url)
        if parts is None or parts[0] not in ("http", "https"):
            found.append(
                Error(
                    f"OLLAMA_BASE_URL holds '{url}', which is no address.",
                    hint="Set OLLAMA_BASE_URL to addresses such as http://127.0.0.1:11434, separated by commas.",
                    id="moe_site.E002",
                )
            )
        elif settings.OLLAMA_API_KEY and parts[0] == "http" and parts[1] not in ("localhost", "127.0.0.1", "::1"):
            found.append(
                Warning(
                    f"OLLAMA_API_KEY is sent to {parts[1]} without encryption.",
                    hint="Use https:// in OLLAMA_BASE_URL, or leave OLLAMA_API_KEY empty where no key is needed.",
                    id="moe_site.W012",
                )
            )
    return found


@register()
def check_numbers(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = [
        Error(f"{name} is not positive.", hint=f"Set {name} to a number above 0.", id="moe_site.E003")
        for name in ABOVE_ZERO
        if getattr(settings, name) <= 0
    ]
    found += [
        Error(f"{name} is below 0.", hint=f"Set {name} to 0 or more.", id="moe_site.E010")
        for name in ZERO_OR_MORE
        if getattr(settings, name) < 0
    ]
    return found


@register()
def check_budgets_last(**_: Any) -> list[CheckMessage]:
    """Check that what a month's budgets are counted by is kept until the month is over."""
    days = settings.USAGE_SUMS_RETENTION_DAYS
    if not 0 < days < LONGEST_MONTH:
        return []
    return [
        Warning(
            f"USAGE_SUMS_RETENTION_DAYS is {days}: what was spent in a month is deleted before the month is over, and "
            "budgets of tokens and cost for a month let more through than they say.",
            hint=f"Set USAGE_SUMS_RETENTION_DAYS to {LONGEST_MONTH} or more, or to 0, which keeps the sums for ever.",
            id="moe_site.W017",
        )
    ]


@register()
def check_database_url(**_: Any) -> list[CheckMessage]:
    if settings.DATABASES["default"]["ENGINE"] != "django.db.backends.dummy":
        return []
    return [  # never with the address: it holds the password
        Error(
            "DATABASE_URL is no address of a PostgreSQL database.",
            hint="Write it as postgres://user:password@host:5432/name, with special characters of the password as "
            "percent escapes; leave it empty for the embedded PostgreSQL.",
            id="moe_site.E009",
        )
    ]


@register()
def check_networks(**_: Any) -> list[CheckMessage]:
    """Check TRUSTED_PROXIES, where a slip would trust nobody, or everybody."""
    found: list[CheckMessage] = []
    for line in settings.TRUSTED_PROXIES:
        try:
            known = network(line)
        except ValueError as error:
            found.append(
                Error(
                    f"TRUSTED_PROXIES holds '{line}', which is no address or network: {error}",
                    hint="Set TRUSTED_PROXIES to addresses and networks such as 10.0.0.2,172.18.0.0/16.",
                    id="moe_site.E015",
                )
            )
            continue
        if known.prefixlen == 0:
            found.append(
                Warning(
                    "TRUSTED_PROXIES trusts every address: clients can claim any address as their own.",
                    hint="Name the proxies alone in TRUSTED_PROXIES.",
                    id="moe_site.W014",
                )
            )
    return found


@register()
def check_origins(**_: Any) -> list[CheckMessage]:
    """Check that origins are a scheme, a host and maybe a port, as browsers send them."""
    found: list[CheckMessage] = []
    for name in ("CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS"):
        for origin in getattr(settings, name):
            if origin == "*" and name == "CORS_ALLOWED_ORIGINS":
                found.append(_any_origin())
            elif not _is_origin(origin):
                found.append(
                    Error(
                        f"{name} holds '{origin}', which is no origin.",
                        hint=f"Set {name} to origins such as https://chat.example.org, without a path.",
                        id="moe_site.E016",
                    )
                )
    return found


def _any_origin() -> CheckMessage:
    return Warning(
        "CORS_ALLOWED_ORIGINS is *: every web page may call the API, with the keys its visitors give it.",
        hint="Name the pages that should in CORS_ALLOWED_ORIGINS.",
        id="moe_site.W008",
    )


@register()
def check_host_names(**_: Any) -> list[CheckMessage]:
    """Check that ALLOWED_HOSTS and FETCH_ALLOWED_HOSTS hold names and no addresses of pages."""
    found: list[CheckMessage] = []
    for name in ("ALLOWED_HOSTS", "FETCH_ALLOWED_HOSTS"):
        for entry in getattr(settings, name):
            if (
                "://" in entry
                or " " in entry.strip()
                or (name == "ALLOWED_HOSTS" and ("/" in entry or _has_port(entry)))
            ):
                found.append(
                    Error(
                        f"{name} holds '{entry}', which is no host name.",
                        hint=f"Write only the name in {name}, without http://, port and path.",
                        id="moe_site.E017",
                    )
                )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning(
                "ALLOWED_HOSTS is *: links in answers begin with whatever name a client claims.",
                hint="Name the hosts under which this endpoint is reached in ALLOWED_HOSTS.",
                id="moe_site.W002",
            )
        )
    return found


def _has_port(entry: str) -> bool:
    return entry.count(":") == 1


def _is_origin(text: str) -> bool:
    parts = _parts(text)
    if parts is None or "*" in text.replace("://*.", "", 1):
        return False
    return parts[0] in ("http", "https") and text.partition("://")[2].rstrip("/").find("/") < 0


def _parts(url: str) -> tuple[str, str] | None:
    """Return scheme and host of an address, or None where it has not both or a port that is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return (parts.scheme, host) if parts.scheme and host else None
