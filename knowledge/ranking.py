"""A question's chunks in order: both legs in one short transaction, fused. Asks the database; embeds nothing."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from django.db import connection, transaction
from django.db.models import QuerySet

from knowledge import fusion
from knowledge.embedding import ModelSpec, Vector
from knowledge.fusion import Leg
from knowledge.models import Chunk
from knowledge.passages import Fusion, Mode, Step
from knowledge.scope import Scope
from knowledge.vectors import EXACT_UP_TO, nearest, no_jit, similarities
from knowledge.wording import NOTHING, Wording, worded_like

LEG = 100
"""Chunks taken from each leg; more when more are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to rank: ``wordings`` are the question's texts by language, ``vectors`` its embeddings by model."""

    mode: Mode
    fusion: Fusion
    vector_weight: float
    limit: int
    wordings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    vectors: Mapping[ModelSpec, Vector] = field(default_factory=dict)
    only: "QuerySet[Chunk] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Candidates with their fused scores, best first, and what each leg said of them.

    ``meanings`` are cosines on the scale of ``ModelSpec.scaled``, ``cosines`` as they are.
    """

    scores: Mapping[int, float]
    wording: Wording = NOTHING
    vector: Leg = field(default_factory=lambda: Leg(scores={}, ranks={}))
    cosines: Mapping[int, float] = field(default_factory=dict)
    meanings: Mapping[int, float] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def strength(self, chunk: int) -> float:
        """Return how well a chunk fits the question, 0 to 1, comparable between questions.

        Of meaning and words together, since each is now and then wrong alone.
        """
        words = self.wording.coverage.get(chunk, 0.0)
        meaning = self.meanings.get(chunk)
        if meaning is None:
            return words
        return math.sqrt(words * meaning) * 0.5 + meaning * 0.5 if self.wording is not NOTHING else meaning


def ranked(scope: Scope, plan: Plan) -> Ranking:
    """Return the chunks of ``scope`` in the order that ``plan`` asks for."""
    depth = max(LEG, plan.limit)
    clock = Clock()
    only = _composed(plan.only)
    # An index scan is configured for its transaction; what reads little needs none, and three round trips less.
    with _configured() if scope.chunks > EXACT_UP_TO else nullcontext():
        cosines, meanings, ranks = _nearest(scope, plan, depth, only)
        clock.step("meaning", f"{len(ranks)} nearest")
        wording = NOTHING
        if plan.mode is not Mode.VECTOR:
            wording = worded_like(
                plan.wordings,
                collections=list(scope.collections),
                chunks=scope.chunks,
                terms=scope.terms,
                limit=depth,
                also=list(ranks),
                only=only,
            )
            clock.step("words", f"{len(wording.leg.ranks)} with most of the question's words")
        missing = wording.leg.ranks.keys() - cosines.keys()
        for spec, vector in plan.vectors.items():
            found = similarities(spec, vector, missing) if missing else {}
            cosines |= found
            meanings |= {chunk: spec.scaled(cosine) for chunk, cosine in found.items()}
    leg = Leg(scores=meanings, ranks=ranks)
    scores = fused_scores(plan, wording.leg, leg)
    clock.step("fusion", plan.fusion.value if plan.mode is Mode.HYBRID else f"{plan.mode.value} alone")
    return Ranking(
        scores=dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))),
        wording=wording,
        vector=leg,
        cosines=cosines,
        meanings={chunk: min(1.0, max(0.0, value)) for chunk, value in meanings.items()},
        steps=tuple(clock.steps),
    )


@contextmanager
def _configured() -> Iterator[None]:
    with transaction.atomic():
        no_jit()
        yield


def _nearest(
    scope: Scope, plan: Plan, depth: int, only: str
) -> tuple[dict[int, float], dict[int, float], dict[int, int]]:
    """Return cosines, the same on the common scale of all models, and ranks by that."""
    cosines: dict[int, float] = {}
    meanings: dict[int, float] = {}
    for spec, vector in plan.vectors.items():
        ids = scope.models[spec]
        held = sum(scope.held[one] for one in ids)
        rows = nearest(spec, vector, collections=ids, candidates=held, limit=depth, only=only)
        cosines |= dict(rows)
        meanings |= {chunk: spec.scaled(cosine) for chunk, cosine in rows}
    order = sorted(meanings, key=lambda chunk: (-meanings[chunk], chunk))[:depth]
    return cosines, meanings, {chunk: rank for rank, chunk in enumerate(order, 1)}


def fused_scores(plan: Plan, text: Leg, vector: Leg) -> dict[int, float]:
    """Return each candidate's score as ``plan`` puts the legs together. Pure."""
    if plan.mode is Mode.TEXT or not plan.vectors:
        return fusion.only_words(text)
    if plan.mode is Mode.VECTOR:
        return fusion.only_meaning(vector)
    return fusion.fused(text, vector, fusion=plan.fusion, vector_weight=plan.vector_weight)


def _composed(only: "QuerySet[Chunk] | None") -> str:
    """Return a queryset as SQL with its parameters in it, to stand inside of another query."""
    if only is None:
        return ""
    sql, parameters = only.query.sql_with_params()
    composed: str = connection.ops.compose_sql(sql, parameters)  # type: ignore[attr-defined]  # PostgreSQL's
    return composed


@dataclass(slots=True)
class Clock:
    """The steps so far, with their times."""

    steps: list[Step] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)

    def step(self, name: str, result: str) -> None:
        now = time.perf_counter()
        self.steps.append(Step(name=name, milliseconds=(now - self.since) * 1000, result=result))
        self.since = now
