"""Search: a question in, passages out. The door to the knowledge base for everything that reads it.

the collections that may be read → the question's vectors → both legs and their fusion → reranker → repeats left out.
A leg that cannot be asked is left out, and ``Retrieval.notes`` says so; only a mode that was asked for is an error.
"""

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from knowledge import filters, metrics
from knowledge.access import Access
from knowledge.embedding import ModelSpec, Vector, embedder_of
from knowledge.exceptions import InvalidSearch
from knowledge.expiring import activity
from knowledge.lookup import passages_of
from knowledge.models import Chunk
from knowledge.passages import Mode, Passage, Retrieval, SearchRequest, Step
from knowledge.ranking import Clock, Plan, Ranking, ranked
from knowledge.repeats import without_repeats
from knowledge.reranking import RERANKED, reranked
from knowledge.scope import Manner, Scope, scope_of, stem_languages
from knowledge.threads import in_thread
from routing.exceptions import EndpointError
from routing.language import language_of
from routing.tracing import stage

logger = logging.getLogger(__name__)

MOST_PASSAGES = 200
LONGEST_QUESTION = 8_000
"""Characters of a question; what is longer is a document."""
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
SPARE = 2
"""Passages read for each one that is wanted, as some say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A search with its candidates of both legs, as the page that explains it shows them."""

    retrieval: Retrieval
    candidates: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    request: SearchRequest
    scope: Scope
    manner: Manner
    ranking: Ranking
    notes: tuple[str, ...]
    steps: tuple[Step, ...]


async def search(request: SearchRequest, *, access: Access) -> Retrieval:
    """Return the passages that answer ``request``, best first.

    Raises CollectionNotFound for a collection that does not exist or is not open to ``access``, Expired for one that
    nobody searched for too long, InvalidSearch for a question that cannot be searched for, and EndpointError where
    mode "vector" finds no embedder.
    """
    began = time.perf_counter()
    result = "failed"
    try:
        with stage("retrieve") as span:
            found = await _ranked(request, access)
            activity.note(found.scope.collections)
            retrieval = await _retrieved(found)
            span.tell({"moe.passages": len(retrieval.passages), "moe.collections": retrieval.collections})
        result = "empty" if not retrieval.passages else "weak" if retrieval.weak else "found"
    finally:
        metrics.searches.labels(result).inc()
        metrics.search_seconds.observe(time.perf_counter() - began)
    return retrieval


async def compared(request: SearchRequest, *, access: Access, most: int = 50) -> Comparison:
    """Return what ``search`` does, with up to ``most`` candidates of both legs. Raises as it does."""
    found = await _ranked(request, access)
    candidates = await _passages(found, limit=most, neighbours=0)
    return Comparison(retrieval=await _retrieved(found), candidates=candidates)


async def chunks_ranked(request: SearchRequest, *, access: Access) -> list[int]:
    """Return the ids of the chunks that answer ``request``, best first, at least ``top_k`` where there are as many.

    Raises as ``search`` does.
    """
    return list((await _ranked(request, access)).ranking.scores)


async def _retrieved(found: _Found) -> Retrieval:
    request, manner = found.request, found.manner
    steps, notes = found.steps, found.notes
    wanted = request.top_k * SPARE
    passages = await _passages(found, limit=max(wanted, RERANKED) if manner.reranker else wanted)
    if manner.reranker and passages:
        passages, note, step = await reranked(manner.reranker, request.query, passages)
        steps, notes = (*steps, step), (*notes, note) if note else notes
    if request.threshold is not None:
        passages = tuple(one for one in passages if one.score >= request.threshold)
    kept, dropped = without_repeats(passages, request.top_k)
    if dropped:
        notes = (*notes, f"Left out {dropped} that said the same as a better passage.")
    strength = max((found.ranking.strength(one.chunk) for one in kept), default=0.0)
    return Retrieval(
        query=request.query,
        passages=tuple(kept),
        collections=tuple(found.scope.collections.values()),
        keeping=tuple(sorted(found.scope.keeping & {one.collection for one in kept})),
        strength=round(strength, 4),
        weak=strength < manner.threshold,
        notes=notes,
        steps=steps,
    )


