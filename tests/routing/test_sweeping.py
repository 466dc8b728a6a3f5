"""Processes that delete what is old at the same time take different rows, and wait for nobody."""

import contextlib
import datetime as dt

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from routing import sweeping
from routing.models import CachedVector
from routing.sweeping import old_rows_delete, rows_sweep, surplus_rows_delete
from routing.vectorcache import vectors_sweep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def days_old():
    """Make vectors that were used so many days ago, named so; whoever waits for a lock fails instead of hanging."""

    def make(*days):
        now = timezone.now()
        CachedVector.objects.bulk_create(
            CachedVector(model="m", digest=b"%d" % day, vector=b"", used_at=now - dt.timedelta(days=day))
            for day in days
        )

    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        yield make
        cursor.execute("RESET lock_timeout")


@contextlib.contextmanager
def another(statement, *values):
    """Run a statement in another process's transaction, which goes on meanwhile."""
    settings = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{name: settings[name] for name in names if settings.get(name)}) as other:
        other.execute("SET lock_timeout = '5s'")
        other.execute(statement, values)
        yield other
        other.rollback()


def left():
    return [int(bytes(digest)) for digest in CachedVector.objects.order_by("-used_at").values_list("digest", flat=True)]


def test_what_another_process_deletes_is_left_to_it(days_old):
    days_old(1, 40, 50, 60)
    with another("DELETE FROM routing_cachedvector WHERE digest = ANY(%s)", [b"40", b"60"]):
        assert old_rows_delete(CachedVector.objects.filter(used_at__lt=timezone.now() - dt.timedelta(days=30))) == 1
    assert left() == [1, 40, 60]


def test_what_another_process_deletes_of_too_many_is_left_to_it(days_old, settings):
    settings.EMBEDDING_CACHE_ENTRIES = 1
    days_old(1, 2, 3, 4)
    with another("DELETE FROM routing_cachedvector WHERE digest = ANY(%s)", [b"2", b"4"]):
        assert vectors_sweep() == 1
    assert left() == [1, 2, 4]


def test_those_that_stay_can_be_written_meanwhile(days_old):
    days_old(1, 2, 3)
    with another("SELECT 1") as other, transaction.atomic():
        assert surplus_rows_delete(CachedVector.objects.order_by("-used_at"), kept=2) == 1
        assert other.execute("UPDATE routing_cachedvector SET used_at = now() WHERE digest <> %s", [b"3"]).rowcount == 2


def test_some_are_deleted_at_a_time(days_old, monkeypatch):
    monkeypatch.setattr(sweeping, "SWEEP_BATCH", 2)
    days_old(*range(1, 7))
    by_use = CachedVector.objects.order_by("-used_at")
    assert [surplus_rows_delete(by_use, kept=1) for _ in range(4)] == [2, 2, 1, 0]
    assert left() == [1]


@pytest.mark.parametrize(("days", "kept"), [(0, [1, 400]), (10_000_000, [1, 400]), (2, [1])])
def test_rows_are_kept_for_so_many_days_and_with_nought_for_ever(days_old, days, kept):
    days_old(1, 400)
    rows_sweep(CachedVector, days=days, column="used_at")
    assert left() == kept
