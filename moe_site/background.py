"""What runs beside the requests of a process, for as long as it serves.

daphne has no lifespan events, so it starts with the first message the application gets; `manage.py serve`
starts it at once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from routing.live import follow_changes
from routing.pool import close_shared_pool

_tasks: dict[asyncio.AbstractEventLoop, "asyncio.Task[None]"] = {}


def start_background() -> None:
    """Start this event loop's background work, once."""
    loop = asyncio.get_running_loop()
    if loop not in _tasks:
        _tasks[loop] = loop.create_task(follow_changes(), name="follow changes")


async def stop_background() -> None:
    """Stop this event loop's background work and close its connections."""
    if task := _tasks.pop(asyncio.get_running_loop(), None):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await close_shared_pool()


class WithBackground:
    """An ASGI application that has its background work running."""

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        start_background()
        await self._application(scope, receive, send)
