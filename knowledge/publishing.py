"""The one transaction in which a revision takes the place of the one before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connection

from knowledge.blocks import Parsed
from knowledge.jobs import Gone, Postponed, Run, job_finish, step
from knowledge.models import (
    Chunk,
    ChunkState,
    Document,
    DocumentRevision,
    DocumentStatus,
    Embedding,
    RevisionState,
    Stage,
)
from knowledge.postings import ChunkTerms, Tally, collection_speaks, collection_tally, postings_delete, postings_write
from knowledge.staging import Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A revision that is complete: ``terms`` by chunk id are those of its new and reworded chunks."""

    revision: DocumentRevision
    parsed: Parsed
    title: str
    language: str
    recipe: str
    embedding_model_id: int
    placed: Sequence[Placed]
    terms: Mapping[int, ChunkTerms]


def publish(run: Run, publication: Publication) -> None:
    """Make a revision the one that is found, and end its job.

    Raises Gone if it is not wanted any more, and Postponed if the collection or the document's live revision changed
    while it was made: another run makes it anew of what is there then.
    """
    with step(run, stage=Stage.PUBLISHING):
        document = Document.objects.get(pk=publication.revision.document_id)
        live = dict(Chunk.objects.live().filter(document=document).values_list("pk", "enabled"))
        _check(publication, live)
        tally = _retire(document, publication, live) + _enliven(document, publication, live)
        _turn(publication)
        job_finish(run, "updated" if document.revision else "created", total=len(publication.placed))
        _describe(document, publication)
        collection_speaks(document.collection_id, publication.language)
        if not collection_tally(document.collection_id, tally, embedding_model_id=publication.embedding_model_id):
            raise Postponed("The collection's embedding model was changed meanwhile.", 0)


def _check(publication: Publication, live: Mapping[int, bool]) -> None:
    wanted = DocumentRevision.objects.filter(pk=publication.revision.pk, state=RevisionState.PENDING)
    if not wanted.exists():
        raise Gone("the revision was replaced")
    if not all(one.chunk_id in live for one in publication.placed if one.kept):
        raise Postponed("Another revision of the document was published meanwhile.", 0)


def _retire(document: Document, publication: Publication, live: Mapping[int, bool]) -> Tally:
    """Take the chunks that are not in the new revision out of search; their rows stay for those who cited them."""
    kept = {one.chunk_id for one in publication.placed}
    retired = [chunk_id for chunk_id in live if chunk_id not in kept]
    findable = [chunk_id for chunk_id in retired if document.enabled and live[chunk_id]]
    tally = Tally() - postings_delete(findable)
    Embedding.objects.filter(chunk__in=retired).delete()
    Chunk.objects.filter(pk__in=retired).update(state=ChunkState.RETIRED)
    return tally


def _enliven(document: Document, publication: Publication, live: Mapping[int, bool]) -> Tally:
    """Let the new chunks be found, and put those that stay in their places."""
    new = [one.chunk_id for one in publication.placed if not one.kept]
    Chunk.objects.filter(pk__in=new).update(state=ChunkState.LIVE)
    _move([one for one in publication.placed if one.kept], publication.language)
    if not document.enabled:
        return Tally()
    Embedding.objects.filter(chunk__in=new).update(findable=True)
    reworded = [one.chunk_id for one in publication.placed if one.reworded and live[one.chunk_id]]
    gone = postings_delete(reworded)
    return (
        postings_write(
            document.collection_id,
            {chunk_id: publication.terms[chunk_id] for chunk_id in (*new, *reworded)},
        )
        - gone
    )


def _move(kept: Sequence[Placed], language: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE knowledge_chunk AS chunk
            SET ordinal = now.ordinal, heading = now.heading, page = now.page, language = %s
            FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::int[]) AS now (id, ordinal, heading, page)
            WHERE chunk.id = now.id
              AND (chunk.ordinal, chunk.heading, chunk.page, chunk.language)
                  IS DISTINCT FROM (now.ordinal, now.heading, now.page, %s)
            """,
            [
                language,
                [one.chunk_id for one in kept],
                [one.piece.ordinal for one in kept],
                [one.piece.heading for one in kept],
                [one.piece.page for one in kept],
                language,
            ],
        )


def _turn(publication: Publication) -> None:
    revision, parsed = publication.revision, publication.parsed
    DocumentRevision.objects.filter(document=revision.document_id, state=RevisionState.LIVE).update(
        state=RevisionState.SUPERSEDED
    )
    DocumentRevision.objects.filter(pk=revision.pk).update(
        state=RevisionState.LIVE,
        recipe=publication.recipe,
        title=parsed.title[:500],
        metadata=dict(parsed.metadata),
        warnings=list(parsed.warnings),
        error="",
        chunk_ids=[one.chunk_id for one in publication.placed],
    )


def _describe(document: Document, publication: Publication) -> None:
    document.revision = publication.revision.number
    document.status, document.error = DocumentStatus.READY, ""
    document.title, document.mime = publication.title[:500], publication.parsed.mime[:150]
    document.warnings = list(publication.parsed.warnings)
    document.save(update_fields=["revision", "status", "error", "title", "mime", "warnings", "updated_at"])
