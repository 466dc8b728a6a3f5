"""Rows of cells, from wherever, as blocks: tables for short rows, records for rows that are texts."""

import itertools
import re
from collections.abc import Iterable, Sequence

from knowledge.parsing.cleaning import clean_line
from knowledge.parsing.draft import Draft

SEPARATOR = " | "
# A row longer than this, or of more columns, is read better (and found better) as "column: value" lines of its own.
LONGEST_ROW = 300
MOST_COLUMNS = 12
LONGEST_NAME = 80  # of a column
_NUMBER = re.compile(r"[-+(]?[\d.,  %€$£¥:/-]*\d[\d.,  %€$£¥:/-]*\)?")

Row = Sequence[str]


def write_rows(draft: Draft, rows: Iterable[Row], *, has_header: bool | None = None, level: int = 0) -> None:
    """Write ``rows`` of cells into ``draft``.

    A blank row divides tables. ``has_header`` tells whether the first row names the columns (None: see for yourself);
    a line above a table that fills one cell of many is its caption: a heading of ``level``, or text where that is 0.
    """
    header: Row = ()
    for number, part in enumerate(_parts(_trimmed(rows))):
        part = _without_captions(draft, part, level)
        named = (number == 0 and has_header) or (has_header is not False and _is_header(part))
        if part and named:
            header, part = part[0], part[1:]
        elif not part or len(header) != len(part[0]):
            header = ()  # the columns of the table above are not these
        _write(draft, header, part)


def _trimmed(rows: Iterable[Row]) -> list[list[str]]:
    """Clean the cells and drop columns that are empty all the way down."""
    cells = [[clean_line(cell) for cell in row] for row in rows]
    width = max(map(len, cells), default=0)
    used = [column for column in range(width) if any(column < len(row) and row[column] for row in cells)]
    return [[row[column] if column < len(row) else "" for column in used] for row in cells]


def _parts(rows: list[list[str]]) -> Iterable[list[list[str]]]:
    for filled, part in itertools.groupby(rows, key=any):
        if filled:
            yield list(part)


def _without_captions(draft: Draft, rows: list[list[str]], level: int) -> list[list[str]]:
    """Write the lines above a table, and return the table."""
    start = 0
    while start < len(rows) - 1 and len(rows[start]) > 1 and rows[start][0] and not any(rows[start][1:]):
        start += 1
    if start > 2 or (start and sum(map(bool, rows[start])) < 2):
        return rows  # a list with remarks, no table with captions
    for row in rows[:start]:
        if level:
            draft.heading(row[0], level)
        else:
            draft.text(row[0])
    return rows[start:]


def _is_header(rows: Sequence[Row]) -> bool:
    """Tell whether the first of ``rows`` names columns: words, all different, none missing but perhaps the first."""
    if len(rows) < 2:
        return False
    names = list(rows[0])
    if len(names) < 2 or not all(names[1:]) or len(set(names)) < len(names):
        return False
    return not any(len(name) > LONGEST_NAME or _NUMBER.fullmatch(name) for name in names)


def _write(draft: Draft, header: Row, rows: Sequence[Row]) -> None:
    if not rows or (len(rows) == 1 and not header):
        draft.text(SEPARATOR.join(filter(None, rows[0] if rows else header)))
        return
    width = len(rows[0])
    if width == 1:
        draft.text("\n".join([*header, *(row[0] for row in rows)]))
        return
    long = sum(len(cell) for row in rows for cell in row) / len(rows) > LONGEST_ROW
    if long or (header and width > MOST_COLUMNS):
        for row in rows:
            draft.text(_record(header, row))
        return
    line = _line(header) if header else ""
    draft.table([*filter(None, [line]), *map(_line, rows)], line)


def _line(row: Row) -> str:
    return SEPARATOR.join(row).rstrip(" |") if not row[-1] else SEPARATOR.join(row)


def _record(header: Row, row: Row) -> str:
    if not header:
        return "\n".join(filter(None, row))
    return "\n".join(f"{name}: {cell}" if name else cell for name, cell in zip(header, row, strict=True) if cell)
