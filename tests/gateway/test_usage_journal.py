"""Records of usage reach the database once each with their sums, whatever happens; what is old is deleted."""

import datetime as dt
import io
import json
import random
import threading
from decimal import Decimal

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction
from django.db.models import Sum
from django.utils import timezone

from gateway.models import Exchange, UsageHour, UsageRecord
from gateway.usage import journal as module
from gateway.usage.journal import UsageJournal, usage_sweep
from gateway.usage.sums import COUNTS
from knowledge.models import RetrievalTrace
from routing.models import DecisionRecord

pytestmark = pytest.mark.django_db(transaction=True)
LONGEST = {"key_name": 200, "group": 100, "asked": 300, "expert": 300}
NOON = dt.datetime(2026, 5, 4, 12, 10, tzinfo=dt.UTC)


def record(number=1, **fields):
    values = {
        "created_at": NOON,
        "request_id": f"r{number}",
        "what": "completion",
        "key_id": 7,
        "key_name": "laptop",
        "asked": "auto",
        "expert": "code",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost": Decimal("0.00000125"),
        "total_ms": 20.0,
        "first_token_ms": 4.0,
        "status": 200,
        "outcome": "stop",
    }
    return UsageRecord(**(values | fields))


def noted(*records):
    journal = UsageJournal()
    for one in records:
        journal.note(one)
    return journal


def counts(**narrowed):
    found = UsageHour.objects.filter(**narrowed).aggregate(**{f"{name}_": Sum(name) for name in COUNTS})
    return {name.removesuffix("_"): value for name, value in found.items()}


def test_sums_are_by_hour_key_kind_and_expert():
    journal = noted(
        record(1),
        record(2, created_at=NOON + dt.timedelta(minutes=49)),
        record(3, created_at=NOON + dt.timedelta(minutes=50)),
        record(4, expert="general"),
        record(5, key_id=None, key_name="", first_token_ms=None, status=502, outcome="upstream_error"),
        record(6, status=499, is_cancelled=True, cache="exact"),
    )
    assert journal.flush() == 6
    assert UsageHour.objects.count() == 4
    at_noon = UsageHour.objects.get(hour=NOON.replace(minute=0), expert="code", key_id=7)
    assert (at_noon.requests, at_noon.cancelled, at_noon.cached, at_noon.errors) == (3, 1, 1, 0)
    assert (at_noon.prompt_tokens, at_noon.completion_tokens, at_noon.cost) == (30, 15, Decimal("0.00000375"))
    assert (at_noon.total_ms, at_noon.first_token_ms, at_noon.first_tokens) == (60.0, 12.0, 3)
    nobody = UsageHour.objects.get(key_id=0)
    assert (nobody.requests, nobody.errors, nobody.first_tokens) == (1, 1, 0)


def test_later_records_are_added_to_the_sums_there_are():
    journal = noted(record(1))
    journal.flush()
    journal.note(record(2))
    journal.flush()
    assert UsageHour.objects.get().requests == 2


def test_what_does_not_fit_is_counted_and_dropped():
    journal = UsageJournal()
    journal.capacity = 3
    for number in range(5):
        journal.note(record(number))
    assert (len(journal), journal.dropped) == (3, 2)
    assert journal.flush() == 3


def test_one_that_cannot_be_stored_does_not_take_the_others_with_it():
    bad = (record(98, total_ms="slow"), record(99, created_at=None))
    journal = noted(*map(record, range(20)), *bad, *map(record, range(20, 30)))
    assert (journal.flush(), journal.dropped) == (30, 2)
    assert counts()["requests"] == UsageRecord.objects.count() == 30


def test_one_whose_names_are_too_long_for_an_index_does_not_keep_the_others_waiting():
    """PostgreSQL says so in an OperationalError, as it says that it is away."""
    names = iter(random.Random(1).sample(range(0x20000, 0x2A000), 900))
    long = {name: "".join(chr(next(names)) for _ in range(most)) for name, most in LONGEST.items()}
    journal = noted(record(1), record(2, **long), record(3))
    assert (journal.flush(), journal.dropped) == (2, 1)
    assert counts()["requests"] == UsageRecord.objects.count() == 2


