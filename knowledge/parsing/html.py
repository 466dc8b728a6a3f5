"""HTML pages: the article, without what stands around it."""

import copy
import re
from collections import Counter
from typing import TYPE_CHECKING

from knowledge.blocks import Block
from knowledge.parsing.cleaning import clean_line
from knowledge.parsing.draft import Draft
from knowledge.parsing.elements import AROUND, BLOCKS, IN_ARTICLES, tag_of, text_of, write_elements
from knowledge.parsing.encoding import decode
from knowledge.parsing.failure import broken
from knowledge.parsing.source import Source

if TYPE_CHECKING:
    from lxml.etree import _Element

_DECLARED = re.compile(rb"""<(?:meta|\?xml)\b[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.I)
_META = {
    "author": "author",
    "article:author": "author",
    "description": "description",
    "og:description": "description",
    "keywords": "keywords",
    "article:published_time": "created",
    "date": "created",
    "dcterms.created": "created",
    "og:site_name": "site",
}
# What is found is trusted unless it is this small a share of the page without navigation.
LEAST_SHARE = 0.25
DEEPEST = 250  # levels; pages have dozens, and looking for an article takes time by their square
NEARLY_ALL = 0.97  # of the article's paragraphs; a stray one may lie elsewhere
MARKED = ("p", "li", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "div", "dd")
PLACES = frozenset(("html", "body", "main", "article", "section", "div", "td", "center"))  # an article may be
SHORTEST_MARK, LONGEST_MARK = 30, 80  # characters


def read(source: Source, draft: Draft) -> None:
    """Write the article of an HTML page into ``draft``; raises ParseFailed."""
    root = parse_html(source.data, charset=source.charset)
    _read_head(root, draft)
    write_article(root, draft)


def parse_html(data: bytes, *, charset: str = "") -> "_Element":
    """Return the root of an HTML page, however badly it is written; raises ParseFailed."""
    from lxml import etree
    from lxml.html import HTMLParser  # whose elements trafilatura takes

    declared = _DECLARED.search(data[:4096])
    text = decode(data, charset or (declared[1].decode("ascii") if declared else ""))
    # Handed over as UTF-8, because what the page says of its encoding was said of its bytes.
    parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True, no_network=True)
    root = etree.fromstring(text.replace("\0", "").encode("utf-8", "replace"), parser)
    if root is None:
        raise broken("an HTML page")
    return root


def write_article(root: "_Element", draft: Draft) -> None:
    """Write the article in ``root``, or all of the page where that would leave out most of it."""
    whole = Draft()
    write_elements(root, whole, without=AROUND)
    if not whole.blocks:
        write_elements(root, whole)
    article = Draft()
    place = _article(root)
    if place is not None:
        write_elements(place, article, without=AROUND - IN_ARTICLES)
        if all(block.level != 1 for block in article.blocks) and (title := next(root.iter("h1"), None)) is not None:
            draft.heading(text_of(title), 1)  # it stands above the article, with the author and the date
    best = article if _size(article.blocks) >= LEAST_SHARE * _size(whole.blocks) else whole
    draft.blocks.extend(best.blocks)


def _article(root: "_Element") -> "_Element | None":
    """Return the smallest element around nearly all that trafilatura takes for the article, None without an article.

    Its own copy of the article is not used: it loses listings and tables that lie between what it keeps.
    """
    from trafilatura import bare_extraction
    from trafilatura.settings import Document

    if _depth(root) > DEEPEST:
        return None
    found = bare_extraction(copy.deepcopy(root), include_comments=False, include_tables=True, favor_recall=True)
    if not isinstance(found, Document):
        return None
    known = {mark for element in found.body.iter("p", "item", "head", "quote", "code") if (mark := _mark(element))}
    within: Counter[_Element] = Counter()
    for element in root.iter(*MARKED):
        holds_blocks = tag_of(element) == "div" and any(tag_of(part) in BLOCKS for part in element)
        if not holds_blocks and _mark(element) in known:
            within.update(element.iterancestors())
    least = NEARLY_ALL * within[root]
    around = [element for element, count in within.items() if count >= least and tag_of(element) in PLACES]
    return max(around, key=lambda element: sum(1 for _ in element.iterancestors()), default=None)  # the innermost


def _depth(root: "_Element") -> int:
    from lxml import etree

    depth = deepest = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _mark(element: "_Element") -> str:
    """Return what tells a paragraph from others, white space aside; "" for one too short to."""
    text = ""
    for piece in element.itertext():
        text += "".join(str(piece).split())
        if len(text) >= LONGEST_MARK:
            break  # what begins a page's outermost element would be the whole page
    return text[:LONGEST_MARK] if len(text) >= SHORTEST_MARK else ""


def _size(blocks: list[Block]) -> int:
    return sum(len(block.text) for block in blocks)


def _read_head(root: "_Element", draft: Draft) -> None:
    draft.language = root.get("lang") or next((str(value) for key, value in root.items() if key.endswith("lang")), "")
    titles: dict[str, str] = {}
    for element in root.iter("meta", "title", "h1"):
        tag = tag_of(element)
        if tag == "meta":
            name = (element.get("property") or element.get("name") or "").lower()
            if name in _META:
                draft.note(**{_META[name]: element.get("content") or ""})
            elif name == "og:title":
                titles.setdefault(name, element.get("content") or "")
        else:
            titles.setdefault(tag, text_of(element) if tag == "h1" else element.text or "")
    # A title often ends with the site's name; the heading or what is shared on other sites says the same without it.
    title, heading = clean_line(titles.get("title", "")), clean_line(titles.get("h1", ""))
    shared = clean_line(titles.get("og:title", ""))
    draft.title = heading if heading and heading in f"{shared} {title}" else shared or title or heading
