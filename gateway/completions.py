"""The use case behind every chat door: route, ground, run, account. No HTTP in it."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from django.conf import settings

from gateway import metrics, promises
from gateway.account import Account
from gateway.auth import Caller
from gateway.choices import side_by_side, summed, total
from gateway.cited import Cited
from gateway.grounding import Grounded, evidence_wanted, ground
from gateway.library import Library
from gateway.sources import linked
from gateway.wire import Head
from routing.backends.fetch import Allowed, Fetcher
from routing.backends.images import with_images
from routing.backends.protocol import ChatEvent, ChatRequest, Delta, Finish, Json
from routing.catalog import Expert, Replica, catalog
from routing.decision import Decision
from routing.exceptions import EndpointError, UpstreamFailed
from routing.features import Asker
from routing.mixture.mixing import answering
from routing.mixture.parts import Parts, counted
from routing.pool import Attempt, PromptCut, shared_pool
from routing.router import shared_router

logger = logging.getLogger(__name__)

MOST_NAMES = 20
LONGEST_NAME = 60

# What a run of one request on the pool yields, and the same run held to its promises.
Run = AsyncGenerator[Attempt | PromptCut | Parts | ChatEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """Who is being asked now. Comes before the answer, and again for each further replica that is tried.

    Where several experts answer together it is the one that speaks to the client; at first the one that is meant to.
    ``parts`` then tells what became of each, as far as that is known. ``ignored`` names what the client sent and nobody
    here reads; ``waited`` is the seconds it stood in the queue, and ``position`` how many stood there when it came.
    ``grounded`` is None where nobody wanted the answer grounded.
    """

    decision: Decision
    replica: Replica
    head: Head
    ignored: tuple[str, ...] = ()
    waited: float = 0.0
    position: int = 0
    grounded: Grounded | None = None
    parts: tuple[Parts, ...] = ()

    def explained(self) -> Json:
        """Return what an answer's ``moe`` holds for a client that asked for the why."""
        body = self.decision.body()
        told = {name: body[name] for name in ("decision", "expert", "route", "why", "explain")}
        return told | (self.grounded.tools if self.grounded else {})

    def headers(self) -> dict[str, str]:
        headers = {
            "X-MoE-Expert": self.head.model,
            "X-MoE-Replica": self.replica.label,
            "X-MoE-Route": self.decision.route,
            "X-MoE-Decision": self.decision.id,
            "X-MoE-Queue-Position": str(self.position),
            "X-MoE-Queue-Wait-Ms": f"{self.waited * 1000:.0f}",
        }
        if self.head.model != self.decision.expert.slug and not self.decision.plan:
            headers["X-MoE-Fallback"] = f"{self.decision.expert.slug} -> {self.head.model}"
        if self.parts:
            headers["X-MoE-Parts"] = counted(self.parts)
        if self.decision.without_images:
            headers["X-MoE-Degraded"] = "images"
        if self.grounded:
            headers["X-MoE-Grounding"] = self.grounded.header
            headers |= {"X-MoE-Tools": "withheld"} if self.grounded.withheld else {}
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
) -> AsyncGenerator[Routed | Cited | Parts | ChatEvent]:
    """Yield Routed, then the answer's events, the last of them a Finish. Raises EndpointError.

    With n > 1 there is a Finish for each answer; the last has the usage of all. A grounded answer has a Cited before
    its Finish, whose links begin with ``site``; one that several experts made has its Parts there, for a client that
    wants to know. Whoever opens this generator closes it (aclosing): that is what stops
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
        citing = account.citing = grounded.citing(request.n, linked(site, caller.key_id)) if grounded else None
        request = await with_images(request, Fetcher(Allowed.parse(settings.FETCH_ALLOWED_HOSTS)))
        async with aclosing(_answered(request, decision, caller, account)) as events:
            async for event in events:
                for shown in citing.take(event) if citing and isinstance(event, Delta | Finish) else (event,):
                    yield shown
    except EndpointError as error:
        account.error = error
        if isinstance(error, promises.PromiseBroken) and error.usage:
            account.usage = error.usage
        raise
    finally:
        account.close()
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
) -> AsyncGenerator[Routed | Parts | ChatEvent]:
    """Run ``request`` where it was decided, noting in ``account`` how that goes."""
    telling = _Telling(request, decision, account)

    def run(one: ChatRequest) -> Run:
        start = _starter(decision, caller, account)
        return promises.kept(one, start) if promises.are_made(one) else start(one)

    if decision.plan:
        yield telling.announced(decision.plan.speaker)
    async with aclosing(side_by_side(request, run, usage_of=summed if decision.plan else total)) as events:
        async for event in events:
            for shown in telling.take(event):
                yield shown
    if telling.finishes < request.n:
        raise UpstreamFailed("The model server ended its answer without an end.")


def _starter(decision: Decision, caller: Caller, account: Account) -> Callable[[ChatRequest], Run]:
    """Return what runs the request for one answer: several experts together, where that was decided."""
    if decision.plan is None:
        return lambda one: shared_pool().chat(decision, one, tenant=caller.tenant, weight=caller.weight)
    several = answering(shared_pool(), decision, decision.plan, tenant=caller.tenant, weight=caller.weight)
    account.several.append(several)
    return several.chat


class _Telling:
    """What comes of a run, for the client and for the account."""

    def __init__(self, request: ChatRequest, decision: Decision, account: Account) -> None:
        self._request = request
        self._decision = decision
        self._account = account
        self._head = Head(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=decision.expert.slug)
        self._routed: Routed | None = None
        self._cut = False
        self.finishes = 0

    def announced(self, expert: Expert) -> Routed:
        """Return who is meant to speak where several answer together.

        That takes longer than until the first heartbeat, with which the headers go out. Whoever is asked in the end
        takes the place of this one where they have not.
        """
        return self._routing(Attempt(replica=expert.replicas_that(self._decision.needs)[0], expert=expert))

    def take(self, event: Attempt | PromptCut | Parts | ChatEvent) -> Iterator[Routed | Parts | ChatEvent]:
        if isinstance(event, Attempt):
            # Of several answers the later ones may come to a replica when the first has begun already.
            metrics.queue_wait.observe(event.waited)
            if self._account.first_event is None:
                self._account.tried(event)
                yield self._routing(event)
        elif isinstance(event, PromptCut):
            self._cut = True
            replica = self._account.replica
            metrics.prompts_cut.labels(replica.label if replica else "").inc()
        elif isinstance(event, Parts):
            yield from self._parted(event)
        else:
            self._account.saw()
            yield self._ended(event) if isinstance(event, Finish) else event

    def _routing(self, attempt: Attempt) -> Routed:
        self._head = replace(self._head, model=attempt.expert.slug)
        self._routed = Routed(
            decision=self._decision,
            replica=attempt.replica,
            head=self._head,
            ignored=self._request.ignored,
            waited=attempt.waited,
            position=attempt.position,
            grounded=self._account.grounded,
            parts=self._routed.parts if self._routed else (),
        )
        return self._routed

    def _parted(self, parts: Parts) -> Iterator[Routed | Parts]:
        """Yield what the headers can still tell of it, and the whole for a client that wants to know."""
        if self._routed and (self._account.first_event is None or not self._request.stream):
            self._routed = replace(self._routed, parts=self._account.parts)
            yield self._routed
        if self._request.explain:
            yield parts

    def _ended(self, finish: Finish) -> Finish:
        self.finishes += 1
        self._account.usage = finish.usage or self._account.usage
        # Until the last answer has ended, leaving is cancelling.
        self._account.reason = finish.reason if self.finishes == self._request.n else None
        grounded = self._account.grounded
        tools = ("tools",) if grounded and grounded.withheld else ()
        return replace(finish, adjusted=(*finish.adjusted, *(("messages",) if self._cut else ()), *tools))
