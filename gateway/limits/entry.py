"""What one request takes of its key's limits, from when it comes in until it has left."""

import asyncio
import datetime as dt
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils import timezone

from gateway import metrics
from gateway.limits.claims import Claim, Kind, Limit, Spent, Standing, Taken, limits_of, period_of
from gateway.limits.demand import Demand
from gateway.limits.headers import ratelimit_headers
from gateway.limits.ledger import Ledger, ledger
from gateway.limits.limiter import Holding, Limiter, shared_limiter
from gateway.limits.refusals import refusal
from gateway.policy import Limits, Policy


@dataclass(slots=True)
class Reservation:
    """The tokens that a generation may take; ``settle`` is called once, however it ended."""

    entry: "Entry"
    holding: Holding
    subjects: frozenset[str]
    at: dt.datetime

    def settle(self, spent: Spent) -> None:
        """Take what was ``spent`` in place of what was reserved."""
        self.entry.settle(self, spent)


@dataclass(slots=True)
class Entry:
    """A request of a limited caller; ``limits`` are its key's and its group's.

    Whoever makes it comes in once, and leaves in any case; leaving again does nothing.
    """

    limits: tuple[Limit, ...]
    limiter: Limiter = field(default_factory=shared_limiter)
    ledger: Ledger = field(default_factory=lambda: ledger)
    _presence: Holding | None = None
    _standings: dict[Limit, Standing] = field(default_factory=dict)
    _settling: "list[asyncio.Future[Any]]" = field(default_factory=list)

    async def come_in(self) -> None:
        """Count the request, and take a seat for it; raises RateLimited and Uncounted."""
        if claims := self._presence_claims(_now()):
            self._came_in(await self.limiter.take(claims))

    async def check_budgets(self) -> None:
        """Raise QuotaSpent where a day's or month's budget is spent, and Uncounted; nothing is taken.

        For what has a model or an embedder work without a reservation: how much that takes is not known before.
        """
        if subjects := self._budgeted():
            await self.ledger.know(subjects)
            now = _now()
            if claims := self._budget_claims(now):
                self._see_budgets(await self.limiter.take(claims), now)

    async def reserve(self, demand: Demand, came: dt.datetime) -> Reservation | None:
        """Reserve what it may take, None where nothing limits that; raises RateLimited, QuotaSpent and Uncounted.

        It is taken from the day and month in which the request ``came``, as its record is of these.
        """
        if not (limits := [limit for limit in self.limits if _is_metered(limit)]):
            return None
        if budgeted := self._budgeted():
            await self.ledger.know(budgeted)
        at = came.astimezone(dt.UTC)
        holding = await self.limiter.take([self._metered(limit, demand, at) for limit in limits])
        self._see(holding, at)
        return Reservation(self, holding, budgeted, at)

    def settle(self, reservation: Reservation, spent: Spent) -> None:
        """See Reservation.settle."""
        told = functools.partial(self.ledger.settled, reservation.subjects, reservation.at, spent)
        self.ledger.spend(reservation.subjects, reservation.at, spent)
        settling = self.limiter.settle(reservation.holding, spent)
        if settling is None:
            told()
        else:
            settling.add_done_callback(lambda _: told())
            self._settling.append(settling)

    def charge(self, spent: Spent, came: dt.datetime) -> None:
        """Take what was ``spent`` without a reservation from the day and month in which the request ``came``."""
        if spent != Spent() and (subjects := self._budgeted()):
            self.ledger.spend(subjects, came, spent)
            self.ledger.settled(subjects, came, spent)

    async def leave(self) -> None:
        """Give the seat back, and return when everything is settled."""
        if (holding := self._leaving()) and (settling := self.limiter.settle(holding)):
            self._settling.append(settling)
        if self._settling:
            await asyncio.wait(self._settling)

    def headers(self) -> dict[str, str]:
        """Return x-ratelimit-* as of the last time that a limit was asked."""
        return ratelimit_headers(self._standings.values(), _now())

    # --- for threads -----------------------------------------------------------------------------------

    def come_in_now(self) -> None:
        """Do what come_in does, in a thread without an event loop."""
        if claims := self._presence_claims(_now()):
            self._came_in(self.limiter.take_now(claims))

    def check_budgets_now(self) -> None:
        """Do what check_budgets does, in a thread without an event loop."""
        if subjects := self._budgeted():
            self.ledger.know_now(subjects)
            now = _now()
            if claims := self._budget_claims(now):
                self._see_budgets(self.limiter.take_now(claims), now)

    def leave_now(self) -> None:
        """Do what leave does, in a thread without an event loop."""
        if holding := self._leaving():
            self.limiter.settle_now(holding)

    # --- claims ----------------------------------------------------------------------------------------

    def _presence_claims(self, now: dt.datetime) -> list[Claim]:
        """Return a request and a seat, and nothing of its tokens: so that every answer can tell how these stand."""
        claims = []
        for limit in self.limits:
            rule = limit.rule
            if rule.unit in ("requests", "seats"):
                claims.append(Claim(limit, 1, 1))
            elif rule.unit == "tokens":
                claims.append(self._claim(limit, 0, 0, now))
        return claims

    def _budgeted(self) -> frozenset[str]:
        return frozenset(limit.subject for limit in self.limits if limit.rule.kind is Kind.BUDGET)

    def _budget_claims(self, now: dt.datetime) -> list[Claim]:
        """Return nothing of each budget, by which it tells how it stands.

        A budget of no cost at all is for what is free, and never spent.
        """
        budgets = (limit for limit in self.limits if limit.rule.kind is Kind.BUDGET and limit.most)
        return [self._claim(limit, 0, 0, now) for limit in budgets]

    def _metered(self, limit: Limit, demand: Demand, now: dt.datetime) -> Claim:
        if limit.rule.unit == "cost":
            return self._claim(limit, demand.cost, demand.least_cost, now)
        if limit.rule.kind is Kind.BUDGET:
            return self._claim(limit, demand.tokens, demand.least, now)
        # A minute is soon over: it waits for all of it, but for a guess that would never fit.
        amount = max(demand.least, min(demand.tokens, limit.most))
        return self._claim(limit, amount, amount, now)

    def _claim(self, limit: Limit, amount: int, least: int, now: dt.datetime) -> Claim:
        rule = limit.rule
        if rule.kind is not Kind.BUDGET:
            return Claim(limit, amount, least)
        period = period_of(rule, now)
        return Claim(limit, amount, least, period, self.ledger.known(limit.subject, period, rule.unit))

    def _came_in(self, holding: Holding) -> None:
        self._see(holding, _now())
        self._presence = holding

    def _see(self, holding: Holding, now: dt.datetime) -> None:
        """Note how limits stand; raises what a refused request is told."""
        self._standings |= {standing.claim.limit: standing for standing in holding.taken.standings}
        if not holding.taken.is_granted:
            for standing in holding.taken.standings:
                if standing.granted is None:
                    metrics.limit_refused(standing.claim.limit.name, standing.claim.limit.subject)
            raise refusal(holding.taken, now)

    def _see_budgets(self, holding: Holding, now: dt.datetime) -> None:
        """Note how budgets stand; raises QuotaSpent for one of which nothing is left."""
        found = (one if one.remaining else replace(one, granted=None) for one in holding.taken.standings)
        self._see(replace(holding, taken=Taken(tuple(found))), now)

    def _leaving(self) -> Holding | None:
        holding, self._presence = self._presence, None
        return holding


def entry_of(policies: Sequence[Policy]) -> Entry | None:
    """Return the entry of a caller who is held to ``policies``; None for one whom nothing limits."""
    limits = tuple(_limits(policies))
    return Entry(limits) if limits else None


def _limits(policies: Iterable[Policy]) -> Iterator[Limit]:
    for policy in policies:
        if policy.limits:
            yield from _limits_of(policy.subject, policy.limits)


@functools.lru_cache(maxsize=10_000)
def _limits_of(subject: str, limits: Limits) -> tuple[Limit, ...]:
    return tuple(limits_of(subject, limits))


def _is_metered(limit: Limit) -> bool:
    """Tell whether a limit is of what is generated, rather than of requests."""
    return limit.rule.unit in ("tokens", "cost")


def _now() -> dt.datetime:
    return timezone.now().astimezone(dt.UTC)
