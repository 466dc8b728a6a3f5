"""One replica's trial: the model's load, the request with its retries, and what both tell of the replica."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from routing import metrics
from routing.admission import Seat
from routing.backends.protocol import Finish
from routing.catalog import Expert, Replica
from routing.exceptions import (
    BadRequest,
    ContextLengthExceeded,
    EndpointError,
    ModelNotInstalled,
    Unavailable,
    Unreachable,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamTimedOut,
)
from routing.metering import Call, called
from routing.residency import Residency
from routing.tracing import stage

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
Event = TypeVar("Event")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A replica is about to be asked; what follows comes from it, unless another Attempt does.

    ``waited`` is the seconds in the queue and ``position`` the place it had there; ``expert`` differs from the
    decision's after a fall back. ``failed`` are the attempts before it: a replica's label and the code of its error.
    ``call`` is where it is noted what the attempt takes; None for one that is only announced.
    """

    replica: Replica
    expert: Expert
    waited: float = 0.0
    position: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    call: Call | None = field(default=None, compare=False, repr=False)


class Trial:
    """One seat's run: the load, then the request with its retries, and what both tell of the lane."""

    def __init__(self, residency: Residency, seat: Seat, *, max_retries: int, failed: list[tuple[str, str]]) -> None:
        self._residency = residency
        self._seat = seat
        self._max_retries = max_retries
        self._failed = failed  # what this and earlier trials of the run came to
        self.started = False

    async def run(
        self, expert: Expert, start: Callable[[Replica], AsyncGenerator[Event]]
    ) -> AsyncGenerator[Attempt | Event]:
        replica, lane = self._seat.replica, self._seat.lane
        told = False
        try:
            for attempt in range(1 + self._max_retries):
                call = called(expert, replica, waited=self._seat.waited)
                yield Attempt(
                    replica=replica,
                    expert=expert,
                    waited=self._seat.waited,
                    position=self._seat.position,
                    failed=tuple(self._failed),
                    call=call,
                )
                try:
                    await self._load_if_cold(replica, call)
                    async with aclosing(self._measured(start(replica), call)) as events:
                        async for event in events:
                            yield event
                    lane.breaker.succeeded()
                    told = True
                    return
                except EndpointError as error:
                    call.end(error)
                    told = self._note(error) or told
                    self._failed.append((replica.label, error.code or error.type))
                    metrics.attempts_failed.labels(*lane.key, error.code or error.type).inc()
                    logger.warning("replica failed replica=%s attempt=%s error=%s", replica.label, attempt + 1, error)
                    pause = _retry_pause(error, attempt)
                    if self.started or pause is None or attempt == self._max_retries:
                        raise
                metrics.retries.labels(*lane.key).inc()
                await asyncio.sleep(pause)
        finally:
            if not told:
                lane.breaker.let_go()

    async def _load_if_cold(self, replica: Replica, call: Call) -> None:
        if self._residency.resident(replica) is False:
            began = time.monotonic()
            try:
                with stage("load", {"moe.replica": replica.label, "gen_ai.request.model": replica.model}):
                    await self._residency.load(replica)
            finally:
                call.load = time.monotonic() - began
            self._seat.lane.load += 0.5 * (call.load - self._seat.lane.load)

    async def _measured(self, events: AsyncGenerator[Event], call: Call) -> AsyncGenerator[Event]:
        began, first, tokens = time.monotonic(), None, None
        call.begin()
        async with aclosing(events):
            async for event in events:
                call.note(event)
                if first is None:
                    first = time.monotonic() - began
                    self.started = True
                if isinstance(event, Finish) and event.usage:
                    tokens = event.usage.completion_tokens
                yield event
        call.end()
        self._residency.answered(self._seat.replica)
        self._seat.lane.measured(first=first, total=time.monotonic() - began, tokens=tokens)

    def _note(self, error: EndpointError) -> bool:
        """Take a failure into what is known of the lane; return whether it told anything of its health."""
        lane, now = self._seat.lane, time.monotonic()
        if isinstance(error, UpstreamBusy | Unavailable) and not isinstance(error, Unreachable):
            # Busy or loading is not failing: it is left alone for as long as it asked.
            lane.rests_until = now + min(error.retry_after or 1.0, 30.0)
            return False
        loading = error.code == "model_load_timeout"
        if isinstance(error, Unreachable | UpstreamFailed | UpstreamTimedOut) and not loading:
            lane.breaker.failed(now)
            lane.last_failure = str(error)
            return True
        return False


def another_may_do(error: EndpointError) -> bool:
    """Tell whether another replica may fare better: always after a server's fault, sometimes after the client's."""
    unable = isinstance(error, BadRequest) and error.code in ("unsupported_parameter", "unsupported_value")
    return error.may_fail_over or unable or isinstance(error, ContextLengthExceeded)


def _retry_pause(error: EndpointError, attempt: int) -> float | None:
    """Return the seconds until the same replica is worth another try, or None if it is not.

    Exponential with jitter; a server that said how long to wait is believed, up to a limit.
    """
    again = isinstance(error, Unavailable | UpstreamBusy | UpstreamFailed) and not isinstance(error, ModelNotInstalled)
    if not again or error.should_retry is False:
        return None
    pause: float = BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
    if isinstance(error, Unreachable) or error.retry_after is None:
        return pause
    return max(pause, error.retry_after) if error.retry_after <= LONGEST_BACKOFF_SECONDS else None
