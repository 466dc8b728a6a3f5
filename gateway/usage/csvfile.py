"""Usage as files for spreadsheets. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

FORMULAS = re.compile(r"(\A|;)(?=[ \"']*[=+\-@＝＋－＠\t\r\n])")
"""Where a cell begins that a spreadsheet would carry out: clients choose many of the texts in it.

After a semicolon too, by which spreadsheets part cells where the comma is the sign of decimals; full width counts too.
"""


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
    return FORMULAS.sub(r"\1'", value) if isinstance(value, str) else value
