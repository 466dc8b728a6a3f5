"""What GET /v1/usage is asked for, from the parameters of its address. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.fields import invalid

USUAL_DAYS = 7
USUAL, MOST = 100, 1_000
LAST_PAGE = 100_000
LATEST = dt.datetime(9999, 1, 1, tzinfo=dt.UTC).timestamp()
BUCKETS = ("hour", "day", "month")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "key": ("key_id", "key_name"),
    "group": ("group",),
    "expert": ("expert",),
    "model": ("asked",),
    "kind": ("what",),
}
"""What sums may be told apart by, and the columns that tell it."""
PARAMETERS = ("start", "end", "bucket", "group_by", "key", "group", "expert", "model", "kind", "limit", "page")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """The sums of the hours from ``start`` on and before ``end``, by buckets of time and as ``group_by`` names them.

    ``key`` is a key's id, 0 for requests without one; None and "" do not narrow.
    """

    start: dt.datetime
    end: dt.datetime
    bucket: str = "day"
    group_by: tuple[str, ...] = ()
    key: int | None = None
    group: str = ""
    expert: str = ""
    model: str = ""
    kind: str = ""
    limit: int = USUAL
    page: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for name in self.group_by for column in GROUPS[name])


def parse_usage(given: Mapping[str, str], named: list[str], *, now: dt.datetime) -> UsageQuery:
    """Return what is asked for; ``named`` are the values of ``group_by``, which may be there several times.

    Hours are counted whole: the one that it starts in and the one that it ends in. Raises BadRequest.
    """
    end = _hour_after(_time("end", given["end"])) if given.get("end") else now
    start = _time("start", given["start"]) if given.get("start") else end - dt.timedelta(days=USUAL_DAYS)
    start = start.replace(minute=0, second=0, microsecond=0)
    if start >= end:
        raise invalid("start", "'start' must be before 'end'.")
    bucket = given.get("bucket") or "day"
    if bucket not in BUCKETS:
        raise invalid("bucket", f"'bucket' must be one of: {', '.join(BUCKETS)}.")
    return UsageQuery(
        start=start,
        end=end,
        bucket=bucket,
        group_by=_group_by(named),
        key=_whole("key", given["key"], 0, 2**63 - 1) if given.get("key") else None,
        group=given.get("group", ""),
        expert=given.get("expert", ""),
        model=given.get("model", ""),
        kind=given.get("kind", ""),
        limit=_whole("limit", given["limit"], 1, MOST) if given.get("limit") else USUAL,
        page=_whole("page", given["page"], 1, LAST_PAGE) if given.get("page") else 1,
    )


def _group_by(named: list[str]) -> tuple[str, ...]:
    names = dict.fromkeys(name.strip() for text in named for name in text.split(",") if name.strip())
    if unknown := next((name for name in names if name not in GROUPS), None):
        raise invalid("group_by", f"'group_by' must be of {', '.join(GROUPS)}; there is no '{unknown[:100]}'.")
    return tuple(names)


def _time(name: str, text: str) -> dt.datetime:
    """Read a time as ISO 8601 has it (without a zone: UTC), or in seconds since 1970."""
    try:
        if text.replace(".", "", 1).isdigit() and text.isascii() and len(text) > 8:
            return dt.datetime.fromtimestamp(min(float(text), LATEST), tz=dt.UTC)
        # A plus sign that was not escaped arrives as a space.
        found = dt.datetime.fromisoformat(text.strip().replace(" ", "+") if text.count(":") > 1 else text.strip())
        if found.year < 1970:
            raise ValueError
        found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
        return found.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise invalid(
            name, f"'{name}' must be a time such as 2026-11-01T00:00:00Z, a date, or seconds since 1970."
        ) from None


def _hour_after(at: dt.datetime) -> dt.datetime:
    """Return the end of the hour that ``at`` is in, itself where an hour begins: sums are of whole hours."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if hour == at or at.timestamp() >= LATEST else hour + dt.timedelta(hours=1)


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise invalid(name, f"'{name}' must be a whole number from {least} to {most}.")
    return int(text)
