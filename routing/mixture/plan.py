"""Whether several experts answer a request, and which: the members of a mixture, the steps of a cascade. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from routing.backends.protocol import ChatRequest
from routing.catalog import Catalog, Expert, Mixing, Mode, Profile
from routing.choosing import size
from routing.decision import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who is asked; ``members`` in the order in which they would be.

    ``aggregator`` makes the answers of a mixture one, and has no part in a cascade.
    """

    mode: Mode
    members: tuple[Expert, ...]
    aggregator: Expert
    mixing: Mixing

    @property
    def speaker(self) -> Expert:
        """Who speaks to the client, as far as can be told beforehand."""
        return self.aggregator if self.mode is Mode.MIXTURE else self.members[0]

    @property
    def answering(self) -> tuple[Expert, ...]:
        """Who reads the request in any case."""
        if self.mode is Mode.MIXTURE:
            return (*self.members[: self.mixing.breadth], self.aggregator)
        return self.members

    def explained(self) -> dict[str, Any]:
        told: dict[str, Any] = {"mode": str(self.mode), "members": [expert.slug for expert in self.members]}
        if self.mode is Mode.MIXTURE:
            told |= {
                "aggregator": self.aggregator.slug,
                "breadth": min(self.mixing.breadth, len(self.members)),
                "agreement": self.mixing.agreement,
            }
        return told | {"confidence": self.mixing.confidence}


def planned(decision: Decision, request: ChatRequest, able: Mapping[str, Expert], catalog: Catalog) -> Decision:
    """Return ``decision`` with the plan its profile asks for, or with a note why one expert answers all the same.

    ``able`` are the experts that can take the request; rules may have left some of them out.
    """
    profile = decision.profile
    if profile is None or profile.mode is Mode.ROUTE:
        return decision
    if reason := _reason_against(decision, request):
        return _noted(decision, reason)
    allowed = [able[slug] for slug in decision.outcome.candidates or able if slug in able]
    experts = [decision.expert, *(profile.lends(one) for one in allowed if one.slug != decision.expert.slug)]
    if profile.mode is Mode.CASCADE:
        members = _steps(decision, request, experts)
        few = "no larger expert than the one that would answer alone can take it"
    else:
        members = _members(decision, request, experts)
        few = "fewer than two experts can take it"
    if len(members) < 2:
        return _noted(decision, few)
    members = members[: profile.mixing.breadth_most]
    aggregator, note = _aggregator(decision, profile, catalog)
    plan = Plan(mode=profile.mode, members=members, aggregator=aggregator, mixing=profile.mixing)
    return replace(decision, plan=plan, skipped=(*decision.skipped, *note))


def alone(decision: Decision, why: str) -> Decision:
    """Return ``decision`` for one expert to answer; ``why`` is noted where several would have."""
    return _noted(replace(decision, plan=None), why) if decision.plan else decision


def _noted(decision: Decision, why: str) -> Decision:
    mode = decision.profile.mode if decision.profile else Mode.MIXTURE
    return replace(decision, skipped=(*decision.skipped, f"{mode}: {why}"))


def _reason_against(decision: Decision, request: ChatRequest) -> str:
    if decision.task:
        return "a chat client's background job is answered by one expert"
    if request.offered_tools or (request.messages and request.messages[-1].role == "tool"):
        return "a request with tools is answered by one expert"
    return ""


def _aggregator(decision: Decision, profile: Profile, catalog: Catalog) -> tuple[Expert, tuple[str, ...]]:
    """Return the profile's aggregator, or who would have answered alone; with a note where it cannot do it."""
    slug = profile.mixing.aggregator
    if profile.mode is not Mode.MIXTURE or slug is None or slug == decision.expert.slug:
        return decision.expert, ()
    expert = catalog.experts.get(slug)
    if expert is None or not expert.replicas_that(decision.needs):
        return decision.expert, (f"mixture: the aggregator {slug} cannot take it; {decision.expert.slug} does",)
    return profile.lends(expert), ()


# --- who, in which order ----------------------------------------------------------------------------------------


def _members(decision: Decision, request: ChatRequest, experts: Iterable[Expert]) -> tuple[Expert, ...]:
    """Return the members of a mixture: who would answer alone, the most probable others, then the strongest."""
    likely = _probabilities(decision)

    def order(expert: Expert) -> tuple[float, float]:
        return -likely.get(expert.slug, 0.0), -size(expert, decision.needs)

    has_system = _has_system(decision, request)
    return tuple(_distinct(sorted(experts, key=order), decision.needs, by_prompt=not has_system))


def _steps(decision: Decision, request: ChatRequest, experts: Iterable[Expert]) -> tuple[Expert, ...]:
    """Return the steps of a cascade, from the smallest model to the largest.

    The same model is not asked twice, whatever it would be told: it knows no more. An expert that a rule chose or
    that has the conversation begins, and none that is smaller follows.
    """
    likely = _probabilities(decision)

    def order(expert: Expert) -> tuple[float, float]:
        return size(expert, decision.needs), -likely.get(expert.slug, 0.0)

    chain = sorted(experts, key=order)
    if decision.route in ("rule", "held"):
        least = size(decision.expert, decision.needs)
        larger = (one for one in chain if one.slug != decision.expert.slug and size(one, decision.needs) >= least)
        chain = [decision.expert, *larger]
    chain = list(_distinct(chain, decision.needs, by_prompt=False))
    profile = decision.profile
    return tuple(_thinned(chain, profile.mixing.breadth_most if profile else len(chain), likely))


def _thinned(chain: list[Expert], most: int, likely: Mapping[str, float]) -> list[Expert]:
    """Return at most ``most`` of ``chain``: its ends, and between them the most probable."""
    if len(chain) <= most:
        return chain
    between = sorted(chain[1:-1], key=lambda expert: -likely.get(expert.slug, 0.0))[: max(0, most - 2)]
    kept = {expert.slug for expert in (chain[0], *between, chain[-1])}
    return [expert for expert in chain if expert.slug in kept]


def _probabilities(decision: Decision) -> dict[str, float]:
    """Return how probable each expert is; who would answer alone is more so than any."""
    return {one.expert: one.probability for one in decision.candidates} | {decision.expert.slug: 2.0}


def _has_system(decision: Decision, request: ChatRequest) -> bool:
    """Tell whether every expert is told the same, because the client or a rule says what."""
    return bool(decision.outcome.system) or any(one.role in ("system", "developer") for one in request.messages)


def _distinct(experts: Iterable[Expert], needs: frozenset[str], *, by_prompt: bool) -> Iterator[Expert]:
    """Yield the experts without those that would be the same model again (``by_prompt``: told the same)."""
    seen: set[tuple[frozenset[str], str]] = set()
    for expert in experts:
        models = frozenset(replica.model for replica in expert.replicas_that(needs))
        key = models, expert.system_prompt if by_prompt else ""
        if key not in seen:
            seen.add(key)
            yield expert
