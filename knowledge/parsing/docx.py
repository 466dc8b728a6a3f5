"""Word documents (DOCX)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowledge.parsing.chart import write_chart
from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import broken
from knowledge.parsing.grid import write_rows
from knowledge.parsing.numbering import Numbering
from knowledge.parsing.opc import Package, is_on
from knowledge.parsing.source import Source
from knowledge.parsing.spans import Spans
from knowledge.parsing.xmltree import attribute, child, descendants, local

if TYPE_CHECKING:
    from lxml.etree import _Element

WHAT = "a Word document"
_HEADING = re.compile(r"heading\s*([1-9])", re.IGNORECASE)
# What was deleted or moved away under tracked changes, what is drawn, and the older twin of a newer drawing.
_PASSED = frozenset(("del", "moveFrom", "instrText", "delText", "Fallback", "rPr", "pPr", "sectPr"))
_WRAPPERS = frozenset(("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag"))
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


@dataclass(slots=True, kw_only=True)
class _Style:
    """What a paragraph style says: its level as a heading (1 is the highest, 0 none) and its list."""

    base: str = ""
    level: int = 0
    number: str = ""
    depth: int = 0


def read(source: Source, draft: Draft) -> None:
    """Write a Word document into ``draft``; raises ParseFailed."""
    package = Package(source.data, what=WHAT)
    package.read_properties(draft)
    main = package.main()
    root = package.part(main)
    body = child(root, "body")
    if body is None:
        raise broken(WHAT, detail="no body")
    _Reader(package, main, draft).write(body)


class _Reader:
    def __init__(self, package: Package, main: str, draft: Draft) -> None:
        self._package = package
        self._draft = draft
        self._relations = package.relations(main)
        self._styles = _styles(package.related(main, "styles"))
        self._numbering = Numbering(package.related(main, "numbering"))
        self._notes = {kind: _notes(package.related(main, f"{kind}s"), kind) for kind in ("footnote", "endnote")}
        self._cited: list[str] = []  # notes, in the order they are referred to
        self._list: list[tuple[int, str]] = []  # how deep, and the line

    def write(self, body: "_Element") -> None:
        for element in _unwrapped(body):
            name = local(element)
            if name == "p":
                self._paragraph(element)
            elif name == "tbl":
                self._end_list()
                self._table(element)
        self._end_list()
        self._draft.text("\n".join(self._cited))

    # --- paragraphs ------------------------------------------------------------------------------------------

    def _paragraph(self, element: "_Element") -> None:
        level, mark, depth = self._format(element)
        text = self._text(element).strip()
        boxes = [self._box(box) for box in descendants(element, "txbxContent") if not _in_fallback(box)]
        if level:
            self._end_list()
            self._draft.heading(f"{mark} {text}" if mark not in ("", "-") else text, level)
        elif mark and text:
            self._list.append((depth, f"{mark} {text}"))
        elif text:
            self._end_list()
            self._draft.text(text)
        for box in boxes:
            self._end_list()
            self._draft.text(box)
        self._drawings(element)

    def _format(self, element: "_Element") -> tuple[int, str, int]:
        """Return a paragraph's level as a heading, its mark in a list, and how deep in the list it is."""
        properties = child(element, "pPr")
        style = self._styles.get(_property(properties, "pStyle"), _Style())
        level = style.level
        outline = _property(properties, "outlineLvl")
        if outline.isdecimal():
            level = int(outline) + 1 if int(outline) < 9 else 0
        number = child(properties, "numPr")
        ident = _property(number, "numId") or style.number
        depth = _property(number, "ilvl")
        place = int(depth) if depth.isdecimal() and len(depth) < 2 else style.depth
        mark = self._numbering.next(ident, place) if ident not in ("", "0") else ""
        return level, mark, place

    def _text(self, element: "_Element") -> str:
        """Return the text of a paragraph as it reads with all changes accepted, without that of its boxes."""
        pieces: list[str] = []
        pending = [element]
        while pending:
            part = pending.pop()
            name = local(part)
            if name in _PASSED or name == "txbxContent":
                continue
            if name == "t":
                pieces.append(part.text or "")
            elif name in _BREAKS:
                pieces.append(_BREAKS[name])
            elif name == "sym":
                pieces.append(_symbol(attribute(part, "char")))
            elif name in ("footnoteReference", "endnoteReference"):
                pieces.append(self._cite(name.removesuffix("Reference"), attribute(part, "id")))
            elif not (name == "r" and is_on(child(part, "rPr", "vanish"))):
                pending.extend(reversed(part))
        return "".join(pieces)

    def _cite(self, kind: str, ident: str) -> str:
        note = self._notes[kind].get(ident)
        if note is None:
            return ""
        text = " ".join(filter(None, (self._text(paragraph).strip() for paragraph in descendants(note, "p"))))
        if not text:
            return ""
        mark = f"[{len(self._cited) + 1}]"
        self._cited.append(f"{mark} {text}")
        return mark

    def _box(self, box: "_Element") -> str:
        return "\n".join(filter(None, (self._text(paragraph) for paragraph in descendants(box, "p"))))

    def _end_list(self) -> None:
        least = min((depth for depth, _ in self._list), default=0)
        self._draft.text("\n".join("  " * (depth - least) + line for depth, line in self._list))
        self._list.clear()

    def _drawings(self, element: "_Element") -> None:
        for drawing in descendants(element, "drawing"):
            described = next((attribute(part, "descr") for part in descendants(drawing, "docPr")), "")
            if described.strip():
                self._end_list()
                self._draft.text(f"Picture: {described}")
            for chart in descendants(drawing, "chart"):
                _, target = self._relations.get(attribute(chart, "id"), ("", ""))
                root = self._package.part(target) if target else None
                if root is not None:
                    self._end_list()
                    write_chart(root, self._draft)

    # --- tables ----------------------------------------------------------------------------------------------

    def _table(self, table: "_Element") -> None:
        rows = [row for row in _unwrapped(table) if local(row) == "tr"]
        spans = Spans()
        above: dict[int, str] = {}  # the text of cells that go on in the next row, by their column
        for row in rows:
            spans.row()
            spans.skip(_count(child(row, "trPr"), "gridBefore", 0))
            for cell in _unwrapped(row):
                if local(cell) != "tc":
                    continue
                column = len(spans.rows[-1])
                merged = child(cell, "tcPr", "vMerge")
                text = self._cell(cell)
                if merged is None:
                    above.pop(column, None)
                elif attribute(merged, "val") == "restart":
                    above[column] = text
                else:
                    text = above.get(column, text)
                spans.cell(text, width=_count(child(cell, "tcPr"), "gridSpan", 1))
        if spans.full:
            self._draft.warn("A table was too large to be read to its end.")
        named = bool(rows) and is_on(child(rows[0], "trPr", "tblHeader"))
        write_rows(self._draft, spans.finish(), has_header=named or None)

    def _cell(self, cell: "_Element") -> str:
        """Return the text of a cell, of tables in it too."""
        return " ".join(filter(None, (self._text(paragraph).strip() for paragraph in descendants(cell, "p"))))


