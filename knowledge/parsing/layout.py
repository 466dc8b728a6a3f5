"""Lines on pages as headings and paragraphs. Pure; lengths are points, upwards from the page's foot."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from knowledge.parsing.draft import Draft

MARGIN = 0.1  # of a page's height, where running titles and page numbers stand
LEAST_REPEATED = 3  # pages; what stands on fewer is no running title
HEADING_SIZE = 1.12  # times the text's
LONGEST_HEADING = 160
MOST_HEADING_LINES = 3
LONGEST_LABEL = 60
_PAGE_NUMBER = re.compile(
    r"(?:page|seite|p\.)?\s*[-–(]?\s*(?:\d{1,4}|[ivxlc]{1,7})(?:\s*[-–/.|]\s*\d{1,4}|\s+(?:of|von)\s+\d{1,4})?\s*[-–)]?",
    re.I,
)
_BULLET = re.compile(r"(?:[•‣▪◦●○■□➢✓–—·*-]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})[.)])\s+\S", re.I)
_SENTENCE_END = (".", "!", "?", ":", ";", "。", "！", "？", "…", "”", '"', ")")
_LEADERS = re.compile(r"(?:\. ?){4}|_{4}")  # of a table of contents, or a line to fill in
_CAPTION = re.compile(r"(?:figure|fig\.|table|abbildung|tabelle)\s*\d", re.I)
_LETTERS = re.compile(r"[^\W\d_]{2}")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line, or as much of it as was written at once.

    ``size`` is its font's; ``style`` "bold" or "italic" if all of it is; ``hyphen`` says that its last word goes on in
    the next line.
    """

    text: str
    left: float
    right: float
    bottom: float
    size: float
    style: str = ""
    hyphen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    number: int
    height: float
    lines: Sequence[Line]


@dataclass(slots=True)
class _Paragraph:
    lines: list[Line] = field(default_factory=list)

    @property
    def size(self) -> float:
        return self.lines[0].size

    @property
    def style(self) -> str:
        styles = {line.style for line in self.lines}
        return styles.pop() if len(styles) == 1 else ""

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


def write_pages(pages: Sequence[Page], draft: Draft) -> None:
    """Write ``pages`` into ``draft`` without running titles and page numbers."""
    running = _running(pages)
    lines = {page.number: list(_without(page, running)) for page in pages}
    words = Counter(word.lower() for some in lines.values() for line in some for word in _WORD.findall(line.text))
    paragraphs = {number: list(_paragraphs(some)) for number, some in lines.items()}
    headings = _Headings([paragraph for some in paragraphs.values() for paragraph in some])
    for number, some in paragraphs.items():
        draft.page = number
        labels: list[str] = []
        for paragraph in some:
            text = _joined(paragraph.lines, words)
            level = headings.level(paragraph)
            if not level and _is_label(text):
                labels.append(text)  # in a figure, or cells of a table: they mean more together
                continue
            draft.text("\n".join(labels))
            labels = []
            if level:
                draft.heading(text, level)
            else:
                draft.text(text)
        draft.text("\n".join(labels))


def _is_label(text: str) -> bool:
    return len(text) <= LONGEST_LABEL and not text.endswith(_SENTENCE_END)


# --- what stands on every page -------------------------------------------------------------------------------


_Shape = tuple[str, int]


def _running(pages: Sequence[Page]) -> frozenset[_Shape]:
    """Return what stands at the same height of the head or foot of several pages, numbers aside."""
    seen = Counter[_Shape]()
    for page in pages:
        seen.update({_shape(line) for line in page.lines if _is_in_margin(line, page)})
    return frozenset(shape for shape, count in seen.items() if count >= LEAST_REPEATED)


def _shape(line: Line) -> _Shape:
    return re.sub(r"\d+", "#", line.text).strip().lower(), round(line.bottom / 4)


def _is_in_margin(line: Line, page: Page) -> bool:
    return line.bottom < page.height * MARGIN or line.bottom > page.height * (1 - MARGIN)


def _without(page: Page, running: frozenset[_Shape]) -> Iterator[Line]:
    for line in page.lines:
        if _is_in_margin(line, page) and (_shape(line) in running or _PAGE_NUMBER.fullmatch(line.text)):
            continue
        yield line


# --- paragraphs ----------------------------------------------------------------------------------------------


def _paragraphs(lines: Iterable[Line]) -> Iterator[_Paragraph]:
    paragraph = _Paragraph()
    for line in lines:
        if paragraph.lines and _begins(line, paragraph):
            yield paragraph
            paragraph = _Paragraph()
        paragraph.lines.append(line)
    if paragraph.lines:
        yield paragraph


