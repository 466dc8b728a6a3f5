"""Somebody else, who changes a row at the same time."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.db import connection, transaction

LOCKS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Have somebody else ``act`` in a transaction, seen as soon as whoever comes now waits for a row it changed."""
    begun = threading.Event()

    def other() -> None:
        try:
            with transaction.atomic():
                act()
                begun.set()
                until = time.monotonic() + 60
                while not _is_waited_for() and time.monotonic() < until:
                    time.sleep(0.01)
        finally:
            begun.set()
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        ends = threads.submit(other)
        assert begun.wait(60)
        yield
        ends.result()


def _is_waited_for() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(LOCKS)
        return bool(cursor.fetchone()[0])
