"""Revisions put together from chunks that are there and new ones, without reading the content again."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from knowledge.authors import Author
from knowledge.curation.composition import composition_of
from knowledge.curation.ledger import Entry
from knowledge.flagging import flag
from knowledge.jobs import Postponed, run_of
from knowledge.models import Chunk, ChunkState, Collection, Document, DocumentRevision, IngestionJob, JobState, Stage
from knowledge.postings import chunk_terms
from knowledge.publishing import Publication, publish, to_be_counted
from knowledge.readings import reading_of
from knowledge.revisions import UPDATED, Received, document_supersede, job_add, revision_add
from knowledge.staging import vectors_copy, without_vector


def compose(
    document: Document,
    *,
    base: DocumentRevision,
    rows: Sequence[Chunk],
    entries: Sequence[Entry],
    author: Author,
    reason: str,
    restores: int | None = None,
) -> Received:
    """Make ``rows`` a document's next revision; the document's row must be locked.

    It has the content of ``base`` and the edits of ``entries``. Live chunks stay what they are, of others there are
    copies. Where nothing has to be embedded, reviewed or measured it is found at once; otherwise a job sees to it.
    """
    fetching = document.jobs.unfinished().filter(revision=None).first()
    document_supersede(document, keep=fetching.pk if fetching else None)
    collection = document.collection
    revision = revision_add(
        document,
        sha256=base.content_id,
        name=base.name,
        mime=base.declared_mime,
        author=author,
        reason=reason,
    )
    chunks = _staged(revision, rows)
    revision.restores, revision.title, revision.mime = restores, base.title, base.mime
    revision.metadata, revision.warnings = base.metadata, base.warnings
    revision.recipe = _embedded_by(base.recipe, collection)
    revision.chunk_ids, revision.edits = [chunk.pk for chunk in chunks], list(entries)
    revision.save()
    new = [chunk.pk for chunk in chunks if chunk.state == ChunkState.STAGED]
    vectors_copy(new, collection.embedding_model_id)
    job = None
    if may_be_at_once(collection, chunks) and not without_vector(new, collection.embedding_model_id):
        job = _published(document, revision)
    return Received(document=document, job=job or job_add(document, revision=revision), result=UPDATED)


def may_be_at_once(collection: Collection, rows: Sequence[Chunk]) -> bool:
    """Tell whether a revision of ``rows`` needs nobody's consent and no new text's tokens counted."""
    return not collection.review and collection.gate is None and all(row.tokens for row in rows)


def _staged(revision: DocumentRevision, rows: Sequence[Chunk]) -> list[Chunk]:
    """Return the revision's chunks: the live ones of ``rows``, and staged copies of the others."""
    chunks = [
        row if row.pk and row.state == ChunkState.LIVE else _copy(row, revision, ordinal)
        for ordinal, row in enumerate(rows)
    ]
    new = [chunk for chunk in chunks if chunk.pk is None]
    flag(new, revision.document.title)
    Chunk.objects.bulk_create(new)
    return chunks


def _copy(row: Chunk, revision: DocumentRevision, ordinal: int) -> Chunk:
    return Chunk(
        collection_id=row.collection_id,
        document_id=row.document_id,
        revision=revision.number,
        ordinal=ordinal,
        state=ChunkState.STAGED,
        enabled=row.enabled,
        text=row.text,
        heading=row.heading,
        page=row.page,
        tokens=row.tokens,
        language=row.language,
        edit_id=row.edit_id,
        hash=row.hash,
    )


def _embedded_by(recipe: str, collection: Collection) -> str:
    """Return a recipe as it is when the collection's own model embeds its chunks."""
    version, _, rest = recipe.partition(":")
    return f"{version}:{collection.embedding_model_id}:{rest.partition(':')[2]}" if rest else recipe


def _published(document: Document, revision: DocumentRevision) -> IngestionJob | None:
    """Publish a revision that is complete on the spot; None, with nothing done, if it is not any more."""
    try:
        with transaction.atomic():
            job = IngestionJob.objects.create(
                collection_id=document.collection_id,
                document=document,
                revision=revision,
                state=JobState.RUNNING,
                stage=Stage.PUBLISHING,
                attempts=1,
                started_at=timezone.now(),
            )
            publish(run_of(job), _publication(revision))
            return IngestionJob.objects.get(pk=job.pk)
    except Postponed:
        return None


def _publication(revision: DocumentRevision) -> Publication:
    reading = reading_of(revision.pk)
    composition = composition_of(reading, count=len)  # every text's tokens are known
    return Publication(
        revision=reading.revision,
        parsed=composition.parsed,
        title=composition.title,
        language=composition.language,
        recipe=revision.recipe,
        embedding_model_id=reading.spec.id,
        placed=composition.staged.placed,
        terms={
            one.chunk_id: chunk_terms(
                title=composition.title,
                heading=one.piece.heading,
                text=one.piece.text,
                language=composition.language,
            )
            for one in to_be_counted(composition.staged.placed)
        },
        edits=revision.edits,
    )
