"""PDF documents, by pdfium."""

import ctypes
import math
import re
import threading
from typing import TYPE_CHECKING

from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import ParseFailed, broken, encrypted
from knowledge.parsing.layout import Line, Page, write_pages
from knowledge.parsing.source import Source

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

WHAT = "a PDF"
MOST_PAGES = 10_000
LEAST_CHARACTERS = 12  # of a page with a picture that is not one scanned
_FACTS = {"Author": "author", "Subject": "subject", "Keywords": "keywords"}
_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")
_UNNAMED = re.compile(
    r"(?:microsoft word|powerpoint presentation|untitled|document)\b.*|.*\.(?:docx?|pdf|indd|tex|dvi)", re.I
)
LINE_FEED = 10
HYPHENS = (0x02, 0xFFFE)  # pdfium's signs for a hyphen that parts a word, in place of it and of the line's end
LINE_ENDS = (LINE_FEED, 13, *HYPHENS)
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_PRIVATE = range(0xE000, 0xF900)

_pdfium = threading.Lock()  # the library is one state machine for the whole process


def read(source: Source, draft: Draft) -> None:
    """Write the pages of a PDF into ``draft``; raises ParseFailed."""
    with _pdfium:
        document = _opened(source.data)
        try:
            _read_properties(document, draft)
            pages = _read_pages(document, draft)
        finally:
            document.close()
    write_pages(pages, draft)


def _opened(data: bytes) -> "PdfDocument":
    from pypdfium2 import PdfDocument, PdfiumError
    from pypdfium2.raw import FPDF_ERR_PASSWORD

    try:
        return PdfDocument(data)
    except PdfiumError as error:
        # The code is that of an earlier document when the library finds no page in this one.
        if error.err_code == FPDF_ERR_PASSWORD and b"/Encrypt" in data:
            raise encrypted("The PDF") from error
        raise broken(WHAT, detail=str(error)) from error


def _read_properties(document: "PdfDocument", draft: Draft) -> None:
    facts = document.get_metadata_dict(skip_empty=True)
    title = facts.get("Title", "").strip()
    draft.title = "" if _UNNAMED.fullmatch(title) else title
    draft.note(**{_FACTS[key]: value for key, value in facts.items() if key in _FACTS})
    for key, fact in (("CreationDate", "created"), ("ModDate", "modified")):
        if match := _DATE.match(facts.get(key, "")):
            draft.note(**{fact: "-".join(match.groups())})


def _read_pages(document: "PdfDocument", draft: Draft) -> list[Page]:
    """Return the pages that hold text; raises ParseFailed when none does."""
    from pypdfium2 import PdfiumError

    count = len(document)
    if not count:
        raise broken(WHAT, detail="no pages")
    pages, pictures, damaged = [], [], []
    for number in range(1, min(count, MOST_PAGES) + 1):
        try:
            page = document[number - 1]
        except PdfiumError:
            damaged.append(number)
            continue
        try:
            lines = _lines(page)
            little = sum(len(line.text) for line in lines) < LEAST_CHARACTERS  # a number stamped on a scan, or nothing
            if (little and _has_picture(page)) or not _is_readable(lines):
                pictures.append(number)
            elif lines:
                pages.append(Page(number=number, height=page.get_height(), lines=lines))
        except PdfiumError:
            damaged.append(number)
        finally:
            page.close()
    _tell(draft, pages, pictures, damaged)
    if count > MOST_PAGES:
        draft.warn(f"Only the first {MOST_PAGES:,} of {count:,} pages were read.")
    return pages


def _tell(draft: Draft, pages: list[Page], pictures: list[int], damaged: list[int]) -> None:
    if not pages and pictures:
        raise ParseFailed(
            "scanned",
            "The PDF holds pictures of pages and no text. Run OCR over it and upload the result; or have the optional "
            "OCR of this server installed (pip install docling) and switched on (KNOWLEDGE_OCR=on).",
        )
    if not pages and damaged:
        raise broken(WHAT, detail=f"{len(damaged)} pages")
    if pictures:
        draft.warn(f"Pages without readable text (scanned, or drawn) were left out: {_ranges(pictures)}.")
    if damaged:
        draft.warn(f"Damaged pages were left out: {_ranges(damaged)}.")


def _ranges(numbers: list[int]) -> str:
    """Return ``numbers``, ascending, as people write them: 1–3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    said = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(said[:50]) + (", …" if len(said) > 50 else "")


def _is_readable(lines: list[Line]) -> bool:
    """Tell whether a page's characters are letters: some fonts do not say which, and give rubbish."""
    text = "".join(line.text for line in lines)
    odd = sum(1 for character in text if character == "\ufffd" or ord(character) in _PRIVATE or ord(character) < 32)
    return odd * 3 <= len(text)


def _has_picture(page: "PdfPage") -> bool:
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    return next(iter(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=3)), None) is not None


def _lines(page: "PdfPage") -> list[Line]:
    """Return the lines of a page in the order of its content, with their places and sizes in points."""
    from pypdfium2 import raw

    text = page.get_textpage()
    try:
        count = raw.FPDFText_CountChars(text)
        characters = [raw.FPDFText_GetUnicode(text, index) for index in range(count)]
        lines, start = [], 0
        for index, code in enumerate([*characters, LINE_FEED]):
            if code not in LINE_ENDS:
                continue
            if line := _line(text, characters, start, index, hyphen=code in HYPHENS):
                lines.append(line)
            start = index + 1
        return lines
    finally:
        text.close()


def _line(text: object, characters: list[int], start: int, end: int, *, hyphen: bool) -> Line | None:
    said = "".join(_LIGATURES.get(code) or chr(code) for code in characters[start:end] if 0 < code < 0x110000)
    visible = [index for index in range(start, end) if characters[index] > 32]
    if not said.strip() or not visible:
        return None
    first, last = _box(text, visible[0]), _box(text, visible[-1])
    samples = [visible[0], visible[len(visible) // 2], visible[-1]]
    styles = {_style(text, index) for index in samples}
    return Line(
        text=said.strip(),
        left=min(first[0], last[0]),
        right=max(first[2], last[2]),
        bottom=first[1],
        size=sorted(_size(text, index) for index in samples)[1],
        style=styles.pop() if len(styles) == 1 else "",
        hyphen=hyphen,
    )


def _box(text: object, index: int) -> tuple[float, float, float, float]:
    """Return left, bottom, right and top of a character with the room its font gives it."""
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text, index, box)
    return box.left, box.bottom, box.right, box.top


def _size(text: object, index: int) -> float:
    """Return a character's size as it is seen: some programs write in size 1 and scale."""
    from pypdfium2 import raw

    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(text, index, matrix)
    return round(float(raw.FPDFText_GetFontSize(text, index)) * math.hypot(matrix.b, matrix.d) * 2) / 2


def _style(text: object, index: int) -> str:
    """Return "bold", "italic" or "" of a character, as the name of its font says."""
    from pypdfium2 import raw

    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    raw.FPDFText_GetFontInfo(text, index, name, len(name), flags)
    said = name.value.lower()
    if any(word in said for word in (b"bold", b"black", b"heavy", b"cmbx", b"-medi")):
        return "bold"
    return "italic" if any(word in said for word in (b"italic", b"oblique", b"ital", b"cmti")) else ""
