"""COPY, by which many rows go to and from the database at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from psycopg import Copy


@contextmanager
def copying(statement: str, values: Sequence[Any] | None = None) -> Iterator[Copy]:
    """Run a COPY; errors are Django's, as of any other statement: who goes on after an outage knows it by them.

    The driver's own cursor is asked: Django's raises the driver's errors, and with DEBUG takes no values.
    """
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.cursor.copy(statement, values) as copy:
        yield copy
