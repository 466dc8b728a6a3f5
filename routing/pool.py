"""Runs a decision where it can start soonest, and goes on to another replica while nothing was answered yet."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings

from routing import metrics
from routing.admission import Admission, Limits
from routing.backends.client import Timeouts, UpstreamClient, server_answers
from routing.backends.protocol import ChatCall, ChatEvent, ChatRequest, Finish, ServerAddress, ServerKind
from routing.catalog import Expert, Replica
from routing.conversations import conversation_key
from routing.decision import Decision, Outlook
from routing.exceptions import ContextLengthExceeded, EndpointError, Unavailable
from routing.lanes import LaneKey, lane_key
from routing.metering import Call
from routing.preparing import prepare, without_images
from routing.residency import Residency
from routing.tokens import TokenCounter, estimate, estimate_text
from routing.tracing import stage
from routing.trial import Attempt, Trial, another_may_do

logger = logging.getLogger(__name__)

CLIENT_RETRY_AFTER_SECONDS = 5.0
COUNT_SECONDS = 2.0
CONVERSATIONS_KEPT = 10_000
Event = TypeVar("Event")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCut:
    """The server's own count shows that it answered only a part of the prompt; both numbers in tokens."""

    sent: int
    counted: int


class Pool:
    """One a process and event loop; holds the client whose connections all requests share."""

    def __init__(self, client: UpstreamClient, *, max_retries: int, limits: Limits, load_seconds: float) -> None:
        self.client = client
        self._max_retries = max_retries
        self.residency = Residency(client, load_seconds=load_seconds)
        self.admission = Admission(self.residency, limits)
        self.tokens = TokenCounter()
        self._conversations: OrderedDict[str, LaneKey] = OrderedDict()
        self._do_not_count: set[str] = set()

    async def aclose(self) -> None:
        await self.residency.aclose()
        await self.client.aclose()

    async def answers(self, server: ServerAddress) -> bool:
        """Tell whether a model server is there."""
        return await server_answers(server, self.client)

    # --- chats -----------------------------------------------------------------------------------

    async def chat(
        self, decision: Decision, request: ChatRequest, *, tenant: str, weight: float = 1.0
    ) -> AsyncGenerator[Attempt | PromptCut | ChatEvent]:
        """Yield an Attempt for each replica tried, then the answer's events. Raises EndpointError."""
        conversation = conversation_key(request, tenant)
        if decision.without_images:
            request = without_images(request)
        attempt: Attempt | None = None

        def start(replica: Replica) -> AsyncGenerator[PromptCut | ChatEvent]:
            assert attempt is not None
            return self._chat_on(replica, prepare(attempt.expert, replica, request), attempt.call)

        affinity = self._conversations.get(conversation)
        async with aclosing(self.run(decision, start, tenant=tenant, weight=weight, affinity=affinity)) as events:
            async for event in events:
                if isinstance(event, Attempt):
                    attempt = event
                elif isinstance(event, Finish) and attempt:
                    self._remember(conversation, lane_key(attempt.replica))
                yield event

    async def _chat_on(
        self, replica: Replica, call: ChatCall, noted: Call | None
    ) -> AsyncGenerator[PromptCut | ChatEvent]:
        """Run ``call``, refusing first what surely does not fit and telling afterwards what was cut all the same."""
        estimated = estimate(call.messages, call.request.tools)
        counted_exactly = not call.request.has_images
        calibration = self.tokens.of(replica.model)
        if noted:
            noted.expects = lambda: calibration.likely(estimated)
        window = call.num_ctx or self.residency.window(replica)
        surely = calibration.at_least(estimated)
        if window and surely <= window < 2 * calibration.likely(estimated) and counted_exactly:
            surely = max(surely, await self._exact_count(replica, call) or 0)
        if window and counted_exactly and surely > window:
            raise ContextLengthExceeded(
                f"The prompt has about {calibration.likely(estimated)} tokens, and the window of the model "
                f"'{replica.model}' holds {window}. Shorten the conversation, or ask for a model with a larger window.",
                param="messages",
            )
        async with aclosing(self.client.chat(replica.server, call)) as events:
            async for event in events:
                if isinstance(event, Finish) and event.usage and event.usage.prompt_tokens and counted_exactly:
                    counted = event.usage.prompt_tokens
                    if calibration.samples >= 3 and counted < surely and window and counted > window * 0.4:
                        logger.warning("prompt was cut by the server replica=%s counted=%s", replica.label, counted)
                        yield PromptCut(sent=calibration.likely(estimated), counted=counted)
                    else:
                        calibration.learn(estimated, counted)
                yield event

    async def _exact_count(self, replica: Replica, call: ChatCall) -> int | None:
        """Return the tokens of a prompt's texts where the server counts them (llama.cpp), for one that may not fit."""
        server = replica.server
        if server.kind is not ServerKind.OPENAI or server.base_url in self._do_not_count:
            return None
        text = "\n".join(message.text for message in call.messages)
        try:
            body = {"content": text}
            answer = await self.client.request_json(server, "POST", "/tokenize", body, timeout=COUNT_SECONDS)
        except EndpointError:
            self._do_not_count.add(server.base_url)
            return None
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    def _remember(self, conversation: str, lane: LaneKey) -> None:
        """Note where a conversation was answered: its prompt's beginning is in that server's cache."""
        self._conversations[conversation] = lane
        self._conversations.move_to_end(conversation)
        while len(self._conversations) > CONVERSATIONS_KEPT:
            self._conversations.popitem(last=False)

    def likely_tokens(self, replica: Replica, texts: Iterable[str]) -> int:
        """Return how many tokens ``texts`` likely have for a replica's model."""
        return self.tokens.of(replica.model).likely(sum(map(estimate_text, texts)))

    def outlook(self, expert: Expert, needs: frozenset[str]) -> Outlook:
        """Return how soon ``expert`` could start, as far as is known without asking anybody."""
        now = time.monotonic()
        lanes = [(replica, self.admission.lane(replica)) for replica in expert.replicas_that(needs)]
        starts = [
            lane.expected_start(
                replica,
                cold=self.residency.resident(replica) is False and not self.residency.loading(replica),
                now=now,
            )
            for replica, lane in lanes
        ]
        works = any(lane.breaker.seconds_until_probe(now) == 0 for _, lane in lanes)
        return Outlook(start=min(starts, default=0.0), works=works)

    # --- anything --------------------------------------------------------------------------------

    async def run(
        self,
        decision: Decision,
        start: Callable[[Replica], AsyncGenerator[Event]],
        *,
        tenant: str,
        weight: float = 1.0,
        affinity: LaneKey | None = None,
    ) -> AsyncGenerator[Attempt | Event]:
        """Yield an Attempt for each replica tried, then what ``start(replica)`` yields. Raises EndpointError.

        ``tenant`` is whose request it is (an API key's prefix) and ``weight`` its share; those who wait are served
        fairly among tenants. Until the first event, a failure is tried again (UPSTREAM_MAX_RETRIES), then another
        replica is asked, then the expert's fallbacks. After it an error ends the answer: two are never spliced.
        """
        failure: EndpointError | None = None
        failed: list[tuple[str, str]] = []
        for expert in await self._order(decision):
            remaining = expert.replicas_that(decision.needs)
            while remaining:
                try:
                    with stage("queue", {"moe.expert": expert.slug}) as queued:
                        seat = await self.admission.enter(remaining, tenant=tenant, weight=weight, affinity=affinity)
                        queued.tell({"moe.replica": seat.replica.label, "moe.queue.position": seat.position})
                    metrics.queue_wait.observe(seat.waited)
                except EndpointError as error:
                    failure = failure or error
                    break  # nobody can take it soon; a fallback may
                trial = Trial(self.residency, seat, max_retries=self._max_retries, failed=failed)
                try:
                    async with aclosing(trial.run(expert, start)) as events:
                        async for event in events:
                            yield event
                    return
                except EndpointError as error:
                    if trial.started or not another_may_do(error):
                        raise
                    failure = error
                    remaining = self._others(remaining, seat.replica, error)
                finally:
                    self.admission.leave(seat)
        failure = failure or Unavailable("No replica of this expert is available.")
        if failure.status in (429, 503) and failure.retry_after is None:
            failure.retry_after = CLIENT_RETRY_AFTER_SECONDS
        raise failure

    async def _order(self, decision: Decision) -> tuple[Expert, ...]:
        """Return the experts to ask: the chosen one, then its fallbacks.

        One that allows it lets a fallback in memory go first while its own model loads, and has that load begun.
        """
        usual = (decision.expert, *decision.fallbacks)
        if not (decision.expert.answers_while_loading and decision.fallbacks):
            return usual
        wanted = decision.expert.replicas_that(decision.needs)
        for replica in (replica for expert in usual for replica in expert.replicas_that(decision.needs)):
            await self.residency.refresh(replica.server)
        if not wanted or any(self.residency.resident(replica) is not False for replica in wanted):
            return usual
        resident = [
            expert
            for expert in decision.fallbacks
            if any(self.residency.resident(replica) for replica in expert.replicas_that(decision.needs))
        ]
        if resident:
            self.residency.begin_load(wanted[0])
        return (*resident, *(expert for expert in usual if expert not in resident))

    def _others(self, replicas: tuple[Replica, ...], failed: Replica, error: EndpointError) -> tuple[Replica, ...]:
        """Return the replicas worth asking after one failed so."""
        others = tuple(replica for replica in replicas if lane_key(replica) != lane_key(failed))
        if not isinstance(error, ContextLengthExceeded):
            return others
        held = self.residency.window(failed) or 0
        return tuple(replica for replica in others if (self.residency.window(replica) or held + 1) > held)


