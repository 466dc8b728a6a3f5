"""The text leg: real BM25 from the postings table.

Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with the Robertson-Spärck Jones idf, by which
common words count nothing: no language needs a list of stop words.

How many chunks hold a term is counted from the postings and remembered for a while: counting the common ones is most
of what a question costs, and a few chunks more or less change no ranking. Terms are then read from the rarest on, up
to a number of postings; what is more common than that only adds to the scores of chunks that a rarer term found.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from knowledge.fusion import Leg
from knowledge.terms import counted

# Lucene's defaults; measured on four collections (docs/knowledge.md), where nothing near them is better on all.
K1 = 1.2
B = 0.75
SUPPOSED_CHUNKS = 20
"""Added to a collection's chunks where rarity is computed, or every word would be common in one of a few chunks."""
MOST_TERMS = 100
"""Distinct terms of a question that are looked up; more is no question any more."""
MOST_POSTINGS = 25_000
"""Postings that are read to find chunks."""
CANDIDATES = 4
"""Chunks that commoner terms are looked up for, for each one that is wanted."""

REMEMBERED_SECONDS = 600.0
REMEMBERED_SCOPES = 200
REMEMBERED_TERMS = 20_000
DRIFT = 0.1
"""By this share a collection may grow or shrink before its terms are counted anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the text leg found; ``coverage`` is the share of the question's weight that a chunk's words make up."""

    leg: Leg
    coverage: Mapping[int, float] = field(default_factory=dict)


NOTHING = Wording(leg=Leg(scores={}, ranks={}, full=False))

_GAIN = """asked.weight * posting.frequency * (%(k1)s::float8 + 1) / (posting.frequency
    + %(k1)s::float8 * (1 - %(b)s::float8 + %(b)s::float8 * posting.length / %(average)s::float8))"""
_ASKED = "unnest(%({0}_terms)s::int[], %({0}_weights)s::float8[]) AS asked(term, weight)"
_SQL = f"""
WITH found AS MATERIALIZED (
  SELECT posting.chunk_id, sum({_GAIN}) AS score, sum(asked.weight) AS covered
  FROM {_ASKED.format("rare")}
  JOIN knowledge_posting posting ON posting.term = asked.term AND posting.collection_id = ANY(%(collections)s)
  {{only}}
  GROUP BY posting.chunk_id
),
candidates AS MATERIALIZED (
  (SELECT * FROM found ORDER BY score DESC, chunk_id LIMIT %(candidates)s)
  UNION
  (SELECT * FROM found WHERE chunk_id = ANY(%(also)s::bigint[]))
),
added AS MATERIALIZED (
  SELECT posting.chunk_id, sum({_GAIN}) AS score, sum(asked.weight) AS covered
  FROM {_ASKED.format("common")}
  JOIN knowledge_posting posting ON posting.term = asked.term AND posting.collection_id = ANY(%(collections)s)
    AND posting.chunk_id = ANY(
      ARRAY(SELECT chunk_id FROM candidates UNION SELECT unnest(%(also)s::bigint[])))
  GROUP BY posting.chunk_id
)
SELECT chunk_id, coalesce(candidates.score, 0) + coalesce(added.score, 0),
       coalesce(candidates.covered, 0) + coalesce(added.covered, 0), candidates.chunk_id IS NOT NULL
FROM candidates FULL JOIN added USING (chunk_id)
"""  # noqa: S608 - put together of constants


def worded_like(
    wordings: Mapping[str, Sequence[str]],
    *,
    collections: Sequence[int],
    chunks: int,
    terms: int,
    limit: int,
    also: Sequence[int] = (),
    only: str = "",
) -> Wording:
    """Return the ``limit`` chunks that share most of a question's words, and the scores of those in ``also``.

    ``wordings`` are the question's texts by the languages whose stems they are to be looked up by. ``chunks`` and
    ``terms`` count what the collections hold; ``only`` is a subquery of the chunk ids that may be found, as SQL
    without parameters.
    """
    held, weights = _weighed(wordings, collections, chunks, terms)
    if not weights:
        return NOTHING
    rare, common = _split({term: weight for term, weight in weights.items() if held.get(term)}, held)
    parameters: dict[str, Any] = {
        "rare_terms": list(rare),
        "rare_weights": list(rare.values()),
        "common_terms": list(common),
        "common_weights": list(common.values()),
        "collections": list(collections),
        "candidates": limit * CANDIDATES if common else limit,
        "average": max(1.0, terms / chunks),
        "k1": K1,
        "b": B,
        "also": list(also),
    }
    sql = _SQL.format(only=f"WHERE posting.chunk_id IN ({only})".replace("%", "%%") if only else "")
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    return _wording(rows, sum(weights.values()), limit)


