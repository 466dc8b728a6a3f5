"""Which errors say that the database or a disk cannot be used for now, and not that what it was asked is wrong."""

import errno

import psycopg
from django.db import InterfaceError, InternalError, OperationalError

PASSING = frozenset({"25006", "25P03", "25P04"})
"""What Django has with faults inside PostgreSQL: it takes no changes for now, as when another machine takes over, or it
ended a transaction that took too long."""
FULL = "53100"
"""What PostgreSQL calls a disk without room."""


def is_outage(error: BaseException) -> bool:
    """Tell whether ``error`` is the database's, and may be no more when the same is asked later.

    What breaks an iteration off comes as psycopg raises it: Django closes cursors outside of what translates errors.
    """
    if isinstance(error, InternalError):
        return getattr(error.__cause__, "sqlstate", None) in PASSING
    return isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError)


def is_full(error: BaseException) -> bool:
    """Tell whether ``error`` says that a disk has no room left, the database's or this machine's."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_outage(error) and FULL in (getattr(one, "sqlstate", None) for one in (error, error.__cause__))
