"""What runs beside the requests: ingestion, its queue, and what watches sources."""

import datetime as dt
import fcntl
import os
from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.utils import timezone

from knowledge.models import IngestionJob, WatchedSource
from knowledge.models.jobs import JobState
from knowledge.rescue import STALLED_SECONDS
from moe_site.doctor.finding import Finding, error, ok, warning

INGESTION, WATCHING, SERVING = "ingestion", "watched sources", "serve"
STUCK = dt.timedelta(minutes=10)
LATELY = dt.timedelta(days=1)


def serving() -> Iterator[Finding]:
    """Tell whether a supervisor runs on this data directory."""
    running = is_serving()
    yield ok(SERVING, f"'manage.py serve' {'runs' if running else 'does not run'} on {settings.MOE_DATA_DIR}.")


def is_serving() -> bool:
    """Tell whether somebody holds the supervisor's lock, without keeping it."""
    try:
        descriptor = os.open(settings.MOE_DATA_DIR / "serve.lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def ingestion() -> Iterator[Finding]:
    """Look at the workers' heartbeats and at what waits for them."""
    alive = _workers_alive()
    unfinished = IngestionJob.objects.unfinished()
    waiting = unfinished.count()
    old = unfinished.filter(state=JobState.QUEUED, created_at__lt=timezone.now() - STUCK).count()
    if not alive and waiting:
        yield error(
            INGESTION,
            f"{waiting} jobs wait, and no worker on any machine has a pulse.",
            "Start 'manage.py serve' with INGESTION_CONCURRENCY above 0 on one machine.",
        )
    elif old and not unfinished.filter(state=JobState.RUNNING).exists():
        yield warning(
            INGESTION,
            f"{old} jobs have waited for more than {STUCK.seconds // 60} minutes, and none runs.",
            "See the jobs in the admin; starting 'serve' again puts back what hangs.",
        )
    elif not alive and is_serving() and settings.INGESTION_CONCURRENCY:
        yield error(INGESTION, "'serve' runs, but its ingestion worker has no pulse.", "Its log says why it ended.")
    else:
        yield ok(INGESTION, f"{alive} workers have a pulse, {waiting} jobs wait or run.")
    yield from _failed()


def _workers_alive() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => %s)",
            [STALLED_SECONDS],
        )
        return int(cursor.fetchone()[0])


def _failed() -> Iterator[Finding]:
    failed = IngestionJob.objects.filter(state=JobState.FAILED, finished_at__gt=timezone.now() - LATELY).count()
    if failed:
        yield warning(INGESTION, f"{failed} jobs failed within a day.", "The admin (Ingestion jobs) shows why.")


def watching() -> Iterator[Finding]:
    """Look at sources whose last look failed."""
    sources = WatchedSource.objects.filter(enabled=True)
    broken = [str(source) for source in sources.exclude(error="")[:5]]
    if broken:
        yield warning(
            WATCHING, f"These could not be read: {', '.join(broken)}.", "The admin (Watched sources) shows why."
        )
    elif sources.exists():
        yield ok(WATCHING, f"{sources.count()} are watched.")
