"""The use case behind every chat door: route, run, account. No HTTP in it."""

import logging
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from gateway.auth import Caller
from gateway.wire import Head
from routing.backends.protocol import ChatEvent, ChatRequest, Finish
from routing.catalog import Replica, catalog
from routing.exceptions import EndpointError, UpstreamFailed
from routing.pool import Attempt, shared_pool
from routing.router import Decision, decide

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Who is being asked now. Comes before the answer, and again for each further replica that is tried."""

    decision: Decision
    replica: Replica
    head: Head

    def headers(self) -> dict[str, str]:
        return {
            "X-MoE-Expert": self.decision.expert.slug,
            "X-MoE-Replica": self.replica.label,
            "X-MoE-Route": self.decision.route,
            "X-MoE-Decision": self.decision.id,
        }


async def complete(request: ChatRequest, *, caller: Caller, request_id: str) -> AsyncGenerator[Routed | ChatEvent]:
    """Yield Routed, then the answer's events, the last of them a Finish. Raises EndpointError.

    Whoever opens this generator closes it (aclosing): that is what stops the model when a client leaves.
    """
    started = time.monotonic()
    account = _Account(request_id=request_id, caller=caller, asked=request.model)
    head = Head(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=request.model)
    try:
        decision = decide(request, await catalog.aget())
        account.decision = decision
        head = Head(id=head.id, created=head.created, model=decision.expert.slug)
        async with aclosing(shared_pool().chat(decision, request, tenant=caller.tenant)) as events:
            async for event in events:
                if isinstance(event, Attempt):
                    account.replica = event.replica
                    yield Routed(decision=decision, replica=event.replica, head=head)
                    continue
                if account.first_event is None:
                    account.first_event = time.monotonic() - started
                if isinstance(event, Finish):
                    account.finish = event
                yield event
        if account.finish is None:
            raise UpstreamFailed("The model server ended its answer without an end.")
    except EndpointError as error:
        account.error = error
        raise
    finally:
        account.log(time.monotonic() - started)


@dataclass(slots=True, kw_only=True)
class _Account:
    """What is known of a request when it ends, whichever way it does."""

    request_id: str
    caller: Caller
    asked: str
    decision: Decision | None = None
    replica: Replica | None = None
    finish: Finish | None = None
    error: EndpointError | None = None
    first_event: float | None = None

    @property
    def outcome(self) -> str:
        if self.error:
            return self.error.code or self.error.type
        return self.finish.reason if self.finish else "cancelled"

    def log(self, seconds: float) -> None:
        usage = self.finish.usage if self.finish else None
        logger.info(
            "completion request_id=%s key=%s asked=%s expert=%s route=%s replica=%s outcome=%s prompt_tokens=%s "
            "completion_tokens=%s first_ms=%s latency_ms=%.0f",
            self.request_id,
            self.caller.prefix or "-",
            self.asked,
            self.decision.expert.slug if self.decision else "-",
            self.decision.route if self.decision else "-",
            self.replica.label if self.replica else "-",
            self.outcome,
            usage.prompt_tokens if usage else "-",
            usage.completion_tokens if usage else "-",
            "-" if self.first_event is None else f"{self.first_event * 1000:.0f}",
            seconds * 1000,
        )