def _begins(line: Line, paragraph: _Paragraph) -> bool:
    """Tell whether ``line`` begins a paragraph rather than going on with ``paragraph``."""
    last = paragraph.lines[-1]
    step = last.bottom - line.bottom
    if abs(step) < line.size * 0.4:  # beside it: a column of a table, or a raised character
        return False
    if step < 0 or step > 3 * last.size:
        return not _goes_on(last, line)  # another column, or across a picture
    if _differs(line, last, paragraph):
        return True
    if _BULLET.match(line.text) and not _BULLET.match(paragraph.lines[0].text):
        return line.left <= paragraph.lines[0].left + 3 * line.size and last.text.endswith(_SENTENCE_END)
    usual = paragraph.lines[-2].bottom - last.bottom if len(paragraph.lines) > 1 else last.size * 1.35
    if step > max(usual * 1.25, last.size * 1.3) and step > usual + 2:
        return True
    right = max(one.right for one in paragraph.lines)
    ended = last.text.endswith(_SENTENCE_END) and not last.hyphen
    short = last.right < right - 4 * last.size if len(paragraph.lines) > 1 else False
    indented = line.left > min(one.left for one in paragraph.lines) + 0.8 * line.size and line.left > last.left + 2
    return ended and (short or indented)


def _differs(line: Line, last: Line, paragraph: _Paragraph) -> bool:
    """Tell whether ``line`` is set in another size than ``paragraph``, or another style."""
    if abs(line.size - last.size) > 0.12 * max(last.size, 1) and len(line.text) > 3 and len(last.text) > 3:
        return True
    return line.style != last.style and (paragraph.style or line.style) != "" and line.text[:1].isupper()


def _goes_on(last: Line, line: Line) -> bool:
    """Tell whether a sentence goes on in another column."""
    same = abs(line.size - last.size) <= 0.06 * max(last.size, 1) and line.style == last.style
    return same and (last.hyphen or (line.text[:1].islower() and not last.text.endswith(_SENTENCE_END)))


def _joined(lines: Sequence[Line], words: Counter[str]) -> str:
    """Return lines as running text; what is no running text (verse, lists, columns of figures) stays in lines."""
    text = lines[0].text
    for last, line in itertools.pairwise(lines):
        if last.hyphen or (last.text.endswith("-") and line.text[:1].islower()):
            text = _unhyphenated(text, line.text, words)
        elif line.text.startswith("⁄"):  # fractions are set in three pieces
            text += line.text
        elif _BULLET.match(line.text) or _ends_short(last, line, lines):
            text += f"\n{line.text}"
        else:
            text += f" {line.text}"
    return text


def _ends_short(last: Line, line: Line, lines: Sequence[Line]) -> bool:
    """Tell whether ``last`` ends well before other lines of its column do, and ``line`` is below it."""
    if last.bottom - line.bottom < line.size * 0.4:
        return False
    column = [one for one in lines if abs(one.left - last.left) < 4 * last.size]
    left, right = min(one.left for one in column), max(one.right for one in column)
    return last.right < right - 0.3 * (right - left)


def _unhyphenated(text: str, rest: str, words: Counter[str]) -> str:
    """Join a word parted at a line's end: with its hyphen if the document has it so, or has its halves as words."""
    text = text.removesuffix("-")
    first = re.search(r"[^\W\d_]+\Z", text)
    second = re.match(r"[^\W\d_]+", rest)
    if not first or not second:
        return f"{text}-{rest}"
    whole, parted = (first[0] + second[0]).lower(), f"{first[0]}-{second[0]}".lower()
    if words[whole] or not (words[parted] or (words[first[0].lower()] > 1 and words[second[0].lower()] > 1)):
        return text + rest
    return f"{text}-{rest}"


# --- headings ------------------------------------------------------------------------------------------------


class _Headings:
    """Tells which paragraphs are headings: by size, and where a style is used for little else, by style."""

    def __init__(self, paragraphs: Sequence[_Paragraph]) -> None:
        sizes, styles = Counter[float](), Counter[str]()
        for paragraph in paragraphs:
            sizes[paragraph.size] += len(paragraph.text)
            styles[paragraph.style] += len(paragraph.text)
        self._body = sizes.most_common(1)[0][0] if sizes else 0.0
        self._plain = styles.most_common(1)[0][0] if styles else ""
        larger = {
            paragraph.size
            for paragraph in paragraphs
            if paragraph.size >= self._body * HEADING_SIZE and _may_be_heading(paragraph)
        }
        self._levels = {size: min(level, 6) for level, size in enumerate(sorted(larger, reverse=True), start=1)}

    def level(self, paragraph: _Paragraph) -> int:
        """Return the level of ``paragraph`` as a heading, 0 for none."""
        if not _may_be_heading(paragraph):
            return 0
        if paragraph.size in self._levels:
            return self._levels[paragraph.size]
        styled = paragraph.style not in ("", self._plain) and paragraph.size >= self._body * 0.98
        if not styled or not _may_be_styled_heading(paragraph):
            return 0
        return min(len(self._levels) + (1 if paragraph.style == "bold" else 2), 6)


def _may_be_heading(paragraph: _Paragraph) -> bool:
    text = paragraph.text
    return (
        len(paragraph.lines) <= MOST_HEADING_LINES
        and len(text) <= LONGEST_HEADING
        and bool(_LETTERS.search(text))
        and not text.endswith((",", ";"))
        and not _LEADERS.search(text)
    )


def _may_be_styled_heading(paragraph: _Paragraph) -> bool:
    text = paragraph.text
    return (
        len(text) <= LONGEST_HEADING / 2
        and (text[:1].isupper() or text[:1].isdigit())
        and not text.endswith((".", ":"))
        and not _CAPTION.match(text)
    )
