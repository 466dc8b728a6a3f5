"""The fields of a rule in a file: how each is read, and shown."""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from routing.conditions import WEEKDAYS
from routing.models import RoutingRule


class Wrong(Exception):
    """A value of the wrong type; the message says which is right."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be a text; put {_shown(value)} in quotes")
    if "\0" in value:
        raise Wrong("holds a null character")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Wrong("must be a whole number")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Wrong("must be a number")
    return float(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Wrong("must be a list of texts")
    return [_text(item) for item in value]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise Wrong("must be names with values, such as {temperature: 0}")
    if "\0" in repr(value) or r"\x00" in repr(value):
        raise Wrong("holds a null character")
    return value


def _time(value: Any) -> dt.time:
    if not isinstance(value, str) or not re.fullmatch(r"\d\d?:\d\d(:\d\d(\.\d{1,6})?)?", value):
        raise Wrong("must be a time such as 22:00")
    try:
        return dt.time.fromisoformat(value.zfill(5) if value.count(":") == 1 else value)
    except ValueError as error:
        raise Wrong("must be a time such as 22:00") from error


def _shown_time(value: dt.time) -> str:
    return value.isoformat() if value.second or value.microsecond else value.isoformat("minutes")


def _weekdays(value: Any) -> list[int]:
    days = [day.lower() for day in WEEKDAYS]
    named = _texts(value)
    if strange := [name for name in named if name.lower() not in days]:
        raise Wrong(f"must be names of weekdays such as monday; {_shown(strange[0])} is none")
    return [days.index(name.lower()) for name in named]


def _shown_weekdays(value: Iterable[int]) -> list[str]:
    return [WEEKDAYS[day].lower() for day in value]


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Field:
    """How a column is read from a file's value, and shown as one."""

    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = _same


# In the order they are written.
COLUMNS: Mapping[str, Field] = {
    "name": Field(_text),
    "priority": Field(_whole),
    "enabled": Field(_bool),
    "note": Field(_text),
    "look_in": Field(_text),
    "keywords": Field(_texts),
    "all_keywords": Field(_texts),
    "none_keywords": Field(_texts),
    "pattern": Field(_text),
    "has_images": Field(_bool),
    "has_tools": Field(_bool),
    "wants_json": Field(_bool),
    "min_tokens": Field(_whole),
    "max_tokens": Field(_whole),
    "languages": Field(_texts),
    "keys": Field(_texts),
    "groups": Field(_texts),
    "headers": Field(_mapping),
    "metadata": Field(_mapping),
    "weekdays": Field(_weekdays, _shown_weekdays),
    "from_time": Field(_time, _shown_time),
    "until_time": Field(_time, _shown_time),
    "min_evidence": Field(_number),
    "evidence_collections": Field(_texts),
    "collections": Field(_texts),
    "overrides": Field(_mapping),
    "system_mode": Field(_text),
    "system_text": Field(_text),
    "stop": Field(_bool),
    "interrupts": Field(_bool),
}
RELATIONS: Mapping[str, Callable[[Any], Any]] = {"profiles": _texts, "expert": _text, "candidates": _texts}
NAMES = (*COLUMNS, *RELATIONS)
ALWAYS = ("name", "priority")


def default(name: str) -> Any:
    """Return what a column has where a file leaves it out."""
    # Lists and objects are made anew each time.
    column = RoutingRule._meta.get_field(name)
    assert isinstance(column, models.Field)
    return column.get_default()


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
