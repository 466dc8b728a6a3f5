"""The sums of records by hour, key, kind and expert, which charts, budgets and GET /v1/usage are read from."""

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import connection

from gateway.models import UsageHour, UsageRecord

NAMES = ("hour", "key_id", "key_name", "group", "what", "asked", "expert")
"""What tells one row from another."""
COUNTS = (
    "requests",
    "errors",
    "cancelled",
    "cached",
    "prompt_tokens",
    "completion_tokens",
    "thinking_tokens",
    "cost",
    "total_ms",
    "first_token_ms",
    "first_tokens",
)
Name = tuple[dt.datetime, int, str, str, str, str, str]


def sums_of(records: Iterable[UsageRecord]) -> dict[Name, list[Any]]:
    """Return the counts of ``records``, in the order of COUNTS, by the names of their rows."""
    sums: dict[Name, list[Any]] = {}
    for record in records:
        counts = _counts(record)
        name = _name(record)
        known = sums.get(name)
        sums[name] = counts if known is None else [one + other for one, other in zip(known, counts, strict=True)]
    return sums


def _name(record: UsageRecord) -> Name:
    return (
        record.created_at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0),
        record.key_id or 0,
        record.key_name,
        record.group,
        record.what,
        # What nobody was found for is a client's own invention, and there is no end to those.
        record.asked if record.expert else "",
        record.expert,
    )


def _counts(record: UsageRecord) -> list[Any]:
    first = record.first_token_ms
    return [
        1,
        int(record.status >= 400 and not record.is_cancelled),
        int(record.is_cancelled),
        int(bool(record.cache)),
        record.prompt_tokens,
        record.completion_tokens,
        record.thinking_tokens,
        Decimal(record.cost),
        record.total_ms,
        0.0 if first is None else first,
        int(first is not None),
    ]


def sums_add(records: Sequence[UsageRecord]) -> None:
    """Add ``records`` to the sums.

    The rows are locked in one order, so that processes that write at the same time wait for each other, but not in a
    circle.
    """
    rows = [(*name, *counts) for name, counts in sums_of(records).items()]
    with connection.cursor() as cursor:
        cursor.execute(_statement(), [list(column) for column in zip(*rows, strict=True)])


def _statement() -> str:
    quote = connection.ops.quote_name
    columns = [UsageHour._meta.get_field(name) for name in (*NAMES, *COUNTS)]
    names = ", ".join(quote(column.name) for column in columns)
    given = ", ".join(f"%s::{_bare(column.db_type(connection) or '')}[]" for column in columns)
    added = ", ".join(f"{name} = known.{name} + EXCLUDED.{name}" for name in COUNTS)
    key = ", ".join(quote(name) for name in NAMES)
    return (
        f"INSERT INTO gateway_usagehour AS known ({names}) SELECT {names} FROM unnest({given}) AS given ({names}) "  # noqa: S608  # names of our own columns
        f"ORDER BY {key} ON CONFLICT ({key}) DO UPDATE SET {added}"
    )


def _bare(kind: str) -> str:
    """Return a column's type without its precision, of which an array has none: numeric(20, 8), varchar(300)."""
    return kind.partition("(")[0]
