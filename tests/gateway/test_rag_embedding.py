"""A collection's embedding model over REST: filled beside, switched to, taken back, given up."""

import pytest

from knowledge.models import Chunk, Collection, Embedding, EmbeddingModel, IngestionJob
from tests.gateway.ragshelf import Api, collection, document

pytestmark = pytest.mark.django_db

AT = "collections/handbook"


@pytest.fixture
def api():
    document(collection(), chunks=2)
    return Api()


@pytest.fixture
def other(db):
    return EmbeddingModel.objects.create(name="other", dimensions=2)


def embedded(model):
    """Give every chunk a vector of ``model``."""
    Embedding.objects.bulk_create(
        Embedding(chunk=chunk, embedding_model=model, collection=chunk.collection, findable=True, vector=[1.0, 0.0])
        for chunk in Chunk.objects.all()
    )


def test_a_model_is_filled_beside_and_how_far_it_is_is_told(api, other):
    status, told = api("PATCH", AT, {"next_embedding_model": "other"})
    assert (status, told["embedding_model"], told["next_embedding_model"]) == (200, "all-MiniLM-L6-v2", "other")
    job = IngestionJob.objects.get()
    assert (str(job.pk), job.kind) == (told["filling_job"], "filling")
    filling = {"embedding_model": "other", "done": 0, "total": 2, "job": str(job.pk)}
    assert api("GET", AT)[1]["filling"] == filling
    assert api("GET", f"jobs/{job.pk}")[1]["kind"] == "filling"


def test_the_switch_and_the_way_back_are_at_once(api, other):
    embedded(EmbeddingModel.objects.get(name="all-MiniLM-L6-v2"))
    api("PATCH", AT, {"next_embedding_model": "other"})
    embedded(other)
    told = api("PATCH", AT, {"embedding_model": "other"})[1]
    assert (told["embedding_model"], told["previous_embedding_model"], told["embedding_job"]) == (
        *("other", "all-MiniLM-L6-v2"),
        None,
    )
    assert (told["next_embedding_model"], api("GET", AT)[1]["filling"]) == (None, None)
    told = api("PATCH", AT, {"embedding_model": "all-MiniLM-L6-v2"})[1]
    assert (told["embedding_model"], told["previous_embedding_model"]) == ("all-MiniLM-L6-v2", "other")


def test_one_step_fills_and_switches_by_a_job(api, other):
    told = api("PATCH", AT, {"embedding_model": "other"})[1]
    assert IngestionJob.objects.get(pk=told["embedding_job"]).kind == "embedding"
    assert (told["embedding_model"], told["next_embedding_model"]) == ("all-MiniLM-L6-v2", "other")


def test_what_is_filled_is_given_up(api, other):
    job = api("PATCH", AT, {"next_embedding_model": "other"})[1]["filling_job"]
    told = api("PATCH", AT, {"next_embedding_model": None})[1]
    assert (told["next_embedding_model"], told["filling_job"]) == (None, None)
    assert IngestionJob.objects.get(pk=job).state == "cancelled"
    assert Collection.objects.get().next_model is None


def test_what_makes_no_sense_is_told(api, other):
    status, answer = api("PATCH", AT, {"next_embedding_model": "all-MiniLM-L6-v2"})
    assert (status, "is searched by 'all-MiniLM-L6-v2' already" in answer["error"]["message"]) == (400, True)
    status, answer = api("PATCH", AT, {"next_embedding_model": "nothing"})
    assert (status, answer["error"]["param"]) == (400, "next_embedding_model")
    status, answer = api("POST", "collections", {"slug": "new", "next_embedding_model": "other"})
    assert (status, answer["error"]["param"]) == (400, "next_embedding_model")
    assert api("PATCH", AT, {"gate": 1.5})[0] == 400
    assert api("PATCH", AT, {"gate": 0.05})[1]["gate"] == 0.05
