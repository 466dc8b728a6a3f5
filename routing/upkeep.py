"""Work that follows changes of rows: noticed in each process, done by a command, once in the whole installation."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable

from django.conf import settings

from routing.live import LiveSnapshot
from routing.metrics import UNSHARED

logger = logging.getLogger("routing")

FAILED_SECONDS = 300.0


async def keep_up(changed: LiveSnapshot[str], work: Callable[[], Awaitable[None]], *, quiet: float) -> None:
    """Do ``work`` whenever ``changed`` names some and then stays the same for ``quiet`` seconds, for ever.

    ``changed`` is "" where there is nothing to do. It is looked at first at the start.
    """
    failed = ""
    while True:
        try:
            wanted = await changed.areload()
            if not wanted or wanted == failed:
                await _until_changed(changed, wanted)
                continue
            await asyncio.sleep(quiet)
            if await changed.areload() != wanted:
                continue
            await work()
            if await changed.areload() == wanted:
                failed = wanted  # it went wrong, nothing could be made of it, or another process is at it
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the database may be away
            logger.warning(
                "could not look for changed %s, trying again in=%ss error=%s", changed.name, FAILED_SECONDS, error
            )
            await asyncio.sleep(FAILED_SECONDS)


async def _until_changed(changed: LiveSnapshot[str], known: str) -> None:
    # The snapshot is replaced as the database notifies of changes (see live.py); looking at it costs nothing.
    while await changed.aget() == known:  # noqa: ASYNC110 - it is replaced from outside
        await asyncio.sleep(1.0)


async def run_command(*arguments: str) -> str:
    """Run a management command at a low priority and return what it said last; raises RuntimeError if it fails."""
    process = await asyncio.create_subprocess_exec(
        *(*UNSHARED, "OMP_NUM_THREADS=1", "nice", "-n", "10"),
        *(sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise
    said = output.decode(errors="replace").strip()
    if process.returncode:
        raise RuntimeError(said[-2000:])
    return said.splitlines()[-1] if said else ""
