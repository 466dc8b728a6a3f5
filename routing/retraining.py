"""Trains the classifier anew when examples changed, in a process of its own, once in the whole installation."""

import asyncio
import contextlib
import logging
import sys

from django.conf import settings

from routing.live import LiveSnapshot
from routing.models import Expert, RouteExample

logger = logging.getLogger("routing")

QUIET_SECONDS = 5.0
"""How long examples must stay as they are before a training starts: people correct several in a row."""
FAILED_SECONDS = 300.0


def load() -> str:
    """Read what tells the examples apart from those the newest version was trained with; "" when nothing changed."""
    from routing.versions import fingerprint_now, is_stale

    return fingerprint_now() if is_stale() else ""


changed: LiveSnapshot[str] = LiveSnapshot(load, name="examples")


def connect_signals() -> None:
    changed.watch((RouteExample, Expert))


async def keep_trained() -> None:
    """Train whenever examples changed and then stayed the same for a while, for ever; look first at the start."""
    failed = ""
    while True:
        try:
            wanted = await changed.areload()
            if not wanted or wanted == failed:
                await _until_changed(wanted)
                continue
            await asyncio.sleep(QUIET_SECONDS)
            if await changed.areload() != wanted:
                continue
            await _train()
            if await changed.areload() == wanted:
                failed = wanted  # it went wrong, there is too little to learn from, or another process is at it
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the database may be away
            logger.warning("could not look for changed examples, trying again in=%ss error=%s", FAILED_SECONDS, error)
            await asyncio.sleep(FAILED_SECONDS)


async def _until_changed(known: str) -> None:
    # The snapshot is replaced as the database notifies of changes (see live.py); looking at it costs nothing.
    while await changed.aget() == known:  # noqa: ASYNC110 - it is replaced from outside
        await asyncio.sleep(1.0)


async def _train() -> None:
    """Run the training command at a low priority."""
    process = await asyncio.create_subprocess_exec(
        *("env", "OMP_NUM_THREADS=1", "nice", "-n", "10"),
        *(sys.executable, str(settings.BASE_DIR / "manage.py"), "train_classifier", "--if-stale"),
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
        logger.error("the classifier could not be trained: %s", said[-2000:])
    else:
        logger.info("classifier: %s", said.splitlines()[-1] if said else "trained")
