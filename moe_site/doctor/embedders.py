"""The embedding models: whether they load and embed, and as wide as is written down."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from knowledge.embedding import MINILM, ModelSpec, embedder_of
from knowledge.inprocess import MODELS
from knowledge.models import Collection, EmbeddingModel
from moe_site.doctor.finding import Finding, Probe, error, ok, warning
from routing.exceptions import EndpointError
from routing.pool import close_shared_pool

QUESTION = "What is the capital of France?"
INSTALL = "pip install --no-deps -r requirements-embedded.txt"


def probes(*, with_database: bool) -> list[Probe]:
    """Return a look at each model of this process, and at each other one that a collection is searched by."""
    if not with_database:
        fixed = MODELS[MINILM]
        spec = ModelSpec(
            id=0, name=MINILM, in_process=True, dimensions=fixed["dimensions"], max_tokens=fixed["max_tokens"]
        )
        return [_probe([spec], used={MINILM})]
    used = EmbeddingModel.objects.filter(pk__in=Collection.objects.values("embedding_model"))
    rows = used | EmbeddingModel.objects.filter(source="in_process")
    return [_probe([ModelSpec.of(row) for row in rows.distinct()], used={row.name for row in used})]


def _probe(specs: Sequence[ModelSpec], *, used: set[str]) -> Probe:
    # One after the other: loading two at once takes as long, and more memory.
    def look_at_all() -> Iterator[Finding]:
        for spec in specs:
            yield look(spec, is_used=spec.name in used)

    return Probe(about="embedding models", look=look_at_all, seconds=60.0)


def look(spec: ModelSpec, *, is_used: bool) -> Finding:
    """Have one question embedded."""
    about = f"embedding model {spec.name}"
    began = time.monotonic()
    try:
        width = len(asyncio.run(_embedded(spec)))
    except EndpointError as problem:
        advice = f"{INSTALL}, or choose another model for the collections." if spec.in_process else "See that server."
        return error(about, problem.message, advice) if is_used else warning(about, problem.message, advice)
    if width != spec.dimensions:
        return error(
            about,
            f"It answers with {width} numbers; {spec.dimensions} are written down, so nothing can be searched.",
            "The model was replaced: give the collections an embedding model anew in the admin.",
        )
    return ok(about, f"It embeds, {width} numbers wide ({time.monotonic() - began:.1f} s with loading).")


async def _embedded(spec: ModelSpec) -> Sequence[float]:
    try:
        return list(await embedder_of(spec).question(QUESTION))
    finally:
        await close_shared_pool()
