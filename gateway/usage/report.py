"""Sums of usage over time, for GET /v1/usage, charts and exports."""

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db.models import DateTimeField, QuerySet, Sum
from django.db.models.functions import Trunc
from django.utils import timezone

from gateway.auth import Caller
from gateway.limits.claims import COST_UNIT, Kind, Limit, limits_of, period_of
from gateway.limits.ledger import ledger
from gateway.models import UsageHour
from gateway.usage.query import UsageQuery
from gateway.usage.sums import COUNTS

Row = Mapping[str, Any]


def hours_of(query: UsageQuery) -> QuerySet[UsageHour]:
    """Return the hours that a query is about."""
    hours = UsageHour.objects.filter(hour__gte=query.start, hour__lt=query.end).order_by()
    named = {"group": query.group, "expert": query.expert, "asked": query.model, "what": query.kind}
    narrowed: dict[str, Any] = {column: value for column, value in named.items() if value}
    if query.key is not None:
        narrowed["key_id"] = query.key
    return hours.filter(**narrowed)


def sums_by(query: UsageQuery) -> "QuerySet[UsageHour, dict[str, Any]]":
    """Return the sums by time and by what the query groups by, in that order."""
    bucket = Trunc("hour", query.bucket, output_field=DateTimeField(), tzinfo=dt.UTC)
    rows = hours_of(query).annotate(bucket=bucket).values("bucket", *query.columns).annotate(**_sums())
    return rows.order_by("bucket", *query.columns)  # type: ignore[no-any-return]


def buckets_of(query: UsageQuery) -> list[Row]:
    """Return a page of the sums, and the one after it if there is one."""
    first = (query.page - 1) * query.limit
    return list(sums_by(query)[first : first + query.limit + 1])


def totals_of(query: UsageQuery) -> Row:
    """Return the sums over everything that a query is about."""
    return hours_of(query).aggregate(**_sums())


def _sums() -> dict[str, Any]:
    # Under names of their own, as a column and its sum cannot have the same one.
    return {f"sum_{name}": Sum(name) for name in COUNTS}


# --- as JSON ----------------------------------------------------------------------------------------------------


def report_object(query: UsageQuery) -> dict[str, Any]:
    """Return the answer to GET /v1/usage."""
    rows = buckets_of(query)
    has_more = len(rows) > query.limit
    return {
        "object": "usage",
        "start": _time(query.start),
        "end": _time(query.end),
        "bucket": query.bucket,
        "group_by": list(query.group_by),
        "totals": counts_object(totals_of(query)),
        "data": [_row_object(row, query) for row in rows[: query.limit]],
        "has_more": has_more,
        "next_page": query.page + 1 if has_more else None,
    }


def _row_object(row: Row, query: UsageQuery) -> dict[str, Any]:
    told: dict[str, Any] = {"start": _time(row["bucket"])}
    for name in query.group_by:
        if name == "key":
            told |= {"key": row["key_id"] or None, "key_name": row["key_name"] or None}
        else:
            column = {"model": "asked", "kind": "what"}.get(name, name)
            told[name] = row[column] or None
    return told | counts_object(row)


def counts_object(row: Row) -> dict[str, Any]:
    """Return the counts of a row of sums; a mean is None where there is nothing to take it of."""
    counts = {name: row[f"sum_{name}"] or 0 for name in COUNTS}
    return {
        "requests": counts["requests"],
        "errors": counts["errors"],
        "cancelled": counts["cancelled"],
        "cached": counts["cached"],
        "prompt_tokens": counts["prompt_tokens"],
        "completion_tokens": counts["completion_tokens"],
        "thinking_tokens": counts["thinking_tokens"],
        "total_tokens": counts["prompt_tokens"] + counts["completion_tokens"],
        "cost": float(counts["cost"]),
        "mean_ms": _mean(counts["total_ms"], counts["requests"]),
        "mean_first_token_ms": _mean(counts["first_token_ms"], counts["first_tokens"]),
    }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 3) if count else None


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


# --- budgets ----------------------------------------------------------------------------------------------------


def budgets_of(caller: Caller) -> list[dict[str, Any]]:
    """Return the budgets that a caller is held to, and what is spent and left of each."""
    limits = [limit for policy in caller.policies for limit in limits_of(policy.subject, policy.limits)]
    budgets = [limit for limit in limits if limit.rule.kind is Kind.BUDGET]
    if budgets:
        ledger.read()
    return list(_budget_objects(budgets, timezone.now().astimezone(dt.UTC)))


def _budget_objects(budgets: Iterable[Limit], now: dt.datetime) -> Iterable[dict[str, Any]]:
    for limit in budgets:
        period = period_of(limit.rule, now)
        spent = ledger.known(limit.subject, period, limit.rule.unit)
        yield {
            "limit": limit.name,
            "of": limit.subject.partition(":")[0],
            "period": period,
            "most": _amount(limit, limit.most),
            "spent": _amount(limit, spent),
            "left": _amount(limit, max(0, limit.most - spent)),
        }


def _amount(limit: Limit, value: int) -> float | int:
    return float(Decimal(value) * COST_UNIT) if limit.rule.unit == "cost" else value
