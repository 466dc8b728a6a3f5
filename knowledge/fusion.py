"""One ranking out of two: what is alike in meaning, and what shares its words. Pure.

Measured on four collections (docs/knowledge.md): the sum of normalised scores, with each candidate's true score in
the leg that did not return it, beats reciprocal ranks on each of them, because ranks let a leg that knows nothing of
a language count as much as one that does.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from knowledge.passages import Fusion

RRF_K = 60  # Cormack, Clarke and Buettcher, SIGIR 2009


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A ranking: ``scores`` of every candidate it knows, and ``ranks`` (from 1) of those that it returned itself.

    ``full`` says whether it returned as many as it was asked for; one that did not has nothing beyond them.
    """

    scores: Mapping[int, float]
    ranks: Mapping[int, int]
    full: bool = True


def fused(text: Leg, vector: Leg, *, fusion: Fusion, vector_weight: float) -> dict[int, float]:
    """Return each candidate's score, 0 to 1; ``vector_weight`` is the vector leg's share."""
    candidates = text.ranks.keys() | vector.ranks.keys()
    if fusion is Fusion.RRF:
        return _reciprocal_ranks(candidates, text, vector, vector_weight)
    words = _words(candidates, text)
    meanings = _normalised({one: vector.scores[one] for one in candidates if one in vector.scores})
    return {one: (1 - vector_weight) * words[one] + vector_weight * meanings.get(one, 0.0) for one in candidates}


def only_words(text: Leg) -> dict[int, float]:
    return _words(text.ranks.keys(), text)


def only_meaning(vector: Leg) -> dict[int, float]:
    return _normalised({one: vector.scores[one] for one in vector.ranks})


def _words(candidates: AbstractSet[int], text: Leg) -> dict[int, float]:
    """Return BM25 scores as 0 to 1; a candidate without any of the words has 0.

    A list that is not full ends where the words end, so that its last one is better than nothing: 0 is its floor.
    """
    return _normalised({one: text.scores.get(one, 0.0) for one in candidates}, low=None if text.full else 0.0)


def _normalised(scores: Mapping[int, float], low: float | None = None) -> dict[int, float]:
    """Return ``scores`` with their lowest (or ``low``) as 0 and their highest as 1."""
    low = min(scores.values(), default=0.0) if low is None else low
    width = max(scores.values(), default=0.0) - low
    if width <= 0:
        return dict.fromkeys(scores, 1.0 if low > 0 else 0.0)
    return {one: (score - low) / width for one, score in scores.items()}


def _reciprocal_ranks(candidates: AbstractSet[int], text: Leg, vector: Leg, vector_weight: float) -> dict[int, float]:
    best = 1 / (RRF_K + 1)
    return {
        one: (
            (1 - vector_weight) * _reciprocal(text.ranks.get(one)) + vector_weight * _reciprocal(vector.ranks.get(one))
        )
        / best
        for one in candidates
    }


def _reciprocal(rank: int | None) -> float:
    return 0.0 if rank is None else 1 / (RRF_K + rank)
