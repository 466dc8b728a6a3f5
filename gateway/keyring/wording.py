"""What a key may do, for people: what comes of its own policy, its group's and what there is at the moment."""

from collections.abc import Iterable, Iterator, Mapping

from gateway.auth import Caller, caller_of
from gateway.models import ApiKey, KeyGroup, Policy
from gateway.offer import LATEST, Offer
from gateway.policy import Limits, Scope, collection_rule, scopes_of
from knowledge.access import Level, fits
from knowledge.models import Collection
from routing.catalog import Catalog, catalog
from routing.named import IN_PROCESS

MOST_NAMES = 30
DOING: Mapping[Level, str] = {Level.READ: "read", Level.WRITE: "write", Level.MANAGE: "manage"}
LIMITS: Mapping[str, str] = {
    "requests_per_minute": "{:,} requests a minute",
    "tokens_per_minute": "{:,} tokens a minute",
    "concurrent_requests": "{:,} at the same time",
    "tokens_per_day": "{:,} tokens a day",
    "tokens_per_month": "{:,} tokens a month",
    "cost_per_day": "{:,} a day",
    "cost_per_month": "{:,} a month",
}


def rights_in_words(key: ApiKey) -> Iterator[tuple[str, str]]:
    """Yield what a key may do as pairs of a matter and what holds for it; asks the database."""
    group = KeyGroup.objects.filter(name=key.group).first()
    caller = caller_of(key, group)
    yield "Scopes", _listed(scope.value for scope in Scope if caller.may(scope)) or "none: it may do nothing"
    yield "Models", _listed(names_offered(caller, catalog.get())) or "none of those there are"
    yield "Collections", _listed(_collections(key)) or "none of those there are"
    for policy in caller.policies:
        whose = "its own" if policy.subject == key.subject else f"those of the group “{key.group}” together"
        if policy.networks:
            yield f"Addresses, {whose}", _listed(map(str, policy.networks))
        if policy.limits:
            yield f"Limits, {whose}", limits_in_words(policy.limits)


def limits_in_words(limits: Limits) -> str:
    """Return limits as a list, "" where there are none."""
    given = ((words, getattr(limits, name)) for name, words in LIMITS.items())
    return ", ".join(words.format(value) for words, value in given if value is not None)


def names_offered(caller: Caller, known: Catalog) -> list[str]:
    """Return what a caller can ask for as ``model``."""
    offer = Offer(caller=caller, known=known)
    return [name for name in _askable(known) if offer.shows(name)]


def fitting_nothing(row: Policy) -> list[str]:
    """Return in a sentence each what of a policy is about nothing that exists: often it is misspelt."""
    names = _askable(catalog.get())
    names += [name.removesuffix(LATEST) for name in names]
    slugs = list(Collection.objects.lasting().values_list("slug", flat=True))
    found = [f"No model is called {one} at the moment." for one in row.allowed_models if not _any_fits(one, names)]
    rules = [collection_rule(line)[0] for line in row.allowed_collections]
    found += [f"No collection is called {one} at the moment." for one in rules if not _any_fits(one, slugs)]
    if isinstance(row, ApiKey) and _is_alone(row):
        found.append(f"No other key is of the group {row.group}, and it has no rules: only its own hold for this key.")
    if row.scopes and not scopes_of(row.scopes):
        found.append("None of its scopes exists, so it may do nothing.")
    return found


def _is_alone(key: ApiKey) -> bool:
    """Tell whether nothing else knows the group that stands on a key."""
    if not key.group or KeyGroup.objects.filter(name=key.group).exists():
        return False
    return not ApiKey.objects.usable().filter(group=key.group).exclude(pk=key.pk).exists()


def _askable(known: Catalog) -> list[str]:
    experts = (slug for slug, expert in known.experts.items() if expert.replicas)
    names = (*known.profiles, *experts, *sorted({*known.models, *known.embedders}), IN_PROCESS.slug)
    return list(dict.fromkeys(names))


def _any_fits(pattern: str, names: Iterable[str]) -> bool:
    return any(fits(name, pattern) for name in names)


def _collections(key: ApiKey) -> Iterator[str]:
    access = key.access
    levels = {
        level: set(Collection.objects.open_to(access, level).lasting().values_list("slug", flat=True))
        for level in Level
    }
    for slug in sorted(levels[Level.READ]):
        yield f"{slug} ({DOING[max(level for level in Level if slug in levels[level])]})"


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - MOST_NAMES:,} more" if len(found) > MOST_NAMES else ""
    return ", ".join(found[:MOST_NAMES]) + more
