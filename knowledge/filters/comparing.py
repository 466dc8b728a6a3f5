"""A filter tried on one document, without a database. Pure."""

import datetime as dt
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from knowledge.filters.grammar import COLUMNS, Comparison, Compound, Filter, Kind, Operator, Scalar, in_utc

ORDERS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}


def matches(filter: Filter, metadata: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Tell whether ``filter`` lets a document through, by its ``metadata`` and its columns.

    ``document`` has what `document.…` may name, as the row has it: created_at is a datetime.
    """
    if isinstance(filter, Compound):
        every = all if filter.operator == "and" else any
        return every(matches(part, metadata, document) for part in filter.filters)
    found = _found(filter, metadata, document)
    wanted = [_comparable(value) for value in _wanted(filter)]
    if filter.operator.orders:
        ours, theirs = _comparable(found), wanted[0]
        return ours is not None and theirs is not None and ours[0] == theirs[0] and _ordered(filter, ours, theirs)
    entries = found if isinstance(found, list | tuple) else [found]
    equal = any(entry is not None and entry in wanted for entry in map(_comparable, entries))
    return equal is not filter.operator.negates


def _found(comparison: Comparison, metadata: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    if comparison.column is not None:
        return document.get(comparison.column)
    found: Any = metadata
    for name in comparison.path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _wanted(comparison: Comparison) -> tuple[Scalar | dt.datetime, ...]:
    if comparison.column is not None and COLUMNS[comparison.column] is Kind.TIME:
        return tuple(dt.datetime.fromisoformat(str(value)) for value in comparison.values)
    return comparison.values


def _comparable(value: Any) -> tuple[str, Any] | None:
    """Return ``value`` with its kind, as PostgreSQL compares it; None for what compares with nothing."""
    if isinstance(value, bool):
        return "flag", value
    if isinstance(value, str):
        return "text", value
    if isinstance(value, int | float):
        return "number", exact(value)
    if isinstance(value, dt.datetime):
        return "time", in_utc(value)
    return None


def exact(number: int | float) -> Decimal:
    """Return a number as JSON writes it, which is how the database keeps it: 0.1 is a tenth, not the nearest double."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def _ordered(comparison: Comparison, ours: tuple[str, Any], theirs: tuple[str, Any]) -> bool:
    return ORDERS[comparison.operator](ours[1], theirs[1])
