"""Citations in an answer as it comes: each number is held against the passages that were packed. Pure.

A model is asked for ``[1]`` and writes that, ``[1, 2]``, ``[1-3]``, ``[^1]``, ``【1†source】`` or ``[Passage 1]`` too.
What it cites comes out in one form, ``[1][2]``, each number with its place; numbers that no passage has are taken
out, with the space before them, and counted. Untouched are code, links such as ``[1](https://…)``, and brackets that
hold anything else. ``word[1]`` is a citation: in prose it is far more often one than an index.

The text may come in any pieces; only the beginning of what may be a marker, and the spaces before it, are held back.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import regex  # type: ignore[import-untyped]

LONGEST_RANGE = 20
LONGEST_SPACE = 64
"""Spaces before a marker that are held back at most."""

# [1], [^1], [1, 2; 3], [1-3], [Passage 1], 【1†source】, 【4:0†handbook.pdf】. Longer numbers are years.
_WORD = r"(?:(?:passages?|sources?|documents?|docs?|refs?|quellen?|fuentes?|来源|來源|出典) ?:? ?)?"
_ITEM = r"[\^#]?\d{1,3}(?::\d{1,3})?(?:†[^\[\]【】\n,;]{0,80})?"
_SEPARATOR = r" ?(?:[,;–-]|and|und|et|y|&) ?"
_MARKER = regex.compile(rf"[\[【] ?{_WORD}{_ITEM}(?:{_SEPARATOR}{_WORD}{_ITEM}){{0,15}} ?[\]】]", regex.IGNORECASE)
_NUMBERS = re.compile(r"(?P<first>\d{1,3})(?::\d{1,3})?(?:†[^\[\]【】\n,;]*)?(?: ?[–-] ?[\^#]?(?P<last>\d{1,3}))?")
# What can be passed on as it is, all at once.
_PLAIN = re.compile(r"[^ \t\n\[【`~]+")
# What may stand before a fence on its line: quotes, bullets, numbers of lists.
_BEFORE_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*\Z")
_BEFORE_CLOSING_FENCE = re.compile(r"[ \t>]*\Z")
# Directly after these, a list of numbers is one.
_NO_CITATION_AFTER = frozenset("=∈")


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A marker in the answer: the number ``n`` stands at ``start`` and ends before ``end``, in Unicode characters."""

    n: int
    start: int
    end: int


