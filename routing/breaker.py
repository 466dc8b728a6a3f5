"""Whether a replica is worth asking. Pure: the clock is handed in."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True, kw_only=True)
class Breaker:
    """Opens after ``threshold`` failures in a row, for ``cooldown`` seconds that double up to ``longest``.

    Then it is half open: one request tries, and its outcome closes it or opens it again. Client errors and a server
    that is loading are no failures; that is for the caller to tell.
    """

    threshold: int
    cooldown: float
    longest: float = 60.0
    failures: int = 0
    opened_at: float | None = None
    pause: float = 0.0
    probing: bool = False

    def state(self, now: float) -> State:
        if self.opened_at is None:
            return State.CLOSED
        return State.OPEN if now < self.opened_at + self.pause else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Tell whether a request may be sent now."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self.probing)

    def seconds_until_probe(self, now: float) -> float:
        """Return how long it stays open; 0 when a request may be sent or one is trying."""
        return max(0.0, self.opened_at + self.pause - now) if self.opened_at is not None else 0.0

    def started(self, now: float) -> None:
        if self.state(now) is State.HALF_OPEN:
            self.probing = True

    def succeeded(self) -> None:
        self.failures, self.opened_at, self.pause, self.probing = 0, None, 0.0, False

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.probing or (self.opened_at is None and self.failures >= self.threshold):
            self.opened_at = now
            self.pause = min(self.longest, self.pause * 2 or self.cooldown)
        self.probing = False

    def let_go(self) -> None:
        """A request ended without telling anything about the replica: its client left, or it was wrong."""
        self.probing = False
