"""Environment variables, read so that a mistake in one is told in words.

What cannot be read counts as not set and is remembered; the system check moe_site.E008 tells it (checks/settings.py).
The settings cannot: whoever raises there shows people a traceback.
"""

import difflib
import re
import warnings
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ

YES = frozenset({"true", "on", "yes", "y", "1"})
NO = frozenset({"false", "off", "no", "n", "0"})
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}
ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A variable whose value is not of its kind; ``kind`` is in words."""

    name: str
    value: str
    kind: str


class Environment(environ.Env):
    """django-environ's reader, for which an empty value is the default and a bad one is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.unreadable: list[Unreadable] = []

    def get_value(self, var: str, cast: Any = None, default: Any = None, parse_default: bool = False) -> Any:
        self.names.add(var)
        text = self.ENVIRON.get(var, "").strip()
        if not text:
            return default
        kind = KINDS.get(cast)
        if kind is None:
            return super().get_value(var, cast=cast, default=default, parse_default=parse_default)
        try:
            return READERS[cast](text)
        except ValueError:
            self.unreadable.append(Unreadable(name=var, value=text, kind=kind))
            return default

    def is_set(self, var: str) -> bool:
        return bool(self.ENVIRON.get(var, "").strip())

    def choice(self, var: str, choices: Sequence[str], default: str) -> str:
        """Return the one of ``choices`` that the variable names, whatever its case."""
        text: str = self.str(var, default=default)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        self.unreadable.append(Unreadable(name=var, value=text, kind=f"one of {', '.join(choices)}"))
        return default

    def zone(self, var: str, default: str) -> str:
        """Return the name of a time zone; Django raises over one that is none, before any check runs."""
        text: str = self.str(var, default=default)
        try:
            zoneinfo.ZoneInfo(text)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            self.unreadable.append(Unreadable(name=var, value=text, kind="a time zone such as Europe/Berlin"))
            return default
        return text

    def database(self, url: str) -> dict[str, Any]:
        """Return Django's settings for a PostgreSQL at ``url``; with one that cannot be read, no database is used."""
        with warnings.catch_warnings(action="ignore"):  # what django-environ warns of has the password in it
            try:
                found = dict(self.db_url_config(url))
            except Exception:  # it raises whatever its parts do
                found = {}
        if found.get("ENGINE") == "django.db.backends.postgresql" and found.get("NAME"):
            return found
        return {"ENGINE": "django.db.backends.dummy", "NAME": ""}


def _truth(text: str) -> bool:
    # django-environ takes everything that is not a yes for a no: "ture" would turn REQUIRE_API_KEY off.
    if text.lower() in YES | NO:
        return text.lower() in YES
    raise ValueError(text)


def _number(text: str) -> float:
    number = float(text)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


READERS: dict[Any, Callable[[str], Any]] = {int: int, float: _number, bool: _truth}


def unknown_names(path: Path, known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what the file at ``path`` sets and nobody reads, each with the name that was likely meant or ""."""
    names = sorted(known)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if (match := ASSIGNMENT.match(line)) and match[1] not in names:
            yield match[1], next(iter(difflib.get_close_matches(match[1], names, n=1)), "")
