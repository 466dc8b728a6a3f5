"""Vectors by models that a collection is not searched by, but may be in a moment: the one before, and the next one.

They are made along with those that are searched, so that a switch or the way back has nothing to wait for. A model
that does not answer keeps no document from being found: what lacks its vectors then is filled by a job.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction

from knowledge.embedding import ModelSpec, Vector
from knowledge.equipment import Equipment
from knowledge.feeding import vectors_make
from knowledge.jobs import Run, step
from knowledge.longtexts import Whole
from knowledge.models import Collection, EmbeddingModel, IngestionJob
from knowledge.staging import Placed, Staged, vectors_copy, vectors_store, without_vector
from knowledge.tasks import job_defer
from knowledge.threads import in_thread
from routing.exceptions import EndpointError

logger = logging.getLogger("knowledge")

AWAY_SECONDS = 60.0
"""For so long a model that did not answer is not asked again beside documents: they would all wait for it."""
_away: dict[int, float] = {}


async def vectors_beside(run: Run, collection_id: int, staged: Staged, equipment: Equipment) -> None:
    """Embed a document's chunks with the models that are kept beside its collection's own. Raises Gone."""
    for spec in await in_thread(_specs)(collection_id):
        if time.monotonic() < _away.get(spec.id, 0.0):
            continue
        try:
            await _embedded(run, spec, staged, equipment)
        except EndpointError as error:
            logger.warning("vectors are filled later model=%s error=%s", spec.name, error)
            _away[spec.id] = time.monotonic() + AWAY_SECONDS


def fill_where_behind(collection: Collection, placed: Iterable[Placed]) -> None:
    """Have a job fill what published chunks lack of the models kept beside; the collection's row must be locked."""
    for model_id in sorted(collection.models_beside):
        if without_vector([one.chunk_id for one in placed], model_id):
            filling_add(collection.pk, model_id)


def filling_add(collection_id: int, model_id: int) -> IngestionJob:
    """Have a collection's vectors by a model filled up, by the job that is at it already if there is one."""
    kinds = (IngestionJob.Kind.FILLING, IngestionJob.Kind.EMBEDDING)
    unfinished = IngestionJob.objects.unfinished().filter(collection=collection_id, embedding_model=model_id)
    if found := unfinished.filter(kind__in=kinds).first():
        return found
    with transaction.atomic():
        job = IngestionJob.objects.create(
            kind=IngestionJob.Kind.FILLING, collection_id=collection_id, embedding_model_id=model_id
        )
        job_defer(job)
    return job


def _specs(collection_id: int) -> list[ModelSpec]:
    collection = Collection.objects.filter(pk=collection_id).first()
    kept = collection.models_beside if collection else ()
    return [ModelSpec.of(row) for row in EmbeddingModel.objects.filter(pk__in=kept)]


async def _embedded(run: Run, spec: ModelSpec, staged: Staged, equipment: Equipment) -> None:
    missing = await in_thread(_missing)(run, [one.chunk_id for one in staged.placed], spec.id)

    async def store(vectors: Mapping[int, Vector]) -> None:
        await in_thread(vectors_store)(run, vectors, spec.id)

    texts = (
        (one.chunk_id, one.piece.embedded(with_header=staged.headed))
        for one in staged.placed
        if one.chunk_id in missing
    )
    await vectors_make(texts, Whole(equipment.embedder(spec), spec), equipment.gate, store)


def _missing(run: Run, chunk_ids: Sequence[int], model_id: int) -> frozenset[int]:
    missing = without_vector(chunk_ids, model_id)
    if not missing:
        return missing
    with step(run):
        vectors_copy(missing, model_id)
    return without_vector([*missing], model_id)
