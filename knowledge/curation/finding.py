"""The places where an edit's originals stand in a new reading, word for word. Pure.

A paragraph that was added upstream moves the boundaries between pieces: what was one piece stands at the end of one
and the beginning of the next. So a text that no piece is, is looked for across pieces, whatever its white space.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from knowledge.chunking import Piece
from knowledge.curation.board import Board, Span
from knowledge.curation.edit import Edit

SHORTEST = 20
"""Characters without white space from which on a text is looked for within pieces, and not as whole lines alone."""
PROBE = 10
LONGEST_REPEAT = 1_000
"""Between these many characters of a piece's end may be repeated at the beginning of the next (its overlap)."""


def whole_places(edit: Edit, board: Board) -> Iterator[tuple[tuple[int, int], Span]]:
    """Yield where the pieces are the edit's originals, with how well the place fits (larger is better)."""
    number = len(edit.originals)
    for first, slot in enumerate(board.slots):
        piece = slot.piece
        if piece is None or piece.text != edit.originals[0].text:
            continue
        pieces = [one.piece for one in board.slots[first : first + number]]
        texts = [one.text for one in pieces if one is not None]
        if texts == [original.text for original in edit.originals]:
            yield _fit(edit, board, first, first + number - 1, piece), Span(first=first, last=first + number - 1)


def places_within(edit: Edit, board: Board, squeezed: dict[str, str]) -> Iterator[tuple[tuple[int, int], Span]]:
    """Yield where the originals' text stands in the middle of pieces or across them; ``squeezed`` is a cache."""
    wanted = "".join(_squeezed(original.text, squeezed) for original in edit.originals)
    if not wanted:
        return
    for start, run in board.runs():
        texts, skipped = _without_repeats(run, squeezed)
        offsets = [0, *accumulate(map(len, texts))]
        whole = "".join(texts)
        at = whole.find(wanted)
        while at >= 0:
            span = _span(run, skipped, offsets, at, len(wanted))
            if _is_cut_between_words(run, span, len(wanted)):
                moved = span.moved(start)
                yield _fit(edit, board, moved.first, moved.last, run[span.first]), moved
            at = whole.find(wanted, at + 1)


def _fit(edit: Edit, board: Board, first: int, last: int, piece: Piece) -> tuple[int, int]:
    around = (piece.heading == edit.originals[0].heading) * 2
    around += (board.text_before(first) == edit.before) + (board.text_after(last) == edit.after)
    return around, -abs(piece.ordinal - edit.ordinal)


def _squeezed(text: str, cache: dict[str, str]) -> str:
    if text not in cache:
        cache[text] = "".join(text.split())
    return cache[text]


def _without_repeats(run: Sequence[Piece], cache: dict[str, str]) -> tuple[list[str], list[int]]:
    """Return the pieces' squeezed texts without what the one before ends with, and how much was left out of each."""
    texts, skipped = [], []
    before = ""
    for place, piece in enumerate(run):
        text = _squeezed(piece.text, cache)
        same = place > 0 and piece.heading == run[place - 1].heading
        repeated = _repeated(before, text) if same else 0
        texts.append(text[repeated:])
        skipped.append(repeated)
        before = text
    return texts, skipped


def _repeated(before: str, text: str) -> int:
    """Return how many characters that ``text`` begins with are the end of ``before``; 0 for a handful of them."""
    tail = before[-LONGEST_REPEAT:]
    at = tail.find(text[:PROBE]) if len(text) > PROBE else -1
    while at >= 0:
        if text.startswith(tail[at:]):
            return len(tail) - at
        at = tail.find(text[:PROBE], at + 1)
    return 0


def _span(run: Sequence[Piece], skipped: Sequence[int], offsets: Sequence[int], at: int, length: int) -> Span:
    first = bisect_right(offsets, at) - 1
    last = bisect_right(offsets, at + length - 1) - 1
    start = _offset(run[first].text, at - offsets[first] + (skipped[first] if at > offsets[first] else 0))
    end = _offset(run[last].text, at + length - 1 - offsets[last] + skipped[last]) + 1
    return Span(first=first, last=last, start=start, end=end)


def _offset(text: str, number: int) -> int:
    """Return where the character is that ``number`` others, white space left out, stand before."""
    for place, character in enumerate(text):
        if not character.isspace():
            if number == 0:
                return place
            number -= 1
    return len(text)


def _is_cut_between_words(run: Sequence[Piece], span: Span, length: int) -> bool:
    first, last = run[span.first].text, run[span.last].text
    left, right = first[: span.start], last[span.end :]
    if length < SHORTEST:
        return _ends_line(left) and _begins_line(right)
    return not (
        (left and _is_letter(left[-1]) and _is_letter(first[span.start]))
        or (right and _is_letter(right[0]) and span.end is not None and _is_letter(last[span.end - 1]))
    )


def _is_letter(character: str) -> bool:
    """Tell whether words are made of it in scripts that have spaces between words."""
    return character.isalnum() and ord(character) < 0x0E00


def _ends_line(text: str) -> bool:
    return not text.strip() or text.rstrip(" \t").endswith("\n")


def _begins_line(text: str) -> bool:
    return not text.strip() or text.lstrip(" \t").startswith("\n")
