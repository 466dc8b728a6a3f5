"""A run: every part in turn, in one event loop, with a Redis of its own."""

import asyncio
import platform
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import uvloop

from gateway.limits.limiter import Limiter
from gateway.limits.shared import SharedStore
from routing.pool import close_shared_pool, shared_pool
from routing.router import shared_router
from tests.benchmarks.door import ending, entering, looking, rest, whole, writing
from tests.benchmarks.door.installation import asking, catalog_of, instant, prose
from tests.benchmarks.door.report import DoorReport
from tests.benchmarks.door.setups import AUTO, Setup, applied, forget, off
from tests.benchmarks.door.timing import Part, measured
from tests.gateway.redisserver import RedisServer

REDIS_SECONDS = 2.0
"""As long may Redis take here: a busy machine is no Redis that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``seconds`` is how long a block of one variant takes, about; each is measured in ``rounds`` blocks."""

    seconds: float = 0.1
    rounds: int = 9


def run(plan: Plan, folder: Path, *, say: Callable[[str], object] = print) -> DoorReport:
    """Measure every part; ``folder`` is for Redis' socket. Needs a migrated database."""
    report = DoorReport(about=_about(plan))
    with RedisServer(folder) as redis, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measure(plan, redis.url, report, say))
    return report


async def _measure(plan: Plan, redis: str, report: DoorReport, say: Callable[[str], object]) -> None:
    shared_pool().client._transport = httpx.MockTransport(instant)  # type: ignore[assignment]
    local, shared = Limiter(), Limiter(shared=SharedStore(redis, seconds=REDIS_SECONDS))
    try:
        for part in [part async for part in _parts(local, shared)]:
            say(f"{part.name} …")
            report.found.append((part, await measured(part, seconds=plan.seconds, rounds=plan.rounds)))
        if shared.state != "ok":
            raise RuntimeError(f"Redis went away while it was measured: it {shared.state}.")
    finally:
        forget()
        await shared.aclose()
        await close_shared_pool()


async def _parts(local: Limiter, shared: Limiter) -> AsyncIterator[Part]:
    usual, unkept = AUTO, off().profile
    known = catalog_of(usual)
    with applied(Setup()):
        decision = await shared_router().decide(asking(prose(1024)), known)
        unwritten = await shared_router().decide(asking(prose(1024)), catalog_of(unkept))
    yield rest.around()
    yield writing.parsing()
    yield entering.recognising()
    yield entering.limiting(decision, local, shared)
    for kilobytes in (1, 20):
        yield looking.guarding_input(kilobytes)
    yield entering.offering(known)
    yield rest.deciding(known)
    for part in looking.caching(decision):
        yield part
    yield rest.running(decision)
    yield looking.guarding_output()
    yield ending.accounting(decision, unwritten)
    yield ending.telling(decision)
    yield ending.spans(decision)
    yield writing.answering()
    yield ending.writing_behind(decision)
    yield whole.chats()
    yield whole.crowds()
    yield whole.streams()


def _about(plan: Plan) -> dict[str, object]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": psutil.cpu_count(),
        "load_before": psutil.getloadavg()[0],
        "seconds": plan.seconds,
        "rounds": plan.rounds,
    }
