"""How long it is remembered who signed in, and who tried to."""

from django.conf import settings

from routing.sweeping import rows_sweep
from routing.writing import keep_writing


async def keep_logins() -> None:
    """Delete hourly, for ever, what is too old."""
    await keep_writing("logins", waiting=lambda: 0, flush=lambda: 0, sweep=logins_sweep)


def logins_sweep() -> int:
    """Delete some of what is remembered of logins longer ago than LOGIN_LOG_DAYS; return how many rows."""
    from axes.models import AccessAttempt, AccessFailureLog, AccessLog

    kinds = AccessAttempt, AccessLog, AccessFailureLog
    return sum(rows_sweep(kind, days=settings.LOGIN_LOG_DAYS, column="attempt_time") for kind in kinds)
