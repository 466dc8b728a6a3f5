"""Which errors say that the database cannot be used for now, and not that something is wrong with what it was asked."""

from django.db import InterfaceError, InternalError, OperationalError

PASSING = frozenset({"25006", "25P03", "25P04"})
"""What Django has with faults inside PostgreSQL: it takes no changes for now, as when another machine takes over, or it
ended a transaction that took too long."""


def is_outage(error: BaseException) -> bool:
    """Tell whether ``error`` is the database's, and may be no more when the same is asked later."""
    if isinstance(error, InternalError):
        return getattr(error.__cause__, "sqlstate", None) in PASSING
    return isinstance(error, OperationalError | InterfaceError)
