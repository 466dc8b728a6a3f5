"""Electronic books (EPUB), in the order they are read."""

import html.entities
import posixpath
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from knowledge.parsing.archive import Archive
from knowledge.parsing.draft import Draft
from knowledge.parsing.elements import write_elements
from knowledge.parsing.failure import ParseFailed, broken
from knowledge.parsing.html import parse_html
from knowledge.parsing.source import Source
from knowledge.parsing.xmltree import all_text, attribute, child, descendants, local, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

WHAT = "an EPUB book"
_FACTS = {"creator": "author", "date": "created", "publisher": "publisher", "subject": "subject",
          "description": "description", "identifier": "identifier"}  # fmt: skip
_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,30});")
_XML_ENTITIES = frozenset((b"amp", b"lt", b"gt", b"quot", b"apos"))
_FONTS = "obfuscation"  # in the names of what is done to fonts only


def read(source: Source, draft: Draft) -> None:
    """Write the chapters of a book into ``draft``; raises ParseFailed."""
    archive = Archive(source.data, what=WHAT)
    container = parse_xml(archive.read("META-INF/container.xml") or b"<none/>", what=WHAT)
    place = next((attribute(root, "full-path") for root in descendants(container, "rootfile")), "")
    if place not in archive:
        raise broken(WHAT, detail="no package document")
    package = parse_xml(archive.read(place), what=WHAT)
    _read_properties(package, draft)
    locked = _locked(archive)
    missing = 0
    for name in _chapters(package, posixpath.dirname(place)):
        if name in locked:
            raise ParseFailed("encrypted", "The book is locked to its buyer (DRM). Upload an edition without a lock.")
        if name in archive:
            write_elements(_page(archive.read(name)), draft)
        else:
            missing += 1
    if missing:
        draft.warn(f"{missing} parts of the book are missing in the file.")


def _read_properties(package: "_Element", draft: Draft) -> None:
    metadata = child(package, "metadata")
    for element in () if metadata is None else metadata:
        name = local(element)
        if name == "title":
            draft.title = draft.title or all_text(element)
        elif name == "language":
            draft.language = draft.language or all_text(element)
        elif name in _FACTS:
            draft.note(**{_FACTS[name]: all_text(element)})


def _chapters(package: "_Element", folder: str) -> list[str]:
    """Return the names of the members that are read, in their order, without the table of contents."""
    items = {attribute(item, "id"): item for item in descendants(package, "item")}
    found = []
    for reference in descendants(package, "itemref"):
        item = items.get(reference.get("idref") or "")
        if item is None or "nav" in (item.get("properties") or "").split():
            continue
        if "html" in (item.get("media-type") or "html"):
            found.append(posixpath.normpath(posixpath.join(folder, unquote(item.get("href") or ""))))
    return list(dict.fromkeys(found))


def _locked(archive: Archive) -> frozenset[str]:
    """Return the names of members that are encrypted, other than fonts."""
    if "META-INF/encryption.xml" not in archive:
        return frozenset()
    found = set()
    for data in descendants(parse_xml(archive.read("META-INF/encryption.xml"), what=WHAT), "EncryptedData"):
        method = next((attribute(part, "Algorithm") for part in descendants(data, "EncryptionMethod")), "")
        if _FONTS not in method.lower():
            found |= {unquote(attribute(part, "URI")) for part in descendants(data, "CipherReference")}
    return frozenset(found)


def _page(data: bytes) -> "_Element":
    """Return the root of a chapter: XHTML as it should be, or HTML as it is.

    Read as HTML, an element closed in itself (``<title/>``) would swallow what follows.
    """
    named = _ENTITY.sub(_numbered, data)
    try:
        return parse_xml(named, what=WHAT)
    except ParseFailed:
        return parse_html(data)


def _numbered(match: re.Match[bytes]) -> bytes:
    """Return the number of a character that HTML has a name for; XML knows five names only."""
    name = match[1]
    if name in _XML_ENTITIES:
        return match[0]
    characters = html.entities.html5.get(f"{name.decode('ascii')};", "")
    return "".join(f"&#{ord(character)};" for character in characters).encode("ascii") or match[0]