_pools: dict[asyncio.AbstractEventLoop, Pool] = {}


def shared_pool() -> Pool:
    """Return the running event loop's pool, made from settings on first use."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        for gone in [other for other in _pools if other.is_closed()]:
            del _pools[gone]
        pool = _pools[loop] = new_pool()
    return pool


def new_pool() -> Pool:
    """Return a pool with the limits of the settings."""
    timeouts = Timeouts(
        connect=settings.UPSTREAM_CONNECT_TIMEOUT,
        first_byte=settings.UPSTREAM_FIRST_BYTE_TIMEOUT,
        idle=settings.UPSTREAM_IDLE_TIMEOUT,
    )
    limits = Limits(
        queue=settings.QUEUE_LIMIT,
        wait=settings.QUEUE_TIMEOUT,
        threshold=settings.CIRCUIT_BREAKER_THRESHOLD,
        cooldown=settings.CIRCUIT_BREAKER_COOLDOWN,
    )
    return Pool(
        UpstreamClient(timeouts),
        max_retries=settings.UPSTREAM_MAX_RETRIES,
        limits=limits,
        load_seconds=settings.UPSTREAM_LOAD_TIMEOUT,
    )


async def close_shared_pool() -> None:
    """Close the running event loop's pool, if it has one."""
    if pool := _pools.pop(asyncio.get_running_loop(), None):
        await pool.aclose()


def pool_state() -> list[dict[str, Any]]:
    """Return this process's lanes for people to look at: what runs, what waits, how quick, how reliable."""
    now = time.monotonic()
    return [
        {
            "server": base_url,
            "model": model,
            "in_flight": lane.in_flight,
            "waiting": lane.waiting,
            "served": lane.served,
            "first_token_seconds": round(lane.first, 3),
            "request_seconds": round(lane.total, 3),
            "tokens_per_second": round(lane.speed, 1),
            "breaker": lane.breaker.state(now).value,
            "last_failure": lane.last_failure,
        }
        for pool in list(_pools.values())
        for (base_url, model), lane in list(pool.admission.lanes.items())
    ]
