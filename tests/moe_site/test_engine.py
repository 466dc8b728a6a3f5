import threading
import time

import pytest
from django.db import connection


def asked() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()


def in_thread(work) -> float:
    """Run ``work`` in a thread, with a connection of its own from the pool, and return the seconds it took."""
    began = time.monotonic()
    failures = []

    def run():
        try:
            work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures
    return time.monotonic() - began


@pytest.mark.django_db(transaction=True)
def test_a_pool_that_had_grown_gets_over_a_restart_at_once():
    together = threading.Barrier(8)

    def held():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            together.wait(10)
        connection.close()

    threads = [threading.Thread(target=held) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        assert cursor.fetchone()[0] >= 7
    connection.close()
    # psycopg's own pool waits a second, two, four, … between the dead ones it meets.
    assert sum(in_thread(asked) for _ in range(10)) < 2
