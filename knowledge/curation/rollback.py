"""An earlier revision of a document brought back, as its next one."""

from django.db import transaction

from knowledge.authors import NOBODY, Author
from knowledge.curation.composing import compose
from knowledge.exceptions import TextChanged
from knowledge.models import Chunk, Document, DocumentRevision, RevisionState
from knowledge.revisions import Received, document_lock
from routing.exceptions import BadRequest


def may_be_restored(revision: DocumentRevision) -> bool:
    """Tell whether a revision was found once, is not now, and has its chunks still."""
    return revision.state == RevisionState.SUPERSEDED and bool(revision.chunk_ids)


def revision_restore(*, document: Document, number: int, author: Author = NOBODY, reason: str = "") -> Received:
    """Bring back what a document was in revision ``number``: its texts, the edits in force then, and its vectors.

    What waits to be read or for review is given up for it. Raises BadRequest for a revision that was never found,
    TextChanged if it has not all of its chunks any more, DocumentNotFound if the document is gone.
    """
    with transaction.atomic():
        document = document_lock(document)
        revision = document.revisions.filter(number=number).first()
        if revision is None or not may_be_restored(revision):
            raise BadRequest("Only a revision that was found before can be brought back. Choose such a one.")
        there = Chunk.objects.filter(document=document).in_bulk(revision.chunk_ids)
        if len(there) < len(revision.chunk_ids):
            raise TextChanged("Not all chunks of this revision are there any more.")
        return compose(
            document,
            base=revision,
            rows=[there[pk] for pk in revision.chunk_ids],
            entries=revision.edits,
            author=author,
            reason=reason,
            restores=number,
        )
