"""What was taken in the last minute. Pure; times in milliseconds. take.lua does the same in Redis."""

from gateway.limits.claims import GRAIN_MS, GRAINS


class Window:
    """Amounts by the grain they were taken in; ``used`` is their sum.

    A grain counts until a whole minute after its end, so that none of them is let go too early.
    """

    __slots__ = ("_taken", "used")

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}  # in the order of time
        self.used = 0

    def pass_time(self, now: int) -> None:
        """Let go what is older than a minute."""
        live = now // GRAIN_MS - GRAINS
        while self._taken and (oldest := next(iter(self._taken))) < live:
            self.used -= self._taken.pop(oldest)

    def take(self, amount: int, now: int) -> int:
        """Take ``amount`` and return the grain in which."""
        grain = now // GRAIN_MS
        if self._taken:
            grain = max(grain, next(reversed(self._taken)))  # a clock that was set back
        self._taken[grain] = self._taken.get(grain, 0) + amount
        self.used += amount
        return grain

    def give_back(self, amount: int, grain: int) -> None:
        """Give back what was taken in ``grain``, unless its minute is over."""
        given = min(amount, self._taken.get(grain, 0))
        if given:
            self._taken[grain] -= given
            self.used -= given

    def wait(self, freed: int, now: int) -> int:
        """Return the milliseconds until ``freed`` of what was taken is free again; no more than was taken."""
        for grain, amount in self._taken.items():
            freed -= amount
            if freed <= 0:
                return _ends(grain) - now
        return 0

    def reset(self, now: int) -> int:
        """Return the milliseconds until everything is free again."""
        return _ends(next(reversed(self._taken))) - now if self.used else 0

    @property
    def is_empty(self) -> bool:
        return not self._taken


def _ends(grain: int) -> int:
    return (grain + GRAINS + 1) * GRAIN_MS
