"""How far a run is, told to whoever watches: its caller at once, its job's row once a second."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from channels.db import database_sync_to_async
from django.db import Error

from knowledge.jobs import Gone, Run, job_progress
from knowledge.models import Stage

logger = logging.getLogger("knowledge")

Progress = Callable[[Stage, int, int], None]
"""Called with the stage, and how much is done of how much; 0 of 0 where that cannot be told."""

WRITE_SECONDS = 1.0


@contextlib.asynccontextmanager
async def told(run: Run, progress: Progress | None) -> AsyncIterator[Progress]:
    """Give a function to tell progress with; what it was told last is written to the job now and then."""
    latest: list[tuple[Stage, int, int]] = []

    def tell(stage: Stage, done: int, total: int) -> None:
        latest[:] = [(stage, done, total)]
        if progress is not None:
            progress(stage, done, total)

    writing = asyncio.create_task(_write(run, latest), name="write progress")
    try:
        yield tell
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing


async def _write(run: Run, latest: list[tuple[Stage, int, int]]) -> None:
    written: list[tuple[Stage, int, int]] = []
    while True:
        await asyncio.sleep(WRITE_SECONDS)
        if latest == written:
            continue
        written = [*latest]
        try:
            await database_sync_to_async(job_progress, thread_sensitive=False)(run, *latest[0])
        except (Gone, Error, OSError) as error:  # the run's own next step meets it too
            logger.debug("progress not written job=%s error=%s", run.job_id, error)
