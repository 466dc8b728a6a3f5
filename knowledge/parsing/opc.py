"""An Office file (OOXML): parts in a zip, and the relations between them."""

import posixpath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from knowledge.parsing.archive import Archive
from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import broken
from knowledge.parsing.xmltree import all_text, attribute, local, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

CORE = {"creator": "author", "created": "created", "modified": "modified", "subject": "subject", "keywords": "keywords"}


class Package:
    """The parts of an Office file; ``what`` names it in errors."""

    def __init__(self, data: bytes, *, what: str) -> None:
        """Open ``data``; raises ParseFailed."""
        self._what = what
        self._archive = Archive(data, what=what)
        self._names = {name.lower(): name for name in self._archive.names}  # as Office: case means nothing

    def main(self) -> str:
        """Return the name of the part that is the document; raises ParseFailed."""
        for kind, target in self.relations("").values():
            if kind == "officeDocument" and target.lower() in self._names:
                return target
        raise broken(self._what, detail="no main part")

    def part(self, name: str) -> "_Element | None":
        """Return the root of the XML part ``name``, None when there is none; raises ParseFailed."""
        stored = self._names.get(name.lower())
        return None if stored is None else parse_xml(self._archive.read(stored), what=self._what)

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Return what ``part`` ("" for the package) is related to: id -> (kind, name of the other part)."""
        folder, name = posixpath.split(part)
        root = self.part(posixpath.join(folder, "_rels", f"{name}.rels"))
        found: dict[str, tuple[str, str]] = {}
        for relation in () if root is None else root:
            if local(relation) != "Relationship" or relation.get("TargetMode") == "External":
                continue
            target = unquote(relation.get("Target") or "")
            path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            found[relation.get("Id") or ""] = ((relation.get("Type") or "").rpartition("/")[2], path)
        return found

    def related(self, part: str, kind: str) -> "_Element | None":
        """Return the root of the first part of ``kind`` that ``part`` is related to."""
        return next((self.part(target) for found, target in self.relations(part).values() if found == kind), None)

    def read_properties(self, draft: Draft) -> None:
        """Take title, author, dates and language from the file's properties."""
        core = self.related("", "core-properties")
        for element in () if core is None else core:
            name, text = local(element), all_text(element).strip()
            if name == "title":
                draft.title = text
            elif name == "language":
                draft.language = text
            elif name in CORE:
                draft.note(**{CORE[name]: text})


def is_on(element: "_Element | None") -> bool:
    """Tell whether an on/off property is there and not switched off."""
    return element is not None and attribute(element, "val").lower() not in ("0", "false", "off")
