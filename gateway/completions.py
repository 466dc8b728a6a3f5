"""The use case behind every chat door: route, ground, run, account. No HTTP in it."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial

from django.conf import settings

from gateway import metrics, promises
from gateway.account import Account
from gateway.auth import Caller
from gateway.caching.looking import Looked, Looking, looking_of
from gateway.chatanswer import Head
from gateway.choices import side_by_side, summed, total
from gateway.cited import Cited
from gateway.grounding import Grounded, evidence_wanted, ground
from gateway.guards.findings import Told, header_of
from gateway.guards.guarding import guarding_for
from gateway.guards.outgoing import given
from gateway.library import Library
from gateway.limits.demand import chat_demand
from gateway.offer import Offer
from gateway.sources import linked
from gateway.usage.texts import chat_kept
from routing.backends.fetch import Allowed, Fetcher
from routing.backends.images import with_images
from routing.backends.protocol import ChatEvent, ChatRequest, Delta, Finish, Json, Message
from routing.catalog import Expert, Replica, catalog
from routing.decision import Decision
from routing.exceptions import EndpointError, UpstreamFailed
from routing.features import Asker
from routing.mixture.mixing import answering
from routing.mixture.parts import Parts, counted
from routing.pool import PromptCut, shared_pool
from routing.router import shared_router
from routing.tracing import stage
from routing.trial import Attempt

logger = logging.getLogger(__name__)

MOST_NAMES = 20
LONGEST_NAME = 60

# What a run of one request on the pool yields, and the same run held to its promises.
Run = AsyncGenerator[Attempt | PromptCut | Parts | ChatEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed(Told):
    """Who is being asked now. Comes before the answer, and again for each further replica that is tried.

    Where several experts answer together it is the one that speaks to the client; at first the one that is meant to.
    ``parts`` then tells what became of each, as far as that is known. ``ignored`` names what the client sent and nobody
    here reads; ``waited`` is the seconds it stood in the queue, and ``position`` how many stood there when it came.
    ``grounded`` is None where nobody wanted the answer grounded. ``replica`` is None for an answer that is given again,
    and ``cache`` what came of looking for one ("": it was not looked for). ``conversation`` is what was asked as models
    may be shown it: what guards mask is masked in it, and ``masked`` are those texts, with their masks.
    """

    decision: Decision
    replica: Replica | None
    head: Head
    ignored: tuple[str, ...] = ()
    waited: float = 0.0
    position: int = 0
    grounded: Grounded | None = None
    parts: tuple[Parts, ...] = ()
    cache: str = ""
    conversation: tuple[Message, ...] = ()
    masked: Mapping[str, str] = field(default_factory=dict, repr=False)

    def explained(self) -> Json:
        """Return what an answer's ``moe`` holds for a client that asked for the why."""
        body = self.decision.body()
        told = {name: body[name] for name in ("decision", "expert", "route", "why", "explain")}
        told |= {"guards": [one.body() for one in self.guards]} if self.guards else {}
        return told | (self.grounded.tools if self.grounded else {})

    def headers(self) -> dict[str, str]:
        headers = {
            "X-MoE-Expert": self.head.model,
            "X-MoE-Route": self.decision.route,
            "X-MoE-Decision": self.decision.id,
        }
        if self.replica:
            headers["X-MoE-Replica"] = self.replica.label
            headers["X-MoE-Queue-Position"] = str(self.position)
            headers["X-MoE-Queue-Wait-Ms"] = f"{self.waited * 1000:.0f}"
        if self.cache:
            headers["X-MoE-Cache"] = self.cache
        if self.head.model != self.decision.expert.slug and not self.decision.plan:
            headers["X-MoE-Fallback"] = f"{self.decision.expert.slug} -> {self.head.model}"
        if self.parts:
            headers["X-MoE-Parts"] = counted(self.parts)
        if self.decision.without_images:
            headers["X-MoE-Degraded"] = "images"
        if self.grounded:
            headers["X-MoE-Grounding"] = self.grounded.header
            headers |= {"X-MoE-Tools": "withheld"} if self.grounded.withheld else {}
        if self.guards:
            headers["X-MoE-Guards"] = header_of(self.guards)
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
    what: str = "completion",
) -> AsyncGenerator[Routed | Cited | Parts | ChatEvent]:
    """Yield Routed, then the answer's events, the last of them a Finish. Raises EndpointError.

    With n > 1 there is a Finish for each answer; the last has the usage of all. A grounded answer has a Cited before
    its Finish, whose links begin with ``site``; one that several experts made has its Parts there, for a client that
    wants to know. ``what`` is what the account calls it. Whoever opens this generator closes it (aclosing): that is
    what stops search and model when a client leaves.
    """
    account = Account(what=what, request_id=request_id, caller=caller, asked=request.model, is_streamed=request.stream)
    if request.ignored:
        logger.info("parameters ignored request_id=%s names=%s", request_id, listed(request.ignored))
    library = library or Library(caller, reserve=account.reserve)
    try:
        guarding = account.guarding = await guarding_for(request.model, caller)
        request = asked = await guarding.chat(request)
        decision = account.decision = await decided(request, asker, library)
        looking = looking_of(request, decision, caller, asker)
        request = decision.applied_to(request)
        request, grounded = await ground(request, decision, library, guarding)
        account.grounded = grounded
        account.kept = chat_kept(asked.messages, what=what, caller=caller, grounded=grounded)
        citing = account.citing = grounded.citing(request.n, linked(site, caller.key_id)) if grounded else None
        request = await with_images(request, Fetcher(Allowed.parse(settings.FETCH_ALLOWED_HOSTS)))
        reserve = partial(account.reserve, lambda: chat_demand(request, decision, shared_pool().tokens))
        if looking and not guarding.asks_experts:
            looking.reserve = reserve
        else:
            await reserve()
        await guarding.judge(param="messages")
        answered = _answered(request, decision, caller, account, looking)
        async with aclosing(given(guarding, answered, account, request, answers=request.n)) as events:
            async for event in events:
                for shown in citing.take(event) if citing and isinstance(event, Delta | Finish) else (event,):
                    if account.kept:
                        account.kept.saw(shown)
                    yield shown
    except EndpointError as error:
        account.error = error
        raise
    finally:
        account.close()


