"""XML of any kind (feeds, exports, drawings) as text: a line a value, with the path that leads to it."""

from typing import TYPE_CHECKING, Any

from knowledge.parsing.draft import Draft
from knowledge.parsing.jsontext import write_value
from knowledge.parsing.source import Source
from knowledge.parsing.xmltree import all_text, local, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

DRAWING = "svg"
INVISIBLE = frozenset(("style", "script", "defs", "metadata"))  # of drawings


def read(source: Source, draft: Draft) -> None:
    """Write an XML file's values into ``draft``; raises ParseFailed."""
    root = parse_xml(source.data)
    value = _value(root, attributes=local(root) != DRAWING)
    write_value(value if isinstance(value, dict) else {local(root): value}, draft)
    draft.title = next((all_text(part) for part in root.iter("{*}title") if all_text(part).strip()), "")


def _value(element: "_Element", *, attributes: bool) -> Any:
    """Return an element as JSON would have it. Recursive: the XML parser allows 256 levels.

    An element whose text is marked up (DocBook, TEI, …) is one value.
    """
    children = [part for part in element if local(part) and local(part) not in INVISIBLE]
    found: dict[str, Any] = {}
    if attributes:
        found.update({str(key).rpartition("}")[2]: value for key, value in element.items()})
    if any((part.tail or "").strip() for part in children):
        return all_text(element).strip()
    if not children and not found:
        return (element.text or "").strip()
    if (element.text or "").strip():
        found["text"] = element.text
    for part in children:
        name, value = local(part), _value(part, attributes=attributes)
        if value in ("", {}):
            continue
        held = found.get(name)
        found[name] = value if held is None else [*held, value] if isinstance(held, list) else [held, value]
    return found