class Citations:
    """The citations of one answer; ``numbers`` are those that can be cited.

    ``found`` grows as the answer comes, and ``invented`` counts the numbers that were taken out.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        self._numbers = frozenset(numbers)
        self._code = _Code()
        self._space = ""  # goes with the marker that may follow
        self._marker = ""  # what may become one
        self._is_gap = False  # a marker was taken out just now
        self._last = "\n"  # the last character that went out
        self._last_word = ""  # the last that is no space
        self._out: list[str] = []
        self._length = 0
        self.found: list[Citation] = []
        self.invented = 0

    def feed(self, text: str) -> str:
        """Return what of the answer may go out now that ``text`` came."""
        place = 0
        while place < len(text):
            plain = None if self._marker else _PLAIN.match(text, place)
            piece = plain[0] if plain else text[place]
            place += len(piece)
            self._code.feed(piece)
            self._take(piece)
        return self._taken_out()

    def finish(self) -> str:
        """Return what was held back, at the end of the answer."""
        if self._marker and _MARKER.fullmatch(self._marker):
            self._cite(self._marker)
        else:
            self._emit_space()
            self._emit(self._marker)
        self._marker = ""
        if not self._is_gap:
            self._emit_space()
        return self._taken_out()

    def _taken_out(self) -> str:
        text, self._out = "".join(self._out), []
        return text

    # --- a piece: plain text, or one character of any kind --------------------------------------------------------

    def _take(self, piece: str) -> None:
        if self._marker:
            if self._goes_on(piece):
                return
            if self._marker:  # it became none
                self._is_gap = False
                self._emit_space()
                self._emit(self._marker)
                self._marker = ""
        if piece in " \t":
            self._take_space(piece)
        elif piece in "[【" and not self._code.is_inside and self._last_word not in _NO_CITATION_AFTER:
            self._marker = piece
        else:
            self._end_gap(piece)
            self._emit_space()
            self._emit(piece)

    def _goes_on(self, character: str) -> bool:
        """Add ``character`` to the marker if it can be a part of one; a whole one ends with the character after it."""
        if _MARKER.fullmatch(self._marker):
            if character != "(":
                self._cite(self._marker)
                self._marker = ""
            return False
        if not _MARKER.fullmatch(self._marker + character, partial=True):
            return False
        self._marker += character
        return True

    def _take_space(self, piece: str) -> None:
        if self._is_gap:
            self._is_gap = False
            self._space = ""
            if self._last == "\n":
                return  # a line does not begin with the space after what was taken out of it
        if len(self._space) >= LONGEST_SPACE:
            self._emit_space()
        self._space += piece

    def _end_gap(self, piece: str) -> None:
        """Drop the space before what was taken out, unless it would now be missing between two words."""
        if self._is_gap:
            self._is_gap = False
            if not piece[0].isalnum():
                self._space = ""

    # --- a marker -------------------------------------------------------------------------------------------------

    def _cite(self, marker: str) -> None:
        numbers = list(dict.fromkeys(_numbers_in(marker)))
        if not numbers or 0 in numbers:
            self._end_gap(marker)
            self._emit_space()
            self._emit(marker)
            return
        known = [number for number in numbers if number in self._numbers]
        self.invented += len(numbers) - len(known)
        if not known:
            self._is_gap = True
            return
        self._is_gap = False
        self._emit_space()
        for number in known:
            start = self._length
            self._emit(f"[{number}]")
            self.found.append(Citation(n=number, start=start, end=self._length))

    # --- out ------------------------------------------------------------------------------------------------------

    def _emit_space(self) -> None:
        space, self._space = self._space, ""
        self._emit(space)

    def _emit(self, text: str) -> None:
        if text:
            self._out.append(text)
            self._length += len(text)
            self._last = text[-1]
            self._last_word = text.rstrip()[-1:] or self._last_word


def _numbers_in(marker: str) -> Iterator[int]:
    """Yield the numbers that ``marker`` names, a range's one by one; none where a range makes no sense."""
    for found in _NUMBERS.finditer(marker):
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if not first <= last <= first + LONGEST_RANGE:
            return
        yield from range(first, last + 1)


# --- code -------------------------------------------------------------------------------------------------------


class _Code:
    """Where code begins and ends in Markdown as it comes: between backticks on a line, between fences on lines.

    Code between backticks ends with its line at the latest, lest one stray backtick hide all that follows.
    """

    def __init__(self) -> None:
        self._line = ""  # what stands on the line before the run of fence characters, as far as it matters
        self._run = ""  # the backticks or tildes that came last
        self._fence = ""  # what opened the block we are in
        self._ticks = ""  # what opened the code on this line
        self._closes = False  # the block ends if nothing else comes on this line

    @property
    def is_inside(self) -> bool:
        return bool(self._fence or self._ticks)

    def feed(self, piece: str) -> None:
        """Take in plain text, or one character of another kind."""
        if piece in "`~" and (not self._run or self._run[0] == piece):
            self._run += piece
            return
        if self._run:
            run, self._run = self._run, ""
            self._take_run(run)
        if piece in "`~":
            self._run = piece
        elif piece == "\n":
            self._end_line()
        else:
            self._closes = self._closes and piece in " \t"
            self._line = (self._line + piece)[:40]

    def _take_run(self, run: str) -> None:
        before, self._line = self._line, f"{self._line}{run}"[:40]
        if self._fence:
            same = run[0] == self._fence[0] and len(run) >= len(self._fence)
            if same and self._ticks != self._fence:
                self._closes = bool(_BEFORE_CLOSING_FENCE.match(before))
            elif same and run[0] == "`":
                self._fence = self._ticks = ""  # it ends on the line it began on: code between three backticks
        elif self._ticks:
            if run == self._ticks:
                self._ticks = ""
        elif len(run) >= 3 and _BEFORE_FENCE.match(before):
            self._fence = self._ticks = run
        elif run[0] == "`":
            self._ticks = run

    def _end_line(self) -> None:
        if self._closes:
            self._fence = ""
        self._line = self._ticks = ""
        self._closes = False