async def decided(request: ChatRequest, asker: Asker, library: Library) -> Decision:
    """Return the decision for ``request``; raises EndpointError."""
    if request.response_format and request.response_format.strict:
        await asyncio.to_thread(promises.check, request)  # half a second for the largest schema
    known = await catalog.aget()
    Offer(caller=library.caller, known=known).check_chat(request.model)
    if collections := evidence_wanted(request, known):
        asker = replace(asker, evidence=await library.evidence(request, collections))
    with stage("route") as span:
        decision = await shared_router().decide(request, known, asker=asker)
        span.tell({"moe.route": decision.route, "moe.expert": decision.expert.slug})
    return decision


async def _answered(
    request: ChatRequest, decision: Decision, caller: Caller, account: Account, looking: Looking | None
) -> AsyncGenerator[Routed | Parts | ChatEvent]:
    """Run ``request`` where it was decided, unless it was answered before; note in ``account`` how that goes."""
    telling = _Telling(request, decision, account)

    def run(one: ChatRequest) -> Run:
        start = _starter(decision, caller, account)
        return promises.kept(one, start) if promises.are_made(one) else start(one)

    if decision.plan:
        yield telling.announced(decision.plan.speaker)

    def answering_it() -> Run:
        return side_by_side(request, run, usage_of=summed if decision.plan else total)

    found: AsyncGenerator[Looked | Attempt | PromptCut | Parts | ChatEvent]
    if looking is None:
        found = answering_it()
    else:
        looking.may_keep = lambda: not (account.guarding and account.guarding.has_found)
        found = looking.answers(request, answering_it, grounded=account.grounded)
    async with aclosing(found) as events:
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
        self._cache = ""
        self.finishes = 0

    def announced(self, expert: Expert) -> Routed:
        """Return who is meant to speak where several answer together.

        That takes longer than until the first heartbeat, with which the headers go out. Whoever is asked in the end
        takes the place of this one where they have not.
        """
        return self._routing(Attempt(replica=expert.replicas_that(self._decision.needs)[0], expert=expert))

    def take(self, event: Looked | Attempt | PromptCut | Parts | ChatEvent) -> Iterator[Routed | Parts | ChatEvent]:
        if isinstance(event, Looked):
            yield from self._looked(event)
        elif isinstance(event, Attempt):
            # Of several answers the later ones may come to a replica when the first has begun already.
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

    def _routing(self, attempt: Attempt | None) -> Routed:
        """Return who is asked now; None: nobody, as the answer is given again."""
        if attempt:
            self._head = replace(self._head, model=attempt.expert.slug)
        self._routed = Routed(
            decision=self._decision,
            replica=attempt.replica if attempt else None,
            head=self._head,
            ignored=self._request.ignored,
            waited=attempt.waited if attempt else 0.0,
            position=attempt.position if attempt else 0,
            grounded=self._account.grounded,
            parts=self._routed.parts if self._routed else (),
            cache=self._cache,
            conversation=self._account.guarding.conversation(0) if self._account.guarding else (),
            masked=self._account.guarding.masked if self._account.guarding else {},
        )
        return self._routed

    def _looked(self, event: Looked) -> Iterator[Routed]:
        """Note what came of looking for an answer; where there was one, yield what is told of it."""
        self._cache = event.told
        if event.cached:
            self._account.cache = event.cached
            yield self._routing(None)

    def _parted(self, parts: Parts) -> Iterator[Routed | Parts]:
        """Yield what the headers can still tell of it, and the whole for a client that wants to know."""
        if self._routed and (self._account.first_event is None or not self._request.stream):
            self._routed = replace(self._routed, parts=self._account.parts)
            yield self._routed
        if self._request.explain:
            yield parts

    def _ended(self, finish: Finish) -> Finish:
        self.finishes += 1
        # Until the last answer has ended, leaving is cancelling.
        self._account.reason = finish.reason if self.finishes == self._request.n else None
        grounded = self._account.grounded
        tools = ("tools",) if grounded and grounded.withheld else ()
        return replace(finish, adjusted=(*finish.adjusted, *(("messages",) if self._cut else ()), *tools))
