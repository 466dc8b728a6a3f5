"""OpenDocument texts and presentations (ODT, ODP)."""

from typing import TYPE_CHECKING

from knowledge.parsing.archive import Archive
from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import broken, encrypted
from knowledge.parsing.grid import write_rows
from knowledge.parsing.source import Source
from knowledge.parsing.spans import MOST_SPANNED, Spans
from knowledge.parsing.xmltree import all_text, attribute, child, descendants, local, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

WHAT = "an OpenDocument file"
# Indexes repeat the headings; comments, deletions and scripts are not the text.
_PASSED = frozenset((
    "tracked-changes", "annotation", "annotation-end", "table-of-content", "alphabetical-index", "illustration-index",
    "table-index", "bibliography", "forms", "sequence-decls", "variable-decls", "event-listeners", "settings",
))  # fmt: skip
_FACTS = {"initial-creator": "author", "creator": "author", "creation-date": "created", "date": "modified",
          "subject": "subject", "keyword": "keywords"}  # fmt: skip
MOST_SPACES = 100


def read(source: Source, draft: Draft) -> None:
    """Write an OpenDocument text or presentation into ``draft``; raises ParseFailed."""
    archive = Archive(source.data, what=WHAT)
    if b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise encrypted("The document")
    if "content.xml" not in archive:
        raise broken(WHAT, detail="no content.xml")
    if "meta.xml" in archive:
        _read_properties(parse_xml(archive.read("meta.xml"), what=WHAT), draft)
    body = child(parse_xml(archive.read("content.xml"), what=WHAT), "body")
    if body is None:
        raise broken(WHAT, detail="no body")
    reader = _Reader(draft)
    for element in body:
        reader.write(element)
    reader.finish()


def _read_properties(root: "_Element", draft: Draft) -> None:
    meta = child(root, "meta")
    for element in () if meta is None else meta:
        name = local(element)
        if name == "title":
            draft.title = all_text(element)
        elif name == "language":
            draft.language = all_text(element)
        elif name in _FACTS:
            draft.note(**{_FACTS[name]: all_text(element)})


class _Reader:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._notes: list[str] = []

    def write(self, element: "_Element") -> None:
        """Write ``element`` and what is in it. Recursive: the XML parser allows 256 levels."""
        name = local(element)
        if name in _PASSED:
            return
        if name == "h":
            level = attribute(element, "outline-level")
            self._draft.heading(self._text(element), int(level) if level.isdecimal() and len(level) < 3 else 1)
            self._inner(element)
        elif name == "p":
            self._draft.text(self._text(element))
            self._inner(element)
        elif name == "list":
            self._draft.text("\n".join(self._items(element)))
        elif name == "table":
            self._table(element)
        elif name == "page":
            self._draft.page = (self._draft.page or 0) + 1
            self._children(element)
        elif name == "notes":  # of a slide
            text = "\n".join(filter(None, (self._text(paragraph) for paragraph in descendants(element, "p"))))
            self._draft.text(f"Notes: {text}" if text else "")
        elif name == "frame" and attribute(element, "class") == "title":
            self._draft.heading(" ".join(self._text(paragraph) for paragraph in descendants(element, "p")), 1)
        else:
            self._described(element)
            self._children(element)

    def finish(self) -> None:
        """Write the notes that were referred to."""
        self._draft.text("\n".join(self._notes))

    def _children(self, element: "_Element") -> None:
        for part in element:
            self.write(part)

    def _inner(self, paragraph: "_Element") -> None:
        """Write the boxes and pictures that are anchored in a paragraph."""
        for frame in descendants(paragraph, "frame"):
            if not any(local(parent) == "frame" for parent in frame.iterancestors()):
                self.write(frame)

    def _described(self, element: "_Element") -> None:
        if local(element) == "frame":
            words = (all_text(child(element, "desc")) or all_text(child(element, "title"))).strip()
            self._draft.text(f"Picture: {words}" if words else "")

    def _text(self, element: "_Element") -> str:
        """Return the text of a paragraph; notes become numbers, boxes are left out."""
        pieces: list[str] = []
        pending: list[_Element | str] = [element]
        while pending:
            part = pending.pop()
            if isinstance(part, str):
                pieces.append(part)
                continue
            name = local(part)
            if name == "note":
                pieces.append(self._cite(part))
            elif name in ("s", "tab", "line-break"):
                pieces.append(_gap(part, name))
            elif name not in _PASSED and name not in ("frame", "desc", "title"):
                pieces.append(part.text or "")
                for inner in reversed(part):
                    pending.extend([inner.tail or "", inner])
        return "".join(pieces).strip()

    def _cite(self, note: "_Element") -> str:
        body = child(note, "note-body")
        text = "" if body is None else " ".join(self._text(paragraph) for paragraph in descendants(body, "p"))
        if not text.strip():
            return ""
        mark = f"[{len(self._notes) + 1}]"
        self._notes.append("")  # its place, should the note itself refer to one
        self._notes[int(mark[1:-1]) - 1] = f"{mark} {text}"
        return mark

    def _items(self, element: "_Element", depth: int = 0) -> list[str]:
        """Return the lines of a list."""
        lines = []
        for item in element:
            mark = "- "
            for part in item:
                if local(part) == "list":
                    lines.extend(self._items(part, depth + 1))
                elif local(part) in ("p", "h") and (text := self._text(part)):
                    lines.append("  " * depth + mark + text)
                    mark = "  "
        return lines

    def _table(self, table: "_Element") -> None:
        spans = Spans()
        headers = child(table, "table-header-rows")
        for row in descendants(table, "table-row"):
            repeated = _repeated(row, "number-rows-repeated")
            for _ in range(repeated if repeated < MOST_SPANNED else 1):  # the last, empty one fills the sheet
                spans.row()
                for cell in row:
                    self._cell(cell, spans)
        if spans.full:
            self._draft.warn("A table was too large to be read to its end.")
        write_rows(self._draft, spans.finish(), has_header=True if headers is not None else None)

    def _cell(self, cell: "_Element", spans: Spans) -> None:
        if local(cell) != "table-cell":  # what a merged cell covers comes from the cell itself
            return
        text = " ".join(filter(None, (self._text(paragraph) for paragraph in descendants(cell, "p", "h"))))
        width, height = _repeated(cell, "number-columns-spanned"), _repeated(cell, "number-rows-spanned")
        repeated = _repeated(cell, "number-columns-repeated")
        for _ in range(repeated if text else min(repeated, MOST_SPANNED)):
            spans.cell(text, width=width, height=height)


def _repeated(element: "_Element", name: str) -> int:
    value = attribute(element, name)
    return min(int(value), MOST_SPANNED) if value.isdecimal() and len(value) < 9 else 1


def _gap(element: "_Element", name: str) -> str:
    if name == "s":
        count = attribute(element, "c")
        return " " * (min(int(count), MOST_SPACES) if count.isdecimal() and len(count) < 6 else 1)
    return "\t" if name == "tab" else "\n"
