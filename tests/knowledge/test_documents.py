"""Documents as they come, change and go: idempotent, and never without the version that is found."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from procrastinate.contrib.django.models import ProcrastinateJob

from knowledge.collections import collection_delete
from knowledge.documents import document_delete, document_reingest, document_update, job_cancel
from knowledge.exceptions import CollectionNotFound, DocumentNotFound
from knowledge.jobs import job_begin
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    Embedding,
    IngestionJob,
    Posting,
    StoredContent,
)
from knowledge.receiving import Incoming, document_receive, page_receive, sitemap_receive
from routing.exceptions import BadRequest
from tests.knowledge.library import Bench, put, shelf, text_of

pytestmark = pytest.mark.usefixtures("knowledge")

FIRST = text_of("The engine has four cylinders.", "Oil is changed once a year.", title="Manual")
SECOND = text_of("The engine has six cylinders.", "Oil is changed once a year.", title="Manual")


def receive(collection, data=FIRST, *, source="manual.md", again=False, **fields):
    incoming = Incoming(source=source, name=source, data=data, **fields)
    return document_receive(collection=collection, incoming=incoming, again=again)


def found_texts(collection):
    return [chunk.text for chunk in Chunk.objects.findable().filter(collection=collection).order_by("ordinal")]


class TestReceiving:
    def test_a_new_document_waits_to_be_read(self):
        received = receive(shelf())
        assert (received.result, received.document.status) == ("created", "pending")
        assert received.job.revision.content.data == FIRST
        queued = ProcrastinateJob.objects.get(pk=received.job.queue_id)
        assert (queued.status, queued.queue_name, queued.args) == ("todo", "documents", {"job": str(received.job.pk)})

    def test_it_comes_with_its_job_or_not_at_all(self):
        collection = shelf()

        class Trouble(Exception):
            pass

        with pytest.raises(Trouble), transaction.atomic():
            receive(collection)
            raise Trouble
        for model in (Document, DocumentRevision, IngestionJob, StoredContent, ProcrastinateJob):
            assert not model.objects.exists()

    def test_what_is_there_already_makes_no_work(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        again = receive(collection)
        assert (again.result, again.job) == ("unchanged", None)
        assert (document.revisions.count(), IngestionJob.objects.count()) == (1, 1)
        assert again.document.updated_at == document.updated_at

    def test_what_is_waiting_already_is_not_taken_in_twice(self):
        collection = shelf()
        first, second = receive(collection), receive(collection)
        assert (second.result, second.job) == ("unchanged", first.job)
        assert DocumentRevision.objects.count() == 1

    def test_a_failed_one_is_tried_again_when_it_comes_again(self):
        collection = shelf()
        document, job = put(collection, b"", source="manual.md")
        assert (document.status, job.error_code) == ("failed", "empty")
        again = receive(collection, b"")
        assert (again.result, again.job is None) == ("created", False)

    def test_a_new_version_is_found_only_when_it_is_ready(self):
        collection, bench = shelf(), Bench()
        put(collection, FIRST, source="manual.md")
        received = receive(collection, SECOND)
        assert received.result == "updated"
        assert "four" in found_texts(collection)[0]
        job = bench.run(received.job)
        assert (job.state, job.result) == ("done", "updated")
        assert "six" in found_texts(collection)[0]

    def test_a_newer_version_takes_the_place_of_one_that_waits(self):
        collection = shelf()
        older, newer = receive(collection, FIRST), receive(collection, SECOND)
        older.job.refresh_from_db()
        assert (older.job.state, older.job.error) == ("cancelled", "A newer version of the document came.")
        assert not ProcrastinateJob.objects.filter(pk=older.job.queue_id).exists()
        assert job_begin(older.job.pk) is None
        Bench().run(newer.job)
        assert "six" in found_texts(collection)[0]
        assert {row.state for row in DocumentRevision.objects.all()} == {"superseded", "live"}

    def test_going_back_to_what_is_found_cancels_what_waits(self):
        collection = shelf()
        put(collection, FIRST, source="manual.md")
        waiting = receive(collection, SECOND)
        back = receive(collection, FIRST)
        waiting.job.refresh_from_db()
        assert (back.result, back.job, back.document.status) == ("unchanged", None, "ready")
        assert waiting.job.state == "cancelled"

    def test_other_settings_of_the_collection_make_it_anew(self):
        collection = shelf()
        put(collection, FIRST, source="manual.md")
        Collection.objects.update(chunk_tokens=50)
        assert receive(Collection.objects.get()).result == "updated"

    @pytest.mark.parametrize("given", [{"again": True}, {"title": "Handbook"}, {"language": "de"}])
    def test_what_changes_its_chunks_has_it_read_again(self, given):
        collection = shelf()
        put(collection, FIRST, source="manual.md")
        received = receive(collection, FIRST, **given)
        assert received.result == "updated"
        Bench().run(received.job)
        assert not Chunk.objects.filter(state="staged").exists()

    def test_metadata_and_address_are_taken_over_without_reading_it(self):
        collection = shelf()
        put(collection, FIRST, source="manual.md", metadata={"year": 2024})
        received = receive(collection, FIRST, metadata={"year": 2025}, url="https://example.org/manual")
        document = Document.objects.get()
        assert received.result == "unchanged"
        assert (document.metadata, document.url) == ({"year": 2025}, "https://example.org/manual")
        receive(collection, FIRST)
        assert Document.objects.get().metadata == {"year": 2025}

    def test_equal_contents_are_stored_once(self):
        collection = shelf()
        receive(collection, source="a.md")
        receive(collection, source="b.md")
        assert (StoredContent.objects.count(), Document.objects.count()) == (1, 2)

    def test_a_source_has_a_length(self):
        collection = shelf()
        for source in ("", "x" * 1001):
            with pytest.raises(BadRequest):
                receive(collection, source=source)

    def test_a_collection_that_is_gone(self):
        collection = shelf()
        collection_delete(collection=Collection.objects.get())
        with pytest.raises(CollectionNotFound):
            receive(collection)


class TestAtOnce:
    """Several clients at the same moment."""

    def at_once(self, work, arguments):
        def one(argument):
            try:
                return work(argument)
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(one, arguments))

    def test_the_same_document_is_one(self):
        collection = shelf()
        results = self.at_once(lambda _: receive(collection).result, range(16))
        assert sorted(results) == ["created", *["unchanged"] * 15]
        counts = [model.objects.count() for model in (Document, DocumentRevision, IngestionJob, StoredContent)]
        assert counts == [1, 1, 1, 1]

    def test_versions_of_a_document_leave_one_that_waits(self):
        collection = shelf()
        self.at_once(lambda number: receive(collection, f"Version {number}.".encode()), range(16))
        assert DocumentRevision.objects.filter(state="pending").count() == 1
        assert IngestionJob.objects.unfinished().count() == 1
        assert sorted(DocumentRevision.objects.values_list("number", flat=True)) == list(range(1, 17))

    def test_one_content_under_many_names_that_come_and_go(self):
        collection = shelf()

        def come_and_go(number):
            received = receive(collection, source=f"{number % 4}.md")
            if number % 2:
                document_delete(document=received.document)

        self.at_once(come_and_go, range(32))
        kept = Document.objects.count()
        assert StoredContent.objects.count() == (1 if kept else 0)

    def test_readers_of_many_documents_keep_the_collections_totals(self):
        collection = shelf()
        jobs = [receive(collection, f"Number {n} is here.".encode(), source=f"{n}.md").job for n in range(12)]
        self.at_once(Bench().run, jobs)
        collection.refresh_from_db()
        assert collection.chunk_count == 12


class TestChanging:
    def test_a_disabled_document_is_not_found_and_counts_nothing(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        before = (Collection.objects.get().chunk_count, Collection.objects.get().term_count, Posting.objects.count())
        document = document_update(document=document, enabled=False)
        collection.refresh_from_db()
        assert (collection.chunk_count, collection.term_count, Posting.objects.count()) == (0, 0, 0)
        assert not Embedding.objects.filter(findable=True).exists()
        document_update(document=document, enabled=True)
        collection.refresh_from_db()
        assert (collection.chunk_count, collection.term_count, Posting.objects.count()) == before

    def test_a_disabled_one_stays_so_when_a_new_version_comes(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        document_update(document=document, enabled=False)
        document, _ = put(collection, SECOND, source="manual.md")
        assert (document.revision, found_texts(collection), Posting.objects.count()) == (2, [], 0)
        document_update(document=document, enabled=True)
        assert "six" in found_texts(collection)[0]

    def test_a_new_title_goes_into_the_chunks(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        document = document_update(document=document, title="Workshop")
        assert (document.title, document.status) == ("Workshop", "pending")
        Bench().run(document.jobs.unfinished().get())
        document.refresh_from_db()
        assert (document.title, document.revision, document.status) == ("Workshop", 2, "ready")

    def test_a_given_title_outlives_new_versions_and_the_files_own_follows_them(self):
        collection = shelf()
        put(collection, FIRST, source="a.md", title="Ours")
        put(collection, FIRST, source="b.md")
        other = text_of("Something else.", title="Renamed")
        assert put(collection, other, source="a.md")[0].title == "Ours"
        assert put(collection, other, source="b.md")[0].title == "Renamed"

    def test_a_change_of_nothing_makes_no_work(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        document_update(document=document, title="Manual", enabled=True, language="")
        assert not IngestionJob.objects.unfinished().exists()

    def test_read_again(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        chunks = list(document.chunks.values_list("pk", flat=True))
        Bench().run(document_reingest(document=document).job)
        document.refresh_from_db()
        assert document.revision == 2
        assert list(document.chunks.values_list("pk", flat=True)) == chunks

    def test_what_was_never_fetched_cannot_be_read_again(self):
        job = page_receive(collection=shelf(), url="https://example.org/")
        with pytest.raises(DocumentNotFound):
            document_reingest(document=job.document)


class TestGoing:
    def test_nothing_is_left_of_a_deleted_document(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="manual.md")
        put(collection, SECOND, source="manual.md")
        waiting = receive(collection, b"A third version.").job
        document_delete(document=document)
        for model in (Document, DocumentRevision, Chunk, Embedding, Posting, IngestionJob, StoredContent):
            assert not model.objects.exists(), model
        collection.refresh_from_db()
        assert (collection.chunk_count, collection.term_count) == (0, 0)
        assert not ProcrastinateJob.objects.filter(pk=waiting.queue_id).exists()
        document_delete(document=document)

    def test_a_content_that_others_have_stays(self):
        collection = shelf()
        document, _ = put(collection, FIRST, source="a.md")
        put(collection, FIRST, source="b.md")
        document_delete(document=document)
        assert StoredContent.objects.count() == 1
        assert "four" in found_texts(collection)[0]

    def test_a_cancelled_job_leaves_the_document_as_it_was(self):
        collection = shelf()
        put(collection, FIRST, source="manual.md")
        received = receive(collection, SECOND)
        assert job_cancel(job=received.job)
        assert not job_cancel(job=received.job)
        document = Document.objects.get()
        assert (document.status, document.revision) == ("ready", 1)
        assert "four" in found_texts(collection)[0]
        assert Bench().run(received.job).state == "cancelled"

    def test_a_document_that_was_cancelled_before_it_was_ready_says_so(self):
        received = receive(shelf())
        job_cancel(job=received.job)
        assert Document.objects.get().error == "It was cancelled before it was done."


class TestPages:
    def test_a_page_is_a_document_that_waits_to_be_fetched(self):
        collection = shelf()
        job = page_receive(collection=collection, url="HTTPS://Example.org:443/a#part", metadata={"kind": "page"})
        document = job.document
        assert (document.source, document.origin, document.metadata) == (
            "https://example.org/a",
            "url",
            {"kind": "page"},
        )
        assert (job.url, job.revision, ProcrastinateJob.objects.get(pk=job.queue_id).queue_name) == (
            "https://example.org/a",
            None,
            "pages",
        )
        assert page_receive(collection=collection, url="https://example.org/a") == job

    @pytest.mark.parametrize("url", ["ftp://example.org/", "nonsense", "https://user:secret@example.org/"])
    def test_what_is_no_address_is_refused(self, url):
        collection = shelf()
        for receive_it in (page_receive, sitemap_receive):
            with pytest.raises(BadRequest) as caught:
                receive_it(collection=collection, url=url)
            assert "secret" not in caught.value.message
