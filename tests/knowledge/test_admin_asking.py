"""The admin's page on which a question is asked, in process, with the embedding model of this process."""

import pytest
from asgiref.sync import async_to_sync

from gateway.models import ApiKey
from knowledge.embedding import ModelSpec, embedder_of
from knowledge.models import Chunk, Embedding, GoldenQuery, Grant
from tests.knowledge.rows import collection_of, document_of, model_of, signed_in, words_of

pytestmark = pytest.mark.django_db
# Searches run in threads of their own, which see what is committed.
searching = pytest.mark.django_db(transaction=True)

PAGE = "/admin/knowledge/collection/ask/"
HOSTILE = "<script>alert(1)</script>"
LEAVE = ("Everyone has thirty days of paid holidays a year.", "Parents may take up to three years off for each child.")
TRAVEL = (f"Trains are booked in second class. {HOSTILE}", "Receipts for taxis are handed in within thirty days.")


def embedded(collection, source, texts, **fields):
    embedder = embedder_of(ModelSpec.of(collection.embedding_model))
    return document_of(collection, source, texts, vectors=async_to_sync(embedder.passages)(texts), **fields)


@pytest.fixture
def handbook():
    collection = collection_of(language="en")
    embedded(collection, "leave.md", LEAVE)
    embedded(collection, "travel.md", TRAVEL, title=HOSTILE)
    return collection


def ask(client, question="How many days of vacation do I get?", **fields):
    return client.post(PAGE, {"question": question, "top_k": 2, "do": "ask"} | fields)


def found_of(response):
    assert response.status_code == 200
    assert response.context["form"].errors == {}
    return response.context["found"]


@searching
def test_both_rankings_and_what_comes_of_them_are_shown(admin_client, handbook):
    response = ask(admin_client)
    found = found_of(response)
    assert found.candidates[0].passage.text == LEAVE[0]
    assert [one.place for one in found.candidates] == [1, 2, 3, 4]
    assert [one.kept for one in found.candidates[:2]] == [1, 2]
    assert [one.passage.vector_rank for one in found.by_meaning] == [1, 2, 3, 4]
    assert found.by_words[0].passage.text in (LEAVE[0], TRAVEL[1])  # both have "days"
    words = words_of(response)
    first = found.candidates[0].passage
    for expected in (
        "2 passages",
        "Strength of the evidence: 0.",
        "Searched: handbook.",
        "Leave › Chapter 1, page 1 handbook, chunk 1 , score 1.000",
        LEAVE[0],
        f"cosine {first.similarity:.3f}",
        f"BM25 {first.text_score:.2f}",
        "embedding",
        "fusion",
    ):
        assert expected in words
    page = response.content.decode()
    assert f'href="/admin/knowledge/chunk/{first.chunk}/change/"' in page
    assert f'href="/admin/knowledge/document/{first.document}/change/"' in page


@searching
def test_texts_and_titles_are_shown_as_they_are_written(admin_client, handbook):
    response = ask(admin_client, f"trains {HOSTILE}", top_k=4)
    assert TRAVEL[0] in words_of(response)
    assert HOSTILE not in response.content.decode()


@searching
def test_weak_evidence_is_called_so(admin_client, handbook):
    response = ask(admin_client, "Who painted the ceiling of the Sistine Chapel?")
    assert "which is weak : an answer would say so" in words_of(response)


@searching
@pytest.mark.parametrize(
    ("fields", "meaning", "words"),
    [
        ({"mode": "text"}, False, True),
        ({"mode": "vector"}, True, False),
        ({"mode": "hybrid", "fusion": "rrf", "vector_weight": "0.9"}, True, True),
    ],
)
def test_it_may_be_searched_otherwise(admin_client, handbook, fields, meaning, words):
    response = ask(admin_client, "thirty days", **fields)
    found = found_of(response)
    assert bool(found.by_meaning) == meaning
    assert bool(found.by_words) == words
    assert "<details open>" in response.content.decode()


@searching
def test_filters_leave_documents_out(admin_client, handbook):
    document = embedded(handbook, "days.md", ("Thirty days of sunshine.",), metadata={"year": 2026})
    found = found_of(ask(admin_client, "thirty days", filters='{"year": 2026}'))
    assert {one.passage.document for one in found.candidates} == {document.pk}
    wrong = ask(admin_client, "thirty days", filters='{"type": "near", "key": "year", "value": 1}')
    assert wrong.context["found"] is None
    assert "near" in words_of(wrong)


