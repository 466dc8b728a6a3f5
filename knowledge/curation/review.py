"""Revisions that wait until somebody approves them: complete, with their vectors, and found by nobody."""

from django.db import transaction
from django.utils import timezone

from knowledge.authors import Author
from knowledge.curation.ledger import edits_settle
from knowledge.exceptions import TextChanged
from knowledge.jobs import document_settle, staged_delete
from knowledge.models import DocumentRevision, IngestionJob, RevisionState
from knowledge.revisions import document_lock, job_add, revision_live
from routing.exceptions import BadRequest

ANSWERED = "Nothing waits for an answer here any more: it was answered already, or a newer version took its place."


def waits_for_review(revision_id: int) -> bool:
    """Tell whether a revision has to be approved before it is found, and was not yet."""
    return DocumentRevision.objects.filter(pk=revision_id, reviewed_at=None, document__collection__review=True).exists()


def revision_approve(*, revision: DocumentRevision, reviewer: Author, note: str = "") -> IngestionJob:
    """Have a revision published that waits for review, or that the gate held back, for which ``note`` says why.

    Raises TextChanged if it does not wait any more, BadRequest if it is not said why.
    """
    with transaction.atomic():
        revision = _waiting(revision)
        if revision.held_back and not note.strip():
            raise BadRequest("Say why it is published although questions are answered worse by it.")
        revision.state, revision.error = RevisionState.PENDING, ""
        _answered(revision, reviewer, note)
        return job_add(revision.document, revision=revision)


def revision_reject(*, revision: DocumentRevision, reviewer: Author, note: str) -> None:
    """Refuse a revision that waits for review: its chunks are deleted, and edits that only it has are withdrawn.

    Raises TextChanged if it does not wait any more, BadRequest if it is not said why.
    """
    if not note.strip():
        raise BadRequest("Say why it is rejected; whoever made the change reads it.")
    with transaction.atomic():
        revision = _waiting(revision)
        document = revision.document
        revision.state, revision.chunk_ids, revision.edits = RevisionState.REJECTED, [], []
        _answered(revision, reviewer, note)
        staged_delete(document.pk)
        live = revision_live(document)
        reason = f"Revision {revision.number} was rejected: {note.strip()}"
        edits_settle(document.pk, live.edits if live else [], reason=reason, author=reviewer)
        document_settle(document.pk, error="" if live else f"It was rejected: {note.strip()}")


def _waiting(revision: DocumentRevision) -> DocumentRevision:
    """Lock the revision's document and return the revision as it is now. Raises TextChanged."""
    document = document_lock(revision.document)
    row = document.revisions.filter(pk=revision.pk, state=RevisionState.REVIEW).first()
    if row is None:
        raise TextChanged(ANSWERED)
    row.document = document
    return row


def _answered(revision: DocumentRevision, reviewer: Author, note: str) -> None:
    revision.reviewer, revision.reviewer_name = reviewer.user, reviewer.name
    revision.reviewed_at = timezone.now()
    revision.review_note = note.strip()
    revision.save()
