"""What a request is told that a limit keeps out: which limit, whose, and what to do. Pure.

EndpointError
├── RateLimited     429  try again later, or never as it is
├── QuotaSpent      429  a day's or month's budget does not hold it
└── Unavailable
    └── Uncounted   503  Redis is away, and the operator chose that nobody comes in meanwhile
"""

import datetime as dt
import math
from decimal import Decimal
from typing import ClassVar

from gateway.limits.claims import COST_UNIT, NEVER, Kind, Limit, Standing, Taken, renewed
from routing.exceptions import EndpointError, Unavailable

SEAT_SECONDS = 1.0
"""When to look again whether a running request has ended."""
ASK = "or ask an administrator for a higher limit"
_TIMES = {"day": "today", "month": "this month"}


class RateLimited(EndpointError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class QuotaSpent(EndpointError):
    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"


class Uncounted(Unavailable):
    may_fail_over: ClassVar[bool] = False

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "Limits cannot be counted at the moment, and no request of a limited API key is let in meanwhile. Try "
            "again. Administrators: Redis does not answer (REDIS_URL); REDIS_DOWN=local would let each process count "
            "for itself.",
            retry_after=seconds,
        )


def refusal(taken: Taken, at: dt.datetime) -> EndpointError:
    """Return the error for claims that were refused at ``at``, a time in UTC; the limit that lasts longest is named."""
    refused = [standing for standing in taken.standings if standing.granted is None]
    return _told(max(refused, key=lambda standing: _lasting(standing, at)), at)


def _lasting(standing: Standing, at: dt.datetime) -> float:
    """Return the seconds until a claim could be granted."""
    rule = standing.claim.limit.rule
    if standing.wait == NEVER:
        return math.inf
    if rule.kind is Kind.BUDGET:
        return (renewed(rule, at) - at).total_seconds()
    return SEAT_SECONDS if rule.kind is Kind.SEATS else standing.wait / 1000


def _told(standing: Standing, at: dt.datetime) -> EndpointError:
    claim, limit = standing.claim, standing.claim.limit
    whose, seconds = owner(limit.subject), _lasting(standing, at)
    if limit.rule.kind is Kind.BUDGET:
        return QuotaSpent(_budget(standing, at), should_retry=False)
    if limit.rule.kind is Kind.SEATS:
        return RateLimited(
            f"{_capital(whose)} has {_requests(standing.used)} running, and its limit is {limit.most} at the same time "
            f"(concurrent requests). Try again when one of them has ended, {ASK}.",
            retry_after=seconds,
        )
    if standing.wait == NEVER:
        return RateLimited(
            f"This request may take about {claim.least:,} tokens, prompt and answer together, and the limit of {whose} "
            f"is {limit.most:,} tokens per minute: it can never be let in. Shorten the prompt, send a smaller "
            f"max_tokens, {ASK}.",
            should_retry=False,
        )
    wait = f"Try again in {math.ceil(seconds)} s, {ASK}."
    if limit.rule.unit == "requests":
        return RateLimited(
            f"{_capital(whose)} has sent {_requests(standing.used)} in the last minute, and its limit is "
            f"{_requests(limit.most)} per minute. {wait}",
            retry_after=seconds,
        )
    return RateLimited(
        f"This request may take about {claim.least:,} tokens, and of the limit of {whose}, {limit.most:,} tokens per "
        f"minute, {standing.remaining:,} are left. {wait}",
        retry_after=seconds,
    )


def _budget(standing: Standing, at: dt.datetime) -> str:
    limit = standing.claim.limit
    whose, when = owner(limit.subject), _TIMES[limit.rule.period]
    what = "tokens" if limit.rule.unit == "tokens" else "of cost"
    spent, most = _amount(limit, standing.used), _amount(limit, limit.most)
    if limit.most == 0:
        return f"{_capital(whose)} may only ask for what costs nothing. Ask for another model, {ASK}."
    if standing.wait == NEVER:
        return (
            f"This request may take about {_amount(limit, standing.claim.least)} {what}, prompt and answer together, "
            f"and the budget of {whose} is {most} for each {limit.rule.period}: it can never be let in. Shorten the "
            f"prompt, send a smaller max_tokens, {ASK}."
        )
    if standing.remaining:
        said = (
            f"This request may take about {_amount(limit, standing.claim.least)} {what}, and {whose} has "
            f"{_amount(limit, standing.remaining)} left of its {most} for {when}"
        )
    else:
        said = f"{_capital(whose)} has spent its budget for {when}: {spent} of {most} {what}"
    return f"{said}. It is renewed at {renewed(limit.rule, at):%Y-%m-%d %H:%M} UTC; ask an administrator for more."


def owner(subject: str) -> str:
    """Return whose limits a policy's are, in words."""
    kind, _, name = subject.partition(":")
    return f"the group '{name}'" if kind == "group" else "this API key"


def _requests(number: int) -> str:
    return f"{number:,} request{'s' if number != 1 else ''}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _amount(limit: Limit, units: int) -> str:
    if limit.rule.unit != "cost":
        return f"{units:,}"
    text = f"{Decimal(units) * COST_UNIT:.8f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0'):0<2}"
