"""Rules and profiles that name collections. They do so by slug or id: nothing in the database holds them together."""

from collections import defaultdict
from collections.abc import Iterator

from knowledge.models import Collection
from routing.models import RoutingProfile, RoutingRule


def mentions() -> dict[str, list[str]]:
    """Return which rules and profiles name a collection, by its slug."""
    said = [*_mentions()]
    slugs = {row.public_id: row.slug for row in Collection.objects.named(name for name, _ in said)}
    found: dict[str, list[str]] = defaultdict(list)
    for name, who in said:
        slug = slugs.get(name, name)
        if who not in found[slug]:
            found[slug].append(who)
    return dict(found)


def unknown_mentions() -> list[str]:
    """Return, in sentences, which collections are named that there are not."""
    named = mentions()
    there = Collection.objects.filter(slug__in=named).values_list("slug", flat=True)
    return [
        f"There is no collection “{slug}”, which is named by {', '.join(named[slug])}."
        for slug in sorted(named.keys() - set(there))
    ]


def _mentions() -> Iterator[tuple[str, str]]:
    for rule in RoutingRule.objects.only("name", "collections", "evidence_collections"):
        for slug in (*rule.collections, *rule.evidence_collections):
            yield slug, f"the rule “{rule.name}”"
    for profile in RoutingProfile.objects.only("slug", "name", "collections"):
        for slug in profile.collections:
            yield slug, f"the profile “{profile.name or profile.slug}”"
