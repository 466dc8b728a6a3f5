"""Who answers a request: the order of stages, and the decision they come to."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from routing import features, rules
from routing.backends.local import LocalEmbedder
from routing.backends.protocol import ChatRequest, ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Replica
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
    fallbacks: tuple[Expert, ...] = ()
    without_images: bool = False


def decide(request: ChatRequest, catalog: Catalog) -> Decision:
    """Return the decision for ``request``; raises ModelNotFound, BadRequest or Unavailable when nobody can answer."""
    seen = features.extract(request)
    without_images = False
    try:
        expert, route, why = _choose(request.model, seen, catalog)
    except BadRequest:
        seen, without_images = replace(seen, needs=seen.needs - {"vision"}), True
        found = _blind(request, seen, catalog)
        if found is None:
            raise
        expert, route, why = found
    return Decision(
        id=f"dec_{os.urandom(16).hex()}",
        expert=expert,
        route=route,
        why=why,
        needs=seen.needs,
        fallbacks=tuple(catalog.experts[slug] for slug in expert.fallbacks if _able(catalog, slug, seen.needs)),
        without_images=without_images,
    )


def _choose(model: str, seen: features.Features, catalog: Catalog) -> tuple[Expert, str, str]:
    if model != AUTO:
        return _explicit(model, seen.needs, catalog)
    return next(_candidates(seen, catalog), None) or _nobody(seen.needs, catalog)


def _blind(request: ChatRequest, seen: features.Features, catalog: Catalog) -> tuple[Expert, str, str] | None:
    """Return who may answer a request with images from its text alone, because an administrator allowed it."""
    if not request.has_images:
        return None
    if request.model == AUTO:
        return next((found for found in _candidates(seen, catalog) if found[0].text_only), None)
    expert = catalog.find(request.model)
    return _explicit(request.model, seen.needs, catalog) if expert and expert.text_only else None


def _explicit(name: str, needs: frozenset[str], catalog: Catalog) -> tuple[Expert, str, str]:
    expert = catalog.find(name)
    if expert is None and (name == IN_PROCESS.slug or catalog.find_embedder(name)):
        raise BadRequest(
            f"The model '{name}' embeds texts and does not answer chats. Send it to /v1/embeddings, or ask for 'auto'.",
            param="model",
            code="unsupported_value",
        )
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


# --- other things than chats ----------------------------------------------------------------------------------

INSERT = frozenset({"insert"})
# The embedder in this process has no address: whoever runs a decision for it does so without the pool.
IN_PROCESS = Expert(
    slug=LocalEmbedder.model_id,
    name=LocalEmbedder.model_id,
    description="Makes embeddings, in this process.",
    replicas=(
        Replica(
            server=ServerAddress(name="in-process", kind=ServerKind.OPENAI, base_url=""),
            embedded=True,
            model=LocalEmbedder.model_id,
            context_length=LocalEmbedder.max_text_tokens,
            capabilities=frozenset({"embedding"}),
        ),
    ),
)


def decide_embedding(name: str, catalog: Catalog) -> Decision:
    """Return the decision for embeddings by ``name``; raises ModelNotFound or BadRequest.

    ``auto`` is always the embedder in this process: vectors of two models cannot be compared, so what answers must
    not change with what happens to be installed.
    """
    identity = f"dec_{os.urandom(16).hex()}"
    if name == AUTO:
        return Decision(id=identity, expert=IN_PROCESS, route="default", why="'auto' embeds in this process")
    expert = IN_PROCESS if name == IN_PROCESS.slug else catalog.find_embedder(name)
    if expert is not None:
        return Decision(id=identity, expert=expert, route="explicit", why=f"the client asked for '{name}'")
    if catalog.find(name):
        raise BadRequest(
            f"The model '{name}' makes no embeddings. Ask for 'auto', or for an embedding model.",
            param="model",
            code="unsupported_value",
        )
    raise ModelNotFound(
        f"The model '{name}' does not exist. Ask for 'auto', or for an embedding model that GET /v1/models lists.",
        param="model",
    )


def decide_text(request: ChatRequest, catalog: Catalog, *, fills: bool) -> Decision:
    """Return the decision for a text completion, which is that for a chat of its prompt; raises as ``decide``.

    Where it ``fills`` a gap between a prompt and a suffix, only a model that can do so is asked.
    """
    decision = decide(request, catalog)
    if not fills:
        return decision
    able = (expert for expert in (*catalog.experts.values(), *catalog.models.values()) if expert.replicas_that(INSERT))
    if decision.expert.replicas_that(INSERT):
        return replace(decision, needs=decision.needs | INSERT)
    if request.model == AUTO and (expert := next(able, None)):
        why = "whom the router chose cannot fill in a gap; the first that can answers"
        return replace(decision, expert=expert, route="fallback", why=why, needs=decision.needs | INSERT)
    raise BadRequest(
        f"The model '{request.model}' cannot complete between a prompt and a 'suffix'. Leave 'suffix' out, or ask for "
        "a model that can insert.",
        param="suffix",
        code="unsupported_value",
    )
