"""Usage as files for spreadsheets. Pure."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell begins with that a spreadsheet would carry out: clients choose many of the texts in it."""


def lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Yield a CSV file of ``rows`` under their names, in UTF-8, a line at a time."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in chain((names,), rows):
        writer.writerow([cell(value) for value in row])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def cell(value: Any) -> Any:
    """Return ``value`` as a cell: a text that would be taken for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(FORMULAS):
        return f"'{value}"
    return value
