"""Which of the experts a classifier thinks of is the one to ask. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping

from routing.catalog import Expert, Profile
from routing.classifying import Opinion
from routing.decision import Candidate, Outlook

FLOOR = 0.2
"""Where no expert at all is this probable, the prompt is of no kind the classifier knows."""
NO_HURRY = 10.0
"""Seconds until a first token that count as one whole lack of speed."""
WIDEST_MARGIN = 0.35
USUAL_SIZE, LARGEST_SIZE = 7.0, 100.0
"""Thousand millions of parameters: where nobody tells, and what counts as 1."""

Look = Callable[[Expert, frozenset[str]], Outlook]
"""Tells how an expert stands at the moment, for a request with such needs."""


def candidates(
    opinion: Opinion, allowed: Mapping[str, Expert], profile: Profile, needs: frozenset[str], look: Look
) -> tuple[Candidate, ...]:
    """Return ``allowed`` experts the classifier knows, the one to choose first.

    Of those that suit about equally the most useful comes first: how well it suits, how soon it starts, what it
    costs and how large its model is, weighted by the profile. The more a profile minds the rest, the more is
    "about equally".
    """
    known = {slug: opinion.probabilities[slug] for slug in allowed if slug in opinion.probabilities}
    total = sum(known.values())
    if not total or max(opinion.probabilities.values()) < FLOOR:
        return ()
    known = {slug: value / total for slug, value in known.items()}
    minds = profile.speed + profile.cost + profile.strength
    margin = min(WIDEST_MARGIN, 0.1 * minds / max(profile.quality, 0.1))
    best = max(known.values())
    near = [slug for slug, value in known.items() if value >= best - margin]
    dearest = max((allowed[slug].price for slug in near), default=0.0) or 1.0

    def candidate(slug: str) -> Candidate:
        expert, suits = allowed[slug], known[slug]
        if slug not in near or not minds:
            return Candidate(expert=slug, probability=suits, utility=profile.quality * suits, price=expert.price)
        start, large = look(expert, needs).start, size_share(expert, needs)
        utility = (
            profile.quality * suits
            - profile.speed * (min(1.0, start / NO_HURRY) + 0.1 * large)
            - profile.cost * expert.price / dearest
            + profile.strength * large
        )
        return Candidate(expert=slug, probability=suits, utility=utility, start=start, price=expert.price)

    found = [candidate(slug) for slug in known]
    found.sort(key=lambda one: (one.expert not in near, -one.utility if one.expert in near else -one.probability))
    return tuple(found)


def size(expert: Expert, needs: frozenset[str]) -> float:
    """Return the parameters of an expert's smallest model that can, in thousand millions."""
    return min((replica.parameters or USUAL_SIZE for replica in expert.replicas_that(needs)), default=USUAL_SIZE)


def size_share(expert: Expert, needs: frozenset[str]) -> float:
    """Return how large an expert's model is, from 0 to 1, on a logarithmic scale."""
    return min(1.0, math.log1p(size(expert, needs)) / math.log1p(LARGEST_SIZE))


def said(candidates: Iterable[Candidate], *, sure: bool) -> str:
    first, *others = sorted(candidates, key=lambda one: -one.probability)[:3]
    rest = ", ".join(f"{one.expert} {one.probability:.0%}" for one in others)
    how = "the classifier is sure" if sure else "the classifier is not sure; its best guess answers"
    return f"{how}: {first.expert} {first.probability:.0%}" + (f", then {rest}" if rest else "")
