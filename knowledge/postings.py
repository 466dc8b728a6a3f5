"""Postings: what is written of a chunk's terms while it can be found, and how a collection's totals follow.

Exactly the findable chunks have postings, and a collection's ``chunk_count`` and ``term_count`` count exactly those.
Whoever changes what is findable does it in one transaction: postings first, the collection's totals last, since their
row is the one that everybody who publishes waits for.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import connection
from django.db.models import F, Func, Value

from knowledge.models import Collection
from knowledge.terms import counted
from routing.copying import copying

TITLE_WEIGHT = 2
"""How often a term of the title or the headings counts, beside once in the text."""
MOST_FREQUENT = 32_767  # what the column holds


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkTerms:
    """A chunk's terms by number, how often each stands in it, and how many there are; arrays, as there are many."""

    numbers: "array[int]"
    frequencies: "array[int]"
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """By how much a collection's totals change."""

    chunks: int = 0
    terms: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(chunks=self.chunks + other.chunks, terms=self.terms + other.terms)

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(chunks=self.chunks - other.chunks, terms=self.terms - other.terms)


def chunk_terms(*, title: str, heading: str, text: str, language: str) -> ChunkTerms:
    """Return the terms by which a chunk is found. About a millisecond."""
    counts: Counter[int] = counted(text, language)
    for term, count in counted(f"{title}\n{heading}", language).items():
        counts[term] += count * TITLE_WEIGHT
    return ChunkTerms(
        numbers=array("i", counts),
        frequencies=array("h", (min(count, MOST_FREQUENT) for count in counts.values())),
        length=counts.total(),
    )


def postings_write(collection_id: int, terms: Mapping[int, ChunkTerms]) -> Tally:
    """Write the postings of chunks that become findable; ``terms`` are theirs by chunk id."""
    with copying("COPY knowledge_posting (collection_id, term, chunk_id, frequency, length) FROM STDIN") as copy:
        for chunk_id, one in terms.items():
            # Put together here, in half of the time that the driver takes row by row: numbers need no escapes.
            rows = zip(one.numbers, one.frequencies, strict=True)
            lines = [f"{collection_id}\t{term}\t{chunk_id}\t{often}\t{one.length}\n" for term, often in rows]
            copy.write("".join(lines))
    return Tally(chunks=len(terms), terms=sum(one.length for one in terms.values()))


def postings_delete(chunk_ids: Iterable[int]) -> Tally:
    """Delete the postings of findable chunks that cease to be it."""
    ids = list(chunk_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH gone AS (DELETE FROM knowledge_posting WHERE chunk_id = ANY(%s) RETURNING chunk_id, length)
            SELECT coalesce(sum(length), 0) FROM (SELECT DISTINCT chunk_id, length FROM gone) AS chunk
            """,
            [ids],
        )
        (terms,) = cursor.fetchone()
    return Tally(chunks=len(ids), terms=int(terms))


def collection_speaks(collection_id: int, language: str) -> None:
    """Note that a collection holds chunks whose terms are stems of ``language``; right before its totals change."""
    Collection.objects.filter(pk=collection_id).exclude(languages__contains=[language]).update(
        languages=Func(F("languages"), Value(language), function="array_append")
    )


def collection_tally(collection_id: int, change: Tally, *, embedding_model_id: int | None = None) -> bool:
    """Change a collection's totals; last in a transaction, since others wait for the row.

    Return False, with nothing changed, if the collection is gone or no longer embedded by ``embedding_model_id``.
    """
    rows = Collection.objects.filter(pk=collection_id)
    if embedding_model_id is not None:
        rows = rows.filter(embedding_model=embedding_model_id)
    return bool(rows.update(chunk_count=F("chunk_count") + change.chunks, term_count=F("term_count") + change.terms))
