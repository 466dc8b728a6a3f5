"""Rows of a table whose cells may span columns and rows. Pure."""

MOST_SPANNED = 1000  # columns or rows, by one cell; HTML's own limit of columns
MOST_CELLS = 2_000_000


class Spans:
    """Builds the rows of a table cell by cell.

    A cell over several rows says its text in each of them, since rows are found one by one; over several columns
    only once, and leaves the other columns empty.
    """

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self._cells = 0
        self._below: dict[int, tuple[int, str]] = {}  # column -> for how many more rows, and what

    @property
    def full(self) -> bool:
        """Whether it holds as many cells as a table may; more are not taken."""
        return self._cells >= MOST_CELLS

    def row(self) -> None:
        """Begin a row."""
        self._finish()
        self.rows.append([])

    def cell(self, text: str, *, width: int = 1, height: int = 1) -> None:
        """Put a cell at the row's next free place."""
        if self.full or not self.rows:
            return
        self._fall()
        row = self.rows[-1]
        for place in range(min(max(width, 1), MOST_SPANNED)):
            said = text if place == 0 else ""
            if height > 1:
                self._below[len(row)] = (min(height, MOST_SPANNED) - 1, said)
            row.append(said)
            self._cells += 1

    def skip(self, columns: int) -> None:
        """Leave ``columns`` empty."""
        if columns > 0:
            self.cell("", width=columns)

    def finish(self) -> list[list[str]]:
        """Return the rows, when no more come."""
        self._finish()
        return self.rows

    def _fall(self) -> None:
        """Fill places that a cell of an earlier row reaches down into."""
        row = self.rows[-1]
        while not self.full and (fallen := self._below.get(len(row))):
            left, text = fallen
            if left > 1:
                self._below[len(row)] = (left - 1, text)
            else:
                del self._below[len(row)]
            row.append(text)
            self._cells += 1

    def _finish(self) -> None:
        if not self.rows:
            return
        self._fall()
        row = self.rows[-1]
        # A row that ended early: what reaches down further right still counts as one row less.
        for column in sorted(column for column in self._below if column >= len(row)):
            row.extend([""] * (column - len(row)))
            self._fall()
