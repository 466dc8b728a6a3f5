"""Taking answers back: what was purged is given again by no process, whatever it has in memory or on its way.

A purge is a row, whose notice reaches every process (routing/live.py). Each answer has the last purge that was known
when it was begun, and those that came later may cover it; so no clock is needed, and a process that heard nothing for
a while keeps answers that are covered once it does.
"""

import datetime as dt
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.signals import pre_delete
from django.utils import timezone

from gateway.caching.inredis import shared_answers
from gateway.caching.kept import Kept
from gateway.models import ApiKey, CachedAnswer, CachePurge
from gateway.redisclient import RedisDown
from routing.live import LiveSnapshot
from routing.sweeping import old_rows_delete

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """What is taken back: named digests, else what fits key and profile, as far as these are given."""

    id: int
    digests: frozenset[str] = frozenset()
    key_id: int | None = None
    profile: str | None = None

    def covers(self, kept: Kept) -> bool:
        if kept.epoch >= self.id:
            return False
        if self.digests:
            return kept.digest in self.digests
        return self.key_id in (None, kept.key_id) and self.profile in (None, kept.profile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purges:
    """All purges that may still cover an answer; ``epoch`` is the last of them."""

    all: tuple[Purge, ...] = ()

    @property
    def epoch(self) -> int:
        return self.all[-1].id if self.all else 0

    def cover(self, kept: Kept) -> bool:
        return any(purge.covers(kept) for purge in self.all)


def load() -> Purges:
    """Read the purges, and have this process's memory forget what they cover."""
    found = Purges(
        all=tuple(
            Purge(id=row.pk, digests=frozenset(row.digests), key_id=row.key_id, profile=row.profile)
            for row in CachePurge.objects.all()
        )
    )
    for forget in _forgetting:
        forget(found.cover)
    return found


purges: LiveSnapshot[Purges] = LiveSnapshot(load, name="purges of answers")
_forgetting: list[Callable[[Callable[[Kept], bool]], None]] = []


def forgets(forget: Callable[[Callable[[Kept], bool]], None]) -> None:
    """Have ``forget`` called with what tells purged answers, whenever there are new purges."""
    _forgetting.append(forget)


def connect_signals() -> None:
    purges.watch((CachePurge,))
    pre_delete.connect(_key_deleted, sender=ApiKey, dispatch_uid="purge answers of a deleted key")


def _key_deleted(instance: ApiKey, **_: Any) -> None:
    answers_purge(key_id=instance.pk)


# --- use cases --------------------------------------------------------------------------------------------------


@transaction.atomic
def answers_purge(*, key_id: int | None = None, profile: str | None = None) -> int:
    """Take back all answers, or those of a key or a profile ("": of none), and return how many were stored."""
    _add(CachePurge(key_id=key_id, profile=profile))
    wanted = Q()
    wanted &= Q() if key_id is None else Q(key=key_id)
    wanted &= Q() if profile is None else Q(profile=profile)
    return _deleted(wanted)


@transaction.atomic
def selected_purge(ids: Collection[int]) -> int:
    """Take back the answers of these rows, and return how many there were."""
    digests = list(CachedAnswer.objects.filter(pk__in=ids).values_list("digest", flat=True))
    if not digests:
        return 0
    _add(CachePurge(digests=digests))
    return _deleted(Q(digest__in=digests))


def _add(purge: CachePurge) -> None:
    with connection.cursor() as cursor:
        # One after the other: a number that is lower than one that is known would not be looked at.
        cursor.execute("LOCK TABLE gateway_cachepurge IN SHARE ROW EXCLUSIVE MODE")
    purge.save(force_insert=True)


def _deleted(wanted: Q) -> int:
    rows = CachedAnswer.objects.filter(wanted)
    digests = list(rows.values_list("digest", flat=True)) if settings.REDIS_URL else []
    count, _ = rows.delete()
    if digests:
        transaction.on_commit(partial(_forget_elsewhere, digests), robust=True)
    return count


def _forget_elsewhere(digests: Sequence[str]) -> None:
    if shared := shared_answers():
        try:
            shared.forget(digests)
        except RedisDown as error:
            logger.warning("purged answers are given to nobody, but stay in Redis until they expire error=%s", error)


def purges_sweep() -> int:
    """Delete some of the purges that no answer is old enough for any more, and return how many."""
    # A day more than answers live: RESPONSE_CACHE_SECONDS may have been longer before a restart.
    before = timezone.now() - dt.timedelta(seconds=settings.RESPONSE_CACHE_SECONDS, days=1)
    return old_rows_delete(CachePurge.objects.filter(created_at__lt=before))
