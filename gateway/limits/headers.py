"""How a key's limits stand, in the headers that OpenAI's clients read. Pure.

Source: platform.openai.com/docs/guides/rate-limits, "Rate limits in headers".
"""

import datetime as dt
from collections.abc import Iterable

from gateway.limits.claims import Kind, Standing, renewed


def ratelimit_headers(standings: Iterable[Standing], at: dt.datetime) -> dict[str, str]:
    """Return x-ratelimit-* for requests and for tokens: of several limits, as of a key and its group, the tightest."""
    tightest: dict[str, Standing] = {}
    for standing in standings:
        unit = standing.claim.limit.rule.unit
        if unit in ("requests", "tokens") and _is_tighter(standing, tightest.get(unit)):
            tightest[unit] = standing
    headers = {}
    for unit, standing in tightest.items():
        headers[f"x-ratelimit-limit-{unit}"] = str(standing.claim.limit.most)
        headers[f"x-ratelimit-remaining-{unit}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{unit}"] = span(_reset(standing, at))
    return headers


def span(milliseconds: int) -> str:
    """Return a time as OpenAI writes it: 20ms, 1s, 6m0s, 13h0m5s."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, seconds = divmod(-(-milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _is_tighter(one: Standing, other: Standing | None) -> bool:
    return other is None or (one.remaining, one.claim.limit.most) < (other.remaining, other.claim.limit.most)


def _reset(standing: Standing, at: dt.datetime) -> int:
    rule = standing.claim.limit.rule
    if rule.kind is Kind.BUDGET:
        return int((renewed(rule, at) - at).total_seconds() * 1000) if standing.used else 0
    return standing.reset