async def _ranked(request: SearchRequest, access: Access) -> _Found:
    _check(request)
    clock = Clock()
    language = language_of(request.query)
    scope, manner = await in_thread(scope_of)(request, access, language=language)
    clock.step("collections", ", ".join(scope.collections.values()) or "none")
    if not scope.chunks:
        note = "These collections hold nothing yet." if scope.collections else "There is no collection you may read."
        empty = Ranking(scores={})
        return _Found(request=request, scope=scope, manner=manner, ranking=empty, notes=(note,), steps=(*clock.steps,))
    vectors, notes = await _embedded(request, scope, manner)
    clock.step("embedding", ", ".join(spec.name for spec in vectors) or "none")
    ranking = await in_thread(ranked)(scope, plan_of(request, scope, manner, vectors, language=language))
    return _Found(
        request=request,
        scope=scope,
        manner=manner,
        ranking=ranking,
        notes=notes,
        steps=(*clock.steps, *ranking.steps),
    )


def plan_of(
    request: SearchRequest, scope: Scope, manner: Manner, vectors: Mapping[ModelSpec, Vector], *, language: str
) -> Plan:
    """Return how ``request`` is ranked; without ``vectors`` of its question it is looked up by words alone."""
    return Plan(
        mode=manner.mode if vectors else Mode.TEXT,
        fusion=manner.fusion,
        vector_weight=manner.vector_weight,
        limit=request.top_k * SPARE,
        wordings=dict.fromkeys(stem_languages(language, scope), (request.query, *request.also)),
        vectors=vectors,
        only=_only(request, scope),
    )


def _check(request: SearchRequest) -> None:
    if not request.query.strip():
        raise InvalidSearch("The question is empty. Send what is to be searched for.", param="query")
    if len(request.query) > LONGEST_QUESTION:
        raise InvalidSearch(
            f"The question has {len(request.query):,} characters; {LONGEST_QUESTION:,} are the most. Send its essence.",
            param="query",
        )
    if not 1 <= request.top_k <= MOST_PASSAGES:
        raise InvalidSearch(f"'top_k' must be a whole number from 1 to {MOST_PASSAGES}.", param="top_k")
    if _NO_TEXT.search(request.query):
        raise InvalidSearch(
            "The question holds a character that no text has (U+0000, or half of a pair). Leave it out.", param="query"
        )


async def _embedded(
    request: SearchRequest, scope: Scope, manner: Manner
) -> tuple[dict[ModelSpec, Vector], tuple[str, ...]]:
    """Return the question's vector by each model it takes, and what could not be had."""
    if manner.mode is Mode.TEXT:
        return {}, ()
    vectors: dict[ModelSpec, Vector] = {}
    notes: list[str] = []
    for spec in scope.models:
        try:
            embedder = embedder_of(spec)
            asked = [await embedder.question(text) for text in (request.query, *request.also)]
            vectors[spec] = asked[0] if len(asked) == 1 else _together(asked)
        except EndpointError as error:
            if manner.mode is Mode.VECTOR:
                raise
            logger.warning("searching by words alone model=%s error=%s", spec.name, error)
            notes.append(f"Searched by words alone: the embedding model '{spec.name}' does not answer. {error.message}")
    return vectors, tuple(notes)


def _together(vectors: list[Vector]) -> Vector:
    """Return the direction between several wordings of a question; the first one counts as much as all others."""
    first, *others = vectors
    return [value + sum(rest) / len(others) for value, *rest in zip(first, *others, strict=True)]


def _only(request: SearchRequest, scope: Scope) -> QuerySet[Any] | None:
    if request.filters is None:
        return None
    try:
        wanted = filters.to_q(filters.parse(request.filters))
    except filters.InvalidFilter as error:
        raise InvalidSearch(str(error), param="filters") from error
    return Chunk.objects.findable().filter(wanted, collection__in=list(scope.collections)).values("pk")


async def _passages(found: _Found, *, limit: int, neighbours: int | None = None) -> tuple[Passage, ...]:
    around = found.manner.neighbours if neighbours is None else neighbours
    if not found.ranking.scores:
        return ()
    return await in_thread(passages_of)(found.ranking, limit=limit, neighbours=around)
