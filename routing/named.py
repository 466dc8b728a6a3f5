"""Decisions that take no routing: an expert or model asked for by its name, and embeddings."""

from dataclasses import replace

from routing import features
from routing.backends.local import LocalEmbedder
from routing.backends.protocol import ChatRequest, ServerAddress, ServerKind
from routing.catalog import AUTO, Catalog, Expert, Profile, Replica
from routing.decision import Decision, new_id
from routing.exceptions import BadRequest, ModelNotFound, Unavailable


def explicit(request: ChatRequest, catalog: Catalog) -> Decision:
    """Return the decision for a request that names who is to answer; raises as ``Router.decide``."""
    needs = features.needs_of(request)
    without_images = False
    try:
        expert = _named(request.model, needs, catalog)
    except BadRequest:
        found = catalog.find(request.model)
        if not ("vision" in needs and found and found.text_only):
            raise
        needs, without_images = needs - {"vision"}, True
        expert = _named(request.model, needs, catalog)
    chain = (catalog.experts[slug] for slug in expert.fallbacks if slug in catalog.experts)
    return Decision(
        id=new_id(),
        expert=expert,
        route="explicit",
        why=f"the client asked for '{request.model}'",
        needs=needs,
        fallbacks=tuple(other for other in chain if other.replicas_that(needs)),
        without_images=without_images,
    )


def _named(name: str, needs: frozenset[str], catalog: Catalog) -> Expert:
    expert = catalog.find(name)
    if expert is None and (name == IN_PROCESS.slug or catalog.find_embedder(name)):
        raise BadRequest(
            f"The model '{name}' embeds texts and does not answer chats. Send it to /v1/embeddings, or ask for 'auto'.",
            param="model",
            code="unsupported_value",
        )
    if expert is None:
        raise no_model(name)
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
    return expert


def no_model(name: str) -> ModelNotFound:
    # Where there is no 'auto', somebody took it away: it is not what to ask for.
    others = "for one" if name == AUTO else "for 'auto', or for one"
    return ModelNotFound(f"The model '{name}' does not exist. Ask {others} that GET /v1/models lists.", param="model")


def none_of(profile: Profile, needs: frozenset[str], catalog: Catalog) -> BadRequest | Unavailable:
    if needs and any(catalog.experts[slug].replicas for slug in profile.experts if slug in catalog.experts):
        return BadRequest(
            f"No expert of '{profile.slug}' can take this request, which needs: {', '.join(sorted(needs))}. "
            "Ask for 'auto' or another model.",
            param="model",
            code="unsupported_value",
        )
    return Unavailable(
        f"No expert of '{profile.slug}' has a replica on an enabled model server. An administrator can add one in "
        "admin.",
        retry_after=30,
    )


def nobody(needs: frozenset[str], catalog: Catalog) -> BadRequest | Unavailable:
    if needs and (catalog.models or any(expert.replicas for expert in catalog.experts.values())):
        return BadRequest(
            f"No installed model can take this request, which needs: {', '.join(sorted(needs))}.",
            param="tools" if "tools" in needs else "messages",
            code="unsupported_value",
        )
    return Unavailable(
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
    identity = new_id()
    if name == AUTO:
        return Decision(id=identity, expert=IN_PROCESS, route="default", why="'auto' embeds in this process")
    expert = IN_PROCESS if name == IN_PROCESS.slug else catalog.find_embedder(name)
    if expert is not None:
        return Decision(id=identity, expert=expert, route="explicit", why=f"the client asked for '{name}'")
    if catalog.find(name) or name in catalog.profiles:
        raise BadRequest(
            f"The model '{name}' makes no embeddings. Ask for 'auto', or for an embedding model.",
            param="model",
            code="unsupported_value",
        )
    raise no_embedder(name)


def no_embedder(name: str) -> ModelNotFound:
    others = "for an embedding model" if name == AUTO else "for 'auto', or for an embedding model"
    return ModelNotFound(f"The model '{name}' does not exist. Ask {others} that GET /v1/models lists.", param="model")


def to_fill_in(decision: Decision, asked: str, catalog: Catalog) -> Decision:
    """Return ``decision`` for a completion that fills the gap before a suffix, which only some models can do.

    Raises BadRequest.
    """
    only = decision.profile.experts if decision.profile else frozenset()
    everybody = (*catalog.experts.values(), *catalog.models.values())
    able = (expert for expert in everybody if expert.replicas_that(INSERT) and (not only or expert.slug in only))
    if decision.expert.replicas_that(INSERT):
        return replace(decision, needs=decision.needs | INSERT)
    if asked in catalog.profiles and (expert := next(able, None)):
        why = "whom the router chose cannot fill in a gap; the first that can answers"
        return replace(decision, expert=expert, route="fallback", why=why, needs=decision.needs | INSERT)
    raise BadRequest(
        f"The model '{asked}' cannot complete between a prompt and a 'suffix'. Leave 'suffix' out, or ask for "
        "a model that can insert.",
        param="suffix",
        code="unsupported_value",
    )
