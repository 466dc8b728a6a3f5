"""How well a question whose answer is known was answered: its measures, from what was found. Pure."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowledge.measures import ndcg, recall, reciprocal_rank
from knowledge.passages import Passage

DEPTH = 10
"""Passages of an answer that are looked at."""
MEASURES = ("recall_1", "recall_3", "recall_5", "recall_10", "mrr", "ndcg_10")
"""Names of what is measured of each question, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A golden query; a passage answers it if it is of one of ``documents`` or holds one of ``answers``.

    ``answers`` are plain, as ``plain`` makes them. ``id`` is that of its row.
    """

    query: str
    documents: frozenset[int]
    answers: tuple[str, ...] = ()
    id: int = 0

    @property
    def relevant(self) -> dict[str, float]:
        """What there is to find, by the labels that ``labels`` gives."""
        # Of a question with answers it is not known how many passages hold one: finding one is all there is to find.
        return {str(one): 1.0 for one in self.documents} or {"answer": 1.0}

    def label(self, document: int, text: str) -> str:
        """Return what a passage counts as: its document or an answer, "" for nothing."""
        if self.documents:
            return str(document)
        return "answer" if any(answer in plain(text) for answer in self.answers) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A question with its measures by the names in MEASURES, how long it took, and what was found for it."""

    question: Question
    measures: Mapping[str, float]
    milliseconds: float
    found: tuple[tuple[int, str, bool], ...]

    def body(self) -> dict[str, Any]:
        """Return it as runs of an evaluation keep it."""
        found = [{"document": document, "title": title, "right": right} for document, title, right in self.found]
        measures = {name: round(value, 4) for name, value in self.measures.items()}
        told = {"id": self.question.id, "query": self.question.query, "ms": round(self.milliseconds, 1)}
        return told | measures | {"found": found}


def judged(question: Question, passages: Sequence[Passage], milliseconds: float) -> Judged:
    """Return how well ``passages`` answer a question."""
    ranked = list(labels(question, passages))
    relevant = question.relevant
    measures = {f"recall_{depth}": recall(ranked, relevant, depth) for depth in (1, 3, 5, 10)}
    measures |= {"mrr": reciprocal_rank(ranked, relevant), "ndcg_10": ndcg(ranked, relevant, DEPTH)}
    found = (
        (passage.document, passage.title, question.label(passage.document, passage.text) in relevant)
        for passage in passages[:DEPTH]
    )
    return Judged(question=question, measures=measures, milliseconds=milliseconds, found=tuple(found))


def labels(question: Question, passages: Sequence[Passage]) -> Iterator[str]:
    """Yield what each passage counts as: its document (once), an answer (once), or nothing."""
    seen: set[str] = set()
    for passage in passages:
        label = question.label(passage.document, passage.text)
        yield "" if label in seen else label
        seen.add(label)


def means(rows: Sequence[Judged]) -> dict[str, float]:
    """Return the means over all questions, with the share that found anything and milliseconds a query."""
    found = {name: round(statistics.fmean(row.measures[name] for row in rows), 4) for name in MEASURES}
    hits = statistics.fmean(float(row.measures["mrr"] > 0) for row in rows)
    times = statistics.fmean(row.milliseconds for row in rows)
    return found | {"hit_10": round(hits, 4), "ms_per_query": round(times, 1)}


def plain(text: str) -> str:
    """Return a text as answers are compared with it: upper and lower case, lines and spaces alike."""
    return " ".join(text.casefold().split())
