"""What a request had model servers do: its tokens and what they cost, and the records of its calls. Pure."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.errors import CLIENT_LEFT
from gateway.models import UsageRecord
from gateway.usage.costs import cost_of
from routing.metering import NOTHING, Call, Took

if TYPE_CHECKING:
    from gateway.account import Account


def took_together(calls: Iterable[Call]) -> Took:
    """Return what calls took together."""
    return sum((call.took for call in calls), NOTHING)


def cost_together(calls: Iterable[Call]) -> Decimal:
    """Return what calls cost, each by the prices of its own expert."""
    return sum((cost_of(call.took.usage, call.expert) for call in calls), Decimal(0))


def records_of(account: "Account", seconds: float) -> list[UsageRecord]:
    """Return the record of a request that ended after ``seconds``, and one for each call that only helped it.

    A call that helped (a follow-up put into words, the routing program, the vectors of a question, a guard) is a record
    of its own kind, so that a request's tokens stay those of its answers.
    """
    common = _common(account)
    helped = [_helped(call, account.started, account.at, common) for call in account.meter.calls if call.purpose]
    return [_record(account, seconds, common), *helped]


def _common(account: "Account") -> dict[str, Any]:
    caller, decision = account.caller, account.decision
    return {
        "request_id": account.request_id,
        "decision": decision.id if decision and account.keeps_decision else "",
        "key_id": caller.key_id,
        "key_name": caller.name if caller.key_id is not None else "",
        "key_prefix": caller.prefix,
        "group": caller.group,
    }


def _record(account: "Account", seconds: float, common: dict[str, Any]) -> UsageRecord:
    decision, calls = account.decision, account.meter.of()
    took = took_together(calls)
    chosen = decision.expert.slug if decision else ""
    return UsageRecord(
        **common,
        created_at=account.at,
        what=account.what,
        asked=account.asked,
        profile=decision.profile.slug if decision and decision.profile else "",
        expert=account.answered_by or chosen,
        replica=account.replica.label if account.replica else "",
        route=decision.route if decision else "",
        prompt_tokens=took.prompt,
        completion_tokens=took.completion,
        thinking_tokens=took.thinking,
        is_estimated=took.is_estimated,
        cost=cost_together(calls),
        queue_ms=max((call.waited * 1000 for call in calls), default=None),
        load_ms=max((call.load * 1000 for call in calls), default=None),
        first_token_ms=None if account.first_event is None else account.first_event * 1000,
        total_ms=seconds * 1000,
        status=account.status,
        outcome=account.outcome,
        is_cancelled=account.status == CLIENT_LEFT,
        is_streamed=account.is_streamed,
        is_fallback=not account.several and account.answered_by not in ("", chosen),
        failed_attempts=len(account.hops),
        grounding=account.grounded.state if account.grounded else "",
        passages=account.passages,
        cache=account.cache,
    )


def _helped(call: Call, started: float, at: dt.datetime, common: dict[str, Any]) -> UsageRecord:
    took = call.took
    began = started if call.began is None else call.began
    ended = began if call.ended is None else call.ended
    status, outcome = _ending(call)
    return UsageRecord(
        **common,
        created_at=at + dt.timedelta(seconds=max(0.0, began - started)),
        what=call.purpose,
        asked=call.expert.slug,
        expert=call.expert.slug,
        replica=call.replica.label,
        prompt_tokens=took.prompt,
        completion_tokens=took.completion,
        thinking_tokens=took.thinking,
        is_estimated=took.is_estimated,
        cost=cost_of(took.usage, call.expert),
        queue_ms=call.waited * 1000,
        load_ms=call.load * 1000,
        first_token_ms=None if call.first is None else (call.first - began) * 1000,
        total_ms=(ended - began) * 1000,
        status=status,
        outcome=outcome,
        is_cancelled=status == CLIENT_LEFT,
    )


def _ending(call: Call) -> tuple[int, str]:
    """Return how a call ended as a status and in a word; one that was not waited for counts as left by its client."""
    if call.failure:
        return call.failure.status, call.failure.code or call.failure.type
    return (CLIENT_LEFT, "cancelled") if call.ended is None else (200, "stop")
