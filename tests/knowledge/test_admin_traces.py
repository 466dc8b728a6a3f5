"""The admin's pages of retrieval traces, in process."""

import pytest
from django.utils import timezone

from knowledge.models import RetrievalTrace
from routing.models import DecisionRecord
from tests.knowledge.rows import collection_of, document_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/retrievaltrace/"
HOSTILE = "<script>alert(1)</script>"


def trace_of(trace, **fields):
    fields = {"decision": "dec_1", "question": "How many days?", "collections": ["handbook"], "strength": 0.61} | fields
    return RetrievalTrace.objects.create(trace=trace, created_at=timezone.now(), **fields)


def page_of(trace):
    return f"{LIST}{trace.pk}/change/"


def passage(chunk, document, **fields):
    ranks = {"vector_rank": 2, "similarity": 0.4321, "text_rank": None, "text_score": 1.25, "score": 0.9}
    where = {"chunk": chunk, "document": document, "revision": 1, "collection": "handbook", "title": HOSTILE}
    return where | ranks | {"rerank_score": None} | fields


def test_the_list_leads_to_decisions(admin_client):
    DecisionRecord.objects.create(id="dec_1", created_at=timezone.now(), asked="auto", expert="chat", route="rule")
    trace_of({}, weak=True)
    trace_of({}, decision="dec_2", question="", strength=None, collections=[])
    words = words_of(admin_client.get(LIST))
    assert "How many days? handbook 0.61 dec_1" in words
    assert "not kept none – dec_2" in words
    assert "1 retrieval trace" in words_of(admin_client.get(f"{LIST}?q=dec_2"))
    page = admin_client.get(LIST).content.decode()
    assert '<a href="/admin/routing/decisionrecord/dec_1/change/">dec_1</a>' in page
    assert "/decisionrecord/dec_2/" not in page  # it was not kept


def test_its_page_tells_how_it_was_grounded(admin_client):
    document = document_of(collection_of())
    chunk = document.chunks.get().pk
    told = {
        "state": "grounded",
        "condensed": "leave days a year",
        "tokens": 420,
        "budget": 1500,
        "cited": [1],
        "notes": ["Searched by words alone."],
        "steps": [{"step": "words", "milliseconds": 3.21, "result": "12 chunks"}],
        "passages": [passage(chunk, document.pk), passage(10**12, 10**12)],
        "packed": [{"n": 1, "chunks": [chunk]}],
        "cut": [{"chunk": chunk, "document": document.pk, "title": "Long", "tokens": 900, "reason": "no room"}],
        "something new": {"a": 1},
    }
    response = admin_client.get(page_of(trace_of(told)))
    words = words_of(response)
    for expected in (
        "State: grounded",
        "Searched for: leave days a year",
        "Room for them: 1500",
        "Cited: 1",
        "Searched by words alone.",
        "words 3.2 ms 12 chunks",
        f"1 {HOSTILE} handbook 2 0.432 – 1.25 0.900 – Chunk",
        "– gone",
        "Long 900 no room",
        '"something new"',
    ):
        assert expected in words
    page = response.content.decode()
    assert HOSTILE not in page
    assert f'href="/admin/knowledge/chunk/{chunk}/change/"' in page
    assert f"/admin/knowledge/chunk/{10**12}/" not in page


@pytest.mark.parametrize(
    "trace",
    [None, [], "x", {"passages": "x", "steps": [1], "packed": [{}], "cut": None, "notes": None}, {"passages": [{}]}],
)
def test_whatever_it_is_it_is_shown(admin_client, trace):
    assert admin_client.get(page_of(trace_of(trace if trace is not None else {}))).status_code == 200


def test_who_may_only_see_traces_sees_no_links(client):
    document = document_of(collection_of())
    trace = trace_of({"passages": [passage(document.chunks.get().pk, document.pk)]})
    assert client.get(LIST).status_code == 302
    signed_in(client, "view_retrievaltrace")
    page = client.get(page_of(trace)).content.decode()
    assert "/admin/knowledge/document/" not in page
    assert "/admin/knowledge/chunk/" not in page
    assert client.post(page_of(trace), {}).status_code == 403
    assert client.get(f"{LIST}add/").status_code == 403
