"""Which edits are in force in a document, and in each of its revisions."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q

from knowledge.authors import NOBODY, Author
from knowledge.curation.edit import Edit
from knowledge.curation.overlay import Finding
from knowledge.models import ChunkEdit, DocumentRevision

Entry = Mapping[str, Any]
"""An edit as a revision names it: its "id", and in a conflict "theirs"."""

CONFLICTS = "The source changed at this place."
CLEARED = "The source says again what it was made of."


def edits_in_force(document_id: int) -> tuple[Edit, ...]:
    return tuple(map(Edit.of, ChunkEdit.objects.in_force().filter(document=document_id).order_by("pk")))


def edits_wait(document_id: int, live: DocumentRevision) -> bool:
    """Tell whether there are edits that the live revision was made without."""
    in_force = ChunkEdit.objects.in_force().filter(document=document_id)
    return set(in_force.values_list("pk", flat=True)) != {entry["id"] for entry in live.edits}


def entries_of(findings: Iterable[Finding]) -> list[Entry]:
    return [_entry(finding) for finding in findings]


def edits_settle(document_id: int, entries: Iterable[Entry], *, reason: str = "", author: Author = NOBODY) -> None:
    """Make the edits that a revision names the ones in force, as it has them; its document's row must be locked.

    ``reason`` and ``author`` go to the history of those that are withdrawn, or in force again.
    """
    named = {entry["id"]: entry for entry in entries}
    rows = ChunkEdit.objects.filter(Q(document=document_id) & (~Q(state=ChunkEdit.State.WITHDRAWN) | Q(pk__in=named)))
    for row in rows:
        before = (row.state, row.theirs)
        entry = named.get(row.pk)
        if entry is None:
            row.state, row.theirs = ChunkEdit.State.WITHDRAWN, None
        else:
            row.state = ChunkEdit.State.CONFLICT if "theirs" in entry else ChunkEdit.State.ACTIVE
            row.theirs = entry.get("theirs")
        if (row.state, row.theirs) != before:
            again = ChunkEdit.State.WITHDRAWN in (row.state, before[0])
            edit_save(row, reason=reason if again else _told(row), author=author if again else NOBODY)


def edit_withdrawn(row: ChunkEdit, *, author: Author, reason: str, by: ChunkEdit | None = None) -> None:
    """Take an edit out of force; ``by`` is the one in its place."""
    row.state, row.theirs, row.replaced_by = ChunkEdit.State.WITHDRAWN, None, by
    edit_save(row, reason=reason, author=author)


def edit_save(row: ChunkEdit, *, reason: str, author: Author) -> None:
    """Save an edit, with who changed it and why in its history."""
    row._change_reason = reason  # type: ignore[attr-defined]
    row._history_user = author.user  # type: ignore[attr-defined]
    row.save()


def _entry(finding: Finding) -> Entry:
    if not finding.conflict:
        return {"id": finding.edit}
    theirs = None if finding.theirs is None else [original.stored() for original in finding.theirs]
    return {"id": finding.edit, "theirs": theirs}


def _told(row: ChunkEdit) -> str:
    return CONFLICTS if row.state == ChunkEdit.State.CONFLICT else CLEARED
