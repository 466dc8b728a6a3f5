"""What a filter is, and how one is read. Pure.

What a comparison means is the same in SQL (query.py) and in Python (comparing.py):

- Numbers compare with numbers, by their decimal value; texts with texts, by code point; nothing with another kind.
- What is missing, null or an object equals nothing: eq, in, gt, gte, lt and lte are false of it, ne and nin true.
- A list equals each of its entries that is a text, a number or a flag; it is neither greater nor less than anything.
- A dot in a key leads into an object (`publisher.city`), never into a list.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, cast

DEEPEST = 8
MOST_COMPARISONS = 64
MOST_VALUES = 1000  # of one comparison
LONGEST_KEY = 128
LONGEST_TEXT = 2000
LARGEST_NUMBER = 10**308

Scalar = str | int | float | bool


class InvalidFilter(ValueError):
    """What should be a filter is none; the message names the place and what belongs there."""


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"

    @property
    def takes_list(self) -> bool:
        return self in (Operator.IN, Operator.NIN)

    @property
    def orders(self) -> bool:
        return self in (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)

    @property
    def negates(self) -> bool:
        """Whether it is true of whatever eq or in is not true of."""
        return self in (Operator.NE, Operator.NIN)


class Kind(StrEnum):
    """What a column of a document holds, in words for people."""

    TEXT = "a text"
    NUMBER = "a number"
    TIME = "a date or time such as 2024-05-31 or 2024-05-31T12:00:00Z"


RESERVED = "document."
COLUMNS = {
    "title": Kind.TEXT,
    "source": Kind.TEXT,
    "mime": Kind.TEXT,
    "language": Kind.TEXT,
    "id": Kind.NUMBER,
    "revision": Kind.NUMBER,
    "created_at": Kind.TIME,
}
"""What is asked for as `document.title`; every other key is one of the metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``value`` is a tuple with in and nin alone; a time is written as ISO 8601 in UTC."""

    operator: Operator
    key: str
    value: Scalar | tuple[Scalar, ...]

    @property
    def values(self) -> tuple[Scalar, ...]:
        """What it compares with, one or several."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    @property
    def column(self) -> str | None:
        """The column of the document that is meant, or None where it is the metadata."""
        return self.key.removeprefix(RESERVED) if self.key.startswith(RESERVED) else None

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compound:
    """All of ``filters``, or one at least: of none at all, "and" is true and "or" false."""

    operator: Literal["and", "or"]
    filters: tuple["Filter", ...]


Filter = Comparison | Compound


def parse(value: Any, *, place: str = "filters") -> Filter:
    """Read a filter from JSON values; raises InvalidFilter, which calls the whole ``place``."""
    return _Reader().filter(value, place, depth=1)


def to_json(filter: Filter) -> dict[str, Any]:
    """Return the one way of writing ``filter``, without shorthand; ``parse`` reads the same from it."""
    if isinstance(filter, Compound):
        return {"type": filter.operator, "filters": [to_json(part) for part in filter.filters]}
    value = list(filter.value) if isinstance(filter.value, tuple) else filter.value
    return {"type": filter.operator.value, "key": filter.key, "value": value}


