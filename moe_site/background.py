"""What runs beside the requests of a process, for as long as it serves.

daphne has no lifespan events, so it starts with the first message the application gets; `manage.py serve`
starts it at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from gateway.auth import keys
from gateway.caching.inredis import tend_answers
from gateway.caching.writing import write_answers
from gateway.exposition import keep_fresh
from gateway.guards.live import guards
from gateway.limits.ledger import follow_spending
from gateway.limits.limiter import close_limits, tend_limits
from gateway.usage.journal import write_usage
from gateway.usage.texts import write_texts
from knowledge.expiring import keep_expiring
from knowledge.tracing import write_traces
from moe_site.signing_in.keeping import keep_logins
from routing.catalog import catalog
from routing.classifying import shared_classifying
from routing.journal import write_journal
from routing.learning.noticing import keep_proposing
from routing.live import follow_changes
from routing.metrics import shared_folder
from routing.pool import close_shared_pool
from routing.program.deciding import keep_loaded
from routing.retraining import keep_trained
from routing.tracing import start_tracing, stop_tracing
from routing.vectorcache import write_vectors

logger = logging.getLogger(__name__)

_tasks: dict[asyncio.AbstractEventLoop, "list[asyncio.Task[None]]"] = {}


def start_background() -> None:
    """Start this event loop's background work, once."""
    loop = asyncio.get_running_loop()
    if loop not in _tasks:
        _tasks[loop] = [
            loop.create_task(follow_changes(), name="follow changes"),
            loop.create_task(write_journal(), name="write journal"),
            loop.create_task(write_traces(), name="write retrieval traces"),
            loop.create_task(write_usage(), name="write usage"),
            loop.create_task(write_texts(), name="write texts"),
            loop.create_task(write_answers(), name="write answers to be given again"),
            loop.create_task(write_vectors(), name="write vectors"),
            loop.create_task(keep_expiring(), name="keep expiring"),
            loop.create_task(keep_logins(), name="keep logins"),
            loop.create_task(warm_up(), name="warm up"),
            loop.create_task(keep_trained(), name="keep trained"),
            loop.create_task(keep_proposing(), name="keep proposing"),
            loop.create_task(keep_loaded(), name="keep the program loaded"),
            loop.create_task(follow_spending(), name="follow what is spent"),
            loop.create_task(tend_limits(), name="tend limits"),
            loop.create_task(tend_answers(), name="tend answers in Redis"),
        ]
        if shared_folder():
            _tasks[loop].append(loop.create_task(keep_fresh("web"), name="keep figures fresh"))
        for task in _tasks[loop]:
            task.add_done_callback(_ended)
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            start_tracing()


async def stop_background() -> None:
    """Stop this event loop's background work and close its connections."""
    tasks = _tasks.pop(asyncio.get_running_loop(), [])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close_shared_pool()
    await close_limits()
    await asyncio.to_thread(stop_tracing)


async def warm_up() -> None:
    """Load what the first request would wait for; what cannot be loaded now is loaded by whoever needs it."""
    try:
        await keys.aget()
        await guards.aget()
        await catalog.aget()
        await shared_classifying().warm()
    except Exception as error:
        logger.warning("could not load everything beforehand, the first requests do error=%s", error)


def _ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("background work ended task=%s", task.get_name(), exc_info=error)


class WithBackground:
    """An ASGI application that has its background work running."""

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        start_background()
        await self._application(scope, receive, send)
