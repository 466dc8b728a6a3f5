"""CSV and its kin: rows of fields between delimiters that nobody declares."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from knowledge.parsing.draft import Draft
from knowledge.parsing.encoding import decode
from knowledge.parsing.failure import broken
from knowledge.parsing.grid import write_rows
from knowledge.parsing.source import Source

DELIMITERS = ",;\t|"
SAMPLE_ROWS = 200
SAMPLE_CHARACTERS = 256 * 1024
LONGEST_FIELD = 16 * 1024 * 1024
LONGEST_QUOTED, MOST_QUOTED_LINES = 20_000, 200  # of a field that is one
MOST_ROWS = 200_000


def read(source: Source, draft: Draft) -> None:
    """Write the rows of a CSV or TSV file into ``draft``; raises ParseFailed."""
    write_delimited(decode(source.data, source.charset), draft)


def write_delimited(text: str, draft: Draft) -> None:
    """Write the rows in ``text`` into ``draft``."""
    text = text.replace("\0", "")
    first, _, rest = text.partition("\n")
    declared = ""
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # Excel's way to say it
        declared, text = first.strip()[4], rest
    delimiter = declared or find_delimiter(text[:SAMPLE_CHARACTERS])
    rows, left = _first_rows(text, delimiter, csv.QUOTE_MINIMAL)
    if any(len(cell) > LONGEST_QUOTED and cell.count("\n") > MOST_QUOTED_LINES for row in rows for cell in row):
        rows, left = _first_rows(text, delimiter, csv.QUOTE_NONE)  # a quote that was never closed swallowed rows
    if left:
        draft.warn(f"Only the first {MOST_ROWS:,} of {MOST_ROWS + left:,} rows were read.")
    write_rows(draft, rows, level=1)


def find_delimiter(sample: str) -> str:
    """Return the delimiter that parts most rows of ``sample`` into the same number of fields, more than one."""
    best, most = ",", 0.0
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in itertools.islice(_rows(sample, delimiter), SAMPLE_ROWS) if row)
        if not widths:
            continue
        width, rows = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
        score = rows / widths.total() * (1 + width / 1000) if width > 1 else 0.0
        if score > most:
            best, most = delimiter, score
    return best


def _first_rows(text: str, delimiter: str, quoting: Literal[0, 3]) -> tuple[list[list[str]], int]:
    """Return as many rows as are read, and the number of those that are not."""
    found = _rows(text, delimiter, quoting)
    return list(itertools.islice(found, MOST_ROWS)), sum(1 for _ in found)


def _rows(text: str, delimiter: str, quoting: Literal[0, 3] = csv.QUOTE_MINIMAL) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_FIELD)  # of the process, and only ever this
    try:
        yield from csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, skipinitialspace=True
        )
    except csv.Error as error:
        raise broken("a CSV file", detail=str(error)) from error