@searching
def test_it_is_asked_as_a_key_would_ask(admin_client, handbook):
    secret = collection_of("secret", everyone=0)
    embedded(secret, "pay.md", ("The thirty days of pay are secret.",))
    key, _ = ApiKey.objects.issue(name="ci", group="builders")
    assert "pay" in words_of(ask(admin_client, "thirty days of pay", top_k=5))
    assert "are secret" not in words_of(ask(admin_client, "thirty days of pay", top_k=5, key=key.pk))
    refused = ask(admin_client, "thirty days of pay", key=key.pk, collections=["secret"])
    assert "There is no collection 'secret'." in words_of(refused)
    Grant.objects.create(collection=secret, group="builders", level=1)
    assert "are secret" in words_of(ask(admin_client, "thirty days of pay", top_k=5, key=key.pk))


@searching
def test_without_collections_that_is_told(admin_client):
    response = ask(admin_client)
    assert "There is no collection you may read." in words_of(response)
    assert "0 passages" in words_of(response)


@searching
def test_without_its_model_words_alone_are_searched(admin_client):
    collection = collection_of(embedding_model=model_of("gone-model", source="model_server"))
    document_of(collection, texts=LEAVE)
    response = ask(admin_client, "thirty days of holidays")
    assert "Searched by words alone: the embedding model 'gone-model' does not answer." in words_of(response)
    assert found_of(response).candidates
    only = ask(admin_client, "thirty days of holidays", mode="vector")
    assert only.context["found"] is None
    assert "gone-model" in words_of(only)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question": "  "}, "The question is empty."),
        ({"question": ""}, "This field is required."),
        ({"question": "x" * 8001}, "at most 8000 characters"),
        ({"top_k": "0"}, "greater than or equal to 1"),
        ({"top_k": "51"}, "less than or equal to 50"),
        ({"vector_weight": "2"}, "less than or equal to 1"),
        ({"mode": "magic"}, "Select a valid choice"),
        ({"collections": ["nowhere"]}, "Select a valid choice"),
        ({"filters": "{"}, "This is no JSON"),
    ],
)
def test_what_cannot_be_asked_is_told(admin_client, fields, message):
    response = ask(admin_client, **fields)
    assert response.status_code == 200
    assert response.context["found"] is None
    assert message in words_of(response)


def test_a_link_fills_the_form(admin_client):
    collection_of()
    form = admin_client.get(PAGE, {"question": "Why?", "collection": "handbook"}).context["form"]
    assert (form["question"].value(), form["collections"].value()) == ("Why?", ["handbook"])


# Golden queries


@searching
def test_a_question_becomes_a_golden_query(admin_client, handbook):
    leave, travel = (document for document in handbook.documents.order_by("pk"))
    other = document_of(collection_of("other"))
    kept = {"do": "golden", "document": [leave.pk, leave.pk, other.pk]}
    response = ask(admin_client, "How many days?", **kept)
    assert "The question is a golden query of “Handbook” now, answered by 1 document." in words_of(response)
    assert "The question is a golden query of “Other” now, answered by 1 document." in words_of(response)
    assert found_of(response)
    golden = GoldenQuery.objects.get(collection=handbook)
    assert (golden.query, list(golden.documents.all())) == ("How many days?", [leave])
    response = ask(admin_client, "How many days? ", do="golden", document=[travel.pk])
    assert "of “Handbook” now, answered by 2 documents." in words_of(response)
    assert GoldenQuery.objects.count() == 2


@searching
def test_a_golden_query_needs_a_document(admin_client, handbook):
    for chosen in ([], ["x"], [10**17]):
        response = ask(admin_client, do="golden", document=chosen)
        assert "Choose the passages whose documents answer the question." in words_of(response)
    assert not GoldenQuery.objects.exists()


# Who may


def test_strangers_ask_nothing(client, handbook):
    assert client.get(PAGE).status_code == 302
    signed_in(client, "view_collection", "view_document")
    assert client.get(PAGE).status_code == 403
    assert ask(client).status_code == 403


@searching
def test_who_may_see_chunks_may_ask_and_keep_nothing(client, handbook):
    key, _ = ApiKey.objects.issue(name="ci")
    signed_in(client, "view_chunk")
    response = ask(client, key=key.pk)
    words = words_of(response)
    assert LEAVE[0] in words
    assert "Make it a golden query" not in words
    assert "As the API key" not in words
    assert "/admin/knowledge/document/" not in response.content.decode()
    assert ask(client, do="golden", document=[handbook.documents.first().pk]).status_code == 403
    assert not GoldenQuery.objects.exists()


@searching
def test_what_is_not_found_is_not_shown(admin_client, handbook):
    Embedding.objects.update(findable=False)
    Chunk.objects.update(enabled=False)
    assert found_of(ask(admin_client)).candidates == ()
