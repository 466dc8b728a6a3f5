"""The guards of all requests, in memory: made of the rows when these change, and of nothing else."""

import logging

from gateway.guards.guard import Guard, Guards, made
from gateway.guards.options import problems
from gateway.models import Guard as GuardRow
from routing.live import LiveSnapshot
from routing.models import Expert, RoutingProfile

logger = logging.getLogger(__name__)


def load() -> Guards:
    """Read the guards; one that cannot be made is left out and logged, as the others must go on."""
    rows = GuardRow.objects.filter(enabled=True).select_related("profile", "expert")
    return Guards.of(guard for row in rows if (guard := _readable(row)) is not None)


def guard_of(row: GuardRow) -> Guard:
    """Return a row as a guard; raises ValueError that says what is wrong with it."""
    found = problems(
        check=row.check_kind,
        places=row.places,
        action=row.action,
        settings=row.settings,
        has_expert=row.expert is not None,
    )
    if faults := [words for _, words in found]:
        raise ValueError(" ".join(faults))
    return made(
        name=row.name,
        check=row.check_kind,
        places=row.places,
        action=row.action,
        settings=row.settings,
        profile=row.profile.slug if row.profile else None,
        expert=row.expert.slug if row.expert else "",
    )


def _readable(row: GuardRow) -> Guard | None:
    try:
        return guard_of(row)
    except ValueError as error:
        logger.error("a guard is left out name=%s error=%s", row.name, error)
        return None


guards: LiveSnapshot[Guards] = LiveSnapshot(load, name="guards")


def connect_signals() -> None:
    guards.watch((GuardRow, RoutingProfile, Expert))
