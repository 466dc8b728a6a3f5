"""How often documents are used for answers, as it is counted when traces are written."""

import datetime as dt

import pytest

from knowledge.documents import document_delete
from knowledge.models import DocumentUse, RetrievalTrace
from knowledge.tracing import Traces
from tests.knowledge.rows import collection_of, document_of

pytestmark = pytest.mark.django_db

MORNING = dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC)


def written(*found, when=MORNING):
    """Write a trace for each of ``found``: (document, its chunks' ids, whether it is cited) of one answer."""
    traces = Traces()
    for answer in found:
        trace = {
            "passages": [{"chunk": chunk, "document": pk} for pk, chunks, _ in answer for chunk in chunks],
            "packed": [{"n": n, "chunks": list(chunks)} for n, (_, chunks, _) in enumerate(answer, 1)],
            "cited": [n for n, (_, _, cited) in enumerate(answer, 1) if cited],
        }
        traces.note(RetrievalTrace(decision="d", trace=trace, created_at=when))
    return traces.flush()


def used(document):
    return (
        DocumentUse.objects.filter(pk=document.pk).values_list("retrieved", "retrieved_at", "cited", "cited_at").first()
    )


def test_they_add_up_over_answers():
    collection = collection_of()
    one, two = document_of(collection, "one.md"), document_of(collection, "two.md")
    assert written([(one.pk, [1, 2], True), (two.pk, [3], False)], [(one.pk, [1], False)]) == 2
    evening = MORNING + dt.timedelta(hours=12)
    written([(two.pk, [3], True)], when=evening)
    assert used(one) == (2, MORNING, 1, MORNING)
    assert used(two) == (2, evening, 1, evening)


def test_what_was_deleted_meanwhile_or_found_nothing_does_not_matter():
    document = document_of(collection_of())
    document_delete(document=document)
    traces = Traces()
    traces.note(RetrievalTrace(decision="d", trace={}, created_at=MORNING))
    assert written([(document.pk, [1], True)]) == 1
    assert traces.flush() == 1
    assert not DocumentUse.objects.exists()


def test_they_go_with_their_document():
    document = document_of(collection_of())
    written([(document.pk, [1], True)])
    document_delete(document=document)
    assert not DocumentUse.objects.exists()
