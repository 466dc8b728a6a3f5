"""Which embedding model a collection is searched by: filled beside, compared, switched to, taken back, dropped.

A collection is searched by one model and keeps up to two beside it: the one before, so that going back takes a moment,
and the next one. Their vectors follow what is published (knowledge/beside.py). A switch is one transaction that changes
a column; searches that are on their way still find the vectors they began with. What is neither searched nor kept any
more is deleted by a job.
"""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet

from knowledge.beside import filling_add
from knowledge.documents import job_cancel
from knowledge.exceptions import CollectionNotFound
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    Embedding,
    EmbeddingModel,
    IngestionJob,
    RevisionState,
)
from knowledge.tasks import job_defer
from routing.exceptions import BadRequest

FILLS = (IngestionJob.Kind.FILLING, IngestionJob.Kind.EMBEDDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How many of a collection's chunks have a vector by a model, and the job that is at it, if one is."""

    model: EmbeddingModel
    done: int
    total: int
    job: IngestionJob | None

    @property
    def is_complete(self) -> bool:
        return self.done == self.total

    @property
    def missing(self) -> int:
        return self.total - self.done


def collection_fill(*, collection: Collection, model: EmbeddingModel) -> IngestionJob:
    """Have vectors by ``model`` made beside those that are searched, and kept in step from then on.

    They take the place of another model's that were being made to be compared. Raises BadRequest for the model that the
    collection is searched by.
    """
    _take_next(collection, model)
    return filling_add(collection.pk, model.pk)


def collection_embed_with(*, collection: Collection, model: EmbeddingModel) -> IngestionJob | None:
    """Have a collection searched by ``model`` as soon as all its chunks have a vector by it.

    Return the job that makes them; None where they are all there, and it is searched by them now. One such job is there
    at a time; a job with another model takes the place of one that has not ended.
    """
    _take_next(collection, model)
    unfinished = IngestionJob.objects.unfinished().filter(collection=collection, embedding_model=model)
    if found := unfinished.filter(kind=IngestionJob.Kind.EMBEDDING).first():
        return found
    for job in unfinished.filter(kind=IngestionJob.Kind.FILLING):
        job_cancel(job=job)  # the one below does what it did, and then switches
    with transaction.atomic():
        locked = collection_lock(collection.pk)
        _refuse_own(locked, model)
        if not chunks_without(locked.pk, model.pk).exists():
            switch(locked, model)
            return None
        job = IngestionJob.objects.create(
            kind=IngestionJob.Kind.EMBEDDING, collection=collection, embedding_model=model
        )
        job_defer(job)
    return job


def collection_switch(*, collection: Collection) -> Collection:
    """Have a collection searched by the model that was filled beside, at once, and return it as it is then.

    Raises BadRequest if there is none, or chunks lack a vector by it.
    """
    with transaction.atomic():
        locked = collection_lock(collection.pk)
        if locked.next_model is None:
            raise BadRequest("No other model is filled beside. Choose one and have it filled first.")
        if missing := chunks_without(locked.pk, locked.next_model.pk).count():
            raise BadRequest(
                f"{missing:,} chunks have no vector by '{locked.next_model}' yet. Wait until it is filled, or have it "
                "filled up."
            )
        switch(locked, locked.next_model)
    return locked


def collection_roll_back(*, collection: Collection) -> IngestionJob | None:
    """Have a collection searched by the model before, at once; it can be switched forth again in the same way.

    Where chunks lack its vectors, since it did not answer when they were published, they are made first: return the job
    that does that, and then switches. Raises BadRequest if there is no model before.
    """
    collection = Collection.objects.select_related("previous_model").get(pk=collection.pk)
    if collection.previous_model is None:
        raise BadRequest("There is no model to go back to: the collection was always searched by this one.")
    return collection_embed_with(collection=collection, model=collection.previous_model)


def collection_give_up(*, collection: Collection, model: EmbeddingModel) -> IngestionJob:
    """Keep vectors by ``model`` no longer, as the next or the previous model, and have them deleted.

    Return the job that deletes them. Raises BadRequest for the model that the collection is searched by.
    """
    with transaction.atomic():
        locked = collection_lock(collection.pk)
        _refuse_own(locked, model)
        kept = [name for name in ("next_model", "previous_model") if getattr(locked, f"{name}_id") == model.pk]
        for name in kept:
            setattr(locked, name, None)
        locked.save(update_fields=kept)
        dropping = dropping_add(locked, model.pk)
    _cancel_fills(collection, Q(embedding_model=model))
    return dropping


def model_drop(*, model: EmbeddingModel) -> list[IngestionJob]:
    """Have a model's vectors deleted everywhere, and its index. Raises BadRequest if a collection is searched by it.

    Collections that keep it beside keep it no longer.
    """
    if using := [str(one) for one in Collection.objects.filter(embedding_model=model)]:
        raise BadRequest(f"'{model}' is what {', '.join(using)} is searched by. Switch to another model first.")
    holding = Embedding.objects.filter(embedding_model=model).values("collection")
    collections = Collection.objects.filter(Q(pk__in=Collection.objects.keeping(model)) | Q(pk__in=holding))
    return [collection_give_up(collection=collection, model=model) for collection in collections]


def filling_of(collection: Collection, model: EmbeddingModel) -> Filling:
    total = Chunk.objects.live().filter(collection=collection).count()
    jobs = IngestionJob.objects.unfinished().filter(collection=collection, embedding_model=model, kind__in=FILLS)
    missing = chunks_without(collection.pk, model.pk).count()
    return Filling(model=model, done=max(0, total - missing), total=total, job=jobs.first())


def chunks_without(collection_id: int, model_id: int) -> QuerySet[Chunk]:
    """Return the live chunks of a collection that a model has not embedded."""
    live = Chunk.objects.live().filter(collection=collection_id)
    return live.exclude(embeddings__embedding_model=model_id)


def switch(collection: Collection, model: EmbeddingModel) -> None:
    """Have ``collection``, whose row is locked, searched by ``model``, which has embedded all of it."""
    before, given_up = collection.embedding_model, collection.previous_model_id
    cuts = Document.objects.filter(collection=collection).order_by()
    wishes = list(cuts.values_list("chunk_tokens", "chunk_overlap").distinct())
    old = {wish: _made(collection, wish) for wish in wishes}
    collection.embedding_model, collection.previous_model = model, before
    if collection.next_model_id == model.pk:
        collection.next_model = None
    collection.save(update_fields=["embedding_model", "previous_model", "next_model"])
    for wish in wishes:
        _recipe_turn(collection, wish, old[wish], _made(collection, wish))
    if given_up is not None and given_up not in collection.models_beside | {model.pk}:
        dropping_add(collection, given_up)


def dropping_add(collection: Collection, model_id: int) -> IngestionJob:
    """Have a collection's vectors by a model that it does not keep deleted."""
    dropping = IngestionJob.objects.unfinished().filter(kind=IngestionJob.Kind.DROPPING, collection=collection)
    if found := dropping.filter(embedding_model=model_id).first():
        return found
    job = IngestionJob.objects.create(
        kind=IngestionJob.Kind.DROPPING, collection=collection, embedding_model_id=model_id
    )
    job_defer(job)
    return job


def _made(collection: Collection, wish: tuple[int | None, int | None]) -> tuple[tuple[int, int], str]:
    """Return how documents with a wish are cut, and their recipe."""
    cut = collection.cut_of(*wish)
    return cut, collection.recipe_for(*cut)


def _recipe_turn(
    collection: Collection,
    wish: tuple[int | None, int | None],
    old: tuple[tuple[int, int], str],
    new: tuple[tuple[int, int], str],
) -> None:
    """Let live revisions count as made by the new recipe where a new reading would cut them just so."""
    if old[0] != new[0]:
        return
    tokens, overlap = wish
    rows = DocumentRevision.objects.filter(
        document__collection=collection,
        document__chunk_tokens=tokens,
        document__chunk_overlap=overlap,
        state=RevisionState.LIVE,
    )
    rows.filter(recipe=old[1]).update(recipe=new[1])


def _refuse_own(locked: Collection, model: EmbeddingModel) -> None:
    """Raise BadRequest where a collection, whose row is locked, is searched by ``model``: it may be since a moment."""
    if locked.embedding_model_id == model.pk:
        raise BadRequest(f"The collection is searched by '{model}' already. Choose another model.")


def _take_next(collection: Collection, model: EmbeddingModel) -> None:
    """Note which model is to be filled, unless it is kept anyway, and shut out the jobs it takes the place of.

    Raises BadRequest for the model that the collection is searched by.
    """
    with transaction.atomic():
        locked = collection_lock(collection.pk)
        _refuse_own(locked, model)
        given_up = locked.next_model_id
        if model.pk in (locked.next_model_id, locked.previous_model_id):
            given_up = None
        else:
            locked.next_model = model
            locked.save(update_fields=["next_model"])
    _cancel_fills(collection, Q(kind=IngestionJob.Kind.EMBEDDING) & ~Q(embedding_model=model))
    if given_up is not None:
        _cancel_fills(collection, Q(embedding_model=given_up))
        dropping_add(collection, given_up)


def _cancel_fills(collection: Collection, which: Q) -> None:
    for job in IngestionJob.objects.unfinished().filter(which, collection=collection, kind__in=FILLS):
        job_cancel(job=job)


def collection_lock(pk: int) -> Collection:
    """Lock a collection's row, as whoever publishes into it does last, and return it as it is.

    Raises CollectionNotFound if it is gone.
    """
    # Without its models, which are read when they are asked for: of rows that are joined PostgreSQL leaves one out, or
    # says that it has no model, where it got another one while its lock was waited for.
    found = Collection.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if found is None:
        raise CollectionNotFound("The collection was deleted meanwhile.")
    return found