# --- what the parts say. Pure. --------------------------------------------------------------------------------


def _unwrapped(element: "_Element") -> "Iterator[_Element]":
    """Yield an element's children, those in content controls and tracked insertions too."""
    pending = list(reversed(element))
    while pending:
        part = pending.pop()
        if local(part) in _WRAPPERS:
            pending.extend(reversed(part))
        else:
            yield part


def _property(properties: "_Element | None", name: str) -> str:
    found = child(properties, name)
    return "" if found is None else attribute(found, "val")


def _count(properties: "_Element | None", name: str, default: int) -> int:
    value = _property(properties, name)
    return int(value) if value.isdecimal() and len(value) < 5 else default


def _styles(root: "_Element | None") -> dict[str, _Style]:
    """Return the paragraph styles by id, each with what it inherits."""
    styles: dict[str, _Style] = {}
    for element in () if root is None else descendants(root, "style"):
        properties = child(element, "pPr")
        number = child(properties, "numPr")
        depth = _property(number, "ilvl")
        styles[attribute(element, "styleId")] = _Style(
            base=_property(element, "basedOn"),
            level=_level(_property(element, "name"), _property(properties, "outlineLvl")),
            number=_property(number, "numId"),
            depth=int(depth) if depth.isdecimal() and len(depth) < 2 else 0,
        )
    for style in styles.values():
        base, seen = styles.get(style.base), 0
        while base is not None and seen < 20:  # styles may be based on each other in a circle
            style.level = style.level or base.level
            style.number, style.depth = (style.number, style.depth) if style.number else (base.number, base.depth)
            base, seen = styles.get(base.base), seen + 1
    return styles


def _level(name: str, outline: str) -> int:
    """Return the level of a style's headings; Word's own styles are called in English in every language."""
    if outline.isdecimal() and int(outline) < 9:
        return int(outline) + 1
    if match := _HEADING.fullmatch(name.strip()):
        return int(match[1])
    return 1 if name.strip().lower() == "title" else 0


def _notes(root: "_Element | None", kind: str) -> "dict[str, _Element]":
    return {} if root is None else {attribute(note, "id"): note for note in descendants(root, kind)}


def _in_fallback(element: "_Element") -> bool:
    return any(local(parent) == "Fallback" for parent in element.iterancestors())


def _symbol(code: str) -> str:
    try:
        return chr(int(code, 16))
    except (ValueError, OverflowError):
        return ""
