"""What must be there beside this project: packages, Redis, folders."""

import functools
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from packaging.requirements import InvalidRequirement, Requirement

REDIS_SCHEMES = ("redis", "rediss", "unix")


@register()
def check_redis_url(**_: Any) -> list[CheckMessage]:
    url = settings.REDIS_URL
    if not url:
        return []
    found: list[CheckMessage] = []
    if not _is_redis(url):
        found.append(  # without the address: it may hold a password
            Error(
                "REDIS_URL is no address of a Redis server.",
                hint="Write it as redis://:password@host:6379/0 (rediss:// with TLS), or leave it empty.",
                id="moe_site.E013",
            )
        )
    if importlib.util.find_spec("redis") is None:
        found.append(
            Error(
                "REDIS_URL is set, but the package redis is not installed.",
                hint="pip install -r requirements.txt, or leave REDIS_URL empty.",
                id="moe_site.E014",
            )
        )
    return found


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    there = parts.path if parts.scheme == "unix" else parts.hostname
    return parts.scheme in REDIS_SCHEMES and bool(there) and port != 0


@register()
def check_watched_folders(**_: Any) -> list[CheckMessage]:
    return [
        Warning(
            f"WATCH_FOLDERS holds '{name}', which is no folder of this machine.",
            hint="Check that it is mounted and written from / on, or take it out of WATCH_FOLDERS.",
            id="moe_site.W007",
        )
        for name in settings.WATCH_FOLDERS
        if not (Path(name).is_absolute() and Path(name).is_dir())
    ]


@register()
def check_ocr(**_: Any) -> list[CheckMessage]:
    if not settings.KNOWLEDGE_OCR or importlib.util.find_spec("docling") is not None:
        return []
    return [
        Error(
            "KNOWLEDGE_OCR is true, but docling is not installed.",
            hint="pip install docling, or set KNOWLEDGE_OCR=false; scanned pages are then not read.",
            id="moe_site.E022",
        )
    ]


@register()
def check_packages(**_: Any) -> list[CheckMessage]:
    """Compare what is installed with requirements.txt; the part for tests and checks is left out."""
    text = (Path(settings.BASE_DIR) / "requirements.txt").read_text(encoding="utf-8")
    wrong = [reason for line in text.partition("# --- tests")[0].splitlines() if (reason := _unmet(line))]
    if not wrong:
        return []
    return [
        Error(
            f"Packages are missing or too old: {'; '.join(wrong)}.",
            hint="Activate the virtual environment, and run: pip install -r requirements.txt",
            id="moe_site.E021",
        )
    ]


@functools.cache  # neither changes while a process runs, and looking through forty packages takes 50 ms
def _unmet(line: str) -> str:
    """Return why a line of requirements.txt is not met, or ""."""
    try:
        wanted = Requirement(line.partition("#")[0].strip())
    except InvalidRequirement:
        return ""  # a comment or an empty line
    try:
        there = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is not there"
    if wanted.specifier.contains(there, prereleases=True):
        return ""
    return f"{wanted.name} is {there}, needed is {wanted.specifier}"
