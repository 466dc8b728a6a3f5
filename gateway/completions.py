"""The use case behind every chat door: route, ground, run, account. No HTTP in it."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from django.conf import settings

from gateway import metrics, promises
from gateway.account import Account
from gateway.auth import Caller
from gateway.choices import side_by_side
from gateway.cited import Cited
from gateway.grounding import Grounded, evidence_wanted, ground
from gateway.library import Library
from gateway.sources import linked
from gateway.wire import Head
from routing.backends.fetch import Allowed, Fetcher
from routing.backends.images import with_images
from routing.backends.protocol import ChatEvent, ChatRequest, Finish, Json
from routing.catalog import Replica, catalog
from routing.decision import Decision
from routing.exceptions import EndpointError, UpstreamFailed
from routing.features import Asker
from routing.pool import Attempt, PromptCut, shared_pool
from routing.router import shared_router

logger = logging.getLogger(__name__)

MOST_NAMES = 20
LONGEST_NAME = 60

# What a run of one request on the pool yields, and the same run held to its promises.
Run = AsyncGenerator[Attempt | PromptCut | ChatEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Who is being asked now. Comes before the answer, and again for each further replica that is tried.

    ``ignored`` names what the client sent and nobody here reads; ``waited`` is the seconds it stood in the queue, and
    ``position`` how many stood there when it came. ``grounded`` is None where nobody wanted the answer grounded.
    """

    decision: Decision
    replica: Replica
    head: Head
    ignored: tuple[str, ...] = ()
    waited: float = 0.0
    position: int = 0
    grounded: Grounded | None = None

    def explained(self) -> Json:
        """Return what an answer's ``moe`` holds for a client that asked for the why."""
        body = self.decision.body()
        return {name: body[name] for name in ("decision", "expert", "route", "why", "explain")}

    def headers(self) -> dict[str, str]:
        headers = {
            "X-MoE-Expert": self.head.model,
            "X-MoE-Replica": self.replica.label,
            "X-MoE-Route": self.decision.route,
            "X-MoE-Decision": self.decision.id,
            "X-MoE-Queue-Position": str(self.position),
            "X-MoE-Queue-Wait-Ms": f"{self.waited * 1000:.0f}",
        }
        if self.head.model != self.decision.expert.slug:
            headers["X-MoE-Fallback"] = f"{self.decision.expert.slug} -> {self.head.model}"
        if self.decision.without_images:
            headers["X-MoE-Degraded"] = "images"
        if self.grounded:
            headers["X-MoE-Grounding"] = self.grounded.header
        return headers | ({"X-MoE-Ignored": listed(self.ignored)} if self.ignored else {})


def listed(names: tuple[str, ...]) -> str:
    """Return a client's own names as a list for a header and for the log, with nothing in them that could harm."""
    return ",".join(re.sub(r"[^\w.\-]", "?", name[:LONGEST_NAME]) for name in names[:MOST_NAMES])


async def complete(
    request: ChatRequest,
    *,
    caller: Caller,
    asker: Asker,
    request_id: str,
    site: str = "",
    library: Library | None = None,
) -> AsyncGenerator[Routed | Cited | ChatEvent]:
    """Yield Routed, then the answer's events, the last of them a Finish. Raises EndpointError.

    With n > 1 there is a Finish for each answer; the last has the usage of all. A grounded answer has a Cited before
    its Finish, whose links begin with ``site``. Whoever opens this generator closes it (aclosing): that is what stops
    search and model when a client leaves.
    """
    account = Account(what="completion", request_id=request_id, caller=caller, asked=request.model)
    if request.ignored:
        logger.info("parameters ignored request_id=%s names=%s", request_id, listed(request.ignored))
    library = library or Library(caller)
    try:
        decision = account.decision = await decided(request, asker, library)
        request = decision.applied_to(request)
        request, grounded = await ground(request, decision, library)
        account.grounded = grounded
        citing = account.citing = grounded.citing(request.n, linked(site)) if grounded else None
        request = await with_images(request, Fetcher(Allowed.parse(settings.FETCH_ALLOWED_HOSTS)))
        async with aclosing(_answered(request, decision, caller, account)) as events:
            async for event in events:
                for shown in citing.take(event) if citing and not isinstance(event, Routed) else (event,):
                    yield shown
    except EndpointError as error:
        account.error = error
        if isinstance(error, promises.PromiseBroken) and error.usage:
            account.usage = error.usage
        raise
    finally:
        account.log()
        account.record()
        _count(account)


def _count(account: Account) -> None:
    if account.grounded and account.citing:
        metrics.groundings.labels("weak" if account.grounded.is_weak else account.grounded.state).inc()
        metrics.citations_invented.inc(account.citing.invented)


async def decided(request: ChatRequest, asker: Asker, library: Library) -> Decision:
    """Return the decision for ``request``; raises EndpointError."""
    if request.response_format and request.response_format.strict:
        await asyncio.to_thread(promises.check, request)  # half a second for the largest schema
    known = await catalog.aget()
    if collections := evidence_wanted(request, known):
        asker = replace(asker, evidence=await library.evidence(request, collections))
    return await shared_router().decide(request, known, asker=asker)


async def _answered(
    request: ChatRequest, decision: Decision, caller: Caller, account: Account
) -> AsyncGenerator[Routed | ChatEvent]:
    """Run ``request`` where it was decided, noting in ``account`` how that goes."""
    head = Head(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=decision.expert.slug)

    def start(one: ChatRequest) -> Run:
        return shared_pool().chat(decision, one, tenant=caller.tenant, weight=caller.weight)

    def run(one: ChatRequest) -> Run:
        return promises.kept(one, start) if promises.are_made(one) else start(one)

    cut, finishes = False, 0
    async with aclosing(side_by_side(request, run)) as events:
        async for event in events:
            if isinstance(event, Attempt):
                # Of several answers the later ones may come to a replica when the first has begun already.
                metrics.queue_wait.observe(event.waited)
                if account.first_event is None:
                    account.tried(event)
                    head = replace(head, model=event.expert.slug)
                    yield Routed(
                        decision=decision,
                        replica=event.replica,
                        head=head,
                        ignored=request.ignored,
                        waited=event.waited,
                        position=event.position,
                        grounded=account.grounded,
                    )
                continue
            if isinstance(event, PromptCut):
                cut = True
                metrics.prompts_cut.labels(account.replica.label if account.replica else "").inc()
                continue
            account.saw()
            if isinstance(event, Finish):
                finishes += 1
                account.usage = event.usage or account.usage
                # Until the last answer has ended, leaving is cancelling.
                account.reason = event.reason if finishes == request.n else None
                event = replace(event, adjusted=(*event.adjusted, "messages")) if cut else event
            yield event
    if finishes < request.n:
        raise UpstreamFailed("The model server ended its answer without an end.")
