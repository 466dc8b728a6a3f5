"""The admin's pages of embedding models, in process; the model server is a scripted one."""

import pytest
from asgiref.sync import async_to_sync

from knowledge.embedding import MINILM
from knowledge.models import Embedding, EmbeddingModel
from routing.models import Expert, InstalledModel, ModelServer, Replica
from routing.pool import close_shared_pool
from tests.knowledge.rows import collection_of, document_of, model_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/embeddingmodel/"


def page_of(model, rest="change"):
    return f"{LIST}{model.pk}/{rest}/"


def fields_of(**changes):
    return {"name": "nomic-embed-text", "max_tokens": 2048, "languages": "", "floor": 0.3, "ceiling": 0.8} | changes


def posted(client, path, fields):
    """Post as to a server, whose connections to model servers live in its event loop."""

    async def post():
        try:
            return await client.post(path, fields)
        finally:
            await close_shared_pool()

    return async_to_sync(post)()


@pytest.fixture
def served(ollama):
    """A model server that has an embedding model, known here."""
    server = ModelServer.objects.create(name="box", base_url=ollama.url)
    expert = Expert.objects.create(slug="embeddings", name="Embeddings")
    Replica.objects.create(expert=expert, server=server, model="nomic-embed-text:latest")
    InstalledModel.objects.create(server=server, name="nomic-embed-text:latest", capabilities=["embedding"])
    InstalledModel.objects.create(server=server, name="llama3.2:3b", capabilities=["completion"])
    return server


def test_the_list_tells_what_each_is_used_for(admin_client, django_assert_max_num_queries):
    document_of(collection_of(), texts=("One.", "Two."))
    collection_of("measuring", scratch=True)
    with django_assert_max_num_queries(8):
        words = words_of(admin_client.get(LIST))
    assert f"{MINILM} in this process 384 2 254 en Handbook" in words
    assert "multilingual-e5-small-q4 in this process 384 0 500 every one no collection" in words


def test_those_that_are_installed_are_offered(admin_client, served):
    assert "Installed there: nomic-embed-text:latest." in words_of(admin_client.get(f"{LIST}add/"))


@pytest.mark.django_db(transaction=True)  # what is known of servers is read by another thread
def test_a_new_one_is_asked_how_wide_its_vectors_are(async_client, admin_user, served):
    async_client.force_login(admin_user)
    prefixes = {"query_prefix": "search_query: ", "passage_prefix": "search_document: "}
    response = posted(async_client, f"{LIST}add/", fields_of(languages="en\nde", **prefixes))
    assert response.status_code == 302
    model = EmbeddingModel.objects.get(name="nomic-embed-text")
    assert (model.source, model.languages) == ("model_server", ["en", "de"])
    assert model.dimensions > 0
    assert (model.query_prefix, model.passage_prefix) == ("search_query: ", "search_document: ")


def test_one_that_no_server_has_is_told(admin_client):
    response = admin_client.post(f"{LIST}add/", fields_of(name="nobody-has-this"))
    assert "nobody-has-this" in words_of(response)
    assert response.context["adminform"].form.errors["name"]
    assert not EmbeddingModel.objects.filter(name="nobody-has-this").exists()


def test_what_makes_no_scale_is_told(admin_client):
    response = admin_client.post(page_of(model_of("other", source="model_server")), fields_of(floor=0.8))
    assert "It must be greater than the floor." in words_of(response)


def test_what_vectors_were_made_with_stays(admin_client):
    model = model_of("other", source="model_server", dimensions=3)
    admin_client.post(page_of(model), fields_of(name="renamed", query_prefix="q: "))
    model.refresh_from_db()
    assert (model.name, model.query_prefix, model.max_tokens, model.dimensions) == ("other", "q: ", 2048, 3)
    document_of(collection_of(embedding_model=model))
    admin_client.post(page_of(model), fields_of(query_prefix="question: ", ceiling=0.9))
    model.refresh_from_db()
    assert (model.query_prefix, model.ceiling) == ("q: ", 0.9)


def test_the_own_ones_keep_what_is_built_in(admin_client):
    model = EmbeddingModel.objects.get(name=MINILM)
    admin_client.post(page_of(model), fields_of(query_prefix="q: ", floor=0.2, ceiling=0.7, languages="en"))
    model.refresh_from_db()
    assert (model.query_prefix, model.max_tokens, model.floor, model.ceiling) == ("", 254, 0.2, 0.7)


def test_one_that_is_used_or_built_in_is_not_deleted(admin_client):
    model = model_of("other", source="model_server")
    collection_of(embedding_model=model)
    response = admin_client.post(page_of(model, "delete"), {"post": "yes"}, follow=True)
    assert "“other” is used by Handbook. Embed them with another model first." in words_of(response)
    own = EmbeddingModel.objects.get(name=MINILM)
    response = admin_client.post(page_of(own, "delete"), {"post": "yes"}, follow=True)
    assert "comes with this version" in words_of(response)
    chosen = {"action": "delete_selected", "_selected_action": [model.pk, own.pk], "post": "yes"}
    assert "Nothing was deleted" in words_of(admin_client.post(LIST, chosen, follow=True))
    assert EmbeddingModel.objects.filter(pk__in=[model.pk, own.pk]).count() == 2


def test_one_that_nothing_uses_goes_with_its_vectors(admin_client):
    document = document_of(collection_of(), texts=("One.", "Two."))
    model = model_of("other", source="model_server", dimensions=2, indexed=True)
    for chunk in document.chunks.all():
        Embedding.objects.create(chunk=chunk, embedding_model=model, collection=document.collection, vector=[1, 0])
    assert "Vectors: 2" in words_of(admin_client.get(page_of(model, "delete")))
    admin_client.post(page_of(model, "delete"), {"post": "yes"})
    assert not EmbeddingModel.objects.filter(name="other").exists()
    assert Embedding.objects.count() == 2


def test_who_may_only_look_changes_nothing(client):
    model = model_of("other", source="model_server")
    assert client.get(LIST).status_code == 302
    signed_in(client, "view_embeddingmodel")
    assert "other" in words_of(client.get(page_of(model)))
    assert client.post(page_of(model), fields_of(ceiling=0.9)).status_code == 403
    assert client.post(f"{LIST}add/", fields_of()).status_code == 403
    assert client.post(page_of(model, "delete"), {"post": "yes"}).status_code == 403
    assert EmbeddingModel.objects.filter(name="other", ceiling=0.6).exists()
