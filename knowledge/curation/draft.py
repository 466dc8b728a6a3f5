"""A document's next revision while somebody changes chunks of it, in one transaction that has its row locked.

It begins as what the document is to become: the revision that waits for review or to be published, or else the live
one. While a new content of the document waits to be read nobody knows its pieces: what is changed meanwhile is changed
of what is live, and put on that content when it is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from knowledge.authors import Author
from knowledge.chunking import Piece
from knowledge.curation.composing import compose, may_be_at_once
from knowledge.curation.composition import is_headed
from knowledge.curation.edit import Original, Outcome, originals_of
from knowledge.curation.ledger import Entry, edit_save, edit_withdrawn
from knowledge.exceptions import DocumentNotFound, TextChanged
from knowledge.models import Chunk, ChunkEdit, Document, DocumentRevision, RevisionState
from knowledge.revisions import Received, content_read_again, document_lock, revision_live
from knowledge.signals import signals_of
from routing.exceptions import BadRequest

GONE = "This text is not in the document any more as you saw it. Look at what stands there now, and change that."
WAITS = "A change of this text waits already. Look at that one, and change it."


@dataclass(slots=True, kw_only=True)
class Draft:
    """``rows`` are its chunks in order, those without a key new; ``entries`` are its edits by their ids.

    ``to_read`` is the content that waits to be read. ``author`` changes it, for ``reason``.
    """

    document: Document
    base: DocumentRevision
    rows: list[Chunk]
    entries: dict[int, Entry]
    to_read: DocumentRevision | None
    author: Author
    reason: str

    @classmethod
    def open(cls, document: Document, *, author: Author, reason: str) -> "Draft":
        """Lock a document and begin. Raises DocumentNotFound if it is gone, or was never read."""
        document = document_lock(document)
        waiting = document.revisions.filter(state__in=(RevisionState.PENDING, RevisionState.REVIEW)).first()
        to_read = waiting if waiting is not None and not waiting.chunk_ids else None
        base = waiting if waiting is not None and waiting.chunk_ids else revision_live(document)
        if base is None:
            raise DocumentNotFound("The document has no text yet. Wait until it is read.")
        there = Chunk.objects.filter(document=document).in_bulk(base.chunk_ids)
        return cls(
            document=document,
            base=base,
            rows=[there[pk] for pk in base.chunk_ids if pk in there],
            entries={entry["id"]: entry for entry in base.edits},
            to_read=to_read,
            author=author,
            reason=reason,
        )

    def save(self) -> Received:
        """Make it the document's next revision, or have the content read with it that waits to be read."""
        if not self.rows:
            raise BadRequest("The document would have no text any more. Disable or delete the document instead.")
        if self.to_read is not None:
            if may_be_at_once(self.document.collection, self.rows):
                self._compose()
            author = Author(user=self.to_read.author, name=self.to_read.author_name)
            return content_read_again(self.document, self.to_read, author=author, reason=self.to_read.reason)
        return self._compose()

    def span(self, chunks: Sequence[Chunk]) -> tuple[int, int]:
        """Return the places of the first and last of chunks that stand next to each other.

        Raises TextChanged if they are not there, and BadRequest if something stands between them.
        """
        places = {row.pk: place for place, row in enumerate(self.rows)}
        for chunk in chunks:
            if chunk.pk not in places:
                raise TextChanged(GONE, now=self._instead_of(chunk))
        found = sorted(places[chunk.pk] for chunk in chunks)
        if any(after != before + 1 for before, after in pairwise(found)):
            raise BadRequest("Only chunks that stand next to each other become one. Choose such.")
        return found[0], found[-1]

    def span_of(self, edit: ChunkEdit) -> tuple[int, int] | None:
        """Return the places of the first and last chunk that ``edit`` made; None if there is none."""
        found = [place for place, row in enumerate(self.rows) if row.edit_id == edit.pk]
        return (found[0], found[-1]) if found else None

    def change(
        self,
        first: int,
        last: int,
        outcomes: Sequence[Outcome],
        *,
        kind: ChunkEdit.Kind,
        resolves: bool = False,
    ) -> ChunkEdit | None:
        """Put ``outcomes`` in the place of chunks, by an edit that takes in those that made them.

        ``resolves``: what the source says in a conflict is from now on what the edit is made of. Return the edit; None
        if the text is then as it was parsed. Raises TextChanged if another change of it waits to be read.
        """
        first, last, outcomes = self._whole_edits(first, last, outcomes)
        originals = list(self._originals(first, last, theirs=resolves))
        self._check_waiting(originals)
        replaced = [row.edit_id for row in self.rows[first : last + 1] if row.edit_id]
        edit = None
        if not _are(outcomes, originals):
            edit = self._edit(first, last, outcomes, originals, kind)
            if not resolves and any("theirs" in self.entries.get(pk, {}) for pk in replaced):
                edit.state = ChunkEdit.State.CONFLICT
                edit.theirs = [one.stored() for one in self._originals(first, last, theirs=True)] or None
            edit_save(edit, reason=self.reason, author=self.author)
            self.entries[edit.pk] = {"id": edit.pk} | ({"theirs": edit.theirs} if edit.state == "conflict" else {})
        self._withdraw(replaced, by=edit)
        self.rows[first : last + 1] = self._made(first, last, outcomes, edit)
        return edit

    def restore(self, edit: ChunkEdit) -> None:
        """Withdraw an edit, so that what the source says stands there again."""
        if (span := self.span_of(edit)) is not None:
            first, last = span
            source = [Outcome(text=one.text, heading=one.heading) for one in self._originals(first, last, theirs=True)]
            self.rows[first : last + 1] = self._made(first, last, source, None)
        self._withdraw([edit.pk], by=None)

    # --- inside

    def _compose(self) -> Received:
        return compose(
            self.document,
            base=self.base,
            rows=self.rows,
            entries=list(self.entries.values()),
            author=self.author,
            reason=self.reason,
        )

    def _whole_edits(self, first: int, last: int, outcomes: Sequence[Outcome]) -> tuple[int, int, Sequence[Outcome]]:
        """Widen a change to everything that the edits made of which it changes a part."""
        edits = [row.edit_id for row in self.rows]
        start, end = first, last
        while start and edits[start] and edits[start - 1] == edits[start]:
            start -= 1
        while end + 1 < len(edits) and edits[end] and edits[end + 1] == edits[end]:
            end += 1
        before, after = self.rows[start:first], self.rows[last + 1 : end + 1]
        return start, end, [*map(outcome_of, before), *outcomes, *map(outcome_of, after)]

    def _originals(self, first: int, last: int, *, theirs: bool) -> Iterator[Original]:
        """Yield what chunks were made of; with ``theirs``, of those in conflict what the source says there now."""
        seen: set[int] = set()
        for row in self.rows[first : last + 1]:
            if row.edit_id is None:
                yield Original(text=row.text, heading=row.heading, page=row.page)
            elif row.edit_id not in seen:
                seen.add(row.edit_id)
                entry = self.entries.get(row.edit_id, {})
                yield from originals_of(
                    entry["theirs"] if theirs and "theirs" in entry else ChunkEdit.objects.get(pk=row.edit_id).originals
                )

    def _edit(
        self,
        first: int,
        last: int,
        outcomes: Sequence[Outcome],
        originals: Sequence[Original],
        kind: ChunkEdit.Kind,
    ) -> ChunkEdit:
        before = list(self._originals(first - 1, first - 1, theirs=True)) if first else []
        after = list(self._originals(last + 1, last + 1, theirs=True))
        usual = originals[0].heading if originals else None
        return ChunkEdit(
            document=self.document,
            kind=kind,
            originals=[one.stored() for one in originals],
            texts=[
                Outcome(
                    text=one.text, heading=None if one.heading == usual else one.heading, enabled=one.enabled
                ).stored()
                for one in outcomes
            ],
            before=before[-1].text if before else "",
            after=after[0].text if after else "",
            ordinal=first,
            reason=self.reason,
            **self.author.fields(),
        )

    def _withdraw(self, ids: Sequence[int], *, by: ChunkEdit | None) -> None:
        for row in ChunkEdit.objects.filter(pk__in=ids):
            self.entries.pop(row.pk, None)
            edit_withdrawn(row, author=self.author, reason=self.reason, by=by)

    def _made(self, first: int, last: int, outcomes: Sequence[Outcome], edit: ChunkEdit | None) -> list[Chunk]:
        """Return new chunks; one whose text stays has its tokens and its page."""
        old = self.rows[first : last + 1]
        known = {(row.text, row.heading): row for row in old}
        return [self._chunk(one, known.get((one.text, _heading(one, old[0])), old[0]), edit) for one in outcomes]

    def _chunk(self, outcome: Outcome, like: Chunk, edit: ChunkEdit | None) -> Chunk:
        heading = _heading(outcome, like)
        title = " ".join(self.document.title.split())
        piece = Piece(ordinal=0, text=outcome.text, title=title, heading=heading)
        same = (like.text, like.heading) == (outcome.text, heading)
        return Chunk(
            collection_id=self.document.collection_id,
            document=self.document,
            text=outcome.text,
            heading=heading,
            page=like.page,
            tokens=like.tokens if same else 0,
            language=like.language,
            edit=edit,
            enabled=outcome.enabled,
            signals=like.signals if same else list(signals_of(heading, outcome.text)),
            hash=like.hash if same else piece.hash(with_header=is_headed(self.base.recipe)),
        )

    def _check_waiting(self, originals: Sequence[Original]) -> None:
        """Refuse to change what an edit already changed that is put on a content that is to be read."""
        if self.to_read is None:
            return
        wanted = {(one.text, one.heading) for one in originals}
        for edit in ChunkEdit.objects.in_force().filter(document=self.document).exclude(pk__in=self.entries):
            if wanted & {(one.text, one.heading) for one in originals_of(edit.originals)}:
                raise TextChanged(WAITS, now="\n\n".join(one["text"] for one in edit.texts))

    def _instead_of(self, chunk: Chunk) -> str:
        """Return the text that is most like one that is not there any more."""
        likest, best = "", 0.4
        for row in self.rows:
            likeness = SequenceMatcher(None, chunk.text, row.text).quick_ratio()
            if likeness > best:
                likest, best = row.text, likeness
        return likest


def outcome_of(row: Chunk) -> Outcome:
    return Outcome(text=row.text, heading=row.heading, enabled=row.enabled)


def _heading(outcome: Outcome, like: Chunk) -> str:
    return like.heading if outcome.heading is None else outcome.heading


def _are(outcomes: Sequence[Outcome], originals: Sequence[Original]) -> bool:
    """Tell whether outcomes say what the originals do."""
    said = [(one.text, one.heading, one.enabled) for one in outcomes]
    return said == [(one.text, one.heading, True) for one in originals]
