"""Lists as OpenAI has them: so many objects after the one whose id is given, in an order that stays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from rest_framework.response import Response

from gateway.fields import invalid

USUAL, MOST = 20, 100
PARAMETERS = ("limit", "after")
_LONGEST = 6
"""Digits of a number that is read at all."""

Row = TypeVar("Row", bound=Model)


def listing(
    rows: QuerySet[Row], query: Mapping[str, str], *, order: str, cursor: str, shown: Callable[[Row], dict[str, Any]]
) -> Response:
    """Return a page of ``rows``, each as ``shown``; raises BadRequest.

    They are ordered by field ``order``, with "-" before it the other way round, and rows alike by primary key.
    ``cursor`` is the field that an object's id is.
    """
    limit = limit_of(query.get("limit"))
    name, sign = order.removeprefix("-"), "-" if order.startswith("-") else ""
    wanted = rows.order_by(order, f"{sign}pk")
    if after := query.get("after"):
        wanted = wanted.filter(_beyond(rows, cursor, after, name, is_falling=bool(sign)))
    found = list(wanted[: limit + 1])
    objects = [shown(row) for row in found[:limit]]
    return Response(list_object(objects, has_more=len(found) > limit))


def list_object(objects: Sequence[Any], *, has_more: bool) -> dict[str, Any]:
    """Return OpenAI's list of ``objects``, each of which has an id."""
    return {
        "object": "list",
        "data": objects,
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": has_more,
    }


def limit_of(text: str | None, *, usual: int = USUAL, most: int = MOST) -> int:
    """Return how many objects are wanted; raises BadRequest."""
    if text is None:
        return usual
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST or not 1 <= int(text) <= most:
        raise invalid("limit", f"'limit' must be a whole number from 1 to {most:,}.")
    return int(text)


def _beyond(rows: QuerySet[Row], cursor: str, after: str, name: str, *, is_falling: bool) -> Q:
    """Return the condition on rows that come after the one whose ``cursor`` is ``after``."""
    comparison = "lt" if is_falling else "gt"
    try:
        known = rows.filter(**{cursor: after})
        if name == cursor:  # the row itself may be gone: who deletes what a page listed can go on to the next one
            return Q(**{f"{name}__{comparison}": after})
        last = known.first()
    except (ValueError, ValidationError):
        last = None
    if last is None:
        raise invalid(
            "after", f"'after' must be the id of an object of this list, and there is none with '{after[:100]}'."
        )
    value = getattr(last, name)
    return Q(**{f"{name}__{comparison}": value}) | Q(**{name: value, f"pk__{comparison}": last.pk})
