"""Limits counted in this process. Nothing here waits: a lock is held for a few operations in memory."""

import threading
import time
from collections.abc import Callable, Sequence

from gateway.limits.claims import NEVER, Claim, Kind, Spent, Standing, Taken
from gateway.limits.window import Window

SWEEP_MS = 60_000


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Budget:
    """What was spent, and what running requests may still spend, by their leases."""

    __slots__ = ("_held", "held", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.held = 0
        self._held: dict[str, int] = {}

    @property
    def used(self) -> int:
        return self.spent + self.held

    def hold(self, lease: str, amount: int) -> None:
        self._held[lease] = amount
        self.held += amount

    def settle(self, lease: str, spent: int) -> None:
        self.held -= self._held.pop(lease, 0)
        self.spent += spent


class LocalStore:
    """``clock`` gives milliseconds and never goes back."""

    def __init__(self, clock: Callable[[], int] = monotonic_ms) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}
        self._seats: dict[str, set[str]] = {}
        self._budgets: dict[str, Budget] = {}
        self._swept = clock()

    def take(self, claims: Sequence[Claim], lease: str) -> Taken:
        """Take all of ``claims`` for ``lease``, or none."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            found = [self._standing(claim, now) for claim in claims]
            if any(standing.granted is None for standing in found):
                return Taken(tuple(found))
            return Taken(tuple(self._taking(standing, lease, now) for standing in found))

    def settle(self, held: Sequence[Standing], lease: str, spent: Spent | None) -> None:
        """Give back what was granted to ``lease``, but for what it ``spent``; None: nothing came of it."""
        with self._lock:
            now = self._clock()
            for standing in held:
                self._settle(standing, lease, spent, now)

    # --- one claim; the lock is held ---------------------------------------------------------------

    def _standing(self, claim: Claim, now: int) -> Standing:
        kind, most = claim.limit.rule.kind, claim.limit.most
        window: Window | None = None
        if kind is Kind.WINDOW:
            window = self._windows.get(claim.key) or Window()
            window.pass_time(now)
            used = window.used
        elif kind is Kind.SEATS:
            used = len(self._seats.get(claim.key, ()))
        else:
            budget = self._budgets.setdefault(claim.key, Budget())
            budget.spent = max(budget.spent, claim.known)
            used = budget.used
        reset = window.reset(now) if window else 0
        granted = min(claim.amount, most - used) if claim.amount else 0
        if granted >= claim.least or not claim.amount:
            return Standing(claim, granted, used, reset=reset)
        wait = 0
        if claim.least > most:
            wait = NEVER
        elif window:
            wait = window.wait(used + claim.least - most, now)
        return Standing(claim, None, used, wait=wait, reset=reset)

    def _taking(self, standing: Standing, lease: str, now: int) -> Standing:
        claim, amount = standing.claim, standing.granted
        if not amount:
            return standing
        kind, mark, reset = claim.limit.rule.kind, 0, 0
        if kind is Kind.WINDOW:
            window = self._windows.setdefault(claim.key, Window())
            mark = window.take(amount, now)
            reset = window.reset(now)
        elif kind is Kind.SEATS:
            self._seats.setdefault(claim.key, set()).add(lease)
        else:
            self._budgets[claim.key].hold(lease, amount)
        return Standing(claim, amount, standing.used + amount, reset=reset, mark=mark)

    def _settle(self, standing: Standing, lease: str, spent: Spent | None, now: int) -> None:
        claim, granted, rule = standing.claim, standing.granted or 0, standing.claim.limit.rule
        amount = spent.of(rule.unit) if spent else 0
        if rule.kind is Kind.SEATS:
            self._seats.get(claim.key, set()).discard(lease)
        elif rule.kind is Kind.BUDGET:
            self._budgets.setdefault(claim.key, Budget()).settle(lease, amount)
        else:
            window = self._windows.setdefault(claim.key, Window())
            window.pass_time(now)
            if amount > granted:
                window.take(amount - granted, now)
            else:
                window.give_back(granted - amount, standing.mark)

    def _sweep(self, now: int) -> None:
        """Forget, once a minute, windows and budgets that say nothing any more."""
        if now - self._swept < SWEEP_MS:
            return
        self._swept = now
        for window in self._windows.values():
            window.pass_time(now)
        self._windows = {key: window for key, window in self._windows.items() if not window.is_empty}
        self._seats = {key: leases for key, leases in self._seats.items() if leases}
        newest = max((key.rpartition(":")[2][:7] for key in self._budgets), default="")
        self._budgets = {
            key: budget for key, budget in self._budgets.items() if budget.held or key.rpartition(":")[2][:7] >= newest
        }
