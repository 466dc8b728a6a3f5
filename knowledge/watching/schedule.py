"""Which source is looked at when, and by whom: any number of workers share the work, and one at a time looks at each.

Whoever looks claims the source for a minute, and puts that off while it looks. Who is killed has let go of it by then.
"""

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from knowledge.equipment import Equipment, shared_equipment
from knowledge.models import WatchedSource
from knowledge.threads import in_thread
from knowledge.watching.looking import Look, clones_folder, look
from knowledge.watching.repositories import clones_forget

logger = logging.getLogger("knowledge")

POLL_SECONDS = 5.0
CLAIM_SECONDS = 60.0
RENEW_SECONDS = 15.0
AT_ONCE = 3
"""Sources that a worker looks at side by side: most of it is waiting for a site's pace."""


@dataclass(slots=True, kw_only=True)
class Claim:
    """A source that is looked at here, until others may."""

    source: WatchedSource
    until: dt.datetime


def claim(source: WatchedSource | None = None) -> Claim | None:
    """Claim a source whose look is due and that nobody looks at, or ``source`` whether it is due or not."""
    now = timezone.now()
    rows = WatchedSource.objects.filter(Q(looking_until=None) | Q(looking_until__lt=now))
    rows = rows.filter(pk=source.pk) if source else rows.filter(enabled=True, next_look_at__lte=now)
    with transaction.atomic():
        locked = rows.select_for_update(skip_locked=True, of=("self",)).select_related("collection")
        row = locked.order_by("next_look_at").first()
        if row is None:
            return None
        row.looking_until = now + dt.timedelta(seconds=CLAIM_SECONDS)
        row.save(update_fields=["looking_until"])
    return Claim(source=row, until=row.looking_until)


def renew(held: Claim) -> bool:
    """Put off the end of a claim; tell whether it was still held."""
    until = timezone.now() + dt.timedelta(seconds=CLAIM_SECONDS)
    if not _mine(held).update(looking_until=until):
        return False
    held.until = until
    return True


def release(held: Claim) -> None:
    """Let others look at once at what was not looked at to its end."""
    _mine(held).update(looking_until=None)


def finish(held: Claim, found: Look) -> None:
    """Write how a look went, and when the next one is, unless somebody wants one sooner."""
    now = timezone.now()
    with transaction.atomic():
        told: dict[str, Any] = {"error": found.error}
        if found.seen is not None:
            told |= {"outcome": found.sentence, "seen": dict(found.seen), "accepts_loss": False}
        if not _mine(held).update(looking_until=None, last_looked_at=now, **told):
            return
        due = WatchedSource.objects.filter(pk=held.source.pk, next_look_at__lte=held.source.next_look_at)
        due.update(next_look_at=now + dt.timedelta(minutes=held.source.every_minutes))


def look_now(*, source: WatchedSource, accepting_loss: bool = False) -> None:
    """Have a source looked at as soon as a worker can, or again if one is at it.

    ``accepting_loss``: that most of its documents are gone is believed then.
    """
    changed = {"next_look_at": timezone.now(), "enabled": True} | ({"accepts_loss": True} if accepting_loss else {})
    WatchedSource.objects.filter(pk=source.pk).update(**changed)


async def look_claimed(held: Claim, *, equipment: Equipment) -> Look:
    """Look at what is claimed, and write how it went; others may look if this one does not come to its end."""
    source = held.source
    try:
        async with _kept(held):
            found = await look(source, equipment=equipment)
        await in_thread(finish)(held, found)
    except BaseException:
        with contextlib.suppress(Exception):
            await asyncio.shield(in_thread(release)(held))
        raise
    logger.info("looked at a source source=%s kind=%s failed=%s", source.pk, source.kind, bool(found.error))
    return found


async def keep_watching() -> None:
    """Look at each source when it is due, for ever; survives outages of the database."""
    looking: set[asyncio.Task[Look]] = set()
    with contextlib.suppress(Exception):
        await in_thread(_tidy)()
    try:
        while True:
            with contextlib.suppress(Exception):
                while len(looking) < AT_ONCE and (held := await in_thread(claim)()):
                    task = asyncio.create_task(
                        look_claimed(held, equipment=shared_equipment()), name="look at a source"
                    )
                    looking.add(task)
                    task.add_done_callback(looking.discard)
                    task.add_done_callback(_ended)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def _tidy() -> None:
    clones_forget(clones_folder(), set(WatchedSource.objects.values_list("pk", flat=True)))


def _mine(held: Claim) -> QuerySet[WatchedSource]:
    return WatchedSource.objects.filter(pk=held.source.pk, looking_until=held.until)


@contextlib.asynccontextmanager
async def _kept(held: Claim) -> AsyncIterator[None]:
    """Keep a claim while something is done."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(Exception):  # the next time, or somebody else looks
                await in_thread(renew)(held)

    keeping = asyncio.create_task(keep(), name="keep a claim")
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


def _ended(task: "asyncio.Task[Look]") -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.warning("a look at a source was broken off, it is done again error=%s", error)
