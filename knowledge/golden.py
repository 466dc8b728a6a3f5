"""A collection measured on its own golden queries: as it is searched, by another model's vectors, or in other ways.

Which fusion suits a collection, how much meaning counts beside words and which model embeds it best differ from one to
the next: this is how to tell, rather than to believe a default.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from knowledge.access import EVERYTHING
from knowledge.judging import DEPTH, Judged, Question, judged, means, plain
from knowledge.models import Collection, EmbeddingModel, EvaluationRun, GoldenQuery
from knowledge.passages import Fusion, Mode, SearchRequest
from knowledge.search import search
from knowledge.threads import in_thread

WAYS_TRIED = "ways of searching compared"
"""The reason of runs that measure how a collection could be searched, and is not."""
AGAINST = "against"
"""The setting of a run by another model's vectors that names the run it was made to be compared with."""
OWN = "own"
"""The setting of runs in which a collection was searched as it is: those that can be compared over time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to search; ``vector_weight`` None is the one that the collection gets by itself."""

    mode: Mode = Mode.HYBRID
    fusion: Fusion = Fusion.NORMALISED
    vector_weight: float | None = None

    def body(self) -> dict[str, Any]:
        return {"mode": self.mode.value, "fusion": self.fusion.value, "vector_weight": self.vector_weight}


WAYS = (
    Way(),
    *(Way(vector_weight=weight) for weight in (0.3, 0.4, 0.5, 0.6, 0.7)),
    Way(fusion=Fusion.RRF, vector_weight=0.5),
    Way(mode=Mode.TEXT),
    Way(mode=Mode.VECTOR),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a way did: ``measures`` are means over all questions, ``missed`` the questions it found no answer to."""

    way: Way
    measures: Mapping[str, float]
    missed: tuple[str, ...] = ()


async def golden_evaluate(
    collection: Collection, *, reason: str = "", model: EmbeddingModel | None = None
) -> EvaluationRun | None:
    """Return and keep how ``collection``, searched as it is, answers its golden queries.

    With ``model`` the vectors of that model are searched in place of its own. None where there is no golden query that
    says what answers it. Raises EndpointError.
    """
    questions = await in_thread(golden_questions)(collection)
    if not questions:
        return None
    request = SearchRequest(query="", collections=(collection.slug,), model=model.pk if model else None)
    rows = await _answered(questions, request)
    return await in_thread(_keep_own)(collection, model, rows, reason)


async def golden_compare(
    collection: Collection, model: EmbeddingModel, *, reason: str
) -> tuple[EvaluationRun, EvaluationRun] | None:
    """Return and keep how ``collection`` answers its golden queries now, and how by the vectors of ``model``.

    None where there is no golden query that says what answers it. Raises EndpointError.
    """
    now = await golden_evaluate(collection, reason=reason)
    by_model = await golden_evaluate(collection, reason=reason, model=model)
    if now is None or by_model is None:
        return None
    by_model.settings[AGAINST] = now.pk
    await in_thread(by_model.save)(update_fields=["settings"])
    return now, by_model


def golden_comparison(collection: Collection, model: EmbeddingModel) -> tuple[EvaluationRun, EvaluationRun] | None:
    """Return the latest comparison of how ``collection`` is searched with the vectors of ``model``."""
    runs = EvaluationRun.objects.filter(collection=collection, embedding_model=model, settings__has_key=AGAINST)
    latest = runs.order_by("-created_at").first()
    if latest is None:
        return None
    first = EvaluationRun.objects.filter(pk=latest.settings[AGAINST], embedding_model=collection.embedding_model_id)
    return (found, latest) if (found := first.first()) else None


async def golden_measure(collection: Collection, *, ways: Sequence[Way] = WAYS) -> list[Outcome]:
    """Return how ``collection`` would answer its golden queries in each way, the best first, and keep each as a run.

    Empty where there is no golden query that says what answers it. Raises EndpointError.
    """
    questions = await in_thread(golden_questions)(collection)
    if not questions:
        return []
    outcomes = [await _outcome(collection, questions, way) for way in ways]
    return sorted(outcomes, key=lambda one: (-one.measures["ndcg_10"], -one.measures["mrr"]))


def golden_apply(collection: Collection, way: Way) -> None:
    """Have ``collection`` searched in ``way``."""
    row = Collection.objects.get(pk=collection.pk)
    row.mode, row.fusion, row.vector_weight = way.mode, way.fusion, way.vector_weight
    row.save(update_fields=["mode", "fusion", "vector_weight"])


def golden_questions(collection: Collection) -> list[Question]:
    """Return the golden queries of ``collection`` that say what answers them."""
    rows = GoldenQuery.objects.filter(collection=collection).prefetch_related("documents")
    found = (
        Question(
            id=row.pk,
            query=row.query,
            documents=frozenset(document.pk for document in row.documents.all()),
            answers=tuple(plain(answer) for answer in row.answers if answer.strip()),
        )
        for row in rows
    )
    return [one for one in found if one.documents or one.answers]


async def _outcome(collection: Collection, questions: Sequence[Question], way: Way) -> Outcome:
    request = SearchRequest(
        query="",
        collections=(collection.slug,),
        mode=way.mode,
        fusion=way.fusion,
        vector_weight=way.vector_weight,
    )
    rows = await _answered(questions, request)
    measures = means(rows)
    await in_thread(EvaluationRun.objects.create)(
        collection=collection,
        settings=way.body(),
        queries=len(rows),
        measures=measures,
        embedding_model_id=collection.embedding_model_id,
        reason=WAYS_TRIED,
        details=[row.body() for row in rows],
    )
    missed = tuple(row.question.query for row in rows if not row.measures["mrr"])
    return Outcome(way=way, measures=measures, missed=missed)


async def _answered(questions: Sequence[Question], request: SearchRequest) -> list[Judged]:
    rows = []
    for question in questions:
        asked = replace(request, query=question.query, top_k=DEPTH)
        began = time.perf_counter()
        found = await search(asked, access=EVERYTHING)
        rows.append(judged(question, found.passages, (time.perf_counter() - began) * 1000))
    return rows


def _keep_own(
    collection: Collection, model: EmbeddingModel | None, rows: Sequence[Judged], reason: str
) -> EvaluationRun:
    row = Collection.objects.select_related("reranker").get(pk=collection.pk)
    names = ("mode", "fusion", "vector_weight", "chunk_tokens", "chunk_overlap", "embed_headings", "chunk_count")
    settings = {name: getattr(row, name) for name in names} | {OWN: model is None}
    return EvaluationRun.objects.create(
        collection=row,
        settings=settings | ({"reranker": row.reranker.slug} if row.reranker else {}),
        queries=len(rows),
        measures=means(rows),
        embedding_model_id=model.pk if model else row.embedding_model_id,
        reason=reason[:200],
        details=[one.body() for one in rows],
    )
