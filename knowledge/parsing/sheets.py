"""Workbooks (XLSX, XLSM, XLSB, XLS, ODS): a page a sheet."""

import io
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from knowledge.parsing.archive import Archive
from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import broken, encrypted
from knowledge.parsing.grid import write_rows
from knowledge.parsing.source import Source

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

WHAT = "a workbook"
MOST_ROWS = 200_000  # of a sheet
MOST_CELLS = 5_000_000  # of a workbook


def read(source: Source, draft: Draft) -> None:
    """Write the sheets of a workbook into ``draft``, values only; raises ParseFailed."""
    if source.data.startswith(b"PK"):
        Archive(source.data, what=WHAT).check()  # calamine unpacks by itself, as far as it goes
    workbook = _opened(source.data)
    draft.title = source.stem  # rather than a sheet's name
    left = MOST_CELLS
    named = [name for name in workbook.sheet_names if name.strip()]
    for number, name in enumerate(workbook.sheet_names, start=1):
        draft.page = number
        sheet = _sheet(workbook, name, draft)
        if sheet is None or not sheet.width:
            continue
        most = min(MOST_ROWS, left // sheet.width)
        if most < sheet.height:
            draft.warn(f"Of sheet “{name}”, only the first {most:,} of {sheet.height:,} rows were read.")
        rows = _rows(sheet, most)
        left -= len(rows) * sheet.width
        if any(any(row) for row in rows):
            if len(named) > 1 or not _is_default(name):
                draft.heading(name, 1)
            write_rows(draft, rows, level=2)


def _opened(data: bytes) -> "CalamineWorkbook":
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        return CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError as error:
        raise encrypted("The workbook") from error
    except (CalamineError, OSError, ValueError) as error:
        raise broken(WHAT, detail=repr(error)[:200]) from error


def _sheet(workbook: "CalamineWorkbook", name: str, draft: Draft) -> "CalamineSheet | None":
    from python_calamine import CalamineError

    try:
        return workbook.get_sheet_by_name(name)
    except (CalamineError, OSError, ValueError):
        draft.warn(f"Sheet “{name}” could not be read: it holds a chart only, or is damaged.")
        return None


def _rows(sheet: "CalamineSheet", most: int) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in sheet.iter_rows():
        if len(rows) == most:
            break
        rows.append([_text(value) for value in row])
    _fill_down(sheet, rows)
    return rows


def _fill_down(sheet: "CalamineSheet", rows: list[list[str]]) -> None:
    """Say what stands in a cell merged over several rows in each of them."""
    top, left = sheet.start or (0, 0)
    for (first, column), (last, _) in sheet.merged_cell_ranges or ():
        place = column - left
        if last == first or not 0 <= first - top < len(rows) or not 0 <= place < len(rows[0]):
            continue
        said = rows[first - top][place]
        for row in rows[first - top + 1 : last - top + 1]:
            row[place] = row[place] or said


def _is_default(name: str) -> bool:
    """Tell whether a sheet is called as programs call one nobody named: Sheet1, Tabelle1, Feuil1, …"""
    return name[-1:].isdigit() and name.rstrip("0123456789 ").isalpha() and len(name) < 10


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "seconds")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, str | int | timedelta) else ""
