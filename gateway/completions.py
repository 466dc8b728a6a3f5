"""The use case behind every chat door: route, run, account. No HTTP in it."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from django.conf import settings

from gateway import promises
from gateway.auth import Caller
from gateway.choices import side_by_side
from gateway.wire import Head
from routing.backends.fetch import Allowed, Fetcher
from routing.backends.images import with_images
from routing.backends.protocol import ChatEvent, ChatRequest, Finish, Usage
from routing.catalog import Replica, catalog
from routing.exceptions import EndpointError, UpstreamFailed
from routing.pool import Attempt, PromptCut, shared_pool
from routing.router import Decision, decide

logger = logging.getLogger(__name__)

MOST_NAMES = 20
LONGEST_NAME = 60

# What a run of one request on the pool yields, and the same run held to its promises.
Run = AsyncGenerator[Attempt | PromptCut | ChatEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Who is being asked now. Comes before the answer, and again for each further replica that is tried.

    ``ignored`` names what the client sent and nobody here reads.
    """

    decision: Decision
    replica: Replica
    head: Head
    ignored: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        headers = {
            "X-MoE-Expert": self.head.model,
            "X-MoE-Replica": self.replica.label,
            "X-MoE-Route": self.decision.route,
            "X-MoE-Decision": self.decision.id,
        }
        return headers | ({"X-MoE-Ignored": listed(self.ignored)} if self.ignored else {})


def listed(names: tuple[str, ...]) -> str:
    """Return a client's own names as a list for a header and for the log, with nothing in them that could harm."""
    return ",".join(re.sub(r"[^\w.\-]", "?", name[:LONGEST_NAME]) for name in names[:MOST_NAMES])


async def complete(request: ChatRequest, *, caller: Caller, request_id: str) -> AsyncGenerator[Routed | ChatEvent]:
    """Yield Routed, then the answer's events, the last of them a Finish. Raises EndpointError.

    With n > 1 there is a Finish for each answer; the last has the usage of all. Whoever opens this generator closes
    it (aclosing): that is what stops the model when a client leaves.
    """
    account = _Account(request_id=request_id, caller=caller, asked=request.model)
    if request.ignored:
        logger.info("parameters ignored request_id=%s names=%s", request_id, listed(request.ignored))
    try:
        decision = await _decided(request)
        account.decision = decision
        request = await with_images(request, Fetcher(Allowed.parse(settings.FETCH_ALLOWED_HOSTS)))
        async with aclosing(_answered(request, decision, caller, account)) as events:
            async for event in events:
                yield event
        if account.finishes < request.n:
            raise UpstreamFailed("The model server ended its answer without an end.")
    except EndpointError as error:
        account.error = error
        raise
    finally:
        account.log(time.monotonic() - account.started)


async def _decided(request: ChatRequest) -> Decision:
    if request.response_format and request.response_format.strict:
        await asyncio.to_thread(promises.check, request)  # half a second for the largest schema
    return decide(request, await catalog.aget())


async def _answered(
    request: ChatRequest, decision: Decision, caller: Caller, account: "_Account"
) -> AsyncGenerator[Routed | ChatEvent]:
    """Run ``request`` where it was decided, noting in ``account`` how that goes."""
    head = Head(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=decision.expert.slug)

    def start(one: ChatRequest) -> Run:
        return shared_pool().chat(decision, one, tenant=caller.tenant)

    def run(one: ChatRequest) -> Run:
        return promises.kept(one, start) if promises.are_made(one) else start(one)

    cut = False
    async with aclosing(side_by_side(request, run)) as events:
        async for event in events:
            if isinstance(event, Attempt):
                head = replace(head, model=event.expert.slug)
                # Of several answers the later ones may come to a replica when the first has begun already.
                if account.asks(event.replica):
                    yield Routed(decision=decision, replica=event.replica, head=head, ignored=request.ignored)
            elif isinstance(event, PromptCut):
                cut = True
            elif isinstance(event, Finish) and cut:
                yield account.saw(replace(event, adjusted=(*event.adjusted, "messages")))
            else:
                yield account.saw(event)


@dataclass(slots=True, kw_only=True)
class _Account:
    """What is known of a request when it ends, whichever way it does."""

    request_id: str
    caller: Caller
    asked: str
    decision: Decision | None = None
    replica: Replica | None = None
    finish: Finish | None = None
    finishes: int = 0
    error: EndpointError | None = None
    first_event: float | None = None
    started: float = field(default_factory=time.monotonic)

    def asks(self, replica: Replica) -> bool:
        """Note who is asked; return whether nothing was answered yet."""
        if self.first_event is None:
            self.replica = replica
        return self.first_event is None

    def saw(self, event: ChatEvent) -> ChatEvent:
        if self.first_event is None:
            self.first_event = time.monotonic() - self.started
        if isinstance(event, Finish):
            self.finishes += 1
            self.finish = event
        return event

    @property
    def usage(self) -> Usage | None:
        if isinstance(self.error, promises.PromiseBroken):
            return self.error.usage
        return self.finish.usage if self.finish else None

    @property
    def outcome(self) -> str:
        if self.error:
            return self.error.code or self.error.type
        return self.finish.reason if self.finish else "cancelled"

    def log(self, seconds: float) -> None:
        usage = self.usage
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
