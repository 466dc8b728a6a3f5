"""A collection's chunks embedded by another model, beside the vectors they have, and then the switch to it.

Searches go on by the old model until every chunk has a vector of the new one. The old vectors stay, so that going back
is another switch, with nothing to embed but what came meanwhile.
"""

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models import QuerySet

from knowledge.chunking import Piece
from knowledge.embedding import Embedder, ModelSpec, Vector
from knowledge.equipment import Equipment
from knowledge.feeding import vectors_make
from knowledge.jobs import Run, job_finish, step
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    EmbeddingModel,
    IngestionJob,
    RevisionState,
    Stage,
)
from knowledge.progress import Progress
from knowledge.staging import vectors_copy, vectors_store
from knowledge.threads import in_thread

PORTION = 1_000
"""Chunks whose texts are in memory at a time."""


async def reembed(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> ModelSpec:
    """Embed all live chunks of the job's collection by its model, then switch the collection to it. Raises Gone."""
    spec = await in_thread(_spec_of)(job)
    embedder = equipment.embedder(spec)

    async def store(vectors: Mapping[int, Vector]) -> None:
        await in_thread(_store)(run, vectors, spec.id)

    while True:
        texts, done, total = await in_thread(_portion)(run, job.collection_id, spec.id)
        if done == total and await in_thread(_switch)(run, job.collection_id, spec.id):
            return spec
        tell(Stage.EMBEDDING, done, total)
        await vectors_make(texts.items(), _Whole(embedder, spec), equipment.gate, store)


class _Whole:
    """An embedder that takes texts too long for its model in parts, whose mean stands for them.

    They were cut for another model, by whose tokens they fit.
    """

    def __init__(self, embedder: Embedder, spec: ModelSpec) -> None:
        self._embedder = embedder
        self._most = spec.max_tokens

    def count(self, text: str) -> int:
        return self._embedder.count(text)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        parts = [self._parts(text) for text in texts]
        vectors = iter(await self._embedder.passages([part for one in parts for part in one]))
        return [_mean([next(vectors) for _ in one]) for one in parts]

    async def question(self, text: str) -> Vector:
        return await self._embedder.question(text)

    def _parts(self, text: str) -> list[str]:
        middle = text.find(" ", len(text) // 2)
        if middle <= 0 or self.count(text) <= self._most:
            return [text]
        return [*self._parts(text[:middle]), *self._parts(text[middle + 1 :])]


def _mean(vectors: list[Vector]) -> Vector:
    if len(vectors) == 1:
        return vectors[0]
    return [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]


def _spec_of(job: IngestionJob) -> ModelSpec:
    assert job.embedding_model is not None, "jobs of this kind have one"
    return ModelSpec.of(job.embedding_model)


def _missing(collection_id: int, model_id: int) -> QuerySet[Chunk]:
    live = Chunk.objects.live().filter(collection=collection_id)
    return live.exclude(embeddings__embedding_model=model_id)


def _portion(run: Run, collection_id: int, model_id: int) -> tuple[dict[int, str], int, int]:
    """Return some chunks' texts that have no vector, and how many chunks have one of how many."""
    missing = _missing(collection_id, model_id)
    rows = list(missing.order_by("document", "ordinal").select_related("document")[:PORTION])
    with transaction.atomic():
        _documents_lock({row.document_id for row in rows})
        with step(run):
            vectors_copy([row.pk for row in rows], model_id)
    headed = Collection.objects.values_list("embed_headings", flat=True).get(pk=collection_id)
    left = set(missing.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    texts = {row.pk: _text(row, headed=headed) for row in rows if row.pk in left}
    total = Chunk.objects.live().filter(collection=collection_id).count()
    return texts, total - missing.count(), total


def _text(chunk: Chunk, *, headed: bool) -> str:
    piece = Piece(ordinal=chunk.ordinal, text=chunk.text, title=chunk.document.title, heading=chunk.heading)
    return piece.embedded(with_header=headed)


def _store(run: Run, vectors: Mapping[int, Vector], model_id: int) -> None:
    with transaction.atomic():
        # Whether a chunk is findable goes into the vector's row: nobody may change it meanwhile.
        _documents_lock(set(Chunk.objects.filter(pk__in=[*vectors]).values_list("document", flat=True)))
        vectors_store(run, vectors, model_id)


def _documents_lock(ids: set[int]) -> None:
    list(Document.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))


def _switch(run: Run, collection_id: int, model_id: int) -> bool:
    """Have the collection searched by the new model; False if chunks without a vector of it came meanwhile."""
    with step(run, stage=Stage.PUBLISHING):
        # Who publishes chunks changes this row last, and looks whether the model still is the one they have.
        collection = Collection.objects.select_for_update(no_key=True).get(pk=collection_id)
        if _missing(collection_id, model_id).exists():
            return False
        before, longest = collection.recipe, collection.longest_chunk
        collection.embedding_model = EmbeddingModel.objects.get(pk=model_id)
        collection.save(update_fields=["embedding_model"])
        if collection.longest_chunk == longest:  # the chunks are those that a new reading would make
            revisions = DocumentRevision.objects.filter(document__collection=collection, state=RevisionState.LIVE)
            revisions.filter(recipe=before).update(recipe=collection.recipe)
        job_finish(run, "updated", total=Chunk.objects.live().filter(collection=collection_id).count())
    return True
