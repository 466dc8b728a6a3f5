"""Whether there is a database that can be used."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.utils import DatabaseError

POSTGRES_MINIMUM = 14  # Django 5.2's own
PGVECTOR_MINIMUM = (0, 8, 0)  # iterative index scans
SERVER = "database-server"
"""Tag of what must be right before there are tables."""


@register(Tags.database, SERVER)
def check_database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check the server's version and that pgvector is there; run by `serve` and `check --database default`."""
    errors: list[CheckMessage] = []
    for alias in databases or ():
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT current_setting('server_version_num')::int / 10000")
                major = cursor.fetchone()[0]
                cursor.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
                vector = cursor.fetchone()
        except DatabaseError as error:
            errors.append(
                Error(
                    f"The database does not answer: {error}",
                    hint="Check DATABASE_URL and that the server runs; leave DATABASE_URL empty for the embedded "
                    "PostgreSQL under MOE_DATA_DIR.",
                    id="moe_site.E004",
                )
            )
            continue
        errors.extend(_version_errors(major, vector[0] if vector else None))
    return errors


def _version_errors(major: int, vector: str | None) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    if major < POSTGRES_MINIMUM:
        errors.append(
            Error(
                f"PostgreSQL {major} is too old; {POSTGRES_MINIMUM} or newer is needed.",
                hint="Point DATABASE_URL at a newer server, or leave it empty for the embedded one.",
                id="moe_site.E005",
            )
        )
    if vector is None:
        errors.append(
            Error(
                "The database server has no pgvector.",
                hint="Install pgvector on the server DATABASE_URL names (Debian: postgresql-NN-pgvector), or leave "
                "DATABASE_URL empty for the embedded one.",
                id="moe_site.E006",
            )
        )
    elif tuple(int(part) for part in vector.split(".")) < PGVECTOR_MINIMUM:
        errors.append(
            Error(
                f"pgvector {vector} is too old; {'.'.join(map(str, PGVECTOR_MINIMUM))} or newer is needed.",
                hint="Update pgvector on the server DATABASE_URL names.",
                id="moe_site.E007",
            )
        )
    return errors
