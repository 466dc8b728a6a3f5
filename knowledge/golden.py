"""A collection measured on its own golden queries, with each way in which it could be searched.

Which fusion suits a collection, and how much meaning counts beside words, differs from one to the next: this is how to
tell, rather than to believe a default.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from knowledge.access import EVERYTHING
from knowledge.measures import ndcg, reciprocal_rank
from knowledge.models import Collection, EvaluationRun, GoldenQuery
from knowledge.passages import Fusion, Mode, Passage, SearchRequest
from knowledge.search import search
from knowledge.threads import in_thread

DEPTH = 10


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
class Question:
    """A golden query; a passage answers it if it is of one of ``documents`` or holds one of ``answers``."""

    query: str
    documents: frozenset[int]
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a way did: means over all questions, ``hit`` the share with an answer among the first ten passages."""

    way: Way
    ndcg_10: float
    hit_10: float
    mrr: float
    ms_per_query: float
    missed: tuple[str, ...] = field(default=())

    def measures(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("ndcg_10", "hit_10", "mrr", "ms_per_query")}


async def golden_measure(collection: Collection, *, ways: Sequence[Way] = WAYS) -> list[Outcome]:
    """Return how ``collection`` answers its golden queries, the best way first, and keep each as an EvaluationRun.

    Empty where there is no golden query that says what answers it. Raises EndpointError.
    """
    questions = await in_thread(_questions)(collection)
    if not questions:
        return []
    outcomes = [await _outcome(collection, questions, way) for way in ways]
    await in_thread(_keep)(collection, outcomes, len(questions))
    return sorted(outcomes, key=lambda one: (-one.ndcg_10, -one.mrr))


def golden_apply(collection: Collection, way: Way) -> None:
    """Have ``collection`` searched in ``way``."""
    fields = {"mode": way.mode, "fusion": way.fusion, "vector_weight": way.vector_weight}
    Collection.objects.filter(pk=collection.pk).update(**fields)


def _questions(collection: Collection) -> list[Question]:
    rows = GoldenQuery.objects.filter(collection=collection).prefetch_related("documents")
    found = (
        Question(
            query=row.query,
            documents=frozenset(document.pk for document in row.documents.all()),
            answers=tuple(_plain(answer) for answer in row.answers if answer.strip()),
        )
        for row in rows
    )
    return [one for one in found if one.documents or one.answers]


async def _outcome(collection: Collection, questions: Sequence[Question], way: Way) -> Outcome:
    gains, hits, ranks, times, missed = [], [], [], [], []
    for question in questions:
        request = SearchRequest(
            query=question.query,
            collections=(collection.slug,),
            top_k=DEPTH,
            mode=way.mode,
            fusion=way.fusion,
            vector_weight=way.vector_weight,
        )
        began = time.perf_counter()
        found = await search(request, access=EVERYTHING)
        times.append((time.perf_counter() - began) * 1000)
        ranked = list(_answering(question, found.passages))
        # Of a question with answers it is not known how many passages hold one: finding one is all there is to find.
        relevant = {str(one): 1.0 for one in question.documents} or {"answer": 1.0}
        gains.append(ndcg(ranked, relevant, DEPTH))
        ranks.append(reciprocal_rank(ranked, relevant))
        hits.append(float(ranks[-1] > 0))
        if not ranks[-1]:
            missed.append(question.query)
    return Outcome(
        way=way,
        ndcg_10=round(statistics.fmean(gains), 4),
        hit_10=round(statistics.fmean(hits), 4),
        mrr=round(statistics.fmean(ranks), 4),
        ms_per_query=round(statistics.fmean(times), 1),
        missed=tuple(missed),
    )


def _answering(question: Question, passages: Sequence[Passage]) -> Iterator[str]:
    """Yield what each passage counts as: its document (once), an answer (once), or nothing."""
    seen: set[str] = set()
    for passage in passages:
        if question.documents:
            name = str(passage.document)
        else:
            name = "answer" if any(answer in _plain(passage.text) for answer in question.answers) else ""
        yield "" if name in seen else name
        seen.add(name)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _keep(collection: Collection, outcomes: Sequence[Outcome], queries: int) -> None:
    EvaluationRun.objects.bulk_create(
        EvaluationRun(collection=collection, settings=one.way.body(), queries=queries, measures=one.measures())
        for one in outcomes
    )
