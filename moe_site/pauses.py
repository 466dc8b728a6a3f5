"""How long to wait before something that failed is tried again."""

import time

SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""By how often it failed in a row; the last one from then on."""


class Pauses:
    """Pauses that grow with each failure in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = 0.0

    @property
    def are_over(self) -> bool:
        """Whether it may be tried now."""
        return time.monotonic() >= self._not_before

    def failed(self) -> None:
        """Begin the next pause."""
        self._failures += 1
        self._not_before = time.monotonic() + SECONDS[min(self._failures, len(SECONDS)) - 1]

    def forget(self) -> None:
        """Have the next failure be a first one again."""
        self._failures = 0
