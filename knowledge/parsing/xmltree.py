"""XML from somebody unknown, as a tree: no entities, no network, no depth without end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from knowledge.parsing.failure import ParseFailed, broken

if TYPE_CHECKING:
    from lxml.etree import _Element


def parse_xml(data: bytes, *, what: str = "an XML file") -> "_Element":
    """Return the root of ``data``; raises ParseFailed for what is no XML, or declares entities.

    libxml2's own limits (256 levels, ten million characters in a text) stay on.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        if "ntity" in str(error) and b"<!ENTITY" in data:
            raise _entities() from error
        raise broken(what, detail=_place(error)) from error
    dtd = root.getroottree().docinfo.internalDTD
    # Not needed in any document, and how XML is made to explode or to read other files.
    if dtd is not None and next(dtd.iterentities(), None) is not None:
        raise _entities()
    return root


def _entities() -> ParseFailed:
    return ParseFailed(
        "broken", "The file declares XML entities, which are not read for safety. Save it without a DTD, or as PDF."
    )


def _place(error: Exception) -> str:
    return f"{type(error).__name__} at {getattr(error, 'position', None)}"


def local(element: "_Element") -> str:
    """Return an element's name without its namespace: strict and transitional Office files differ only there."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: "_Element", name: str) -> str:
    """Return the attribute ``name`` of whatever namespace, "" without one."""
    value = element.get(name)
    if value is not None:
        return str(value)
    return next((str(value) for key, value in element.items() if str(key).rpartition("}")[2] == name), "")


def child(element: "_Element | None", *path: str) -> "_Element | None":
    """Return the first descendant along ``path`` of local names, None without one."""
    for name in path:
        if element is None:
            return None
        element = next((found for found in element if local(found) == name), None)
    return element


def descendants(element: "_Element", *names: str) -> "Iterator[_Element]":
    """Yield the descendants with one of the local ``names``, in document order."""
    yield from element.iter(*(f"{{*}}{name}" for name in names))


def all_text(element: "_Element | None") -> str:
    """Return an element's text with that of everything in it, "" of None."""
    return "" if element is None else "".join(str(piece) for piece in element.itertext())
