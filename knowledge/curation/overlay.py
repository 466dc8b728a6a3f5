"""What people changed, put on a document as it was just parsed. Pure.

Every edit stays in force, whatever became of the source. Where the pieces that it was made of are there again, it
takes their place. Where something like them is there now, it takes the place of that; where nothing is left, it stands
between what stood around it. In both of these cases it is in conflict, which is for people to resolve.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from knowledge.chunking import Count, Piece
from knowledge.curation.board import Board, Slot, Span
from knowledge.curation.edit import Edit, Original
from knowledge.curation.finding import places_within, whole_places
from knowledge.curation.likeness import likest, place_between

Places = Callable[[Edit], Iterable[tuple[tuple[int, int], Span]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How an edit fits the source: ``theirs`` is what that says in a conflict, None where nothing is left."""

    edit: int
    conflict: bool = False
    theirs: tuple[Original, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaid:
    pieces: tuple[Piece, ...]
    findings: tuple[Finding, ...]


def overlay(pieces: Sequence[Piece], edits: Sequence[Edit], *, count: Count, headed: bool) -> Overlaid:
    """Return a document's pieces as its edits have them, and how each edit fits.

    ``count`` counts tokens; ``headed``: title and headings are embedded with a piece.
    """
    board = Board.of(pieces)
    additions = [edit for edit in edits if not edit.originals]
    left = _placed(board, [edit for edit in edits if edit.originals])
    words: dict[str, frozenset[str]] = {}
    for edit in left:
        span = likest(edit, board, words)
        if span is None:
            board.insert(place_between(edit, board), edit, conflict=True)
        else:
            board.put(edit, span, conflict=True)
    for edit in additions:
        board.insert(place_between(edit, board), edit, conflict=False)
    title = pieces[0].title if pieces else ""
    laid = [piece for slot in board.slots for piece in _shown(slot, title)]
    return Overlaid(
        pieces=tuple(_numbered(laid, count, headed=headed)),
        findings=tuple(_finding(slot) for slot in board.slots if slot.edit is not None),
    )


def _placed(board: Board, edits: list[Edit]) -> list[Edit]:
    """Put those edits in their places whose originals are there, and return the others."""
    squeezed: dict[str, str] = {}
    left, before = edits, -1
    # What stands beside an edit that was cut out of a piece may be what another was made of.
    while left and len(left) != before:
        before = len(left)
        left = _fitted(board, left, lambda edit: whole_places(edit, board))
        left = _fitted(board, left, lambda edit: places_within(edit, board, squeezed))
    return left


def _fitted(board: Board, edits: list[Edit], places: Places) -> list[Edit]:
    """Put each edit where it fits best, the surest first; return those that fit nowhere."""
    left = edits
    while left:
        chosen = _chosen(left, places)
        # From the end, as what is put somewhere moves what comes after it.
        for number, span in sorted(chosen.items(), key=lambda one: one[1].first, reverse=True):
            board.put(left[number], span)
        if not chosen:
            break
        left = [edit for number, edit in enumerate(left) if number not in chosen]
    return left


def _chosen(edits: Sequence[Edit], places: Places) -> dict[int, Span]:
    """Return a place for as many edits as there are places that do not overlap, by their numbers."""
    found = [(fit, -number, span) for number, edit in enumerate(edits) for fit, span in places(edit)]
    chosen: dict[int, Span] = {}
    taken: set[int] = set()
    for _, number, span in sorted(found, key=lambda one: one[:2], reverse=True):
        covered = range(span.first, span.last + 1)
        if -number not in chosen and taken.isdisjoint(covered):
            chosen[-number] = span
            taken.update(covered)
    return chosen


def _shown(slot: Slot, title: str) -> Iterator[Piece]:
    if slot.edit is None:
        yield slot.pieces[0]
        return
    edit = slot.edit
    if slot.pieces:
        stand = slot.pieces[0]
    else:
        original = edit.originals[0] if edit.originals else Original(text="")
        stand = Piece(ordinal=0, text="", title=title, heading=original.heading, page=original.page)
    for outcome in edit.outcomes:
        heading = stand.heading if outcome.heading is None else outcome.heading
        yield replace(stand, text=outcome.text, heading=heading, tokens=0, edit=edit.id, enabled=outcome.enabled)


def _numbered(pieces: Iterable[Piece], count: Count, *, headed: bool) -> Iterator[Piece]:
    for ordinal, piece in enumerate(pieces):
        tokens = piece.tokens or count(piece.embedded(with_header=headed))
        same = (piece.ordinal, piece.tokens) == (ordinal, tokens)
        yield piece if same else replace(piece, ordinal=ordinal, tokens=tokens)


def _finding(slot: Slot) -> Finding:
    assert slot.edit is not None
    if not slot.conflict:
        return Finding(edit=slot.edit.id)
    theirs = tuple(Original(text=piece.text, heading=piece.heading, page=piece.page) for piece in slot.pieces)
    return Finding(edit=slot.edit.id, conflict=True, theirs=theirs or None)
