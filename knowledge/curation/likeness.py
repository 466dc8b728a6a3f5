"""The place in a new reading that is most like what an edit was made of, where that is not there any more. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from knowledge.curation.board import Board, Span
from knowledge.curation.edit import Edit, joined

ALIKE = 0.5
"""From this share of common words on a text is taken for another version of an original, wherever it stands."""
ALIKE_BETWEEN = 0.25
"""The same for a text between the very two that stood around the original."""
NEAR = 8
"""Places before and after the expected one that are looked at."""
FAR = 3
"""Places elsewhere, those with most words in common, that are looked at."""
MOST = 6
"""Places that are compared in full."""
_WORD = re.compile(r"\w+")
_PARAGRAPH = re.compile(r"[^\n]*[^\s][^\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paragraph:
    """A paragraph or line of the piece in slot ``place``, from character ``start`` to ``end``."""

    place: int
    start: int
    end: int
    text: str


def likest(edit: Edit, board: Board, words_of: dict[str, frozenset[str]]) -> Span | None:
    """Return where something like the edit's originals stands, None if there is nothing; ``words_of`` is a cache."""
    text = joined(edit.originals)
    wanted = _words(text)
    number = len(_PARAGRAPH.findall(text))
    best, where = 0.0, None
    for paragraphs in _groups(board, _likely(edit, board, frozenset(wanted), words_of)):
        for window in _windows(paragraphs, number):
            span = _span(window, board)
            whole = span.start == 0 and span.end is None
            around = board.text_before(span.first) == edit.before and board.text_after(span.last) == edit.after
            likeness = _likeness(wanted, _words("\n".join(one.text for one in window)))
            if likeness < (ALIKE_BETWEEN if whole and around else ALIKE):
                continue
            same = board.slots[span.first].pieces[0].heading == edit.originals[0].heading
            score = likeness + 0.1 * (around + same)
            if score > best:
                best, where = score, span
    return where


def place_between(edit: Edit, board: Board) -> int:
    """Return before which slot an edit belongs of which nothing is left, going by what stood around it."""
    for place, slot in enumerate(board.slots):
        if edit.before and slot.pieces and slot.pieces[-1].text == edit.before:
            return place + 1
    for place, slot in enumerate(board.slots):
        if edit.after and slot.pieces and slot.pieces[0].text == edit.after:
            return place
    if not edit.before:
        return 0
    later = (place for place, slot in enumerate(board.slots) if slot.pieces and slot.pieces[0].ordinal >= edit.ordinal)
    return next(later, len(board.slots))


def _words(text: str) -> tuple[str, ...]:
    """Return the words of a text; of a script without spaces its characters."""
    words = _WORD.findall(text)
    return tuple(words) if len(words) * 15 >= len(text) else tuple("".join(text.split()))


def _likely(edit: Edit, board: Board, wanted: frozenset[str], words_of: dict[str, frozenset[str]]) -> list[int]:
    """Return the places in whose pieces it is worth looking closely, in order."""
    expected = place_between(edit, board)
    near: list[tuple[int, int, int]] = []
    far: list[tuple[int, int, int]] = []
    for place, slot in enumerate(board.slots):
        if slot.piece is None:
            continue
        if slot.piece.text not in words_of:
            words_of[slot.piece.text] = frozenset(_words(slot.piece.text))
        shared = len(wanted & words_of[slot.piece.text])
        (near if abs(place - expected) <= NEAR else far).append((shared, -abs(place - expected), place))
    chosen = [*sorted(near, reverse=True)[: MOST - FAR], *sorted(far, reverse=True)[:FAR]]
    expected_too = {place for place in (expected - 1, expected) if 0 <= place < len(board.slots)}
    return sorted({place for _, _, place in chosen} | {place for place in expected_too if board.slots[place].piece})


def _groups(board: Board, places: Sequence[int]) -> Iterator[list[_Paragraph]]:
    """Yield the paragraphs of pieces that stand next to each other."""
    group: list[_Paragraph] = []
    before = -1
    for place in places:
        if group and place != before + 1:
            yield group
            group = []
        text = board.slots[place].pieces[0].text
        group += [
            _Paragraph(place=place, start=match.start(), end=match.end(), text=match[0])
            for match in _PARAGRAPH.finditer(text)
        ]
        before = place
    if group:
        yield group


def _windows(paragraphs: Sequence[_Paragraph], number: int) -> Iterator[Sequence[_Paragraph]]:
    """Yield about as many neighbouring paragraphs as the originals have, and all of a piece."""
    for first in range(len(paragraphs)):
        place = paragraphs[first].place
        whole = sum(one.place == place for one in paragraphs[first:])
        for size in sorted({max(1, number - 1), number, number + 1, whole}):
            if first + size <= len(paragraphs):
                yield paragraphs[first : first + size]


def _span(window: Sequence[_Paragraph], board: Board) -> Span:
    first, last = window[0], window[-1]
    opens = not board.slots[first.place].pieces[0].text[: first.start].strip()
    closes = not board.slots[last.place].pieces[0].text[last.end :].strip()
    return Span(first=first.place, last=last.place, start=0 if opens else first.start, end=None if closes else last.end)


def _likeness(one: Sequence[str], other: Sequence[str]) -> float:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    if matcher.real_quick_ratio() < ALIKE_BETWEEN or matcher.quick_ratio() < ALIKE_BETWEEN:
        return 0.0
    return matcher.ratio()
