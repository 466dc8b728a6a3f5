"""What people do to a document's chunks: change, split, merge and disable them, and answer what the source says.

Each writes the edit and the revision that has it in one transaction. The text that was there is found until the
revision is published, which is at once where nothing has to be embedded.
"""

from collections.abc import Sequence
from enum import StrEnum

from django.db import transaction

from knowledge.authors import NOBODY, Author
from knowledge.curation.draft import Draft, outcome_of
from knowledge.curation.edit import Outcome
from knowledge.exceptions import TextChanged
from knowledge.models import Chunk, ChunkEdit
from knowledge.revisions import Received
from routing.exceptions import BadRequest

LONGEST_TEXT = 20_000
MOST_PARTS = 100
LONGEST_HEADING = 1_000


class Answer(StrEnum):
    """What is to become of an edit whose place in the source changed."""

    MINE = "mine"
    THEIRS = "theirs"
    ANEW = "anew"


def chunk_split(
    *, chunk: Chunk, texts: Sequence[str], heading: str | None = None, author: Author = NOBODY, reason: str = ""
) -> Received:
    """Give a chunk another text, or put several in its place, each as a chunk of its own; and another heading.

    Raises TextChanged if the chunk is not in its document any more, BadRequest for a text that cannot be one.
    """
    texts = _checked(texts)
    under = _heading(chunk.heading if heading is None else heading)
    kind = ChunkEdit.Kind.EDIT if len(texts) == 1 else ChunkEdit.Kind.SPLIT
    with transaction.atomic():
        draft = Draft.open(chunk.document, author=author, reason=reason)
        first, last = draft.span([chunk])
        outcomes = [Outcome(text=text, heading=under, enabled=chunk.enabled) for text in texts]
        draft.change(first, last, outcomes, kind=kind)
        return draft.save()


def chunks_merge(
    *, chunks: Sequence[Chunk], text: str | None = None, author: Author = NOBODY, reason: str = ""
) -> Received:
    """Make chunks that stand next to each other one, with ``text`` or else their texts one after the other.

    Raises as chunk_split, and BadRequest for chunks that do not stand together.
    """
    if len(chunks) < 2 or len({chunk.document_id for chunk in chunks}) > 1:
        raise BadRequest("Choose two or more chunks of one document.")
    with transaction.atomic():
        draft = Draft.open(chunks[0].document, author=author, reason=reason)
        first, last = draft.span(chunks)
        rows = draft.rows[first : last + 1]
        (text,) = _checked([merged(rows) if text is None else text])
        outcome = Outcome(text=text, heading=rows[0].heading, enabled=any(row.enabled for row in rows))
        draft.change(first, last, [outcome], kind=ChunkEdit.Kind.MERGE)
        return draft.save()


def chunks_switch(
    *, chunks: Sequence[Chunk], enabled: bool, author: Author = NOBODY, reason: str = ""
) -> Received | None:
    """Let chunks of one document be found, or not; None if there was nothing to do. Raises TextChanged."""
    with transaction.atomic():
        draft = Draft.open(chunks[0].document, author=author, reason=reason)
        changed = False
        for chunk in chunks:
            place, _ = draft.span([chunk])
            row = draft.rows[place]
            if row.enabled != enabled:
                outcome = Outcome(text=row.text, heading=row.heading, enabled=enabled)
                draft.change(place, place, [outcome], kind=_switched(row))
                changed = True
        return draft.save() if changed else None


def edit_withdraw(*, edit: ChunkEdit, author: Author = NOBODY, reason: str = "") -> Received:
    """Take an edit back: what the source says stands there again. Raises TextChanged if it is not in force."""
    with transaction.atomic():
        draft = Draft.open(edit.document, author=author, reason=reason)
        edit.refresh_from_db()
        if edit.state == ChunkEdit.State.WITHDRAWN:
            raise TextChanged("The edit was withdrawn already.")
        draft.restore(edit)
        return draft.save()


def conflict_resolve(
    *, edit: ChunkEdit, answer: Answer, texts: Sequence[str] = (), author: Author = NOBODY, reason: str = ""
) -> Received:
    """Answer a conflict: keep the edit, of what the source says now; take that; or put ``texts`` in its place.

    Raises TextChanged if it is resolved already, BadRequest for texts that cannot be ones.
    """
    if answer is Answer.THEIRS:
        return edit_withdraw(edit=edit, author=author, reason=reason)
    new = _checked(texts) if answer is Answer.ANEW else []
    with transaction.atomic():
        draft = Draft.open(edit.document, author=author, reason=reason)
        entry, span = draft.entries.get(edit.pk, {}), draft.span_of(edit)
        if "theirs" not in entry or span is None:
            raise TextChanged("The conflict is resolved already.")
        rows = draft.rows[span[0] : span[1] + 1]
        heading = rows[0].heading
        if new:
            outcomes, kind = [Outcome(text=text, heading=heading) for text in new], ChunkEdit.Kind.EDIT
        elif edit.kind == ChunkEdit.Kind.DISABLE and entry["theirs"]:
            # What is not to be found is what the source says there, whatever that is.
            outcomes = [Outcome(text=one["text"], heading=one["heading"], enabled=False) for one in entry["theirs"]]
            kind = ChunkEdit.Kind.DISABLE
        else:
            outcomes, kind = list(map(outcome_of, rows)), ChunkEdit.Kind(edit.kind)
        draft.change(*span, outcomes, kind=kind, resolves=True)
        return draft.save()


def merged(rows: Sequence[Chunk]) -> str:
    """Return the texts of chunks as one."""
    return "\n\n".join(row.text for row in rows)


def _switched(row: Chunk) -> ChunkEdit.Kind:
    """Return what an edit of a chunk is called once it was switched; one that also has another text stays that."""
    return ChunkEdit.Kind.DISABLE if row.edit is None else ChunkEdit.Kind(row.edit.kind)


def _checked(texts: Sequence[str]) -> list[str]:
    found = [text.replace("\r\n", "\n").strip() for text in texts]
    if not found or not all(found):
        raise BadRequest("A chunk has a text. Enter one, or disable the chunk.")
    if len(found) > MOST_PARTS:
        raise BadRequest(f"These are {len(found)} parts; split a chunk into at most {MOST_PARTS}.")
    if max(map(len, found)) > LONGEST_TEXT:
        raise BadRequest(f"A chunk has at most {LONGEST_TEXT:,} characters. Split the text.")
    if any("\0" in text for text in found):
        raise BadRequest("The text holds a character (U+0000) that cannot be stored. Remove it.")
    return found


def _heading(heading: str) -> str:
    line = " ".join(heading.split())
    if len(line) > LONGEST_HEADING:
        raise BadRequest(f"A heading has at most {LONGEST_HEADING:,} characters.")
    return line
