"""How long it is remembered who signed in, and who tried to."""

import datetime as dt

from django.conf import settings
from django.utils import timezone

from routing.journal import SWEEP_BATCH, keep_writing


async def keep_logins() -> None:
    """Delete hourly, for ever, what is too old."""
    await keep_writing("logins", waiting=lambda: 0, flush=lambda: 0, sweep=logins_sweep)


def logins_sweep() -> int:
    """Delete some of what is remembered of logins longer ago than LOGIN_LOG_DAYS; return how many rows."""
    from axes.models import AccessAttempt, AccessFailureLog, AccessLog

    if settings.LOGIN_LOG_DAYS <= 0:
        return 0
    before = timezone.now() - dt.timedelta(days=min(settings.LOGIN_LOG_DAYS, 36_500))
    gone = 0
    for kind in (AccessAttempt, AccessLog, AccessFailureLog):
        ids = kind.objects.filter(attempt_time__lt=before).order_by("attempt_time").values("pk")[:SWEEP_BATCH]
        gone += kind.objects.filter(pk__in=ids).delete()[0]
    return gone
