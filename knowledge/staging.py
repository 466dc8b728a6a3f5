"""A revision in the making: its chunks beside those that are found, and their vectors.

Chunks that the live revision has already stay what they are; new ones are written as staged and are found by nobody.
Cutting is deterministic, so a run that follows one that was killed finds which of them are there and goes on.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from knowledge.chunking import Piece
from knowledge.embedding import Vector
from knowledge.flagging import flag, flags_changed, flags_write
from knowledge.jobs import Run, step
from knowledge.models import Chunk, ChunkState, DocumentRevision

ROWS = 500
"""Chunks written in one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """A document as it was cut: its pieces with their hashes, and the language they are written in.

    ``headed``: title and headings are part of what is embedded, and so of the hashes.
    """

    pieces: Sequence[Piece]
    hashes: Sequence[str]
    language: str
    headed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A piece with the chunk that holds it; ``kept`` is one that the live revision has already.

    ``reworded``: it is kept, but the title or language that its terms come from may have changed.
    """

    piece: Piece
    chunk_id: int
    kept: bool = False
    reworded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A document's pieces in order, each with its chunk, and those chunks whose vectors are to be made.

    ``headed``: title and headings are part of what is embedded.
    """

    placed: tuple[Placed, ...]
    missing: frozenset[int]
    headed: bool


def chunks_stage(run: Run, revision: DocumentRevision, cutting: Cutting, model_id: int) -> Staged:
    """Write the chunks that are not there, with the vectors of ``model_id`` that equal texts have. Raises Gone."""
    kept = _matched(revision.document_id, cutting)
    _look_again(run, cutting, kept)
    # A first run finds nothing: whatever else was staged, was deleted when the revision came.
    staged = _staged(run, revision, cutting, kept) if run.attempt > 1 else {}
    missing = [place for place in range(len(cutting.pieces)) if place not in kept and place not in staged]
    for start in range(0, len(missing), ROWS):
        staged |= _written(run, revision, cutting, missing[start : start + ROWS], model_id)
    placed = tuple(
        kept[place] if place in kept else Placed(piece=piece, chunk_id=staged[place])
        for place, piece in enumerate(cutting.pieces)
    )
    missing_vectors = without_vector([one.chunk_id for one in placed], model_id)
    return Staged(placed=placed, missing=missing_vectors, headed=cutting.headed)


def without_vector(chunk_ids: Sequence[int], model_id: int) -> frozenset[int]:
    """Return those chunks that ``model_id`` has not embedded yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id FROM unnest(%s::bigint[]) AS asked (id)
            WHERE NOT EXISTS (SELECT 1 FROM knowledge_embedding WHERE chunk_id = id AND embedding_model_id = %s)
            """,
            [list(chunk_ids), model_id],
        )
        return frozenset(row[0] for row in cursor.fetchall())


def vectors_copy(chunk_ids: Iterable[int], model_id: int) -> None:
    """Give chunks the vectors that ``model_id`` made of the very same text elsewhere, inside a step."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO knowledge_embedding (chunk_id, embedding_model_id, collection_id, findable, vector)
            SELECT chunk.id, %(model)s, chunk.collection_id,
                   chunk.state = 'live' AND chunk.enabled AND document.enabled, same.vector
            FROM knowledge_chunk AS chunk
            JOIN knowledge_document AS document ON document.id = chunk.document_id
            CROSS JOIN LATERAL (
              SELECT embedding.vector
              FROM knowledge_chunk AS other
              JOIN knowledge_embedding AS embedding
                ON embedding.chunk_id = other.id AND embedding.embedding_model_id = %(model)s
              WHERE other.hash = chunk.hash AND other.id <> chunk.id
              LIMIT 1
            ) AS same
            WHERE chunk.id = ANY(%(chunks)s) AND chunk.state <> 'retired'
            ON CONFLICT DO NOTHING
            """,
            {"model": model_id, "chunks": list(chunk_ids)},
        )


