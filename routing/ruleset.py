"""The rows of rules, as the router's values."""

import logging
from collections.abc import Iterable, Iterator

from django.db import transaction
from django.db.models import Q, QuerySet

from routing.models import RoutingRule
from routing.rules import Rule

logger = logging.getLogger(__name__)


def rules_load() -> tuple[Rule, ...]:
    """Return the enabled rules in their order, without those whose expert is disabled."""
    rows = RoutingRule.objects.filter(Q(expert=None) | Q(expert__enabled=True), enabled=True)
    return rules_of(prefetched(rows))


def rules_all() -> tuple[Rule, ...]:
    """Return every rule in their order, as pages that explain them need it."""
    return rules_of(prefetched(RoutingRule.objects.all()))


def prefetched(rows: QuerySet[RoutingRule]) -> QuerySet[RoutingRule]:
    """Return ``rows`` with all that ``rule_of`` reads, in three queries."""
    return rows.select_related("expert").prefetch_related("candidates", "profiles")


def rules_of(rows: Iterable[RoutingRule]) -> tuple[Rule, ...]:
    return tuple(_readable(rows))


def _readable(rows: Iterable[RoutingRule]) -> Iterator[Rule]:
    for row in rows:
        try:
            yield rule_of(row)
        except (AttributeError, TypeError, ValueError):
            # Written past the forms; one such row must not take all the others away.
            logger.exception("cannot read rule=%s; it is skipped until it is saved again in admin", row.pk)


def rule_of(row: RoutingRule) -> Rule:
    return Rule(
        id=row.pk,
        name=row.name,
        priority=row.priority,
        enabled=row.enabled,
        look_in=row.look_in,
        keywords=tuple(row.keywords),
        all_keywords=tuple(row.all_keywords),
        none_keywords=tuple(row.none_keywords),
        pattern=row.pattern,
        has_images=row.has_images,
        has_tools=row.has_tools,
        wants_json=row.wants_json,
        min_tokens=row.min_tokens,
        max_tokens=row.max_tokens,
        languages=tuple(row.languages),
        keys=tuple(row.keys),
        groups=tuple(row.groups),
        headers=row.headers,
        metadata=row.metadata,
        profiles=frozenset(profile.slug for profile in row.profiles.all()),
        weekdays=frozenset(row.weekdays),
        from_time=row.from_time,
        until_time=row.until_time,
        min_evidence=row.min_evidence,
        evidence_collections=tuple(row.evidence_collections),
        expert=row.expert.slug if row.expert else None,
        candidates=tuple(expert.slug for expert in row.candidates.all()),
        collections=tuple(row.collections),
        overrides=row.overrides,
        system_mode=row.system_mode,
        system_text=row.system_text,
        stop=row.stop,
        interrupts=row.interrupts,
    )


@transaction.atomic
def rule_move(pk: int, steps: int) -> bool:
    """Move a rule ``steps`` later in the order (earlier if negative), numbering all anew; False if it cannot go there.

    Rows that keep their number are not touched.
    """
    rows = list(RoutingRule.objects.select_for_update(of=("self",)))
    place = next((number for number, row in enumerate(rows) if row.pk == pk), None)
    if place is None or not 0 <= place + steps < len(rows):
        return False
    rows.insert(place + steps, rows.pop(place))
    for number, row in enumerate(rows, start=1):
        if row.priority != number * 10:
            row.priority = number * 10
            row.save(update_fields=["priority"])
    return True
