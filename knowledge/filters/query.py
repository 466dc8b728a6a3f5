"""A filter as a condition of a query.

Django's own lookups into JSON are not used: they take a key of digits for a place in a list, call a missing key
NULL, which NOT leaves NULL, and order values of different kinds, and texts as the database's language sorts them.
Values and keys are parameters, always.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Any

from django.db.models import BooleanField, Case, DecimalField, F, Func, JSONField, Q, TextField, Value, When
from django.db.models.functions import Collate
from django.db.models.lookups import Exact, GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual
from psycopg.types.json import Jsonb

from knowledge.filters.comparing import exact
from knowledge.filters.grammar import COLUMNS, Comparison, Compound, Filter, Kind, Operator

ORDERS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.GT: GreaterThan,
    Operator.GTE: GreaterThanOrEqual,
    Operator.LT: LessThan,
    Operator.LTE: LessThanOrEqual,
}
# The whole number that a column of whole numbers is to be compared with instead of one in between.
ROUNDED: Mapping[Operator, Callable[[float], int]] = {
    Operator.GT: math.floor,
    Operator.GTE: math.ceil,
    Operator.LT: math.ceil,
    Operator.LTE: math.floor,
}

NOTHING = Q(pk__in=())


def to_q(filter: Filter, *, metadata: str = "document__metadata", document: str = "document") -> Q:
    """Return ``filter`` as a condition on rows whose document is at ``document``, its metadata at ``metadata``.

    On documents themselves these are "" and "metadata". The condition is true or false of every row, never NULL.
    """
    if isinstance(filter, Compound):
        parts = [to_q(part, metadata=metadata, document=document) for part in filter.filters]
        if filter.operator == "and":
            return reduce(and_, parts, ~NOTHING)
        return reduce(or_, parts, NOTHING)
    condition = _of_metadata(filter, metadata) if filter.column is None else _of_column(filter, filter.column, document)
    return ~condition if filter.operator.negates else condition


# --- metadata ------------------------------------------------------------------------------------------------


def _of_metadata(comparison: Comparison, metadata: str) -> Q:
    """Return the condition without its negation."""
    found = _at(metadata, comparison.path)
    if not comparison.operator.orders:
        # A list of jsonb contains the scalars in it, a scalar itself: by value, kind and bytes.
        wanted = Func(Value([Jsonb(value) for value in comparison.values]), template="(%(expressions)s::jsonb[])")
        contained = Func(found, wanted, arg_joiner=" @> ANY ", template="%(expressions)s", output_field=BooleanField())
        return Q(Func(contained, Value(False), function="COALESCE", output_field=BooleanField()))
    value = comparison.value
    if isinstance(value, str):
        text = Func(found, template="(%(expressions)s #>> '{}')", output_field=TextField())
        ordered = ORDERS[comparison.operator](Collate(text, "C"), Value(value, output_field=TextField()))
        return Q(_of_kind(found, "string", ordered))
    assert not isinstance(value, tuple)
    number = Func(found, template="(%(expressions)s)::numeric", output_field=DecimalField())
    ordered = ORDERS[comparison.operator](number, Value(exact(value), output_field=DecimalField()))
    return Q(_of_kind(found, "number", ordered))


def _at(metadata: str, path: tuple[str, ...]) -> Func:
    names = [Func(Value(name), template="%(expressions)s::text") for name in path]
    return Func(F(metadata), *names, arg_joiner=" -> ", template="(%(expressions)s)", output_field=JSONField())


def _of_kind(found: Func, kind: str, condition: Any) -> Case:
    """Return ``condition`` guarded: a cast of another kind would be an error, and CASE alone keeps to its order."""
    kind_found = Func(found, function="jsonb_typeof", output_field=TextField())
    is_kind = Exact(kind_found, Value(kind, output_field=TextField()))
    return Case(When(is_kind, then=condition), default=Value(False), output_field=BooleanField())


# --- columns of the document ---------------------------------------------------------------------------------


def _of_column(comparison: Comparison, column: str, document: str) -> Q:
    """Return the condition without its negation."""
    name = f"{document}__{column}" if document else column
    kind = COLUMNS[column]
    if comparison.operator.orders and kind is Kind.TEXT:
        value = Value(comparison.value, output_field=TextField())
        return Q(ORDERS[comparison.operator](Collate(F(name), "C"), value))
    if comparison.operator.orders:
        return Q((f"{name}__{comparison.operator}", _bound(comparison, kind)))
    return Q(
        (f"{name}__in", [value for value in (_equal(value, kind) for value in comparison.values) if value is not None])
    )


def _bound(comparison: Comparison, kind: Kind) -> Any:
    value = comparison.value
    if kind is Kind.TIME:
        return dt.datetime.fromisoformat(str(value))
    assert isinstance(value, int | float)
    return ROUNDED[comparison.operator](value)


def _equal(value: Any, kind: Kind) -> Any:
    """Return ``value`` as the column may hold it, or None if it cannot."""
    if kind is Kind.TIME:
        return dt.datetime.fromisoformat(value)
    if kind is Kind.NUMBER:
        return int(value) if value == int(value) else None
    return value
