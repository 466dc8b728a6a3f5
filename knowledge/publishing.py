"""The one transaction in which a revision takes the place of the one before it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from knowledge.authors import Author
from knowledge.beside import fill_where_behind
from knowledge.blocks import Parsed
from knowledge.curation.ledger import Entry, edits_settle
from knowledge.gate import Change, Gate, Verdict
from knowledge.jobs import Gone, Postponed, Run, document_settle, job_end, job_finish, step
from knowledge.models import (
    Chunk,
    ChunkState,
    Collection,
    Document,
    DocumentRevision,
    DocumentStatus,
    Embedding,
    IngestionJob,
    JobState,
    RevisionState,
    Stage,
)
from knowledge.postings import ChunkTerms, Tally, collection_speaks, collection_tally, postings_delete, postings_write
from knowledge.staging import Placed
from knowledge.standing import Incoming


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A revision that is complete: ``terms`` by chunk id are those of its new and reworded chunks.

    ``edits`` are those in force in it, as knowledge/curation/ledger.py has them.
    """

    revision: DocumentRevision
    parsed: Parsed
    title: str
    language: str
    recipe: str
    embedding_model_id: int
    placed: Sequence[Placed]
    terms: Mapping[int, ChunkTerms]
    edits: Sequence[Entry] = ()


def to_be_counted(placed: Iterable[Placed]) -> Iterator[Placed]:
    """Yield the chunks whose terms a publication needs."""
    return (one for one in placed if one.piece.enabled and (not one.kept or one.reworded))


def publish(run: Run, publication: Publication, gate: Gate | None = None) -> None:
    """Make a revision the one that is found, and end its job.

    Raises Gone if it is not wanted any more, HeldBack if it does not pass ``gate``, and Postponed if the collection or
    the document's live revision changed while it was made: another run makes it anew of what is there then.
    """
    with step(run, stage=Stage.PUBLISHING):
        document = Document.objects.get(pk=publication.revision.document_id)
        live = dict(Chunk.objects.live().filter(document=document).values_list("pk", "enabled"))
        _check(publication, live)
        change = _change(publication, live)
        if gate is not None:
            gate.before(change)
        tally = _retire(document, publication, live) + _enliven(document, publication, live)
        _turn(publication)
        _settle_edits(publication)
        job_finish(run, "updated" if document.revision else "created", total=len(publication.placed))
        _describe(document, publication)
        if gate is not None:
            gate.after(change, tally)  # before the collection's row is locked, for which others wait
        collection_speaks(document.collection_id, publication.language)
        if not collection_tally(document.collection_id, tally, embedding_model_id=publication.embedding_model_id):
            raise Postponed("The collection's embedding model was changed meanwhile.", 0)
        fill_where_behind(Collection.objects.get(pk=document.collection_id), publication.placed)


def hold(run: Run, publication: Publication, *, verdict: Verdict | None = None) -> None:
    """Have a complete revision wait until somebody approves it, and end its job; nothing of it is found.

    ``verdict`` is what the gate found, if that is why: the job has failed then. Raises as publish.
    """
    with step(run, stage=Stage.PUBLISHING):
        live = Chunk.objects.live().filter(document=publication.revision.document_id)
        _check(publication, dict(live.values_list("pk", "enabled")))
        held_back = verdict.body() if verdict else {}
        # Whoever approved it did not know what the gate would find.
        answer = {"reviewer": None, "reviewer_name": "", "reviewed_at": None, "review_note": ""}
        DocumentRevision.objects.filter(pk=publication.revision.pk).update(
            state=RevisionState.REVIEW, held_back=held_back, **answer, **_facts(publication)
        )
        if verdict is not None:
            job = IngestionJob.objects.get(pk=run.job_id)
            job_end(job, JobState.FAILED, code="held_back", message=verdict.sentence)
            return
        job_finish(run, "review", total=len(publication.placed))
        document_settle(publication.revision.document_id, error="")


def _check(publication: Publication, live: Mapping[int, bool]) -> None:
    wanted = DocumentRevision.objects.filter(pk=publication.revision.pk, state=RevisionState.PENDING)
    if not wanted.exists():
        raise Gone("the revision was replaced")
    if not all(one.chunk_id in live for one in publication.placed if one.kept):
        raise Postponed("Another revision of the document was published meanwhile.", 0)


def _change(publication: Publication, live: Mapping[int, bool]) -> Change:
    """Return what a publication changes of what is found, as the gate looks at it."""
    coming = [one for one in publication.placed if one.chunk_id in publication.terms]
    kept = {one.chunk_id for one in publication.placed if one.kept and not one.reworded}
    return Change(
        incoming=Incoming(
            document=publication.revision.document_id,
            terms={one.chunk_id: publication.terms[one.chunk_id] for one in coming},
            texts=[one.piece.text for one in coming],
            gone=frozenset(live) - kept,
        ),
        chunks=[one.chunk_id for one in coming],
        language=publication.language,
    )


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
    shown = [one.chunk_id for one in publication.placed if not one.kept and one.piece.enabled]
    _move([one for one in publication.placed if one.kept], publication.language)
    if not document.enabled:
        return Tally()
    Embedding.objects.filter(chunk__in=shown).update(findable=True)
    reworded = [one.chunk_id for one in publication.placed if one.reworded and live[one.chunk_id]]
    gone = postings_delete(reworded)
    return (
        postings_write(
            document.collection_id,
            {chunk_id: publication.terms[chunk_id] for chunk_id in (*shown, *reworded)},
        )
        - gone
    )


def _move(kept: Sequence[Placed], language: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE knowledge_chunk AS chunk
            SET ordinal = now.ordinal, language = %s
            FROM unnest(%s::bigint[], %s::int[]) AS now (id, ordinal)
            WHERE chunk.id = now.id AND (chunk.ordinal, chunk.language) <> (now.ordinal, %s)
            """,
            [
                language,
                [one.chunk_id for one in kept],
                [one.piece.ordinal for one in kept],
                language,
            ],
        )


def _turn(publication: Publication) -> None:
    revision = publication.revision
    DocumentRevision.objects.filter(document=revision.document_id, state=RevisionState.LIVE).update(
        state=RevisionState.SUPERSEDED
    )
    DocumentRevision.objects.filter(pk=revision.pk).update(state=RevisionState.LIVE, **_facts(publication))


def _facts(publication: Publication) -> dict[str, Any]:
    """Return what a revision's row says of it once it is complete."""
    parsed = publication.parsed
    return {
        "recipe": publication.recipe,
        "title": parsed.title[:500],
        "mime": parsed.mime[:150],
        "metadata": dict(parsed.metadata),
        "warnings": list(parsed.warnings),
        "error": "",
        "chunk_ids": [one.chunk_id for one in publication.placed],
        "edits": list(publication.edits),
    }


def _settle_edits(publication: Publication) -> None:
    revision = publication.revision
    reason = f"Revision {revision.restores} was brought back." if revision.restores else revision.reason
    author = Author(user=revision.author, name=revision.author_name)
    edits_settle(revision.document_id, publication.edits, reason=reason, author=author)


def _describe(document: Document, publication: Publication) -> None:
    document.revision = publication.revision.number
    document.status, document.error = DocumentStatus.READY, ""
    document.title, document.mime = publication.title[:500], publication.parsed.mime[:150]
    document.warnings = list(publication.parsed.warnings)
    document.save(update_fields=["revision", "status", "error", "title", "mime", "warnings", "updated_at"])
