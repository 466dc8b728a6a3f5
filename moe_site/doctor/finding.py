"""What a look at one thing found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``about`` is what was looked at, ``id`` that of a system check; ``advice`` is what to do, "" where nothing is."""

    about: str
    level: Level
    message: str
    advice: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One look, which may take up to ``seconds``; what it raises becomes an error finding."""

    about: str
    look: Callable[[], Iterable[Finding]]
    seconds: float = 12.0


def ok(about: str, message: str) -> Finding:
    return Finding(about=about, level=Level.OK, message=message)


def warning(about: str, message: str, advice: str) -> Finding:
    return Finding(about=about, level=Level.WARNING, message=message, advice=advice)


def error(about: str, message: str, advice: str) -> Finding:
    return Finding(about=about, level=Level.ERROR, message=message, advice=advice)
