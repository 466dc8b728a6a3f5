"""A tree of HTML elements as blocks. Iterative: a page may nest deeper than Python recurses."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from knowledge.parsing.cleaning import clean_line
from knowledge.parsing.draft import Draft
from knowledge.parsing.grid import write_rows
from knowledge.parsing.spans import Spans

if TYPE_CHECKING:
    from lxml.etree import _Element

HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Not for readers, or not of this document.
SKIPPED = frozenset((
    "script", "style", "noscript", "template", "head", "title", "meta", "link", "svg", "canvas", "video", "audio",
    "object", "embed", "iframe", "button", "select", "input", "textarea", "option", "datalist", "dialog", "map",
    "area", "source", "track", "rp", "rt",
))  # fmt: skip
# What stands around an article rather than in it.
AROUND = frozenset(("nav", "aside", "footer", "form", "menu"))
IN_ARTICLES = frozenset(("aside",))  # notes and warnings are set in these too
AROUND_ROLES = frozenset((
    "navigation", "banner", "contentinfo", "search", "complementary", "menu", "menubar", "alert", "dialog",
))  # fmt: skip
BLOCKS = frozenset((
    "html", "body", "div", "p", "section", "article", "main", "header", "hgroup", "address", "blockquote", "quote",
    "center", "fieldset", "legend", "details", "summary", "figure", "figcaption", "dl", "dt", "dd", "ul", "ol", "li",
    "hr", "caption", "form", "nav", "aside", "footer", "menu", "tr", "td", "th", "tbody", "thead", "tfoot", "table",
))  # fmt: skip
LISTS = frozenset(("ul", "ol", "dl", "menu"))
ITEMS = frozenset(("li", "dt", "dd"))
CELLS = frozenset(("td", "th"))
# What no reader of the page sees was not written for readers.
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|(?:opacity|font-size)\s*:\s*0(?:\.0*)?(?![\d.])")
BREAK = "\v"  # stays a line's end when white space is collapsed
LEAST_CAPTION = 3  # words; what an image shows, not that it is a logo


def write_elements(root: "_Element", draft: Draft, *, without: frozenset[str] = frozenset()) -> None:
    """Write what ``root`` holds into ``draft``, but for the elements called ``without``."""
    _Walk(draft, without).run(root)


class _Walk:
    """The state of a walk: the text since the last block began, and the lists it is in."""

    def __init__(self, draft: Draft, without: frozenset[str]) -> None:
        self._draft = draft
        self._without = without
        self._pieces: list[str] = []
        self._heading = 0
        self._items: list[str] = []  # lines of the outermost list
        self._bullet = False  # the next text begins an item
        self._numbers: list[int | None] = []  # of the lists around: the next item's number, None without numbers

    def run(self, root: "_Element") -> None:
        from lxml import etree

        walk = etree.iterwalk(root, events=("start", "end"))
        passed = None  # its end comes next, and means nothing
        for event, element in walk:
            name = tag_of(element)
            if event == "start":
                if self._is_skipped(element, name) or self._is_written_whole(element, name):
                    walk.skip_subtree()
                    passed = element
                else:
                    self._start(element, name)
                continue
            if element is not passed:
                self._end(name)
            if element is not root and element.tail:
                self._pieces.append(element.tail)
        self._flush()
        self._end_list()

    def _is_skipped(self, element: "_Element", name: str) -> bool:
        if not name or name in SKIPPED or name in self._without:
            return True
        if element.get("hidden") is not None or _UNSEEN.search((element.get("style") or "").lower()):
            return True
        return bool(self._without) and (element.get("role") or "").lower() in AROUND_ROLES

    def _is_written_whole(self, element: "_Element", name: str) -> bool:
        """Write ``element`` if it is to be read as one thing, and tell whether it was."""
        write: Callable[[_Element], None]
        if name == "table" and not _is_layout(element):
            write = self._table
        elif name == "pre" or (name == "code" and "\n" in text_of(element).strip()):
            write = self._code
        else:
            return False
        self._flush()
        self._end_list()
        write(element)
        return True

    # --- events ----------------------------------------------------------------------------------------------

    def _start(self, element: "_Element", name: str) -> None:
        if name in BLOCKS or name in HEADINGS:
            self._flush()
        if name in HEADINGS:
            self._end_list()
            self._heading = HEADINGS[name]
        elif name in LISTS:
            self._numbers.append(1 if name == "ol" else None)
        elif name in ITEMS:
            self._bullet = name != "dd"
        elif name == "br":
            self._pieces.append(BREAK)
        elif name == "img" and len((element.get("alt") or "").split()) >= LEAST_CAPTION:
            self._pieces.append(f" {element.get('alt')} ")
        if element.text:
            self._pieces.append(element.text)

    def _end(self, name: str) -> None:
        if name in BLOCKS or name in HEADINGS:
            self._flush()
        if name in HEADINGS:
            self._heading = 0
        elif name in LISTS and self._numbers:
            self._numbers.pop()
            if not self._numbers:
                self._end_list()

    # --- writing ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        text = "\n".join(filter(None, map(clean_line, "".join(self._pieces).split(BREAK))))
        self._pieces.clear()
        if not text:
            return
        if self._heading:
            self._draft.heading(text.rstrip("§¶ "), self._heading)  # signs that link to the heading itself
        elif self._numbers:
            self._item(text)
        else:
            self._draft.text(text)

    def _item(self, text: str) -> None:
        indent = "  " * (len(self._numbers) - 1)
        mark = "  "
        if self._bullet:
            number = self._numbers[-1]
            mark = "- " if number is None else f"{number}. "
            self._numbers[-1] = None if number is None else number + 1
        self._bullet = False
        self._items.append(indent + mark + text.replace("\n", f"\n{indent}  "))

    def _end_list(self) -> None:
        self._draft.text("\n".join(self._items))
        self._items.clear()

    def _code(self, element: "_Element") -> None:
        self._draft.code(text_of(element, line="\n"), _language(element))

    def _table(self, table: "_Element") -> None:
        spans = Spans()
        header = False
        for part in table.iter():
            name = tag_of(part)
            if name == "caption":
                self._draft.text(clean_line(text_of(part)))
            if name != "tr":
                continue
            cells = [cell for cell in part if tag_of(cell) in CELLS]
            if not spans.rows:
                heads = [cell for cell in cells if tag_of(cell) == "th"]
                header = 1 < len(heads) == len(cells)
            spans.row()
            for cell in cells:
                text = text_of(cell, line=" ", block=" ")
                spans.cell(text, width=_number(cell, "colspan"), height=_number(cell, "rowspan"))
        if spans.full:
            self._draft.warn("A table was too large to be read to its end.")
        write_rows(self._draft, spans.finish(), has_header=header or None)


# --- what elements say. Pure. ---------------------------------------------------------------------------------


def tag_of(element: "_Element") -> str:
    """Return the local name in lower case, "" of what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def text_of(element: "_Element", *, line: str = "", block: str = "") -> str:
    """Return the text in ``element`` for readers, ``line`` in place of breaks and ``block`` around blocks."""
    from lxml import etree

    pieces: list[str] = []
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, part in walk:
        name = tag_of(part)
        if event == "start":
            if part is not element and (not name or name in SKIPPED):
                walk.skip_subtree()
                continue
            pieces.append(line if name == "br" else block if name in BLOCKS else "")
            pieces.append(part.text or "")
        elif part is not element:
            pieces.append((block if name in BLOCKS else "") + (part.tail or ""))
    return "".join(pieces)


def _is_layout(table: "_Element") -> bool:
    """Tell whether ``table`` only places things: it holds headings, tables, or a single cell."""
    cells = 0
    for part in table.iterdescendants():
        name = tag_of(part)
        if name == "table" or name in HEADINGS:
            return True
        cells += name in CELLS
    return cells <= 1


def _number(element: "_Element", attribute: str) -> int:
    value = (element.get(attribute) or "").strip()
    return int(value) if value.isdecimal() and len(value) < 6 else 1


def _language(element: "_Element") -> str:
    """Return the language that highlighters note as a class: ``language-python``, ``highlight-source-python``."""
    for part in (element, *list(element)[:1], element.getparent()):
        if part is None:
            continue
        for name in (part.get("class") or "").split():
            for mark in ("language-", "lang-", "highlight-source-", "brush:"):
                if name.startswith(mark):
                    return name.removeprefix(mark).lower()
    return ""
