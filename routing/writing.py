"""The loop in which a process writes what waits, and deletes what is too old, beside its requests."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from channels.db import database_sync_to_async
from django.db import Error

from routing.sweeping import SWEEP_BATCH

logger = logging.getLogger("routing")

WRITE_SECONDS = 1.0
LAST_WRITE_SECONDS = 2.0
SWEEP_SECONDS = 3600.0


async def keep_writing(
    what: str,
    *,
    waiting: Callable[[], int],
    flush: Callable[[], int],
    sweep: Callable[[], int],
    every: float = SWEEP_SECONDS,
) -> None:
    """Call ``flush`` each second while something waits, and ``sweep`` hourly or so often, for ever; survives outages.

    A sweep that returns SWEEP_BATCH has left something, and the next one follows at once; ``every`` is in seconds.
    Both run in threads; when cancelled, what waits is written if that is quick. ``what`` is what the log calls it.
    """
    sweep_at = time.monotonic()
    failing = False
    try:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                if waiting():
                    await _in_thread(flush)
                if time.monotonic() >= sweep_at and await _in_thread(sweep) < SWEEP_BATCH:
                    sweep_at = time.monotonic() + every
            except Exception as error:
                if not failing:
                    unexpected = not isinstance(error, Error | OSError)
                    logger.warning(
                        "cannot write %s, they wait and are tried again error=%s", what, error, exc_info=unexpected
                    )
                failing = True
            else:
                if failing:
                    logger.info("%s are written again", what)
                failing = False
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LAST_WRITE_SECONDS):
                await _in_thread(flush)
        if count := waiting():
            logger.warning("%s were lost, as the database did not take them count=%d", what, count)
        raise


async def _in_thread(work: Callable[[], int]) -> int:
    return await database_sync_to_async(work, thread_sensitive=False)()  # type: ignore[no-any-return]
