"""Hits that are counted in memory until the database has them."""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

Counted = TypeVar("Counted", bound=Hashable)


class Counts(Generic[Counted]):
    """How often each thing was hit, and when last; those who count never wait. Safe to share between threads.

    Of things that were not counted yet, what comes when ``capacity`` of them wait is left out.
    """

    def __init__(self, *, capacity: float = float("inf")) -> None:
        self._capacity = capacity
        self._hits: dict[Counted, tuple[int, float]] = {}
        self._lock = threading.Lock()  # held for a few operations in memory

    def __len__(self) -> int:
        return len(self._hits)

    def add(self, things: Iterable[Counted]) -> None:
        """Count a hit for each of ``things``."""
        now = time.time()
        with self._lock:
            for thing in things:
                if thing in self._hits or len(self._hits) < self._capacity:
                    self._hits[thing] = (self._hits.get(thing, (0, now))[0] + 1, now)

    def write(self, write: Callable[[Mapping[Counted, tuple[int, float]]], object]) -> None:
        """Have ``write`` store what was counted: how often, and when last in seconds since 1970.

        Where it raises, that is kept, together with what came meanwhile.
        """
        with self._lock:
            hits, self._hits = self._hits, {}
        if not hits:
            return
        try:
            write(hits)
        except BaseException:
            with self._lock:
                for thing, (count, at) in hits.items():
                    newer, newer_at = self._hits.get(thing, (0, at))
                    self._hits[thing] = (count + newer, max(at, newer_at))
            raise
