import random

import pytest
from django.db import connection, transaction

from knowledge import vectors
from knowledge.embedding import ModelSpec
from knowledge.models import Chunk, Document, Embedding
from knowledge.vectors import index_create, index_drop, index_if_large, nearest, similarities
from tests.knowledge.library import shelf, small_model

pytestmark = pytest.mark.django_db(transaction=True)

WIDTH = 8


@pytest.fixture
def filled(transactional_db):
    """Two collections of one model: 600 chunks, and 6 that lie among them."""
    rng = random.Random(3)
    model = small_model()
    large, small = shelf("large"), shelf("small")
    for collection, count in ((large, 600), (small, 6)):
        document = Document.objects.create(collection=collection, source="all", revision=1)
        chunks = Chunk.objects.bulk_create(
            Chunk(collection=collection, document=document, revision=1, ordinal=n, state="live", text=f"{n}", hash="")
            for n in range(count)
        )
        Embedding.objects.bulk_create(
            Embedding(
                chunk=chunk,
                embedding_model=model,
                collection=collection,
                findable=True,
                vector=[rng.gauss(0, 1) for _ in range(WIDTH)],
            )
            for chunk in chunks
        )
    yield model, large, small
    model.refresh_from_db()
    index_drop(model)


def asked(seed=0):
    rng = random.Random(seed)
    return [rng.gauss(0, 1) for _ in range(WIDTH)]


def found(model, collection, *, limit=10, vector=None, **options):
    model.refresh_from_db()
    count = collection.chunks.count()
    with transaction.atomic():
        return nearest(
            ModelSpec.of(model),
            vector or asked(),
            collections=[collection.pk],
            candidates=count,
            limit=limit,
            **options,
        )


def test_the_nearest_come_first_with_their_cosines(filled):
    model, large, _ = filled
    rows = found(model, large)
    assert len(rows) == 10
    cosines = [cosine for _, cosine in rows]
    assert cosines == sorted(cosines, reverse=True)
    assert dict(rows) == pytest.approx(similarities(ModelSpec.of(model), asked(), [chunk for chunk, _ in rows]))


def test_the_index_finds_what_comparing_everything_finds(filled, monkeypatch):
    model, large, _ = filled
    exact = [[chunk for chunk, _ in found(model, large, vector=asked(seed))] for seed in range(20)]
    index_create(model)
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 50)
    by_index = [[chunk for chunk, _ in found(model, large, vector=asked(seed))] for seed in range(20)]
    shared = sum(len({*one} & {*other}) for one, other in zip(exact, by_index, strict=True))
    assert shared >= 0.95 * 200


def test_the_index_is_used_for_many_and_not_for_few(filled, monkeypatch):
    model, large, small = filled
    index_create(model)
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 50)
    plans = []

    def explain(execute, sql, params, many, context):
        if "<=>" in sql:
            # On the same connection and in its transaction, past this wrapper.
            with connection.connection.cursor() as cursor:
                plans.append(str(cursor.execute(f"EXPLAIN {sql}", params).fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        found(model, large)
        found(model, small)
    assert model.index_name in plans[0]
    assert model.index_name not in plans[1]


def test_never_fewer_than_are_wished_for_while_more_are_there(filled, monkeypatch):
    """All of a small share of the table, although an index scan that stops early would miss most of it."""
    model, large, small = filled
    index_create(model)
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 2)
    monkeypatch.setattr(vectors, "EF_SEARCH", 1)
    monkeypatch.setattr(vectors, "MOST_SCANNED", 20)
    assert len(found(model, small, limit=6)) == 6
    assert len(found(model, large, limit=300)) == 300


def test_what_may_not_be_found_is_not(filled):
    model, large, _ = filled
    first = found(model, large)[0][0]
    Embedding.objects.filter(chunk=first).update(findable=False)
    assert first not in dict(found(model, large, limit=600))
    assert len(found(model, large, limit=600)) == 599
    only = f"SELECT id FROM knowledge_chunk WHERE collection_id = {large.pk} AND ordinal < 5"
    assert len(found(model, large, only=only)) == 5


def test_an_index_comes_with_the_vectors_that_need_it(filled, monkeypatch):
    model, large, _ = filled
    assert not index_if_large(model)
    monkeypatch.setattr(vectors, "INDEX_FROM", 500)
    assert index_if_large(model)
    assert not index_if_large(model)
    model.refresh_from_db()
    assert model.indexed
    assert len(found(model, large)) == 10
