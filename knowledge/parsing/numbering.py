"""The numbers Word puts before paragraphs: they are in no text, and contracts are cited by them."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowledge.parsing.xmltree import attribute, child, local

if TYPE_CHECKING:
    from lxml.etree import _Element

BULLET = "-"
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    style: str = "decimal"
    pattern: str = ""
    start: int = 1


class Numbering:
    """Counts a document's numbered paragraphs as they come."""

    def __init__(self, root: "_Element | None") -> None:
        """Read the definitions in numbering.xml."""
        self._levels: dict[str, dict[int, _Level]] = {}  # by number id
        self._lists: dict[str, str] = {}  # number id -> abstract id: those of one count on together
        self._counts: dict[str, dict[int, int]] = {}
        abstract: dict[str, dict[int, _Level]] = {}
        for element in () if root is None else root:
            if local(element) == "abstractNum":
                abstract[attribute(element, "abstractNumId")] = _levels(element)
            elif local(element) == "num":
                number, kind = attribute(element, "numId"), _value(element, "abstractNumId")
                self._levels[number] = abstract.get(kind, {}) | _overrides(element)
                restarts = any(local(part) == "lvlOverride" for part in element)
                self._lists[number] = f"{kind}/{number}" if restarts else kind

    def next(self, number: str, depth: int) -> str:
        """Count a paragraph of the list ``number`` at ``depth`` (from 0) and return its mark, "" without one."""
        levels = self._levels.get(number)
        level = levels.get(depth) if levels else None
        if levels is None or level is None:
            return BULLET if number in self._levels else ""
        counts = self._counts.setdefault(self._lists[number], {})
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [other for other in counts if other > depth]:
            del counts[deeper]
        if level.style in ("bullet", "none") or "%" not in level.pattern:
            return "" if level.style == "none" else BULLET
        return re.sub(r"%(\d)", lambda match: _at(levels, counts, int(match[1]) - 1), level.pattern).strip()


def _at(levels: dict[int, _Level], counts: dict[int, int], depth: int) -> str:
    level = levels.get(depth, _Level())
    return _written(counts.get(depth, level.start), level.style)


def _levels(element: "_Element") -> dict[int, _Level]:
    return {
        _integer(attribute(part, "ilvl"), 0): _Level(
            style=_value(part, "numFmt") or "decimal",
            pattern=_value(part, "lvlText"),
            start=_integer(_value(part, "start"), 1),
        )
        for part in element
        if local(part) == "lvl"
    }


def _overrides(element: "_Element") -> dict[int, _Level]:
    found: dict[int, _Level] = {}
    for part in element:
        if local(part) == "lvlOverride":
            found |= _levels(part)
    return found


def _value(element: "_Element", name: str) -> str:
    found = child(element, name)
    return "" if found is None else attribute(found, "val")


def _integer(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and len(text) < 8 else default


def _written(number: int, style: str) -> str:
    if style in ("lowerLetter", "upperLetter") and number > 0:
        # a … z, aa, bb, … as Word has it
        letters = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 20)
        return letters.upper() if style == "upperLetter" else letters
    if style in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for value, sign in _ROMAN:
            roman += sign * (number // value)
            number %= value
        return roman.upper() if style == "upperRoman" else roman
    return f"{number:02d}" if style == "decimalZero" else str(number)
