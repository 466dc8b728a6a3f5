"""Ids of rows as an archive has them, and those that they get here. Pure."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator


class Numbers:
    """The ids of one table, which rise from row to row: eight bytes for each, and as many for the new ones."""

    def __init__(self) -> None:
        self._old: array[int] = array("q")
        self._new: array[int] = array("q")

    def __len__(self) -> int:
        return len(self._old)

    def __iter__(self) -> Iterator[int]:
        return iter(self._old)

    def __contains__(self, old: object) -> bool:
        return isinstance(old, int) and not isinstance(old, bool) and self.position(old) is not None

    def add(self, old: int) -> bool:
        """Add the next row's id; tell whether it is higher than the one before."""
        if self._old and old <= self._old[-1]:
            return False
        self._old.append(old)
        return True

    def position(self, old: int) -> int | None:
        """Return the place of a row, from 0; None if there is none with that id."""
        place = bisect_left(self._old, old)
        return place if place < len(self._old) and self._old[place] == old else None

    def renumber(self, new: Iterable[int]) -> None:
        """Give all rows new ids, in their order."""
        self._new = array("q", new)

    def new(self, old: int) -> int | None:
        place = self.position(old)
        return None if place is None else self._new[place]

    def at(self, place: int) -> int:
        """Return the new id of the row at ``place``."""
        return self._new[place]
