"""The gate before a revision goes live: does the change make the collection's golden queries be answered worse?

Recall@5 is measured in the transaction that publishes, without the change and with it, and by the same steps as a
search takes, but for the reranker. Falls it by more than the collection allows, nothing of the transaction stays, and
the revision waits until somebody publishes it all the same or discards it. While it is measured, only the document's
own rows are locked: the collection's, for which everybody who publishes waits, is changed afterwards.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from knowledge.access import EVERYTHING
from knowledge.embedding import Embedder, ModelSpec, Vector
from knowledge.golden import golden_questions
from knowledge.jobs import Postponed
from knowledge.judging import Question, labels
from knowledge.lookup import passages_of
from knowledge.measures import recall
from knowledge.models import Collection, DocumentRevision
from knowledge.passages import Passage, SearchRequest
from knowledge.postings import Tally
from knowledge.ranking import Plan, Ranking, ranked
from knowledge.repeats import without_repeats
from knowledge.scope import Scope, scope_of
from knowledge.search import SPARE, plan_of
from knowledge.standing import Incoming, Standing, may_change
from knowledge.threads import in_thread
from knowledge.vectors import nearer, shortened
from knowledge.wording import term_weights
from routing.language import language_of

logger = logging.getLogger("knowledge")

DEPTH = 5
"""Passages of an answer that are looked at."""
SLACK = 1e-9
NAMED = 3
"""Questions that the sentence about a revision names; all are kept with it."""

_vectors: dict[tuple[int, str], "_Asked"] = {}
_MOST_VECTORS = 5_000
_standings: dict[int, "_Standings"] = {}


class HeldBack(Exception):
    """A revision must not go live: too much would be answered worse."""

    def __init__(self, verdict: "Verdict") -> None:
        super().__init__(verdict.sentence)
        self.verdict = verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Worse:
    """A question with its recall@5 before and with a change, and the titles that would be found for it."""

    question: Question
    before: float
    after: float
    found: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        return {
            "id": self.question.id,
            "query": self.question.query,
            "before": round(self.before, 4),
            "after": round(self.after, 4),
            "found": list(self.found),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Recall@5 over ``questions`` golden queries without and with a change, and those that got worse."""

    limit: float
    questions: int
    before: float
    after: float
    worse: tuple[Worse, ...]

    @property
    def passes(self) -> bool:
        return self.before - self.after <= self.limit + SLACK

    @property
    def sentence(self) -> str:
        named = ", ".join(f"“{one.question.query[:80]}”" for one in self.worse[:NAMED])
        more = f" and {len(self.worse) - NAMED} more" if len(self.worse) > NAMED else ""
        return (
            f"It does not go live: recall@5 on the golden queries would fall from {self.before:.3f} to "
            f"{self.after:.3f}, and the collection allows {self.limit:g}. Worse: {named}{more}. Publish it all the "
            "same, or discard it, in admin."
        )

    def body(self) -> dict[str, Any]:
        """Return it as the revision that is held back keeps it."""
        told = {"limit": self.limit, "questions": self.questions, "sentence": self.sentence}
        recalls = {"before": round(self.before, 4), "after": round(self.after, 4)}
        return told | recalls | {"worse": [one.body() for one in self.worse]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a publication changes: ``chunks`` come, as ``incoming`` tells; ``language`` is theirs."""

    incoming: Incoming
    chunks: Sequence[int]
    language: str


@dataclass(slots=True, kw_only=True)
class Gate:
    """Golden queries with their vectors, made before the transaction in which they are measured.

    ``before`` and then ``after`` are to be called inside of it, around the change; both block their thread.
    """

    slug: str
    limit: float
    spec: ModelSpec
    questions: Sequence[Question]
    vectors: Mapping[int, "_Asked"]
    standings: "_Standings"
    seconds: float = 0.0
    _before: dict[int, float] = field(default_factory=dict, init=False)

    def before(self, change: Change) -> None:
        """Measure the questions that ``change`` may make better or worse as they stand without it."""
        began = time.perf_counter()
        touched = self._touched(change)
        self._before = {question.id: self._measured(question).recall for question in touched}
        self.seconds += time.perf_counter() - began

    def after(self, change: Change, tally: Tally) -> None:
        """Measure them again with the change; ``tally`` is by how much it changes the totals. Raises HeldBack."""
        began = time.perf_counter()
        asked = [question for question in self.questions if question.id in self._before]
        now = {question.id: self._measured(question, change, tally) for question in asked}
        self.seconds += time.perf_counter() - began
        verdict = self._verdict(now)
        logger.debug(
            "gate slug=%s questions=%d measured=%d before=%.4f after=%.4f seconds=%.3f",
            *(self.slug, len(self.questions), len(asked), verdict.before, verdict.after, self.seconds),
        )
        if not verdict.passes:
            raise HeldBack(verdict)
        self.standings.by_question |= {question.id: now[question.id].standing for question in asked}

    def refresh(self) -> None:
        """Measure the questions of which it is not known, or not any more, how they stand; outside of transactions."""
        for question in self.questions:
            standing = self.standings.by_question.get(question.id)
            if standing is None or not standing.lasts:
                self.standings.by_question[question.id] = self._measured(question).standing

    def _touched(self, change: Change) -> list[Question]:
        standings = [self.standings.by_question[question.id] for question in self.questions]
        meanings = self._meanings(standings, change.chunks)
        return [
            standing.question
            for place, standing in enumerate(standings)
            if may_change(standing, change.incoming, meanings.get(place, {}))
        ]

    def _meanings(self, standings: Sequence[Standing], chunks: Sequence[int]) -> dict[int, dict[int, float]]:
        """Return the scores by meaning of ``chunks`` that reach each standing's floor, by its place."""
        if not self.vectors or not chunks:
            return {}
        width = self.spec.ceiling - self.spec.floor
        floors = [self.spec.floor + standing.floor * width for standing in standings]
        found: dict[int, dict[int, float]] = {}
        asked = [self.vectors[one.question.id].short for one in standings]
        for place, chunk, cosine in nearer(self.spec, asked, floors, chunks):
            found.setdefault(place, {})[chunk] = self.spec.scaled(cosine)
        return found

    def _measured(self, question: Question, change: Change | None = None, tally: Tally | None = None) -> "_Measured":
        """Search for a question on this thread's own connection, where nobody else sees the change."""
        request = SearchRequest(query=question.query, collections=(self.slug,), top_k=DEPTH, rerank=False)
        language = language_of(question.query)
        scope, manner = scope_of(request, EVERYTHING, language=language)
        scope = _changed(scope, change, tally or Tally())
        own = next(iter(scope.models))
        if own.id != self.spec.id:
            raise Postponed("The collection's embedding model was changed meanwhile.", 0)
        vectors = {own: self.vectors[question.id].vector} if self.vectors else {}
        plan = plan_of(request, scope, manner, vectors, language=language)
        ranking = ranked(scope, plan) if scope.chunks > 0 else Ranking(scores={})
        passages = passages_of(ranking, limit=DEPTH * SPARE, neighbours=0)
        kept, _ = without_repeats(passages, DEPTH)
        found = recall(list(labels(question, kept)), question.relevant, DEPTH)
        return _Measured(
            recall=found,
            titles=tuple(one.title for one in kept),
            standing=_standing(question, scope, plan, ranking, passages, found),
        )

    def _verdict(self, now: Mapping[int, "_Measured"]) -> Verdict:
        others = sum(
            self.standings.by_question[question.id].recall for question in self.questions if question.id not in now
        )
        worse = (
            Worse(
                question=question,
                before=self._before[question.id],
                after=now[question.id].recall,
                found=now[question.id].titles,
            )
            for question in self.questions
            if question.id in now and now[question.id].recall < self._before[question.id] - SLACK
        )
        count = len(self.questions)
        return Verdict(
            limit=self.limit,
            questions=count,
            before=(others + sum(self._before.values())) / count,
            after=(others + sum(one.recall for one in now.values())) / count,
            worse=tuple(sorted(worse, key=lambda one: one.after - one.before)),
        )


async def gate_of(revision: DocumentRevision, spec: ModelSpec, embedder: Embedder) -> Gate | None:
    """Return the gate that a revision has to pass; None where there is none, or somebody has it pass all the same.

    Raises EndpointError.
    """
    asked = await in_thread(_asked)(revision.pk, spec)
    if asked is None:
        return None
    collection, questions = asked
    vectors = {} if collection.mode == "text" else {one.id: await _vector(spec, embedder, one) for one in questions}
    gate = Gate(
        slug=collection.slug,
        limit=collection.gate or 0.0,
        spec=spec,
        questions=questions,
        vectors=vectors,
        standings=_standings_of(collection, questions),
    )
    await in_thread(gate.refresh)()
    return gate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question's vector, and in short as it is written to the database for each document anew."""

    vector: Vector
    short: str


@dataclass(slots=True, kw_only=True)
class _Standings:
    """How the questions of a collection stand, as long as they and how it is searched stay what they are."""

    of: tuple[Any, ...]
    by_question: dict[int, Standing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    recall: float
    titles: tuple[str, ...]
    standing: Standing


def _asked(revision_id: int, spec: ModelSpec) -> tuple[Collection, list[Question]] | None:
    revision = DocumentRevision.objects.select_related("document__collection").get(pk=revision_id)
    document, collection = revision.document, revision.document.collection
    overruled = bool(revision.held_back) and revision.reviewed_at is not None
    if collection.gate is None or overruled or not document.enabled or collection.is_expired:
        return None
    if collection.embedding_model_id != spec.id:
        return None  # it was switched meanwhile, and publishing begins anew
    questions = golden_questions(collection)
    return (collection, questions) if questions else None


def _standings_of(collection: Collection, questions: Iterable[Question]) -> _Standings:
    """Return what this process remembers of how questions stand; threads of other jobs share it."""
    names = ("embedding_model_id", "mode", "fusion", "vector_weight", "language")
    of = (*(getattr(collection, name) for name in names), *questions)
    known = _standings.get(collection.pk)
    if known is None or known.of != of:
        known = _standings[collection.pk] = _Standings(of=of)
    return known


async def _vector(spec: ModelSpec, embedder: Embedder, question: Question) -> _Asked:
    known = _vectors.get((spec.id, question.query))
    if known is None:
        vector = await embedder.question(question.query)
        known = _Asked(vector=vector, short=shortened(vector))
        if len(_vectors) >= _MOST_VECTORS:
            _vectors.clear()
        _vectors[spec.id, question.query] = known
    return known


def _changed(scope: Scope, change: Change | None, tally: Tally) -> Scope:
    """Return a scope of one collection as it is once its totals have been changed."""
    if change is None:
        return scope
    held = {collection: chunks + tally.chunks for collection, chunks in scope.held.items()}
    languages = scope.languages | {change.language}
    return replace(scope, held=held, terms=max(0, scope.terms + tally.terms), languages=languages)


def _standing(
    question: Question, scope: Scope, plan: Plan, ranking: Ranking, passages: Sequence[Passage], found: float
) -> Standing:
    relevant = question.relevant
    right = [place for place, one in enumerate(passages) if question.label(one.document, one.text) in relevant]
    return Standing(
        question=question,
        plan=plan,
        text=ranking.wording.leg,
        vector=ranking.vector,
        weights=term_weights(
            plan.wordings, collections=list(scope.collections), chunks=scope.chunks, terms=scope.terms
        ),
        average=max(1.0, scope.terms / scope.chunks) if scope.chunks > 0 else 1.0,
        ranked=tuple(one.chunk for one in passages[: right[-1] + 1 if right else 0]),
        recall=found,
        at=time.monotonic(),
    )
