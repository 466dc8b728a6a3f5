"""The vector leg: the chunks nearest to a question, exactly or through an index.

Every collection shares one table; each embedding model with many vectors has a partial HNSW index on it, made at run
time. pgvector filters after the index scan, so a small share of a large table is read exactly instead: which of the
two is decided here by counting, never by the planner, whose guess is wrong exactly there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, transaction

from knowledge.embedding import ModelSpec, Vector
from knowledge.models import Embedding, EmbeddingModel

EXACT_UP_TO = 10_000
"""Vectors that are compared one by one; measured (docs/knowledge.md): up to here that is as quick as the index."""
INDEX_FROM = 5_000
"""Vectors of a model from which on it gets an index."""
EF_SEARCH = 120
MOST_SCANNED = 40_000
"""Entries of the index that an iterative scan may look at before what was found is completed exactly."""
MAINTENANCE_MEMORY = "512MB"


# Without the cast to halfvec no index of ours fits, so that comparing everything is what the planner has to do.
_COMPARED = "vector <=> %(vector)s::vector"
_INDEXED = "vector::halfvec({width}) <=> %(vector)s::halfvec({width})"
_NEAREST = """
SELECT chunk_id, {distance} AS distance FROM knowledge_embedding
WHERE embedding_model_id = %(model)s AND collection_id = ANY(%(collections)s) AND findable {only}
ORDER BY distance LIMIT %(limit)s
"""
_SIMILAR = f"""
SELECT chunk_id, {_COMPARED} FROM knowledge_embedding
WHERE embedding_model_id = %(model)s AND chunk_id = ANY(%(chunks)s::bigint[])
"""  # noqa: S608 - put together of constants
_NEARER = """
WITH asked AS MATERIALIZED (
  SELECT place, vector::vector, floor FROM unnest(%(places)s::int[], %(vectors)s::text[], %(floors)s::float8[])
  AS asked (place, vector, floor)
), held AS MATERIALIZED (
  SELECT chunk_id, vector FROM knowledge_embedding
  WHERE embedding_model_id = %(model)s AND chunk_id = ANY(%(chunks)s::bigint[])
)
SELECT place, chunk_id, held.vector <=> asked.vector FROM asked CROSS JOIN held
WHERE 1 - (held.vector <=> asked.vector) > asked.floor
"""


def nearest(
    spec: ModelSpec,
    vector: Vector,
    *,
    collections: Sequence[int],
    candidates: int,
    limit: int,
    only: str = "",
) -> list[tuple[int, float]]:
    """Return the ``limit`` chunks nearest to ``vector``, nearest first, with their cosines.

    ``candidates`` is how many may be found at all; ``only`` is a subquery of the chunk ids that may be, as SQL without
    parameters. Never fewer than ``limit`` come back while more are there: what an index scan leaves short is done
    exactly. Beyond EXACT_UP_TO candidates it must be called in a transaction.
    """
    parameters = {
        "vector": _written(vector),
        "model": spec.id,
        "collections": list(collections),
        "limit": limit,
    }
    where = f"AND chunk_id IN ({only})".replace("%", "%%") if only else ""
    if spec.indexed and candidates > EXACT_UP_TO:
        rows = _by_index(
            _NEAREST.format(distance=_INDEXED.format(width=spec.dimensions), only=where), parameters, limit
        )
        if len(rows) >= min(limit, candidates):
            return rows
    return _in_order(_rows(_NEAREST.format(distance=_COMPARED, only=where), parameters))


def similarities(spec: ModelSpec, vector: Vector, chunks: Iterable[int]) -> dict[int, float]:
    """Return the cosines of given chunks to ``vector``; chunks that the model has not embedded are left out."""
    parameters = {"vector": _written(vector), "model": spec.id, "chunks": list(chunks)}
    return dict(_rows(_SIMILAR, parameters))


def nearer(
    spec: ModelSpec, vectors: Sequence[str], floors: Sequence[float], chunks: Iterable[int]
) -> list[tuple[int, int, float]]:
    """Return which of ``chunks`` are nearer to which of ``vectors`` than its floor: its place, the chunk, the cosine.

    ``vectors`` are in short, as ``shortened`` writes them. ``chunks`` need not be findable.
    """
    parameters: dict[str, Any] = {
        "places": list(range(len(vectors))),
        "vectors": list(vectors),
        "floors": list(floors),
        "model": spec.id,
        "chunks": list(chunks),
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEARER, parameters)
        return [(place, chunk, 1.0 - distance) for place, chunk, distance in cursor.fetchall()]


def _by_index(sql: str, parameters: Mapping[str, Any], limit: int) -> list[tuple[int, float]]:
    # Every other plan would have to sort, so the index is taken whatever the planner's statistics say.
    _configure(
        {
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.ef_search": max(EF_SEARCH, limit),
            "hnsw.max_scan_tuples": MOST_SCANNED,
            "enable_sort": "off",
        }
    )
    rows = _rows(sql, parameters)
    _configure({"enable_sort": "on"})
    return _in_order(rows)  # a relaxed scan is slightly out of it


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Return chunks with their cosines."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [(chunk, 1.0 - distance) for chunk, distance in cursor.fetchall()]


def _in_order(rows: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _written(vector: Vector) -> str:
    """Return a vector as PostgreSQL reads it."""
    return f"[{','.join(map(str, vector))}]"


def shortened(vector: Vector) -> str:
    """Return a vector as PostgreSQL reads it, exact enough to tell cosines apart by a ten-thousandth."""
    return f"[{','.join(f'{value:.5g}' for value in vector)}]"


def _configure(values: Mapping[str, object]) -> None:
    """Set parameters of the database for the rest of the transaction."""
    with connection.cursor() as cursor:
        pairs = [text for name, value in values.items() for text in (name, str(value))]
        calls = ", ".join(["set_config(%s, %s, true)"] * len(values))
        cursor.execute(f"SELECT {calls}", pairs)


# --- indexes ----------------------------------------------------------------------------------------------------


def index_if_large(model: EmbeddingModel) -> bool:
    """Give ``model`` its index once it has enough vectors; return whether one was made. Searches go on meanwhile."""
    if model.indexed or Embedding.objects.filter(embedding_model=model).count() < INDEX_FROM:
        return False
    index_create(model)
    return True


def index_create(model: EmbeddingModel) -> None:
    """Build ``model``'s HNSW index without locking the table. Not inside a transaction."""
    name, width = model.index_name, int(model.dimensions)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('maintenance_work_mem', %s, false)", [MAINTENANCE_MEMORY])
        try:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # a build that was broken off stays invalid
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON knowledge_embedding "
                f"USING hnsw ((vector::halfvec({width})) halfvec_cosine_ops) WHERE embedding_model_id = {int(model.pk)}"
            )
        finally:
            cursor.execute("RESET maintenance_work_mem")
    EmbeddingModel.objects.filter(pk=model.pk).update(indexed=True)
    model.indexed = True


def index_drop(model: EmbeddingModel) -> None:
    """Remove ``model``'s index, as before it is deleted. Searches read its vectors one by one then.

    Outside of a transaction nobody waits for it.
    """
    EmbeddingModel.objects.filter(pk=model.pk).update(indexed=False)
    concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {concurrently} IF EXISTS {model.index_name}")


def no_jit() -> None:
    """Turn the just-in-time compiler off for this transaction: it takes longer than any of these queries."""
    assert transaction.get_connection().in_atomic_block
    _configure({"jit": "off"})
