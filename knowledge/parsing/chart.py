"""A chart's numbers, as the table it was drawn from."""

from typing import TYPE_CHECKING

from knowledge.parsing.draft import Draft
from knowledge.parsing.grid import write_rows
from knowledge.parsing.xmltree import all_text, child, descendants, local

if TYPE_CHECKING:
    from lxml.etree import _Element


def write_chart(root: "_Element", draft: Draft) -> None:
    """Write the title and the cached values of a chart part into ``draft``."""
    title = child(root, "chart", "title")
    if title is not None:
        text = "".join(all_text(run) for run in descendants(title, "t"))
        draft.text(f"Chart: {text}" if text else "")
    names: list[str] = []
    columns: list[dict[int, str]] = []
    labels: dict[int, str] = {}
    for number, series in enumerate(descendants(root, "ser"), start=1):
        names.append(_name(series) or f"Series {number}")
        columns.append(_points(series, "val", "yVal"))
        labels = labels or _points(series, "cat", "xVal")
    places = sorted({place for column in (labels, *columns) for place in column})
    rows = [[labels.get(place, ""), *(column.get(place, "") for column in columns)] for place in places]
    if rows:
        write_rows(draft, [["", *names], *rows], has_header=True)


def _name(series: "_Element") -> str:
    name = child(series, "tx")
    return "" if name is None else "".join(all_text(value) for value in descendants(name, "v"))


def _points(series: "_Element", *names: str) -> dict[int, str]:
    """Return the cached points of the first of the elements ``names``, by their place."""
    for element in series:
        if local(element) in names:
            return {
                int(point.get("idx") or 0): all_text(child(point, "v"))
                for point in descendants(element, "pt")
                if (point.get("idx") or "0").isdecimal()
            }
    return {}
