"""Runs that compile a program: one at a time, in a process of their own, whose end is noticed however it comes."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from django.conf import settings
from django.db import connection
from django.utils import timezone

from routing.metrics import UNSHARED
from routing.models import RouterProgram

logger = logging.getLogger("routing")

COMPILING_LOCK = 0x6D6F65_02  # any number that nothing else locks
START_SECONDS = 60.0
"""How long a run's process may take until it has the lock."""
SAVE_SECONDS = 2.0
LONGEST_PROGRESS = 4_000
DIED = "Its process ended before it was done: the server was stopped, or the machine ran out of memory. Start it again."


class AnotherCompiles(Exception):
    """A program is being compiled already."""


@contextlib.contextmanager
def the_only_run() -> Iterator[None]:
    """Hold what only one process has at a time; it is let go of when the process ends. Raises AnotherCompiles."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [COMPILING_LOCK])
        if not cursor.fetchone()[0]:
            raise AnotherCompiles("Another program is being compiled; wait for it.")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [COMPILING_LOCK])


def is_going_on() -> bool:
    """Tell whether a process compiles at the moment."""
    with connection.cursor() as cursor:
        # How PostgreSQL lists the lock of one bigint: its halves, and a 1.
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND classid = %s"
            " AND objid = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
            [COMPILING_LOCK >> 32, COMPILING_LOCK & 0xFFFFFFFF],
        )
        found: bool = cursor.fetchone()[0]
        return found


def runs_settle() -> None:
    """Mark as failed what is said to run and does not: its process died, or never came to life."""
    running = RouterProgram.objects.filter(status=RouterProgram.Status.RUNNING)
    started = timezone.now() - dt.timedelta(seconds=START_SECONDS)
    if running.filter(created_at__lt=started).exists() and not is_going_on():
        for version in running.filter(created_at__lt=started):
            run_failed(version, DIED)


def run_failed(version: RouterProgram, why: str) -> None:
    """Note why a run came to nothing, below how far it came."""
    version.refresh_from_db(fields=["progress"])
    RouterProgram.objects.filter(pk=version.pk).update(
        status=RouterProgram.Status.FAILED, progress=f"{version.progress}\n{why}".strip()[-LONGEST_PROGRESS:]
    )
    version.refresh_from_db(fields=["status", "progress"])


class Progress:
    """Writes a run's lines to its row, a few seconds apart, and to ``say``."""

    def __init__(self, version: RouterProgram, say: Callable[[str], object]) -> None:
        self._version = version
        self._say = say
        self._began = time.monotonic()
        self._saved = float("-inf")

    def __call__(self, line: str) -> None:
        seconds = round(time.monotonic() - self._began)
        self._version.progress = f"{self._version.progress}\n{seconds} s: {line}".strip()[-LONGEST_PROGRESS:]
        self._say(f"{seconds} s: {line}")
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._saved = time.monotonic()
            RouterProgram.objects.filter(pk=self._version.pk).update(progress=self._version.progress)


def run_start(version: RouterProgram, arguments: Sequence[str] = ()) -> None:
    """Compile ``version`` in a process at low priority, which ends with this one."""
    process = subprocess.Popen(
        [
            *(*UNSHARED, "OMP_NUM_THREADS=1", "nice", "-n", "10"),
            *(sys.executable, str(settings.BASE_DIR / "manage.py"), "optimize_router"),
            *("--program", str(version.pk), "--held-by-stdin", *arguments),
        ],
        stdin=subprocess.PIPE,  # it reads the end of it when this process is gone, and leaves
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    threading.Thread(target=_watched, args=(process, version.pk), name=f"program {version.pk}", daemon=True).start()


def _watched(process: subprocess.Popen[bytes], pk: int) -> None:
    with process:
        said = process.stdout.read() if process.stdout else b""
        if process.wait():
            logger.error("program %s could not be compiled: %s", pk, said.decode(errors="replace")[-2000:])
        else:
            logger.info("program %s was compiled", pk)