class _Reader:
    def __init__(self) -> None:
        self._comparisons = 0

    def filter(self, value: Any, place: str, depth: int) -> Filter:
        if not isinstance(value, Mapping):
            raise InvalidFilter(f"{place} must be an object.")
        if not _is_written_out(value):
            return self._shorthand(value, place)
        if value["type"] in ("and", "or"):
            return self._compound(value, place, depth)
        if value["type"] not in tuple(Operator):
            raise InvalidFilter(f"{place}.type must be one of {', '.join(Operator)}, and, or.")
        _check_fields(value, place, ("type", "key", "value"))
        return self._comparison(Operator(value["type"]), value["key"], value["value"], place)

    def _compound(self, value: Mapping[str, Any], place: str, depth: int) -> Compound:
        _check_fields(value, place, ("type", "filters"))
        if depth > DEEPEST:
            raise InvalidFilter(f"{place} is nested too deeply: {DEEPEST} filters inside each other are allowed.")
        inner = value["filters"]
        if not isinstance(inner, list | tuple):
            raise InvalidFilter(f"{place}.filters must be a list of filters.")
        if len(inner) > MOST_COMPARISONS:
            raise InvalidFilter(f"{place}.filters may hold {MOST_COMPARISONS} filters, not {len(inner)}.")
        parts = [self.filter(part, f"{place}.filters[{number}]", depth + 1) for number, part in enumerate(inner)]
        return Compound(operator=cast(Literal["and", "or"], str(value["type"])), filters=tuple(parts))

    def _shorthand(self, value: Mapping[str, Any], place: str) -> Filter:
        parts = []
        for key, wanted in value.items():
            if isinstance(wanted, list | tuple | Mapping):
                raise InvalidFilter(
                    f"{place} has more than a text, a number or a flag for {key!r}. For other comparisons than "
                    'equality write {"type": "in", "key": …, "value": […]}, and join several by '
                    '{"type": "and", "filters": […]}.'
                )
            parts.append(self._comparison(Operator.EQ, key, wanted, place))
        return parts[0] if len(parts) == 1 else Compound(operator="and", filters=tuple(parts))

    def _comparison(self, operator: Operator, key: Any, value: Any, place: str) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise InvalidFilter(f"{place} is one too many: {MOST_COMPARISONS} comparisons are allowed.")
        column = _checked_key(key, f"{place}.key")
        place = f"{place}.value"
        if not operator.takes_list:
            return Comparison(operator=operator, key=key, value=_checked_value(value, column, operator, place))
        if not isinstance(value, list | tuple):
            raise InvalidFilter(f'{place} must be a list, since "{operator}" compares with several values.')
        if len(value) > MOST_VALUES:
            raise InvalidFilter(f"{place} may hold {MOST_VALUES:,} values, not {len(value):,}.")
        values = [_checked_value(one, column, operator, f"{place}[{number}]") for number, one in enumerate(value)]
        return Comparison(operator=operator, key=key, value=tuple(values))


def _is_written_out(value: Mapping[str, Any]) -> bool:
    """Tell a filter from the shorthand for a comparison with a metadata key that happens to be "type"."""
    if "type" not in value:
        return False
    return value["type"] in (*Operator, "and", "or") or not value.keys().isdisjoint(("key", "value", "filters"))


def _check_fields(value: Mapping[str, Any], place: str, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in value:
            raise InvalidFilter(f"{place}.{name} is missing.")
    for name in value:
        if name not in names:
            raise InvalidFilter(f"{place} has a field {name!r}, which this type of filter does not have.")


def _checked_key(key: Any, place: str) -> Kind | None:
    """Return what the column holds that ``key`` names, or None if it names metadata."""
    if not isinstance(key, str) or not all(key.split(".")):
        raise InvalidFilter(f"{place} must be the name of a metadata field, with dots between names inside each other.")
    if len(key) > LONGEST_KEY:
        raise InvalidFilter(f"{place} may have {LONGEST_KEY} characters, not {len(key):,}.")
    _check_storable(key, place)
    if not key.startswith(RESERVED):
        return None
    column = COLUMNS.get(key.removeprefix(RESERVED))
    if column is None:
        known = ", ".join(RESERVED + name for name in COLUMNS)
        raise InvalidFilter(f"{place} is {key!r}, but what can be asked of a document itself is {known}.")
    return column


def _checked_value(value: Any, column: Kind | None, operator: Operator, place: str) -> Scalar:
    if not isinstance(value, str | int | float):
        raise InvalidFilter(f"{place} must be a text, a number or a flag.")
    if isinstance(value, bool):
        if operator.orders:
            raise InvalidFilter(f'{place} must be a text or a number, since "{operator}" compares sizes.')
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise InvalidFilter(f"{place} may have {LONGEST_TEXT:,} characters, not {len(value):,}.")
        _check_storable(value, place)
    elif not abs(value) <= LARGEST_NUMBER:  # nor is NaN
        raise InvalidFilter(f"{place} is no number that can be compared with.")
    return value if column is None else _fitting(value, column, place)


def _fitting(value: Scalar, column: Kind, place: str) -> Scalar:
    if column is Kind.TIME and isinstance(value, str):
        try:
            return in_utc(dt.datetime.fromisoformat(value)).isoformat()
        except (ValueError, OverflowError):
            pass
    elif column is (Kind.TEXT if isinstance(value, str) else Kind.NUMBER) and not isinstance(value, bool):
        return value
    raise InvalidFilter(f"{place} must be {column.value}.")


def in_utc(time: dt.datetime) -> dt.datetime:
    """Return ``time`` in UTC, which one without a zone is taken to be in; raises OverflowError at the ends of time."""
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _check_storable(text: str, place: str) -> None:
    # The database can hold neither, so nothing in it can equal them.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidFilter(f"{place} has characters that no text can have (NUL, or half of a surrogate pair).")
