"""A request's account as its line in the log and as its span tell it; nothing of what was said is in either."""

import logging
from typing import TYPE_CHECKING, Any

from routing import tracing
from routing.current import current

if TYPE_CHECKING:
    from gateway.account import Account

logger = logging.getLogger("gateway.requests")

LONGEST_NAME = 100
OPERATIONS = {
    "completion": "chat",
    "response": "chat",
    "text completion": "text_completion",
    "embeddings": "embeddings",
}
"""What the GenAI conventions call what our doors do."""


def log_line(account: "Account", seconds: float) -> None:
    """Write the request's one line, at INFO."""
    if request := current():
        request.told = True
    if logger.isEnabledFor(logging.INFO):
        logger.info("Request processed", extra=_fields(account, seconds))


def _fields(account: "Account", seconds: float) -> dict[str, Any]:
    decision, spent, request = account.decision, account.spent, current()
    chosen = decision.expert.slug if decision else ""
    fields: dict[str, Any] = {
        "kind": account.what,
        "request_id": account.request_id,
        "key": account.caller.prefix or "-",
        "model": account.asked[:LONGEST_NAME],
        "expert": account.answered_by or chosen or "-",
        "route": decision.route if decision else "-",
        "replica": account.replica.label if account.replica else "-",
        "status": account.status,
        "outcome": account.outcome,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "tokens": spent.total_tokens,
        "first_ms": None if account.first_event is None else round(account.first_event * 1000),
        "latency_ms": round(seconds * 1000),
    }
    if request:
        fields |= {"method": request.method, "path": request.path}
    if decision:
        fields["decision"] = decision.id
    if account.answered_by not in ("", chosen):
        fields["fallback_from"] = chosen
    if account.hops:
        fields["failed"] = [f"{label}: {code}" for label, code in account.hops]
    if account.grounded:
        fields["grounding"] = account.grounded.state
    if account.cache:
        fields["cache"] = account.cache
    if account.guarding and account.guarding.has_found:
        fields["guards"] = [f"{one.name}: {one.action} {one.place}" for one in account.guarding.found]
    return fields


def mark_span(account: "Account") -> None:
    """Tell the request's span how it went, if anybody traces."""
    if not tracing.is_tracing():
        return
    span, spent, decision = tracing.serving(), account.spent, account.decision
    told: dict[str, Any] = {
        "gen_ai.operation.name": OPERATIONS.get(account.what, account.what),
        "gen_ai.request.model": account.asked[:LONGEST_NAME],
        "gen_ai.usage.input_tokens": spent.prompt_tokens,
        "gen_ai.usage.output_tokens": spent.completion_tokens,
    }
    if decision:
        told |= {"moe.decision": decision.id, "moe.route": decision.route}
        told["moe.expert"] = account.answered_by or decision.expert.slug
    if account.replica:
        told["gen_ai.provider.name"] = account.replica.server.kind.value
        told["gen_ai.response.model"] = account.replica.model
        told["moe.replica"] = account.replica.label
    if account.reason:
        told["gen_ai.response.finish_reasons"] = (account.reason,)
    if account.first_event is not None:
        told["gen_ai.response.time_to_first_chunk"] = account.first_event
    span.tell(told)
    if account.error or not account.reason:
        span.fail(account.outcome)