def term_weights(
    wordings: Mapping[str, Sequence[str]], *, collections: Sequence[int], chunks: int, terms: int
) -> dict[int, float]:
    """Return how much each term of a question counts that is not too common; parameters as those of ``worded_like``."""
    return _weighed(wordings, collections, chunks, terms)[1]


def gain(*, weight: float, frequency: int, length: int, average: float) -> float:
    """Return what a term adds to the score of a chunk of ``length`` terms that holds it so often, as the SQL does."""
    return weight * frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * length / average))


def _weighed(
    wordings: Mapping[str, Sequence[str]], collections: Sequence[int], chunks: int, terms: int
) -> tuple[Mapping[int, int], dict[int, float]]:
    """Return how many chunks hold each term of a question, and how much each counts."""
    asked = asked_terms(wordings)
    if not asked or not chunks:
        return {}, {}
    held = _held(tuple(sorted(collections)), asked, size=terms)
    weights = {
        term: count * weight for term, count in asked.items() if (weight := rarity(held.get(term, 0), chunks)) > 0
    }
    return held, weights


def rarity(held: int, chunks: int) -> float:
    """Return the idf of a term that ``held`` of ``chunks`` chunks hold; 0 and less for what half of them do."""
    all_chunks = chunks + SUPPOSED_CHUNKS
    return math.log((all_chunks - held + 0.5) / (held + 0.5)) if held < all_chunks else 0.0


def asked_terms(wordings: Mapping[str, Sequence[str]]) -> dict[int, float]:
    """Return the terms of a question with how often each stands in it, over languages and texts the most often."""
    found: dict[int, float] = {}
    for language, texts in wordings.items():
        for text in texts:
            for term, count in counted(text, language).items():
                found[term] = max(found.get(term, 0.0), float(count))
    return dict(list(found.items())[:MOST_TERMS])


def _split(weights: Mapping[int, float], held: Mapping[int, int]) -> tuple[dict[int, float], dict[int, float]]:
    """Return the terms that find chunks, rarest first, and those that only add to what was found."""
    rare: dict[int, float] = {}
    common: dict[int, float] = {}
    postings = 0
    for term in sorted(weights, key=lambda term: (held[term], term)):
        postings += held[term]
        (rare if postings <= MOST_POSTINGS or not rare else common)[term] = weights[term]
    return rare, common


def _wording(rows: Sequence[tuple[int, float, float, bool]], weight: float, limit: int) -> Wording:
    scores = {chunk: float(score) for chunk, score, _, _ in rows}
    found = sorted((chunk for chunk, _, _, is_found in rows if is_found), key=lambda chunk: (-scores[chunk], chunk))
    ranked = found[:limit]
    return Wording(
        leg=Leg(
            scores=scores,
            ranks={chunk: rank for rank, chunk in enumerate(ranked, 1)},
            full=len(ranked) >= limit,
        ),
        coverage={chunk: float(covered) / weight for chunk, _, covered, _ in rows},
    )


# --- how many chunks hold a term ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Counts:
    size: int
    until: float
    held: dict[int, int] = field(default_factory=dict)

    def serves(self, size: int) -> bool:
        return abs(size - self.size) <= DRIFT * self.size and time.monotonic() < self.until


_remembered: OrderedDict[tuple[int, ...], _Counts] = OrderedDict()


def _held(collections: tuple[int, ...], asked: Iterable[int], *, size: int) -> dict[int, int]:
    """Return how many chunks of ``collections`` hold each term; ``size`` is how many terms they have in all."""
    counts = _remembered.get(collections)
    if counts is None or not counts.serves(size) or len(counts.held) > REMEMBERED_TERMS:
        counts = _Counts(size, time.monotonic() + REMEMBERED_SECONDS)
        _remembered[collections] = counts
        while len(_remembered) > REMEMBERED_SCOPES:
            _remembered.popitem(last=False)
    if unknown := [term for term in asked if term not in counts.held]:
        counts.held |= dict.fromkeys(unknown, 0) | _counted(collections, unknown)
    return {term: counts.held.get(term, 0) for term in asked}


def _counted(collections: Sequence[int], terms: Sequence[int]) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT term, count(*) FROM knowledge_posting "
            "WHERE collection_id = ANY(%s) AND term = ANY(%s::int[]) GROUP BY term",
            [list(collections), list(terms)],
        )
        return dict(cursor.fetchall())
