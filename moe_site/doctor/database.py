"""The database: whether it answers, and whether it can do what is asked of it."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from gateway.auth import keys
from moe_site.checks.database import PGVECTOR_MINIMUM, POSTGRES_MINIMUM
from moe_site.doctor.clock import compared
from moe_site.doctor.finding import Finding, error, ok, warning
from routing.catalog import catalog
from routing.live import CHANNEL

ABOUT = "database"
CONNECT_SECONDS = 5
NOTICE_SECONDS = 3.0
STARTED = "Start it, or check host and port in DATABASE_URL; leave DATABASE_URL empty for the embedded PostgreSQL."

# What PostgreSQL's refusals mean, by their code (Appendix A of its manual).
REFUSALS = {
    "28P01": ("It refuses the password.", "Correct user and password in DATABASE_URL."),
    "28000": ("It refuses the user.", "Allow user and address in its pg_hba.conf, or correct DATABASE_URL."),
    "3D000": ("There is no such database.", "Create it (createdb), or correct the name at the end of DATABASE_URL."),
    "53300": ("It has no connection left.", "Raise max_connections there, or lower DATABASE_POOL_SIZE."),
    "57P03": ("It is starting or stopping.", "Wait a moment, and look again."),
}


def look() -> Iterator[Finding]:
    """Look over a connection of our own, so that no pool waits or remembers."""
    if connection.vendor == "unknown":  # Django's dummy, where DATABASE_URL cannot be read
        yield error(ABOUT, "It is not known where it is: DATABASE_URL cannot be read.", "Correct DATABASE_URL.")
        return
    began = time.monotonic()
    try:
        database = connect()
    except (psycopg.Error, OperationalError, OSError) as problem:
        yield _unreachable(problem)
        return
    took = time.monotonic() - began
    with database:
        yield _answers(database, took)
        yield _extension(database)
        yield _tables()
        yield from _connections(database)
        yield from _notices(database)
        yield from compared(ABOUT, _its_time(database))


def connect() -> "psycopg.Connection[Any]":
    """Return a connection that is no pool's; starts the embedded database."""
    params = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold", "client_encoding"):
        params.pop(name, None)
    return psycopg.connect(**params | {"connect_timeout": CONNECT_SECONDS}, autocommit=True)


def _unreachable(problem: Exception) -> Finding:
    code = getattr(problem, "sqlstate", None) or ""
    text = str(problem).strip().splitlines()
    known = next((REFUSALS[one] for one in REFUSALS if one == code), None) or _of_text(str(problem))
    if known:
        return error(ABOUT, *known)
    return error(ABOUT, f"It does not answer: {text[0] if text else type(problem).__name__}", STARTED)


def _of_text(text: str) -> tuple[str, str] | None:
    # Before a connection stands psycopg has no code, only libpq's words.
    signs = {"password authentication failed": "28P01", "no pg_hba.conf entry": "28000", "too many clients": "53300"}
    for sign, code in signs.items():
        if sign in text:
            return REFUSALS[code]
    return REFUSALS["3D000"] if "database" in text and "does not exist" in text else None


def _one(database: "psycopg.Connection[Any]", query: str) -> Any:
    row = database.execute(query).fetchone()
    return row[0] if row else None


def _answers(database: "psycopg.Connection[Any]", took: float) -> Finding:
    version, number = database.info.parameter_status("server_version"), database.info.server_version // 10_000
    where = "embedded PostgreSQL" if not settings.DATABASE_URL else "PostgreSQL"
    if number < POSTGRES_MINIMUM:
        return error(ABOUT, f"{where} {version} is too old.", f"Use version {POSTGRES_MINIMUM} or newer.")
    size = _one(database, "SELECT pg_size_pretty(pg_database_size(current_database()))")
    return ok(ABOUT, f"{where} {version} answers in {took * 1000:.0f} ms; the database holds {size}.")


def _extension(database: "psycopg.Connection[Any]") -> Finding:
    there = _one(database, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
    used = _one(database, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    least = ".".join(map(str, PGVECTOR_MINIMUM))
    if there is None:
        return error(ABOUT, "The server has no pgvector.", "Install it there (Debian: postgresql-NN-pgvector).")
    if used is None:
        return warning(ABOUT, f"pgvector {there} is installed, but not in this database.", "manage.py migrate adds it.")
    if _version(used) < PGVECTOR_MINIMUM:
        return error(ABOUT, f"pgvector {used} is too old; {least} is needed.", "ALTER EXTENSION vector UPDATE;")
    return ok(ABOUT, f"pgvector {used} is there.")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _tables() -> Finding:
    if waiting := migrations_waiting():
        return warning(
            ABOUT,
            f"Its tables are those of an earlier version: {waiting} migrations wait.",
            "'manage.py serve' applies them at its start; or run: manage.py migrate",
        )
    return ok(ABOUT, "Its tables are those of this version.")


def migrations_waiting() -> int:
    """Return how many migrations are not applied."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _connections(database: "psycopg.Connection[Any]") -> Iterator[Finding]:
    most = int(_one(database, "SHOW max_connections")) - int(_one(database, "SHOW superuser_reserved_connections"))
    used = _one(database, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    wanted = settings.DATABASE_POOL_SIZE
    if most - used < wanted:
        yield warning(
            ABOUT,
            f"Only {most - used} of {most} connections are free; each process may want {wanted}.",
            "Raise max_connections there, or lower DATABASE_POOL_SIZE.",
        )
    else:
        yield ok(ABOUT, f"{most - used} of {most} connections are free.")


def _notices(database: "psycopg.Connection[Any]") -> Iterator[Finding]:
    """See whether changes are told: by triggers, and over this connection."""
    tables = sorted(catalog.tables | keys.tables)  # what every answer depends on
    triggers = """
        SELECT array_agg(name) FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(name) AND NOT tgisinternal)
    """
    row = database.execute(triggers, [tables]).fetchone()
    if row and row[0]:
        yield error(
            ABOUT,
            f"Changes of these tables are not told to running processes: {', '.join(row[0])}.",
            "Their triggers are gone, as after a restore without them: restore with pg_restore, not table by table.",
        )
    database.execute(f"LISTEN {CHANNEL}")
    database.execute(f"NOTIFY {CHANNEL}, 'doctor'")
    if any(notice.payload == "doctor" for notice in database.notifies(timeout=NOTICE_SECONDS, stop_after=1)):
        yield ok(ABOUT, "Changes are told to running processes.")
    else:
        yield error(
            ABOUT,
            "Notifications do not come through, so running processes do not see changes.",
            "Point DATABASE_URL at PostgreSQL itself: a pooler in transaction mode takes LISTEN away.",
        )


def _its_time(database: "psycopg.Connection[Any]") -> float:
    return float(_one(database, "SELECT extract(epoch FROM clock_timestamp())"))
