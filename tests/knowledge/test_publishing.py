"""The moment in which a revision takes the place of the one before it, and what is written for searching it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import connection

from knowledge.curation.editing import chunks_switch
from knowledge.documents import document_update
from knowledge.exceptions import TextChanged
from knowledge.models import Chunk, Collection, Document, DocumentRevision, Embedding, IngestionJob, Posting
from knowledge.postings import TITLE_WEIGHT, ChunkTerms, chunk_terms, postings_delete, postings_write
from knowledge.terms import counted
from tests.knowledge.library import Bench, put, shelf, text_of

pytestmark = pytest.mark.usefixtures("knowledge")


def words(number, count=12):
    return " ".join(f"word{number}x{n}" for n in range(count)) + "."


class TestChunksOfRevisions:
    def test_what_stays_keeps_its_row_and_gets_its_new_place(self):
        collection = shelf(chunk_tokens=32)
        first = text_of("## One", words(1), "## Two", words(2), "## Three", words(3), title="T")
        document, _ = put(collection, first)
        one, two, three = document.chunks.order_by("ordinal")
        document, _ = put(collection, text_of("## Three", words(3), "## New", words(9), "## One", words(1), title="T"))
        live = list(document.chunks.live().order_by("ordinal"))
        assert [live[0].pk, live[2].pk] == [three.pk, one.pk]
        assert [chunk.heading for chunk in live] == ["Three", "New", "One"]
        assert [chunk.revision for chunk in live] == [1, 2, 1]
        two.refresh_from_db()
        assert two.state == "retired"
        assert not two.embeddings.exists()
        assert not two.postings.exists()

    def test_earlier_revisions_can_still_be_opened(self):
        collection = shelf(chunk_tokens=32)
        put(collection, text_of("## One", words(1), "## Two", words(2)))
        put(collection, text_of("## One", words(1), "## Other", words(3)))
        put(collection, text_of("## Last", words(4)))
        texts = {}
        for revision in DocumentRevision.objects.order_by("number"):
            chunks = Chunk.objects.in_bulk(revision.chunk_ids)
            texts[revision.number] = [chunks[pk].text.splitlines()[-1] for pk in revision.chunk_ids]
        assert texts == {1: [words(1), words(2)], 2: [words(1), words(3)], 3: [words(4)]}
        assert list(DocumentRevision.objects.order_by("number").values_list("state", flat=True)) == [
            "superseded",
            "superseded",
            "live",
        ]

    def test_a_text_that_stands_there_twice_is_two_chunks(self):
        collection = shelf(chunk_tokens=32)
        same = ["## Same", words(1)]
        document, _ = put(collection, text_of(*same, *same))
        assert document.chunks.live().count() == 2
        chunks_switch(chunks=[document.chunks.live().first()], enabled=False)
        put(collection, text_of(*same, *same, *same))
        live = document.chunks.live().order_by("ordinal")
        assert [chunk.enabled for chunk in live] == [False, True, True]
        put(collection, text_of(*same))
        assert [chunk.enabled for chunk in document.chunks.live()] == [False]

    def test_what_a_file_says_of_itself_goes_to_its_revision(self):
        data = b"<html lang='fr'><head><title>Titre</title><meta name='author' content='A. B.'></head><p>Un texte.</p>"
        document, _ = put(shelf(language=""), data, source="page.html")
        revision = document.revisions.get()
        assert (revision.title, document.title, document.mime) == ("Titre", "Titre", "text/html")
        assert revision.metadata.get("author") == "A. B."
        assert document.chunks.get().language == "fr"


class TestPostings:
    def test_title_and_headings_count_more_than_the_text(self):
        document, _ = put(shelf(), text_of("## Engines", "It runs. The engine runs.", title="Manual"))
        chunk = document.chunks.get()
        found = dict(Posting.objects.values_list("term", "frequency"))
        engine, manual = (next(iter(counted(word, "en"))) for word in ("engine", "manual"))
        assert found[engine] == counted(chunk.text, "en")[engine] + TITLE_WEIGHT
        assert found[manual] == TITLE_WEIGHT
        assert set(Posting.objects.values_list("length", flat=True)) == {sum(found.values())}
        terms = chunk_terms(title="Manual", heading="Engines", text=chunk.text, language="en")
        assert terms.length == sum(found.values())

    def test_a_term_that_fills_a_chunk_fits_the_column(self):
        terms = chunk_terms(title="", heading="", text="again " * 40_000, language="")
        assert max(terms.frequencies) == 32_767
        assert terms.length == 40_000

    def test_another_language_gives_other_stems_to_chunks_that_stay(self):
        collection = shelf()
        document, _ = put(collection, text_of("Die Autos fahren schnell."))
        english = set(Posting.objects.values_list("term", flat=True))
        put(collection, text_of("Die Autos fahren schnell."), language="de")
        assert document.chunks.get().language == "de"
        assert set(Posting.objects.values_list("term", flat=True)) != english
        assert Embedding.objects.count() == 1

    def test_a_new_title_is_found_though_the_chunks_do_not_hold_it(self):
        collection = shelf(embed_headings=False)
        document, _ = put(collection, text_of("A text.", title="Manual"))
        put(collection, text_of("A text.", title="Guidebook"))
        guidebook = next(iter(counted("guidebook", "en")))
        assert Posting.objects.filter(term=guidebook).exists()
        assert document.chunks.count() == 1

    def test_what_has_no_terms_counts_as_a_chunk(self):
        put(shelf(embed_headings=False), "— … —".encode(), source="¿.txt")
        collection = Collection.objects.get()
        assert (collection.chunk_count, Posting.objects.count()) == (1, 0)

    def test_they_are_written_and_deleted_with_what_they_add_up_to(self):
        document, _ = put(shelf(), text_of("Cats purr."))
        chunk = document.chunks.get()
        gone = postings_delete([chunk.pk])
        assert (gone.chunks, gone.terms) == (1, Collection.objects.get().term_count)
        terms = chunk_terms(title=document.title, heading="", text=chunk.text, language="en")
        back = postings_write(chunk.collection_id, {chunk.pk: terms})
        assert back == gone
        assert isinstance(terms, ChunkTerms)


def test_publishing_and_switching_at_the_same_time_stay_in_step():
    collection = shelf(chunk_tokens=32)
    document, _ = put(collection, text_of(*(part for n in range(8) for part in (f"## {n}", words(n)))))
    done = threading.Event()

    def switch():
        enabled = False
        while not done.is_set():
            document_update(document=Document.objects.get(pk=document.pk), enabled=enabled)
            enabled = not enabled
        connection.close()

    def toggle():
        while not done.is_set():
            for chunk in Chunk.objects.live().filter(document=document):
                with suppress(TextChanged):  # another revision has another one in its place
                    chunks_switch(chunks=[chunk], enabled=not chunk.enabled)
        connection.close()

    def publish():
        try:
            for round_ in range(1, 9):
                parts = (part for n in range(8) for part in (f"## {n}", words(n + (round_ if n % 2 else 0))))
                put(collection, text_of(*parts))
        finally:
            done.set()
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        for work in [threads.submit(work) for work in (switch, toggle, publish)]:
            work.result()
    # What was switched while a version was read had it read again.
    for job in IngestionJob.objects.unfinished():
        Bench().run(job)
    document.refresh_from_db()
    live = document.revisions.get(state="live")
    assert (document.status, document.revision) == ("ready", live.number)
    texts = "\n".join(document.chunks.live().values_list("text", flat=True))
    assert all(words(n + (8 if n % 2 else 0)) in texts for n in range(8))
