"""Who answers a request: the order of stages, and the decision they come to."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from routing import features, rules
from routing.backends.protocol import ChatRequest
from routing.catalog import Catalog, Expert
from routing.exceptions import BadRequest, ModelNotFound, Unavailable

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the router chose and why; ``route`` is the stage that decided: explicit, rule, default or fallback."""

    id: str
    expert: Expert
    route: str
    why: str
    needs: frozenset[str] = frozenset()


def decide(request: ChatRequest, catalog: Catalog) -> Decision:
    """Return the decision for ``request``; raises ModelNotFound, BadRequest or Unavailable when nobody can answer."""
    seen = features.extract(request)
    if request.model != AUTO:
        expert, route, why = _explicit(request.model, seen.needs, catalog)
    else:
        expert, route, why = next(_candidates(seen, catalog), None) or _nobody(seen.needs, catalog)
    return Decision(id=f"dec_{uuid.uuid4().hex}", expert=expert, route=route, why=why, needs=seen.needs)


def _explicit(name: str, needs: frozenset[str], catalog: Catalog) -> tuple[Expert, str, str]:
    expert = catalog.find(name)
    if expert is None:
        raise ModelNotFound(
            f"The model '{name}' does not exist. Ask for 'auto', or for one that GET /v1/models lists.",
            param="model",
        )
    if not expert.replicas:
        raise Unavailable(
            f"The expert '{name}' has no replica on an enabled model server. An administrator can add one in admin.",
            retry_after=30,
        )
    if not expert.replicas_that(needs):
        missing = ", ".join(sorted(needs))
        raise BadRequest(
            f"The model '{name}' cannot take this request, which needs: {missing}. Ask for 'auto' or another model.",
            param="model",
            code="unsupported_value",
        )
    return expert, "explicit", f"the client asked for '{name}'"


def _candidates(seen: features.Features, catalog: Catalog) -> Iterator[tuple[Expert, str, str]]:
    """Yield who may answer, best first; only those that can take the request."""
    match = rules.first_match((rule for rule in catalog.rules if _able(catalog, rule.expert, seen.needs)), seen.text)
    if match:
        yield catalog.experts[match.rule.expert], "rule", f"rule '{match.rule.name}' found “{match.keyword}”"
    if catalog.default and _able(catalog, catalog.default, seen.needs):
        yield catalog.experts[catalog.default], "default", "no rule fitted; the default expert answers"
    for slug, expert in catalog.experts.items():
        if _able(catalog, slug, seen.needs):
            yield expert, "fallback", "no rule fitted and the default expert cannot take the request"
    for model in catalog.models.values():
        if model.replicas_that(seen.needs):
            yield model, "fallback", "no expert can take the request; an installed model can"


def _able(catalog: Catalog, slug: str, needs: frozenset[str]) -> bool:
    expert = catalog.experts.get(slug)
    return expert is not None and bool(expert.replicas_that(needs))


def _nobody(needs: frozenset[str], catalog: Catalog) -> tuple[Expert, str, str]:
    if needs and (catalog.models or any(expert.replicas for expert in catalog.experts.values())):
        raise BadRequest(
            f"No installed model can take this request, which needs: {', '.join(sorted(needs))}.",
            param="tools" if "tools" in needs else "messages",
            code="unsupported_value",
        )
    raise Unavailable(
        "No model is available. An administrator should add a model server, or start one (see /health/ready).",
        retry_after=30,
    )
