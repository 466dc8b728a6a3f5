"""Answers in this process's memory: those used last, as many and as long as fit."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from gateway.caching.kept import Kept

CHARACTERS = 20_000_000
"""What all answers in memory may have together."""


class Memory:
    """Forgets what was used longest ago. Safe to share between threads."""

    def __init__(self, *, characters: int = CHARACTERS) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._room = characters
        self._characters = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, digest: str) -> Kept | None:
        with self._lock:
            if found := self._kept.get(digest):
                self._kept.move_to_end(digest)
            return found

    def set(self, kept: Kept, *, most: int) -> None:
        """Remember ``kept``, and no more than ``most`` answers."""
        with self._lock:
            self._drop(kept.digest)
            self._kept[kept.digest] = kept
            self._characters += kept.characters
            while self._kept and (len(self._kept) > most or self._characters > self._room):
                self._drop(next(iter(self._kept)))

    def forget(self, covers: Callable[[Kept], bool]) -> None:
        """Forget the answers that ``covers`` says so of."""
        with self._lock:
            for digest in [digest for digest, kept in self._kept.items() if covers(kept)]:
                self._drop(digest)

    def clear(self) -> None:
        self.forget(lambda _: True)

    def _drop(self, digest: str) -> None:
        if kept := self._kept.pop(digest, None):
            self._characters -= kept.characters
