"""What runs beside the requests of a process, for as long as it serves.

daphne has no lifespan events, so it starts with the first message the application gets; `manage.py serve`
starts it at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.auth import keys
from knowledge.expiring import keep_expiring
from knowledge.tracing import write_traces
from routing.catalog import catalog
from routing.classifying import shared_classifying
from routing.journal import write_journal
from routing.learning.noticing import keep_proposing
from routing.live import follow_changes
from routing.pool import close_shared_pool
from routing.program.deciding import keep_loaded
from routing.retraining import keep_trained

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
            loop.create_task(keep_expiring(), name="keep expiring"),
            loop.create_task(warm_up(), name="warm up"),
            loop.create_task(keep_trained(), name="keep trained"),
            loop.create_task(keep_proposing(), name="keep proposing"),
            loop.create_task(keep_loaded(), name="keep the program loaded"),
        ]
        for task in _tasks[loop]:
            task.add_done_callback(_ended)


async def stop_background() -> None:
    """Stop this event loop's background work and close its connections."""
    tasks = _tasks.pop(asyncio.get_running_loop(), [])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await close_shared_pool()


async def warm_up() -> None:
    """Load what the first request would wait for; what cannot be loaded now is loaded by whoever needs it."""
    try:
        await keys.aget()
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
