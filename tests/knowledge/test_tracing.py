"""How answers were grounded, kept to be looked up."""

import datetime as dt

import pytest
from django.db import OperationalError
from django.utils import timezone

from knowledge import tracing
from knowledge.models import RetrievalTrace
from knowledge.tracing import Traces, traces_sweep

pytestmark = pytest.mark.django_db(transaction=True)


def trace(decision="dec_1", **fields):
    given = {"question": "Why?", "collections": ["handbook"], "strength": 0.5, "trace": {"passages": []}}
    return RetrievalTrace(**given | {"decision": decision, "created_at": timezone.now()} | fields)


def test_what_is_noted_is_written_once():
    waiting = Traces()
    for number in range(450):
        waiting.note(trace(f"dec_{number}"))
    assert (waiting.flush(), waiting.flush(), len(waiting)) == (450, 0, 0)
    kept = RetrievalTrace.objects.get(decision="dec_7")
    assert (kept.question, kept.collections, kept.strength, kept.trace) == ("Why?", ["handbook"], 0.5, {"passages": []})


def test_what_the_database_does_not_take_is_made_so_that_it_does():
    waiting = Traces()
    waiting.note(trace(question="nul\0l \ud83d", trace={"a\0": [float("nan"), "\0"]}))
    assert waiting.flush() == 1
    kept = RetrievalTrace.objects.get()
    assert (kept.question, kept.trace) == ("nul�l ?", {"a�": [None, "�"]})


def test_during_an_outage_they_wait_and_too_many_are_counted(monkeypatch):
    monkeypatch.setattr(tracing, "CAPACITY", 3)
    waiting = Traces()
    for number in range(5):
        waiting.note(trace(f"dec_{number}"))
    assert (len(waiting), waiting.dropped) == (3, 2)

    def gone(*_, **__):
        raise OperationalError("gone")

    with monkeypatch.context() as outage:
        outage.setattr(RetrievalTrace.objects, "bulk_create", gone)
        with pytest.raises(OperationalError):
            waiting.flush()
    assert (len(waiting), waiting.flush()) == (3, 3)


def test_old_ones_are_deleted(settings):
    settings.DECISION_RETENTION_DAYS = 30
    for days in (1, 29, 31, 400):
        trace(f"dec_{days}", created_at=timezone.now() - dt.timedelta(days=days)).save()
    assert traces_sweep() == 2
    assert set(RetrievalTrace.objects.values_list("decision", flat=True)) == {"dec_1", "dec_29"}
    settings.DECISION_RETENTION_DAYS = 0
    assert traces_sweep() == 0
