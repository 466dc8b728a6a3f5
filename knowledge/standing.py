"""How golden questions stand before a change, and which of them it can make worse. Pure.

Measuring all of them for each document that is published would cost more than reading it. A change can make a question
worse only by taking away a passage that answers it, or by putting something above one. So the ranking that was found is
fused anew with the chunks that come and without those that go: where it stays what it was down to its last right
passage, nothing got worse. Estimated are the scores of new chunks' words, from rarities that a change hardly moves.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from knowledge.fusion import Leg
from knowledge.judging import Question, plain
from knowledge.postings import ChunkTerms
from knowledge.ranking import LEG, Plan, fused_scores
from knowledge.wording import gain

LASTS_SECONDS = 60.0
"""How long a standing counts: what others publish meanwhile moves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A question as it was found to be answered.

    ``text`` and ``vector`` are the legs of its ranking, ``weights`` how much its terms count, ``average`` a chunk's
    length. ``ranked`` are the first chunks, down to the last that answers it; ``recall`` is that of five passages.
    """

    question: Question
    plan: Plan
    text: Leg
    vector: Leg
    weights: Mapping[int, float]
    average: float
    ranked: tuple[int, ...]
    recall: float
    at: float

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self.at + LASTS_SECONDS

    @property
    def floor(self) -> float:
        """The score by meaning from which on a chunk is among those that were found by it."""
        return _floor(self.vector)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What a change brings: chunks that come with their terms, and which go; one that is reworded does both.

    ``texts`` are those of the chunks that come, ``document`` is whose they are.
    """

    document: int
    terms: Mapping[int, ChunkTerms]
    texts: Sequence[str]
    gone: frozenset[int]


def may_change(standing: Standing, incoming: Incoming, meanings: Mapping[int, float]) -> bool:
    """Tell whether a change may make a question better or worse.

    ``meanings`` are the new chunks' scores by meaning, as far as they reach the standing's floor.
    """
    question = standing.question
    if incoming.document in question.documents:
        return True
    if question.answers and any(answer in text for text in map(plain, incoming.texts) for answer in question.answers):
        return True
    if not standing.ranked:
        return False  # nothing answers it, which cannot get worse
    words = word_scores(standing, incoming.terms)
    if not words and not meanings and incoming.gone.isdisjoint((*standing.text.ranks, *standing.vector.ranks)):
        return False
    text, vector = _changed(standing, incoming, words, meanings)
    scores = fused_scores(standing.plan, text, vector)
    best = sorted(scores, key=lambda chunk: (-scores[chunk], chunk))
    return tuple(best[: len(standing.ranked)]) != standing.ranked


def word_scores(standing: Standing, terms: Mapping[int, ChunkTerms]) -> dict[int, float]:
    """Return the BM25 of new chunks that would be among those found by their words."""
    floor = _floor(standing.text)
    found = {}
    for chunk, one in terms.items():
        score = sum(
            gain(weight=standing.weights[term], frequency=frequency, length=one.length, average=standing.average)
            for term, frequency in zip(one.numbers, one.frequencies, strict=True)
            if term in standing.weights
        )
        if score > max(floor, 0.0):
            found[chunk] = score
    return found


def _changed(
    standing: Standing, incoming: Incoming, words: Mapping[int, float], meanings: Mapping[int, float]
) -> tuple[Leg, Leg]:
    """Return both legs with what comes and without what goes.

    A chunk that only one of them found gets the other's floor, which is the most it can have there.
    """
    found = words.keys() | meanings.keys()
    text_floor, vector_floor = max(_floor(standing.text), 0.0), standing.floor
    text = {chunk: words.get(chunk, text_floor) for chunk in found}
    vector = {chunk: meanings.get(chunk, vector_floor) for chunk in found}
    return (
        _leg(standing.text, incoming.gone, text, listed=words),
        _leg(standing.vector, incoming.gone, vector, listed=meanings) if standing.plan.vectors else standing.vector,
    )


def _leg(leg: Leg, gone: frozenset[int], more: Mapping[int, float], *, listed: Iterable[int]) -> Leg:
    scores = {chunk: score for chunk, score in leg.scores.items() if chunk not in gone} | dict(more)
    ranked = ({*leg.ranks} - gone) | {*listed}
    order = sorted(ranked, key=lambda chunk: (-scores[chunk], chunk))[:LEG]
    ranks = {chunk: rank for rank, chunk in enumerate(order, 1)}
    return Leg(scores=scores, ranks=ranks, full=len(order) >= LEG if leg.full else False)


def _floor(leg: Leg) -> float:
    """Return the lowest score of a list that is full; what is not full takes everything."""
    if len(leg.ranks) < LEG:
        return float("-inf")
    return min(leg.scores[chunk] for chunk in leg.ranks)