def vectors_store(run: Run, vectors: Mapping[int, Vector], model_id: int) -> None:
    """Write vectors by chunk id. Raises Gone."""
    # What gets further has not failed too often yet.
    with step(run, failures=0), connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO knowledge_embedding (chunk_id, embedding_model_id, collection_id, findable, vector)
            SELECT chunk.id, %s, chunk.collection_id,
                   chunk.state = 'live' AND chunk.enabled AND document.enabled, made.vector::vector
            FROM unnest(%s::bigint[], %s::text[]) AS made (chunk_id, vector)
            JOIN knowledge_chunk AS chunk ON chunk.id = made.chunk_id AND chunk.state <> 'retired'
            JOIN knowledge_document AS document ON document.id = chunk.document_id
            ON CONFLICT DO NOTHING
            """,
            [model_id, [*vectors], [str([*vector]) for vector in vectors.values()]],
        )


def _matched(document_id: int, cutting: Cutting) -> dict[int, Placed]:
    """Return by place which pieces the live revision has, each of its chunks once, in order.

    A chunk says in every revision that has it what it says in the first: one that only stands under another heading or
    on another page is another chunk, with the same vector.
    """
    live: dict[tuple[Any, ...], deque[Chunk]] = defaultdict(deque)
    rows = Chunk.objects.live().filter(document=document_id).order_by("ordinal")
    for chunk in rows.only("hash", "heading", "page", "language", "edit", "enabled"):
        live[chunk.hash, chunk.heading, chunk.page, chunk.edit_id, chunk.enabled].append(chunk)
    kept = {}
    for place, (piece, hash_) in enumerate(zip(cutting.pieces, cutting.hashes, strict=True)):
        if same_ones := live[hash_, piece.heading, piece.page, piece.edit, piece.enabled]:
            chunk = same_ones.popleft()
            same = cutting.headed and chunk.language == cutting.language
            kept[place] = Placed(piece=piece, chunk_id=chunk.pk, kept=True, reworded=not same)
    return kept


def _look_again(run: Run, cutting: Cutting, kept: Mapping[int, Placed]) -> None:
    """Flag the chunks that stay by what is looked for now; their hashes need not cover title and headings."""
    changed = flags_changed(
        {
            one.chunk_id: (cutting.hashes[place], (one.piece.title, one.piece.heading, one.piece.text))
            for place, one in kept.items()
        }
    )
    if changed:
        with step(run):
            flags_write(changed)


def _staged(run: Run, revision: DocumentRevision, cutting: Cutting, kept: dict[int, Placed]) -> dict[int, int]:
    """Return by place which chunks an earlier run left; what does not belong any more is deleted."""
    rows = Chunk.objects.filter(document=revision.document_id, state=ChunkState.STAGED)
    with step(run):
        found = {
            ordinal: chunk_id
            for chunk_id, ordinal, number, hash_, language in rows.values_list(
                "pk", "ordinal", "revision", "hash", "language"
            )
            if number == revision.number
            and ordinal < len(cutting.hashes)
            and ordinal not in kept
            and (hash_, language) == (cutting.hashes[ordinal], cutting.language)
        }
        rows.exclude(pk__in=found.values()).delete()
    return found


def _written(
    run: Run, revision: DocumentRevision, cutting: Cutting, places: Sequence[int], model_id: int
) -> dict[int, int]:
    rows = [
        Chunk(
            collection_id=revision.document.collection_id,
            document_id=revision.document_id,
            revision=revision.number,
            ordinal=place,
            state=ChunkState.STAGED,
            text=cutting.pieces[place].text,
            heading=cutting.pieces[place].heading,
            page=cutting.pieces[place].page,
            tokens=cutting.pieces[place].tokens,
            language=cutting.language,
            hash=cutting.hashes[place],
            edit_id=cutting.pieces[place].edit,
            enabled=cutting.pieces[place].enabled,
        )
        for place in places
    ]
    flag(rows, next((piece.title for piece in cutting.pieces if piece.title), ""))
    with step(run):
        written = {row.ordinal: row.pk for row in Chunk.objects.bulk_create(rows)}
        vectors_copy(written.values(), model_id)
    return written
