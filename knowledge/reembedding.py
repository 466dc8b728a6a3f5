"""Jobs on a collection's vectors: filled by another model beside those that are searched, switched to, deleted.

Searches go on by the old model until every chunk has a vector of the new one.
"""

from collections.abc import Mapping

from django.db import connection, transaction

from knowledge.chunking import Piece
from knowledge.embedding import ModelSpec, Vector
from knowledge.equipment import Equipment
from knowledge.feeding import vectors_make
from knowledge.jobs import Gone, Run, job_finish, step
from knowledge.longtexts import Whole
from knowledge.models import Chunk, Collection, Document, EmbeddingModel, IngestionJob, Stage
from knowledge.progress import Progress
from knowledge.staging import vectors_copy, vectors_store
from knowledge.switching import chunks_without, collection_lock, switch
from knowledge.threads import in_thread
from knowledge.vectors import index_drop

PORTION = 1_000
"""Chunks whose texts are in memory at a time."""
DELETED = 5_000
"""Chunks whose vectors are deleted in one transaction."""


async def fill(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> ModelSpec:
    """Embed all live chunks of the job's collection by its model, beside the vectors they have. Raises Gone."""
    return await _filled(job, run, equipment, tell, switches=False)


async def reembed(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> ModelSpec:
    """Embed all live chunks of the job's collection by its model, then switch the collection to it. Raises Gone."""
    return await _filled(job, run, equipment, tell, switches=True)


async def drop(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> None:
    """Delete the vectors of the job's collection by its model, in portions; one that is kept again stays."""
    model_id = _model_of(job)
    total = await in_thread(_chunks)(job.collection_id)
    done, last = 0, 0
    while portion := await in_thread(_deleted)(run, job.collection_id, model_id, last):
        done, last = done + len(portion), portion[-1]
        tell(Stage.PUBLISHING, min(done, total), total)
    await in_thread(_drop_finish)(run, model_id, done)


async def _filled(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress, *, switches: bool) -> ModelSpec:
    spec = await in_thread(_spec_of)(_model_of(job))
    embedder = Whole(equipment.embedder(spec), spec)
    done = total = 0

    async def store(vectors: Mapping[int, Vector]) -> None:
        nonlocal done
        await in_thread(_store)(run, job.collection_id, vectors, spec.id)
        done += len(vectors)
        tell(Stage.EMBEDDING, min(done, total), total)

    while True:
        texts, done, total = await in_thread(_portion)(run, job.collection_id, spec.id)
        if not texts and await in_thread(_finish)(run, job.collection_id, spec.id, switches=switches):
            return spec
        tell(Stage.EMBEDDING, done, total)
        await vectors_make(texts.items(), embedder, equipment.gate, store)


def _model_of(job: IngestionJob) -> int:
    assert job.embedding_model_id is not None, "jobs of these kinds have one"
    return job.embedding_model_id


def _spec_of(model_id: int) -> ModelSpec:
    return ModelSpec.of(EmbeddingModel.objects.get(pk=model_id))


def _portion(run: Run, collection_id: int, model_id: int) -> tuple[dict[int, str], int, int]:
    """Return some chunks' texts that have no vector, and how many chunks have one of how many."""
    missing = chunks_without(collection_id, model_id)
    rows = list(missing.order_by("document", "ordinal").select_related("document")[:PORTION])
    with transaction.atomic():
        _documents_lock({row.document_id for row in rows})
        with step(run):
            vectors_copy([row.pk for row in rows], model_id)
    headed = Collection.objects.values_list("embed_headings", flat=True).get(pk=collection_id)
    left = set(missing.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    texts = {row.pk: _text(row, headed=headed) for row in rows if row.pk in left}
    total = _chunks(collection_id)
    return texts, total - missing.count(), total


def _chunks(collection_id: int) -> int:
    return Chunk.objects.live().filter(collection=collection_id).count()


def _text(chunk: Chunk, *, headed: bool) -> str:
    piece = Piece(ordinal=chunk.ordinal, text=chunk.text, title=chunk.document.title, heading=chunk.heading)
    return piece.embedded(with_header=headed)


def _store(run: Run, collection_id: int, vectors: Mapping[int, Vector], model_id: int) -> None:
    with transaction.atomic():
        # Whether a chunk is findable goes into the vector's row: nobody may change it meanwhile.
        _documents_lock(set(Chunk.objects.filter(pk__in=[*vectors]).values_list("document", flat=True)))
        _check_wanted(Collection.objects.get(pk=collection_id), model_id)
        vectors_store(run, vectors, model_id)


def _documents_lock(ids: set[int]) -> None:
    list(Document.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))


def _check_wanted(collection: Collection, model_id: int) -> None:
    if model_id not in collection.models_beside | {collection.embedding_model_id}:
        raise Gone("the model is kept no longer")


def _finish(run: Run, collection_id: int, model_id: int, *, switches: bool) -> bool:
    """End the job, and have the collection searched by its model if it ``switches``.

    False if chunks without a vector came meanwhile.
    """
    with step(run, stage=Stage.PUBLISHING):
        # Who publishes chunks changes this row last, and looks whether the model still is the one they have.
        collection = collection_lock(collection_id)
        _check_wanted(collection, model_id)
        if chunks_without(collection_id, model_id).exists():
            return False
        if switches and collection.embedding_model_id != model_id:
            switch(collection, EmbeddingModel.objects.get(pk=model_id))
        job_finish(run, "updated", total=_chunks(collection_id))
    return True


def _deleted(run: Run, collection_id: int, model_id: int, last: int) -> list[int]:
    """Delete the vectors of the chunks that follow ``last`` by their ids; return which chunks those are."""
    chunks = Chunk.objects.filter(collection=collection_id, pk__gt=last).order_by("pk")
    ids = list(chunks.values_list("pk", flat=True)[:DELETED])
    with step(run):
        collection = Collection.objects.select_for_update(no_key=True).get(pk=collection_id)
        if not ids or model_id in collection.models_beside | {collection.embedding_model_id}:
            return []
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM knowledge_embedding WHERE chunk_id = ANY(%s) AND embedding_model_id = %s", [ids, model_id]
            )
    return ids


def _drop_finish(run: Run, model_id: int, total: int) -> None:
    with step(run):
        job_finish(run, "updated", total=total)
    model = EmbeddingModel.objects.get(pk=model_id)
    if model.indexed and not Collection.objects.keeping(model).exists():
        index_drop(model)
