"""The admin's pages of golden queries, in process."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from knowledge.models import GoldenQuery
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


def test_they_go_into_a_file_and_come_from_one(admin_client):
    collection = collection_of()
    document_of(collection)
    lines = [
        {"query": "How many days?", "documents": ["leave.md"], "answers": ["thirty"]},
        {"query": "Who?", "documents": ["gone.md"], "answers": ["the lead"]},
    ]
    file = SimpleUploadedFile("golden.jsonl", "\n".join(map(json.dumps, lines)).encode())
    response = admin_client.post(f"{LIST}import/", {"collection": collection.pk, "file": file}, follow=True)
    words = words_of(response)
    assert "2 new, 0 changed, 0 as they were." in words
    assert "There is no document “gone.md” in the collection." in words
    assert GoldenQuery.objects.first().created_by.username == "admin"
    exported = admin_client.get(f"{LIST}export/?collection=handbook")
    assert exported["Content-Disposition"] == 'attachment; filename="handbook-golden-queries.jsonl"'
    assert [json.loads(line) for line in exported.content.decode().splitlines()] == [
        lines[0],
        lines[1] | {"documents": []},
    ]


def test_a_file_that_is_wrong_changes_nothing(admin_client):
    collection = collection_of()
    file = SimpleUploadedFile("golden.jsonl", b'{"query": "Who?", "answers": ["x"]}\n{"query": "Why?"}')
    words = words_of(admin_client.post(f"{LIST}import/", {"collection": collection.pk, "file": file}))
    assert "Line 2 must say what a right passage is" in words
    assert not GoldenQuery.objects.exists()
    assert admin_client.get(f"{LIST}export/?collection=nobody").status_code == 404


def test_who_may_only_look_changes_nothing(client):
    collection = collection_of()
    golden = GoldenQuery.objects.create(collection=collection, query="Why?", answers=["x"])
    signed_in(client, "view_goldenquery")
    assert "Why?" in words_of(client.get(LIST))
    assert client.post(f"{LIST}{golden.pk}/change/", fields_of(collection, answers="y")).status_code == 403
    assert client.post(f"{LIST}add/", fields_of(collection, answers="y")).status_code == 403
    assert client.get(f"{LIST}import/").status_code == 403
