"""Lists as OpenAI pages them: by when objects were made, after or before the one whose id is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from gateway.fields import invalid
from gateway.ragapi.paging import MOST, USUAL, limit_of, list_object
from routing.exceptions import BadRequest

PARAMETERS = ("limit", "order", "after", "before")

Row = TypeVar("Row", bound=Model)


def page(
    rows: QuerySet[Row],
    query: Mapping[str, str],
    *,
    find: Callable[[str], Row | None],
    shown: Callable[[Sequence[Row]], list[dict[str, Any]]],
    usual: int = USUAL,
    most: int = MOST,
) -> dict[str, Any]:
    """Return a page of ``rows``, newest first unless ``order`` says otherwise; raises BadRequest.

    ``find`` returns the row that an id stands for. After an object that is gone the list begins anew: whoever deletes
    what one page listed gets on the next what is left.
    """
    limit = limit_of(query.get("limit"), usual=usual, most=most)
    is_falling = _order(query.get("order")) == "desc"
    after, before = query.get("after"), query.get("before")
    if after is not None and (last := _found(find, after, "after")) is not None:
        rows = rows.filter(_beyond(last, is_falling=is_falling))
    if before is not None:
        first = _found(find, before, "before")
        if first is None:
            raise _unknown("before", before)
        rows = rows.filter(_beyond(first, is_falling=not is_falling))
    backwards = before is not None and after is None
    sign = "-" if is_falling is not backwards else ""
    found = list(rows.order_by(f"{sign}created_at", f"{sign}pk")[: limit + 1])
    has_more = len(found) > limit
    kept = found[:limit][::-1] if backwards else found[:limit]
    return list_object(shown(kept), has_more=has_more)


def _order(text: str | None) -> str:
    if text not in (None, "asc", "desc"):
        raise invalid("order", "'order' must be asc or desc.")
    return text or "desc"


def _found(find: Callable[[str], Row | None], text: str, name: str) -> Row | None:
    try:
        return find(text)
    except ValueError:
        raise _unknown(name, text) from None


def _unknown(name: str, text: str) -> BadRequest:
    return invalid(name, f"'{name}' must be the id of an object of this list, and there is none with '{text[:100]}'.")


def _beyond(row: Model, *, is_falling: bool) -> Q:
    """Return the condition on rows that come after ``row``, and stand below it if they are ordered so."""
    comparison = "lt" if is_falling else "gt"
    made = row.created_at  # type: ignore[attr-defined]  # what is listed says when it was made
    return Q(**{f"created_at__{comparison}": made}) | Q(created_at=made, **{f"pk__{comparison}": row.pk})
