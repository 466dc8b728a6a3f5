"""Trains the classifier anew when examples changed, in a process of its own, once in the whole installation."""

import logging

from routing.live import LiveSnapshot
from routing.models import Expert, RouteExample
from routing.upkeep import keep_up, run_command

logger = logging.getLogger("routing")

QUIET_SECONDS = 5.0
"""How long examples must stay as they are before a training starts: people correct several in a row."""


def load() -> str:
    """Read what tells the examples apart from those the newest version was trained with; "" when nothing changed."""
    from routing.versions import fingerprint_now, is_stale

    return fingerprint_now() if is_stale() else ""


changed: LiveSnapshot[str] = LiveSnapshot(load, name="examples")


def connect_signals() -> None:
    changed.watch((RouteExample, Expert))


async def keep_trained() -> None:
    """Train whenever examples changed and then stayed the same for a while, for ever; look first at the start."""
    await keep_up(changed, _train, quiet=QUIET_SECONDS)


async def _train() -> None:
    try:
        said = await run_command("train_classifier", "--if-stale")
    except RuntimeError as error:
        logger.error("the classifier could not be trained: %s", error)
    else:
        logger.info("classifier: %s", said or "trained")
