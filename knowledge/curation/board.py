"""A document's pieces in order while edits are put on them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from knowledge.chunking import Piece
from knowledge.curation.edit import Edit


@dataclass(slots=True)
class Slot:
    """A place of a document: one piece, or the pieces (perhaps none are left) in whose place an edit stands."""

    pieces: list[Piece]
    edit: Edit | None = None
    conflict: bool = False

    @property
    def piece(self) -> Piece | None:
        """The piece, where no edit stands."""
        return None if self.edit else self.pieces[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Pieces ``first`` to ``last``, from character ``start`` of the first to ``end`` of the last."""

    first: int
    last: int
    start: int = 0
    end: int | None = None

    def moved(self, by: int) -> "Span":
        return replace(self, first=self.first + by, last=self.last + by)


@dataclass(slots=True)
class Board:
    slots: list[Slot] = field(default_factory=list)

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> "Board":
        return cls([Slot([piece]) for piece in pieces])

    def put(self, edit: Edit, span: Span, *, conflict: bool = False) -> None:
        """Let ``edit`` stand in the place of free slots; what is outside of the span stays beside it."""
        pieces = [slot.pieces[0] for slot in self.slots[span.first : span.last + 1]]
        right = "" if span.end is None else pieces[-1].text[span.end :].strip()
        left = pieces[0].text[: span.start].strip()
        before = [Slot([_with_text(pieces[0], left)])] if left else []
        after = [Slot([_with_text(pieces[-1], right)])] if right else []
        if right:
            pieces[-1] = _with_text(pieces[-1], pieces[-1].text[: span.end].strip())
        if left:
            pieces[0] = _with_text(pieces[0], pieces[0].text[span.start :].strip())
        self.slots[span.first : span.last + 1] = [*before, Slot(pieces, edit, conflict), *after]

    def insert(self, place: int, edit: Edit, *, conflict: bool) -> None:
        """Let ``edit`` stand before slot ``place``, in the place of nothing."""
        self.slots.insert(place, Slot([], edit, conflict))

    def text_before(self, place: int) -> str:
        """Return what was parsed right before slot ``place``, "" at the beginning."""
        parsed = (self.slots[at].pieces for at in range(place - 1, -1, -1))
        return next((pieces[-1].text for pieces in parsed if pieces), "")

    def text_after(self, place: int) -> str:
        parsed = (self.slots[at].pieces for at in range(place + 1, len(self.slots)))
        return next((pieces[0].text for pieces in parsed if pieces), "")

    def runs(self) -> Iterator[tuple[int, list[Piece]]]:
        """Yield the pieces that stand together with no edit between them, each time with the first one's place."""
        run: list[Piece] = []
        for place, slot in enumerate(self.slots):
            if slot.piece is not None:
                run.append(slot.piece)
            elif run:
                yield place - len(run), run
                run = []
        if run:
            yield len(self.slots) - len(run), run


def _with_text(piece: Piece, text: str) -> Piece:
    return replace(piece, text=text, tokens=0)  # to be counted anew
