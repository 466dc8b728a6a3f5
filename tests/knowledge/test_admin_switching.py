"""The admin's page of a collection's embedding model, in process."""

import pytest

from knowledge.embedding import MULTILINGUAL
from knowledge.models import Collection, Embedding, EmbeddingModel, EvaluationRun, GoldenQuery, IngestionJob
from knowledge.switching import collection_fill
from tests.knowledge.rows import collection_of, document_of, model_of, signed_in, words_of
from tests.knowledge.test_search import RealBench, filled

pytestmark = pytest.mark.django_db


def page_of(collection):
    return f"/admin/knowledge/collection/{collection.pk}/embed/"


def test_a_model_is_filled_beside(admin_client):
    collection = collection_of()
    document_of(collection)
    other = model_of("other")
    page = admin_client.get(page_of(collection))
    assert "It is searched by all-MiniLM-L6-v2" in words_of(page)
    assert f'value="{collection.embedding_model.pk}"' not in page.content.decode()
    response = admin_client.post(page_of(collection), {"model": other.pk, "how": "fill"}, follow=True)
    job = IngestionJob.objects.get()
    assert (job.kind, job.embedding_model, job.collection) == ("filling", other, collection)
    words = words_of(response)
    assert "“Handbook” is searched as before while other is filled beside it." in words
    assert "0 of 1 chunk has a vector by it." in words
    assert "Switch to it" not in words
    refused = admin_client.post(page_of(collection), {"do": "switch"}, follow=True)
    assert "1 chunks have no vector by 'other' yet." in words_of(refused)
    assert "Choose a model" in words_of(admin_client.post(page_of(collection), {"model": "", "how": "fill"}))


def test_it_is_filled_and_switched_to_in_one(admin_client):
    collection = collection_of()
    document_of(collection)
    other = model_of("other")
    response = admin_client.post(page_of(collection), {"model": other.pk, "how": "switch"})
    job = IngestionJob.objects.get()
    assert job.kind == "embedding"
    assert response.url == f"/admin/knowledge/ingestionjob/batch/{job.batch}/"
    assert Collection.objects.get().embedding_model == collection.embedding_model  # until it is done


def test_a_model_is_given_up(admin_client):
    collection = collection_of()
    document_of(collection)
    other = model_of("other")
    admin_client.post(page_of(collection), {"model": other.pk, "how": "fill"})
    words = words_of(admin_client.post(page_of(collection), {"do": "give_up", "named": other.pk}, follow=True))
    assert "The vectors by other are being deleted." in words
    assert Collection.objects.get().next_model is None
    assert admin_client.post(page_of(collection), {"do": "give_up", "named": "x"}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_both_are_compared_before_the_switch_and_it_is_taken_back(admin_client, knowledge):
    collection, bench = filled(), RealBench()
    other = EmbeddingModel.objects.get(name=MULTILINGUAL)
    bench.run(collection_fill(collection=collection, model=other))
    assert "There are no golden queries to compare the two with." in words_of(admin_client.get(page_of(collection)))
    for query, source in (("Who stores nectar?", "bee.md"), ("Insect provisions against cold?", "bee.md")):
        GoldenQuery.objects.create(collection=collection, query=query).documents.add(
            collection.documents.get(source=source)
        )
    words = words_of(admin_client.get(page_of(collection)))
    assert "4 of 4 chunks have a vector by it." in words
    assert "Switch to it without having compared" in words
    words = words_of(admin_client.post(page_of(collection), {"do": "compare", "named": other.pk}, follow=True))
    assert "Of 2 questions all-MiniLM-L6-v2 multilingual-e5-small-q4 Change 95 % interval recall@1" in words
    assert "Switch to it Give it up" in words
    assert EvaluationRun.objects.count() == 2
    words = words_of(admin_client.post(page_of(collection), {"do": "switch"}, follow=True))
    assert f"“animals” is searched by {MULTILINGUAL} now." in words
    assert "all-MiniLM-L6-v2, the model before" in words
    words = words_of(admin_client.post(page_of(collection), {"do": "back"}, follow=True))
    assert "“animals” is searched by all-MiniLM-L6-v2 now." in words
    assert Embedding.objects.count() == 8


def test_who_may_only_look_changes_nothing(client):
    collection = collection_of()
    signed_in(client, "view_collection")
    assert client.get(page_of(collection)).status_code == 403
    assert client.post(page_of(collection), {"do": "switch"}).status_code == 403
