"""The admin's pages of golden queries and of evaluations, in process."""

import pytest

from knowledge.models import EvaluationRun, GoldenQuery
from tests.knowledge.rows import collection_of, document_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/goldenquery/"


def fields_of(collection, **changes):
    return {"collection": collection.pk, "query": "How many days?", "documents": [], "answers": ""} | changes


def test_one_is_written(admin_client):
    collection = collection_of()
    document = document_of(collection)
    fields = fields_of(collection, documents=[document.pk], answers="thirty days\n\n30 days\n")
    response = admin_client.post(f"{LIST}add/", fields, follow=True)
    assert "How many days? Handbook 1 2" in words_of(response)
    golden = GoldenQuery.objects.get()
    assert (list(golden.documents.all()), golden.answers) == ([document], ["thirty days", "30 days"])
    asked = "/admin/knowledge/collection/ask/?question=How+many+days%3F&amp;collection=handbook"
    assert f'<a href="{asked}">Ask</a>' in response.content.decode()


def test_it_says_what_a_right_passage_is(admin_client):
    collection = collection_of()
    words = words_of(admin_client.post(f"{LIST}add/", fields_of(collection)))
    assert "Say what a right passage is" in words
    strange = document_of(collection_of("other"), title="Strange")
    words = words_of(admin_client.post(f"{LIST}add/", fields_of(collection, documents=[strange.pk])))
    assert "“Strange” is of another collection." in words
    assert not GoldenQuery.objects.exists()


def test_the_list_asks_as_much_for_many_as_for_one(admin_client, django_assert_max_num_queries):
    collection = collection_of()
    for number in range(30):
        GoldenQuery.objects.create(collection=collection, query=f"Question {number}?", answers=["x"])
    with django_assert_max_num_queries(8):
        assert "30 golden queries" in words_of(admin_client.get(f"{LIST}?collection__id__exact={collection.pk}"))


def test_documents_are_looked_up_by_title(admin_client):
    document_of(collection_of())
    document_of(collection_of("measuring", scratch=True), "leave.md")
    asked = {"term": "leav", "app_label": "knowledge", "model_name": "goldenquery", "field_name": "documents"}
    found = admin_client.get("/admin/autocomplete/", asked).json()["results"]
    assert [row["text"] for row in found] == ["Leave"]


def test_evaluations_are_looked_at(admin_client):
    run = EvaluationRun.objects.create(
        collection=collection_of(),
        queries=20,
        measures={"ndcg_10": 0.7125, "recall_10": 0.8},
        settings={"mode": "text"},
    )
    for path in ("/admin/knowledge/evaluationrun/", f"/admin/knowledge/evaluationrun/{run.pk}/change/"):
        assert "ndcg 10 0.713, recall 10 0.800" in words_of(admin_client.get(path))
    assert admin_client.get("/admin/knowledge/evaluationrun/add/").status_code == 403


def test_who_may_only_look_changes_nothing(client):
    collection = collection_of()
    golden = GoldenQuery.objects.create(collection=collection, query="Why?", answers=["x"])
    signed_in(client, "view_goldenquery")
    assert "Why?" in words_of(client.get(LIST))
    assert client.post(f"{LIST}{golden.pk}/change/", fields_of(collection, answers="y")).status_code == 403
    assert client.post(f"{LIST}add/", fields_of(collection, answers="y")).status_code == 403