def test_texts_of_clients_are_made_storable():
    noted(record(1, asked="nul \0 half \ud800 " + "x" * 500)).flush()
    row = UsageRecord.objects.get()
    assert row.asked.startswith("nul � half ? x")
    assert len(row.asked) == 300
    assert UsageHour.objects.get().asked == row.asked


# --- once each ------------------------------------------------------------------------------------------------------


def test_an_outage_loses_nothing_and_counts_nothing_twice(monkeypatch):
    journal = noted(*map(record, range(1200)))
    usual, calls = module.sums_add, []

    def failing(records):
        calls.append(len(records))
        if len(calls) == 2:
            raise OperationalError("the server closed the connection unexpectedly")
        usual(records)

    monkeypatch.setattr(module, "sums_add", failing)
    with pytest.raises(OperationalError):
        journal.flush()
    assert (counts()["requests"], len(journal)) == (500, 700)
    assert journal.flush() == 700
    assert counts()["requests"] == UsageRecord.objects.count() == 1200


def test_a_batch_whose_commit_was_not_answered_is_not_written_twice(monkeypatch):
    journal = noted(*map(record, range(20)))
    usual = transaction.Atomic.__exit__

    def unanswered(self, *error):
        usual(self, *error)
        if error[0] is None and not connection.in_atomic_block:
            monkeypatch.setattr(transaction.Atomic, "__exit__", usual)
            raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(transaction.Atomic, "__exit__", unanswered)
    with pytest.raises(OperationalError):
        journal.flush()
    assert (UsageRecord.objects.count(), len(journal)) == (20, 20)
    journal.note(record(20))
    assert journal.flush() == 21
    assert counts()["requests"] == UsageRecord.objects.count() == 21


def test_four_writers_of_the_same_rows_wait_for_each_other_and_not_in_a_circle():
    start, failures = threading.Barrier(4), []

    def write(writer):
        names = [f"expert-{number}" for number in range(40)]
        names = names if writer % 2 else names[::-1]
        try:
            start.wait(10)
            for turn in range(10):
                noted(*(record(f"{writer}-{turn}-{name}", expert=name) for name in names)).flush()
        except (OperationalError, psycopg.Error) as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert UsageHour.objects.count() == 40
    assert counts()["requests"] == UsageRecord.objects.count() == 1600


# --- how long -------------------------------------------------------------------------------------------------------


def aged(days):
    return timezone.now() - dt.timedelta(days=days)


def many():
    for days in (0, 5, 20, 400):
        noted(record(days, created_at=aged(days))).flush()
        Exchange.objects.create(id=f"x{days}", created_at=aged(days), what="completion", request_id="r", because="key")
        RetrievalTrace.objects.create(decision=f"d{days}", created_at=aged(days))
        DecisionRecord.objects.create(id=f"d{days}", created_at=aged(days), asked="auto", expert="code", route="rule")


def lasting(settings):
    settings.USAGE_RETENTION_DAYS, settings.USAGE_SUMS_RETENTION_DAYS = 10, 100
    settings.TEXT_RETENTION_DAYS, settings.DECISION_RETENTION_DAYS = 3, 0


def test_records_go_before_their_sums(settings):
    lasting(settings)
    many()
    while usage_sweep():
        pass
    assert (UsageRecord.objects.count(), UsageHour.objects.count()) == (2, 3)


def pruned(*options):
    out = io.StringIO()
    call_command("prune", "--json", *options, stdout=out)
    return json.loads(out.getvalue().splitlines()[-1])


def test_pruning_deletes_what_is_old_and_tells_how_much(settings):
    lasting(settings)
    many()
    expected = {"records of usage": 2, "sums of usage": 1, "texts": 3, "decisions": 0, "retrieval traces": 0}
    told = pruned("--dry-run")
    assert expected.items() <= told.items()
    assert UsageRecord.objects.count() == 4
    assert pruned() == told
    assert (UsageRecord.objects.count(), Exchange.objects.count(), DecisionRecord.objects.count()) == (2, 1, 4)
    assert set(pruned().values()) == {0}
