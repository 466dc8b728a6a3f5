"""A revision that is to be read: its bytes, and what its document and collection say about how."""

from dataclasses import dataclass

from knowledge.chunking import Cut
from knowledge.curation.edit import Edit
from knowledge.curation.ledger import edits_in_force
from knowledge.embedding import ModelSpec
from knowledge.models import DocumentRevision, RevisionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """``title`` is one that somebody gave the document, "" where the file's own counts.

    ``language`` is the document's and ``usual_language`` the collection's, "" where it is to be recognised;
    ``likely_language`` is the first that the collection spoke, which a text too short to tell is taken for.
    ``edits`` are put on what is parsed. Of a revision that was put together from chunks ``data`` is empty.
    """

    revision: DocumentRevision
    data: bytes
    title: str
    language: str
    usual_language: str
    likely_language: str
    recipe: str
    cut: Cut
    spec: ModelSpec
    edits: tuple[Edit, ...] = ()


def reading_of(revision_id: int) -> Reading:
    """Read everything about a revision that its job needs, once, so that the whole run goes by the same."""
    revision = (
        DocumentRevision.objects.select_related(
            "content", "document", "document__collection", "document__collection__embedding_model"
        )
        .defer("content__data")
        .get(pk=revision_id)
    )
    document, collection = revision.document, revision.document.collection
    live = document.revisions.filter(state=RevisionState.LIVE).first()
    tokens, overlap = document.cut
    return Reading(
        revision=revision,
        data=b"" if revision.chunk_ids else bytes(revision.content.data),
        # A live revision's title is what its file says: a document that still has it was given none.
        title="" if live is not None and document.title == live.title else document.title,
        language=document.language,
        usual_language=collection.language,
        likely_language=next(iter(collection.languages), ""),
        recipe=document.recipe,
        cut=Cut(tokens=tokens, overlap=overlap, header=collection.embed_headings),
        spec=ModelSpec.of(collection.embedding_model),
        edits=edits_in_force(document.pk),
    )
