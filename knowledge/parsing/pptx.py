"""Presentations (PPTX): a page a slide."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from knowledge.blocks import Block, BlockKind
from knowledge.parsing.chart import write_chart
from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import broken
from knowledge.parsing.grid import write_rows
from knowledge.parsing.opc import Package
from knowledge.parsing.source import Source
from knowledge.parsing.spans import Spans
from knowledge.parsing.xmltree import all_text, attribute, child, descendants, local

if TYPE_CHECKING:
    from lxml.etree import _Element

WHAT = "a presentation"
TITLES = frozenset(("title", "ctrTitle"))
REPEATED = frozenset(("sldNum", "ftr", "dt", "hdr"))  # stands on every slide


def read(source: Source, draft: Draft) -> None:
    """Write the slides of a presentation into ``draft``, with their notes; raises ParseFailed."""
    package = Package(source.data, what=WHAT)
    package.read_properties(draft)
    if draft.title.strip().lower() in ("powerpoint presentation", "powerpoint-präsentation", "presentation"):
        draft.title = ""  # what PowerPoint calls what nobody called anything
    main = package.main()
    root, relations = package.part(main), package.relations(main)
    slides = child(root, "sldIdLst")
    if slides is None:
        raise broken(WHAT, detail="no slides")
    missing = []
    for number, slide in enumerate(slides, start=1):
        _, part = relations.get(slide.get(_relation_id(slide)) or "", ("", ""))
        found = package.part(part) if part else None
        if found is None:
            missing.append(number)
            continue
        draft.page = number
        before = len(draft.blocks)
        _Slide(package, part, draft).write(found)
        _number(draft, before)
    draft.title = draft.title or source.stem  # rather than a slide's number
    if missing:
        draft.warn(f"Slides that are missing in the file: {', '.join(map(str, missing))}.")


def _number(draft: Draft, start: int) -> None:
    """Put a slide's number above its blocks, those from ``start`` on: "on slide 3" is how people speak of it."""
    if len(draft.blocks) == start:
        return
    title = next((block.text for block in draft.blocks[start:] if block.kind is BlockKind.HEADING), "")
    draft.title = draft.title or title
    number = Block(kind=BlockKind.HEADING, text=f"Slide {draft.page}", level=1, page=draft.page)
    draft.blocks.insert(start, number)


def _relation_id(element: "_Element") -> str:
    """Return the name of the attribute that is a relation's id, not the slide's own."""
    return next((str(key) for key in element.keys() if str(key).endswith("}id")), "")  # noqa: SIM118


class _Slide:
    def __init__(self, package: Package, part: str, draft: Draft) -> None:
        self._package = package
        self._draft = draft
        self._part = part
        self._relations = package.relations(part)

    def write(self, root: "_Element") -> None:
        tree = child(root, "cSld", "spTree")
        if tree is None:
            return
        shapes = list(_shapes(tree))
        shapes.sort(key=lambda shape: _placeholder(shape) not in TITLES)  # the title may lie on top of the others
        for shape in shapes:
            self._shape(shape)
        notes = self._package.related(self._part, "notesSlide")
        if notes is not None:
            self._notes(notes)

    def _shape(self, shape: "_Element") -> None:
        name, placeholder = local(shape), _placeholder(shape)
        if placeholder in REPEATED:
            return
        if name == "graphicFrame":
            self._frame(shape)
        elif name == "pic" or child(shape, "txBody") is None:
            self._draft.text(_described(shape))
        elif placeholder in TITLES:
            self._draft.heading(" ".join(_paragraphs(child(shape, "txBody"))), 2)
        else:
            self._draft.text("\n".join(_paragraphs(child(shape, "txBody"))))

    def _frame(self, frame: "_Element") -> None:
        for table in descendants(frame, "tbl"):
            self._table(table)
        for reference in descendants(frame, "chart"):
            chart = self._target(reference, "id")
            if chart is not None:
                write_chart(chart, self._draft)
        for reference in descendants(frame, "relIds"):  # SmartArt
            data = self._target(reference, "dm")
            if data is not None:
                self._draft.text("\n".join(text for part in descendants(data, "pt") for text in _paragraphs(part)))
        self._draft.text(_described(frame))

    def _target(self, reference: "_Element", name: str) -> "_Element | None":
        _, part = self._relations.get(attribute(reference, name), ("", ""))
        return self._package.part(part) if part else None

    def _table(self, table: "_Element") -> None:
        spans = Spans()
        for row in descendants(table, "tr"):
            spans.row()
            for cell in row:
                # What a merged cell covers is still there, empty; only what reaches down says its text again.
                if local(cell) == "tc" and attribute(cell, "vMerge") not in ("1", "true"):
                    height = attribute(cell, "rowSpan")
                    spans.cell(
                        " ".join(_paragraphs(child(cell, "txBody"))), height=int(height) if height.isdecimal() else 1
                    )
        properties = child(table, "tblPr")
        named = properties is not None and attribute(properties, "firstRow") in ("1", "true")
        write_rows(self._draft, spans.finish(), has_header=named or None)

    def _notes(self, root: "_Element") -> None:
        tree = child(root, "cSld", "spTree")
        for shape in () if tree is None else _shapes(tree):
            if _placeholder(shape) == "body":
                text = "\n".join(_paragraphs(child(shape, "txBody")))
                self._draft.text(f"Notes: {text}" if text else "")


def _shapes(tree: "_Element") -> "Iterator[_Element]":
    """Yield the shapes of a slide, those in groups too, in the order they were drawn."""
    pending = list(reversed(tree))
    while pending:
        part = pending.pop()
        name = local(part)
        if name in ("grpSp", "AlternateContent", "Choice"):
            pending.extend(reversed(part))
        elif name in ("sp", "pic", "graphicFrame", "cxnSp"):
            yield part


def _placeholder(shape: "_Element") -> str:
    """Return what a shape is a placeholder for, "" when it is none."""
    found = next((part for part in descendants(shape, "ph")), None)
    return "" if found is None else found.get("type") or "body"


def _described(shape: "_Element") -> str:
    """Return what is said of a picture for those who do not see it."""
    properties = next(descendants(shape, "cNvPr"), None)
    words = (
        "" if properties is None else attribute(properties, "descr").strip() or attribute(properties, "title").strip()
    )
    return f"Picture: {words}" if words else ""


def _paragraphs(body: "_Element | None") -> list[str]:
    """Return the paragraphs of a text, indented as they are in lists."""
    found = []
    for paragraph in () if body is None else descendants(body, "p"):
        pieces = []
        for part in descendants(paragraph, "t", "br", "tab"):
            pieces.append({"br": " ", "tab": "\t"}.get(local(part)) or all_text(part))
        text = "".join(pieces).strip()
        properties = child(paragraph, "pPr")
        level = "" if properties is None else properties.get("lvl") or ""
        if text:
            found.append("  " * (int(level) if level.isdecimal() and len(level) < 2 else 0) + text)
    return found
