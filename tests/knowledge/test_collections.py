"""Collections made, found and deleted, and the embedding model they get."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from knowledge.access import EVERYTHING, Access
from knowledge.collections import (
    collection_create,
    collection_delete,
    collection_get_or_create,
    embedding_model_for,
)
from knowledge.exceptions import CollectionNotFound
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    Embedding,
    EmbeddingModel,
    Grant,
    IngestionJob,
    Posting,
    StoredContent,
)
from knowledge.receiving import Incoming, document_receive
from routing.exceptions import BadRequest
from tests.knowledge.library import put, shelf, text_of

pytestmark = pytest.mark.usefixtures("knowledge")

ENGLISH = "The quick brown fox jumps over the lazy dog in the garden."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund im Garten."
MINILM, MULTILINGUAL = "all-MiniLM-L6-v2", "multilingual-e5-small-q4"


class TestMaking:
    @pytest.mark.parametrize(
        ("language", "sample", "model"),
        [
            ("en", [], MINILM),
            ("de", [], MULTILINGUAL),
            ("", [], MULTILINGUAL),
            ("", [ENGLISH] * 5, MINILM),
            ("", [ENGLISH] * 9 + [GERMAN], MINILM),
            ("", [ENGLISH] * 2 + [GERMAN], MULTILINGUAL),
            ("", [GERMAN], MULTILINGUAL),
            ("", ["12 34", "", "…"], MULTILINGUAL),
            ("de", [ENGLISH], MULTILINGUAL),
        ],
    )
    def test_it_gets_the_model_that_suits_its_language(self, language, sample, model):
        collection = collection_create(slug="handbook", language=language, sample=sample)
        assert collection.embedding_model.name == model
        assert (collection.name, collection.language) == ("handbook", language)

    def test_settings_are_taken_over_and_checked(self):
        collection = collection_create(slug="handbook", name="Hand Book", chunk_tokens=100, scratch=True)
        assert (collection.chunk_tokens, collection.scratch, str(collection)) == (100, True, "Hand Book")
        with pytest.raises(BadRequest) as caught:
            collection_create(slug="other", chunk_tokens=40, chunk_overlap=39)
        assert "half of a chunk" in caught.value.message
        assert not Collection.objects.filter(slug="other").exists()

    @pytest.mark.parametrize("slug", ["", "two words", "ä", "-x", "x" * 101])
    def test_what_cannot_be_a_name(self, slug):
        with pytest.raises(BadRequest):
            collection_create(slug=slug)

    def test_a_name_that_is_taken(self):
        collection_create(slug="handbook")
        with pytest.raises(BadRequest) as caught:
            collection_create(slug="handbook")
        assert "already" in caught.value.message

    def test_another_model_where_the_usual_one_is_gone(self):
        EmbeddingModel.objects.all().delete()
        with pytest.raises(BadRequest):
            embedding_model_for("de")
        german = EmbeddingModel.objects.create(name="german", dimensions=8, languages=["de"])
        assert embedding_model_for("de") == german
        every = EmbeddingModel.objects.create(name="every", dimensions=8)
        assert embedding_model_for("de") == every


class TestFinding:
    def test_it_is_made_when_it_is_missing(self):
        made = collection_get_or_create(slug="handbook", access=Access(key_id=1), sample=[ENGLISH])
        assert made.embedding_model.name == MINILM
        assert collection_get_or_create(slug="handbook", access=Access(key_id=2)) == made

    def test_one_that_may_only_be_read_is_not_added_to(self):
        collection = shelf(everyone=Collection.Everyone.READ)
        with pytest.raises(CollectionNotFound):
            collection_get_or_create(slug="handbook", access=Access(group="staff"))
        Grant.objects.create(collection=collection, group="staff", level=Grant.GrantLevel.WRITE)
        assert collection_get_or_create(slug="handbook", access=Access(group="staff")) == collection
        assert collection_get_or_create(slug="handbook", access=EVERYTHING) == collection

    def test_several_at_once_make_one(self):
        def get(_):
            try:
                return collection_get_or_create(slug="handbook", access=EVERYTHING).pk
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(get, range(8)))) == 1

    def test_what_cannot_be_a_name_is_said(self):
        with pytest.raises(BadRequest):
            collection_get_or_create(slug="two words", access=EVERYTHING)


class TestDeleting:
    def test_nothing_is_left_of_it_and_others_keep_theirs(self):
        collection, other = shelf(), shelf("other")
        put(collection, text_of("Cats purr."), source="a.md")
        put(collection, text_of("Dogs bark."), source="a.md")
        put(other, text_of("Cats purr."), source="a.md")
        incoming = Incoming(source="b.md", name="b.md", data=b"Waiting.")
        job = document_receive(collection=collection, incoming=incoming).job
        collection_delete(collection=collection)
        counts = [model.objects.count() for model in (Document, DocumentRevision, Chunk, Embedding, StoredContent)]
        assert counts == [1, 1, 1, 1, 1]
        assert not Posting.objects.exclude(collection=other).exists()
        assert not IngestionJob.objects.filter(pk=job.pk).exists()

    def test_while_documents_come(self):
        collection = shelf()

        def come(number):
            try:
                incoming = Incoming(source=f"{number}.md", name="x.md", data=f"Text {number}.".encode())
                document_receive(collection=collection, incoming=incoming)
            except CollectionNotFound:
                return False
            else:
                return True
            finally:
                connection.close()

        def delete(_):
            try:
                collection_delete(collection=collection)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            coming = [threads.submit(come, number) for number in range(30)]
            threads.submit(delete, 0).result()
            results = [one.result() for one in coming]
        assert len(results) == 30
        collection_delete(collection=collection)
        assert not [kind for kind in (StoredContent, Document, Collection) if kind.objects.exists()]
