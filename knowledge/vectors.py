"""The vector leg: the chunks nearest to a question, exactly or through an index.

Every collection shares one table; each embedding model with many vectors has a partial HNSW index on it, made at run
time. pgvector filters after the index scan, so a small share of a large table is read exactly instead: which of the
two is decided here by counting, never by the planner, whose guess is wrong exactly there.
"""

from collections.abc import Iterable, Mapping, Sequence

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Cast
from pgvector.django import CosineDistance, HalfVectorField

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


def nearest(
    spec: ModelSpec,
    vector: Vector,
    *,
    collections: Sequence[int],
    candidates: int,
    limit: int,
    only: "QuerySet | None" = None,
) -> list[tuple[int, float]]:
    """Return the ``limit`` chunks nearest to ``vector``, nearest first, with their cosines.

    ``candidates`` is how many may be found at all, ``only`` a subquery of chunk ids. Never fewer than ``limit`` come
    back while more are there: what an index scan leaves short is done exactly. Call it in a transaction.
    """
    found = Embedding.objects.filter(embedding_model=spec.id, collection__in=collections, findable=True)
    if only is not None:
        found = found.filter(chunk__in=only)
    if spec.indexed and candidates > EXACT_UP_TO:
        rows = _by_index(spec, found, vector, limit)
        if len(rows) >= min(limit, candidates):
            return rows
    return _exactly(found, vector, limit)


def similarities(spec: ModelSpec, vector: Vector, chunks: Iterable[int]) -> dict[int, float]:
    """Return the cosines of given chunks to ``vector``; chunks that the model has not embedded are left out."""
    rows = Embedding.objects.filter(embedding_model=spec.id, chunk__in=list(chunks))
    return _cosines(rows.annotate(distance=CosineDistance("vector", vector)).values_list("chunk_id", "distance"))


def _exactly(found: "QuerySet[Embedding]", vector: Vector, limit: int) -> list[tuple[int, float]]:
    # Without the cast to halfvec no index of ours fits, so the planner cannot take one.
    rows = found.annotate(distance=CosineDistance("vector", vector)).order_by("distance", "chunk_id")
    return list(_cosines(rows.values_list("chunk_id", "distance")[:limit]).items())


def _by_index(spec: ModelSpec, found: "QuerySet[Embedding]", vector: Vector, limit: int) -> list[tuple[int, float]]:
    # Every other plan would have to sort, so the index is taken whatever the planner's statistics say.
    _configure(
        {
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.ef_search": max(EF_SEARCH, limit),
            "hnsw.max_scan_tuples": MOST_SCANNED,
            "enable_sort": "off",
        }
    )
    width = HalfVectorField(dimensions=spec.dimensions)
    rows = found.annotate(distance=CosineDistance(Cast(F("vector"), width), vector)).order_by("distance")
    cosines = _cosines(rows.values_list("chunk_id", "distance")[:limit])
    _configure({"enable_sort": "on"})
    return sorted(cosines.items(), key=lambda row: -row[1])  # a relaxed scan is slightly out of order


def _configure(values: Mapping[str, object]) -> None:
    """Set parameters of the database for the rest of the transaction."""
    with connection.cursor() as cursor:
        pairs = [text for name, value in values.items() for text in (name, str(value))]
        calls = ", ".join(["set_config(%s, %s, true)"] * len(values))
        cursor.execute(f"SELECT {calls}", pairs)


def _cosines(rows: "Iterable[tuple[int, float]]") -> dict[int, float]:
    return {chunk: 1.0 - float(distance) for chunk, distance in rows}


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
    """Remove ``model``'s index, as before it is deleted. Searches read its vectors one by one then."""
    EmbeddingModel.objects.filter(pk=model.pk).update(indexed=False)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {model.index_name}")


def no_jit() -> None:
    """Turn the just-in-time compiler off for this transaction: it takes longer than any of these queries."""
    assert transaction.get_connection().in_atomic_block
    _configure({"jit": "off"})
