"""Runs a decision on one of its expert's replicas, and goes on to the next while nothing was answered yet."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from django.conf import settings

from routing.backends.client import Timeouts, UpstreamClient, server_answers
from routing.backends.protocol import OPTION_NAMES, ChatCall, ChatEvent, ChatRequest, Message, ServerAddress, Text
from routing.catalog import Expert, Replica
from routing.exceptions import BadRequest, EndpointError, Unavailable, Unreachable
from routing.router import Decision

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.1
Event = TypeVar("Event")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A replica is about to be asked; what follows comes from it, unless another Attempt does."""

    replica: Replica


class Pool:
    """One a process and event loop; holds the client whose connections all requests share."""

    def __init__(self, client: UpstreamClient, *, max_retries: int) -> None:
        self.client = client
        self._max_retries = max_retries

    async def aclose(self) -> None:
        await self.client.aclose()

    async def answers(self, server: ServerAddress) -> bool:
        """Tell whether a model server is there."""
        return await server_answers(server, self.client)

    def chat(self, decision: Decision, request: ChatRequest, *, tenant: str) -> AsyncGenerator[Attempt | ChatEvent]:
        """Yield an Attempt for each replica tried, then the answer's events. Raises EndpointError."""

        def start(replica: Replica) -> AsyncGenerator[ChatEvent]:
            return self.client.chat(replica.server, prepare(decision.expert, replica, request))

        return self.run(decision, start, tenant=tenant)

    async def run(
        self, decision: Decision, start: Callable[[Replica], AsyncGenerator[Event]], *, tenant: str
    ) -> AsyncGenerator[Attempt | Event]:
        """Yield an Attempt for each replica tried, then what ``start(replica)`` yields. Raises EndpointError.

        ``tenant`` is whose request it is (an API key's prefix); waiting requests are served fairly among tenants.

        Until the first event, a replica that cannot be reached is tried again (UPSTREAM_MAX_RETRIES), and one
        that fails gives way to the next. After it an error ends the answer: two answers are never spliced.
        """
        failure: EndpointError | None = None
        for replica in decision.expert.replicas_that(decision.needs):
            for attempt in range(1 + self._max_retries):
                yield Attempt(replica=replica)
                started = False
                try:
                    async with aclosing(start(replica)) as events:
                        async for event in events:
                            started = True
                            yield event
                        return
                except EndpointError as error:
                    if started or not error.may_fail_over:
                        raise
                    failure = error
                    logger.warning("replica failed replica=%s attempt=%s error=%s", replica.label, attempt + 1, error)
                    if not isinstance(error, Unreachable):
                        break
                if attempt < self._max_retries:
                    await asyncio.sleep(BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
        raise failure or Unavailable("No replica of this expert is available.", retry_after=5)


def prepare(expert: Expert, replica: Replica, request: ChatRequest) -> ChatCall:
    """Return the call ``replica`` runs for ``request``, with the expert's prompt and defaults filled in."""
    messages = request.messages
    if expert.system_prompt and not any(message.role in ("system", "developer") for message in messages):
        messages = (Message(role="system", parts=(Text(text=expert.system_prompt),)), *messages)
    unset = {
        name: value
        for name, value in expert.defaults.items()
        if getattr(request.sampling, name, None) is None and OPTION_NAMES.get(name) not in request.options
    }
    if unset:
        request = replace(request, sampling=replace(request.sampling, **unset))
    if request.num_ctx and replica.context_length and request.num_ctx > replica.context_length:
        raise BadRequest(
            f"num_ctx {request.num_ctx} is more than the {replica.context_length} tokens the model "
            f"'{replica.model}' was trained for.",
            param="num_ctx",
            code="unsupported_value",
        )
    return ChatCall(
        model=replica.model,
        request=request,
        messages=messages,
        num_ctx=request.num_ctx or replica.num_ctx,
        keep_alive=replica.keep_alive if request.keep_alive is None else request.keep_alive,
        capabilities=replica.capabilities,
    )


_pools: dict[asyncio.AbstractEventLoop, Pool] = {}


def shared_pool() -> Pool:
    """Return the running event loop's pool, made from settings on first use."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        for gone in [other for other in _pools if other.is_closed()]:
            del _pools[gone]
        timeouts = Timeouts(
            connect=settings.UPSTREAM_CONNECT_TIMEOUT,
            first_byte=settings.UPSTREAM_FIRST_BYTE_TIMEOUT,
            idle=settings.UPSTREAM_IDLE_TIMEOUT,
        )
        pool = _pools[loop] = Pool(UpstreamClient(timeouts), max_retries=settings.UPSTREAM_MAX_RETRIES)
    return pool


async def close_shared_pool() -> None:
    """Close the running event loop's pool, if it has one."""
    if pool := _pools.pop(asyncio.get_running_loop(), None):
        await pool.aclose()
