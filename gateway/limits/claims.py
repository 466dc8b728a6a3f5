"""What a request takes from its limits, and what came of it. Pure.

Every limit is one of three kinds:

- a *window* is what was taken in the last minute. Time passes in grains of a quarter second: what was taken comes back
  a minute after the grain's end, so that no minute ever has more than the limit, and a unit is held 60.25 s at most;
- *seats* are held by what runs now, each under a lease that ends by itself when its process is gone;
- a *budget* is what was spent since a day or month began, in UTC, and what running requests may still spend of it.

A store takes all claims of a request or none.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import IntEnum

from gateway.policy import Limits

GRAIN_MS = 250
GRAINS = 240  # a minute
COST_UNIT = Decimal("0.00000001")
"""Costs are counted in whole hundred-millionths of the currency: what the records of usage hold."""
MOST = 2**53 - 1
"""The largest number that Redis' scripts count exactly."""
NEVER = -1
"""The wait for something that cannot come."""


class Kind(IntEnum):
    WINDOW = 0
    SEATS = 1
    BUDGET = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a field of Limits means: of which kind it is, what it counts, and over what time."""

    kind: Kind
    unit: str
    period: str = ""


RULES: dict[str, Rule] = {
    "requests_per_minute": Rule(kind=Kind.WINDOW, unit="requests"),
    "tokens_per_minute": Rule(kind=Kind.WINDOW, unit="tokens"),
    "concurrent_requests": Rule(kind=Kind.SEATS, unit="seats"),
    "tokens_per_day": Rule(kind=Kind.BUDGET, unit="tokens", period="day"),
    "tokens_per_month": Rule(kind=Kind.BUDGET, unit="tokens", period="month"),
    "cost_per_day": Rule(kind=Kind.BUDGET, unit="cost", period="day"),
    "cost_per_month": Rule(kind=Kind.BUDGET, unit="cost", period="month"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of one subject; ``most`` is in its unit, ``rule`` the name of its field."""

    subject: str
    name: str
    most: int

    @property
    def rule(self) -> Rule:
        return RULES[self.name]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be taken from a limit: ``amount``, or what is left if that is ``least`` of it at least.

    An amount of 0 takes nothing, is never refused, and tells how the limit stands. ``period`` is the day or month of a
    budget, and ``known`` what is known to have been spent of it.
    """

    limit: Limit
    amount: int
    least: int
    period: str = ""
    known: int = 0

    @property
    def key(self) -> str:
        return f"{self.limit.subject}:{self.limit.name}:{self.period}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands after a claim on it, or before it where the claims were refused.

    ``granted`` is None for a claim that is itself the reason. ``wait`` is the milliseconds until it would be granted,
    0 if it is, NEVER if the limit is smaller than it, and ``reset`` those until everything of a window is free.
    ``mark`` is the grain it was taken from.
    """

    claim: Claim
    granted: int | None
    used: int
    wait: int = 0
    reset: int = 0
    mark: int = 0

    @property
    def remaining(self) -> int:
        return max(0, self.claim.limit.most - self.used)

    @property
    def is_returnable(self) -> bool:
        """Whether what was granted is settled in the end; requests are never given back."""
        return bool(self.granted) and self.claim.limit.name != "requests_per_minute"

    @property
    def is_leased(self) -> bool:
        return bool(self.granted) and self.claim.limit.rule.kind is not Kind.WINDOW


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a request's claims: all were granted, or nothing was taken."""

    standings: tuple[Standing, ...]

    @property
    def is_granted(self) -> bool:
        return all(standing.granted is not None for standing in self.standings)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request took in the end; cost in COST_UNIT."""

    tokens: int = 0
    cost: int = 0

    def of(self, unit: str) -> int:
        return self.cost if unit == "cost" else self.tokens


def limits_of(subject: str, limits: Limits) -> Iterator[Limit]:
    """Yield every limit that is set for ``subject``."""
    for name in RULES:
        if (most := getattr(limits, name)) is not None:
            yield Limit(subject, name, cost_units(most) if name.startswith("cost") else min(most, MOST))


def cost_units(cost: Decimal | float) -> int:
    """Return a cost in whole COST_UNITs."""
    units = Decimal(cost) / COST_UNIT
    return min(int(units.to_integral_value(rounding=ROUND_HALF_UP)), MOST)


def period_of(rule: Rule, at: dt.datetime) -> str:
    """Return the day or month of ``at``, a time in UTC, as its budget is called."""
    if rule.kind is not Kind.BUDGET:
        return ""
    day = at.date().isoformat()
    return day if rule.period == "day" else day[:7]


def renewed(rule: Rule, at: dt.datetime) -> dt.datetime:
    """Return when the day or month that ``at`` is in has ended, in UTC."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if rule.period == "day":
        return day + dt.timedelta(days=1)
    return (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)


def has_budgets(limits: Limits) -> bool:
    return any(rule.kind is Kind.BUDGET and getattr(limits, name) is not None for name, rule in RULES.items())
