"""Makes proposals when corrections came, in a process of its own, once in the whole installation."""

import logging

from routing.live import LiveSnapshot
from routing.models import ClassifierVersion, Expert, Feedback, Proposal
from routing.upkeep import keep_up, run_command

logger = logging.getLogger("routing")

QUIET_SECONDS = 10.0
"""How long corrections must stay as they are before they are looked through: people make several in a row."""


def load() -> str:
    """Read what there is to make proposals of, or to measure after they were accepted; "" where nothing is."""
    from routing.learning.proposing import pending

    return pending()


changed: LiveSnapshot[str] = LiveSnapshot(load, name="corrections")


def connect_signals() -> None:
    changed.watch((Feedback, Proposal, Expert, ClassifierVersion))


async def keep_proposing() -> None:
    """Make proposals whenever corrections came, for ever; look first at the start."""
    await keep_up(changed, _propose, quiet=QUIET_SECONDS)


async def _propose() -> None:
    try:
        said = await run_command("propose_changes", "--if-free")
    except RuntimeError as error:
        logger.error("no proposals could be made of corrections: %s", error)
    else:
        logger.info("corrections: %s", said)
