"""Rows into their tables by COPY, with every column as it is given: nothing is stamped with today's date."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import Field

from knowledge.archive.tables import Table
from knowledge.models import StoredContent
from routing.copying import copying


def ids_fresh(table: Table, number: int) -> Iterator[int]:
    """Return ``number`` ids for new rows of a table, each higher than the one before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [table.model._meta.db_table, table.key.column, number],
        )
        return iter([row[0] for row in cursor.fetchall()])


def rows_write(table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, which have a value for each column, foreign keys as ids."""
    columns = table.columns
    names = ", ".join(connection.ops.quote_name(one.column or "") for one in columns)
    name = connection.ops.quote_name(table.model._meta.db_table)
    with copying(f"COPY {name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([_stored(one, row[one.name]) for one in columns])


def contents_write(rows: Sequence[StoredContent], dates: Mapping[str, dt.datetime]) -> None:
    """Store originals, and lock those that are there already; ``dates`` say since when new ones are kept."""
    StoredContent.objects.bulk_create(rows, update_conflicts=True, unique_fields=["sha256"], update_fields=["size"])
    new = [row.pk for row in rows if row.pk in dates]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE knowledge_storedcontent AS content SET created_at = given.created_at
            FROM unnest(%s::text[], %s::timestamptz[]) AS given (sha256, created_at)
            WHERE content.sha256 = given.sha256
            """,
            [new, [dates[sha256] for sha256 in new]],
        )


def _stored(column: "Field[Any, Any]", value: Any) -> Any:
    return None if value is None else column.get_db_prep_save(value, connection)
