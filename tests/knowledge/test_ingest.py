"""Jobs run to their end, or on from where they were broken off."""

import asyncio
import threading

import pytest
from django.db import InternalError, OperationalError, connection, transaction

from knowledge.documents import document_delete, job_cancel
from knowledge.exceptions import EmbeddingFailed
from knowledge.feeding import BATCH, IN_FLIGHT
from knowledge.ingest import ingest
from knowledge.jobs import MOST_RUNS, PAUSES, Postponed, job_begin
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    Embedding,
    EmbeddingModel,
    IngestionJob,
    Stage,
    StoredContent,
)
from knowledge.parsing import ParseFailed
from knowledge.receiving import Incoming, document_receive, page_receive, sitemap_receive
from knowledge.switching import collection_embed_with
from knowledge.threads import in_thread
from knowledge.web import Manners, Web
from routing.exceptions import ContextLengthExceeded
from tests.knowledge.library import Bench, put, shelf, small_model, text_of
from tests.knowledge.website import LOOPBACK, website

pytestmark = pytest.mark.usefixtures("knowledge")

LONG = text_of(
    *(f"Paragraph {n} tells about thing number {n}. " + "It goes on. " * 8 for n in range(300)), title="Long"
)
ENGLISH = "The quick brown fox jumps over the lazy dog, and everybody in the garden was watching it with delight."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, und alle im Garten sahen ihm mit Freude dabei zu."


def receive(collection, data, *, source="note.md", **fields):
    return document_receive(collection=collection, incoming=Incoming(source=source, name=source, data=data, **fields))


class TestReading:
    def test_a_document_becomes_chunks_with_headings_vectors_and_postings(self):
        collection = shelf()
        document, job = put(collection, text_of("Cats purr.", "## Dogs", "Dogs bark.", title="Pets"))
        chunks = list(document.chunks.order_by("ordinal"))
        assert [(chunk.heading, chunk.state) for chunk in chunks] == [("", "live"), ("Dogs", "live")]
        assert [chunk.text.splitlines()[-1] for chunk in chunks] == ["Cats purr.", "Dogs bark."]
        assert (job.state, job.stage, job.done, job.total, job.result) == ("done", "finished", 2, 2, "created")
        assert (document.title, document.status, document.mime) == ("Pets", "ready", "text/markdown")
        assert document.revisions.get().chunk_ids == [chunk.pk for chunk in chunks]
        assert Embedding.objects.filter(findable=True).count() == 2
        collection.refresh_from_db()
        assert collection.chunk_count == 2

    def test_what_is_embedded_has_title_and_headings(self):
        bench = Bench()
        put(shelf(), text_of("## Dogs", "They bark.", title="Pets"), bench=bench)
        put(shelf("bare", embed_headings=False), text_of("## Dogs", "They bark at night.", title="Pets"), bench=bench)
        headed, bare = bench.embedder.asked
        assert headed.startswith("Pets")
        assert "Dogs" in headed
        assert "Pets" not in bare

    @pytest.mark.parametrize(
        ("text", "given", "usual", "expected"),
        [(GERMAN, "", "", "de"), (ENGLISH, "", "", "en"), (GERMAN, "fr", "", "fr"), (GERMAN, "", "es", "es")],
    )
    def test_the_language_is_the_documents_the_collections_or_recognised(self, text, given, usual, expected):
        document, _ = put(shelf(language=usual), text_of(text), language=given)
        assert document.chunks.get().language == expected

    def test_the_language_is_that_of_most_paragraphs(self):
        document, _ = put(shelf(language=""), text_of(ENGLISH, *[GERMAN] * 4))
        assert {chunk.language for chunk in document.chunks.all()} == {"de"}

    def test_a_text_that_was_embedded_before_is_not_embedded_again(self):
        collection, bench = shelf(), Bench()
        put(collection, text_of("Cats purr.", title="Pets"), source="a.md", bench=bench)
        document, _ = put(collection, text_of("Cats purr.", title="Pets"), source="b.md", bench=bench)
        assert len(bench.embedder.asked) == 1
        vectors = [list(row.vector) for row in Embedding.objects.all()]
        assert len(vectors) == 2
        assert vectors[0] == vectors[1]
        assert document.status == "ready"

    def test_but_by_another_model_it_is(self):
        bench = Bench()
        put(shelf(), text_of("Cats purr.", title="Pets"), bench=bench)
        put(shelf("other", embedding_model=small_model("others")), text_of("Cats purr.", title="Pets"), bench=bench)
        assert len(bench.embedder.asked) == 2

    def test_of_a_new_version_only_what_is_new_is_embedded(self):
        collection, bench = shelf(), Bench()
        before, _ = put(collection, LONG, bench=bench)
        kept = set(before.chunks.values_list("pk", flat=True))
        bench.embedder.asked.clear()
        document, _ = put(collection, LONG.replace(b"thing number 150", b"another matter"), bench=bench)
        assert len(bench.embedder.asked) == 1
        assert document.chunks.filter(state="retired").count() == 1
        assert len(kept & set(document.revisions.get(number=2).chunk_ids)) == len(kept) - 1

    def test_it_tells_how_far_it_is(self):
        received = receive(shelf(), LONG)
        told = []

        async def main():
            await ingest(received.job.pk, progress=lambda *now: told.append(now), equipment=Bench().equipment())

        asyncio.run(main())
        stages = [stage for stage, _, _ in told]
        order = [Stage.PARSING, Stage.CHUNKING, Stage.EMBEDDING, Stage.PUBLISHING]
        assert list(dict.fromkeys(stages)) == order
        embedding = [(done, total) for stage, done, total in told if stage is Stage.EMBEDDING]
        total = Chunk.objects.count()
        assert embedding[0] == (0, total)
        assert embedding[-1] == (total, total)
        assert [done for done, _ in embedding] == sorted(done for done, _ in embedding)

    def test_a_job_that_ended_stays_as_it_is(self):
        bench = Bench()
        _, job = put(shelf(), text_of("Cats purr."), bench=bench)
        again = bench.run(job)
        assert (again.attempts, again.finished_at, len(bench.embedder.asked)) == (1, job.finished_at, 1)
        bench.run(IngestionJob(pk="00000000-0000-0000-0000-000000000000"))

    def test_no_more_texts_are_on_their_way_than_the_embedder_takes_soon(self):
        received, bench = receive(shelf(), LONG), Bench()

        class Watched(type(bench.embedder)):
            now, most, sizes = 0, 0, set()

            async def passages(self, texts):
                Watched.now += 1
                Watched.most = max(Watched.most, Watched.now)
                Watched.sizes.add(len(texts))
                await asyncio.sleep(0.01)
                Watched.now -= 1
                return await super().passages(texts)

        bench.embedder = Watched()
        bench.run(received.job)
        assert Watched.most == bench.equipment().gate.calls < IN_FLIGHT
        assert max(Watched.sizes) == BATCH


class TestFailing:
    def test_a_file_without_text_fails_with_the_reason(self):
        document, job = put(shelf(), b"\n\n \n")
        assert (job.state, job.error_code, document.status) == ("failed", "empty", "failed")
        assert document.error == job.error
        assert document.revisions.get().state == "failed"

    def test_a_version_that_cannot_be_read_leaves_the_one_before(self):
        collection = shelf()
        put(collection, text_of("Cats purr."), source="a.pdf")
        document, job = put(collection, b"%PDF-1.7 and then nothing", source="a.pdf")
        assert (job.state, document.status, document.revision) == ("failed", "ready", 1)
        assert document.error
        assert Chunk.objects.findable().get().text == "Cats purr."
        document, _ = put(collection, text_of("Cats purr loudly."), source="a.pdf")
        assert (document.error, document.revision) == ("", 3)

    def test_what_passes_is_tried_again_with_growing_pauses_and_then_given_up(self):
        received, bench = receive(shelf(), LONG), Bench()
        bench.embedder.fail = EmbeddingFailed("The server is away.")
        pauses = []
        for _ in PAUSES:
            with pytest.raises(Postponed) as caught:
                bench.run(received.job)
            pauses.append(caught.value.seconds)
            job = IngestionJob.objects.get()
            assert (job.state, job.error, job.error_code) == ("queued", "The server is away.", "embedding_failed")
        assert pauses == list(PAUSES)
        job = bench.run(received.job)
        assert (job.state, job.attempts, job.failures) == ("failed", 8, 8)
        assert job.error == "The server is away. It was tried 8 times."
        assert not Chunk.objects.exists()
        assert Document.objects.get().status == "failed"

    def test_what_gets_further_is_not_given_up(self):
        received, bench = receive(shelf(), LONG), Bench()
        bench.embedder.fail = EmbeddingFailed("The server is away.")
        with pytest.raises(Postponed):
            bench.run(received.job)
        bench.embedder.limit = BATCH
        with pytest.raises(Postponed) as caught:
            bench.run(received.job)
        assert caught.value.seconds == PAUSES[0]
        bench.embedder.fail = None
        job = bench.run(received.job)
        assert (job.state, job.error, job.attempts) == ("done", "", 3)
        assert len(bench.embedder.asked) == len(set(bench.embedder.asked)) == Chunk.objects.count()

    def test_what_does_not_pass_is_not_tried_again(self):
        received, bench = receive(shelf(), LONG), Bench()
        bench.embedder.fail = ContextLengthExceeded("It is too long.")
        job = bench.run(received.job)
        assert (job.state, job.error, job.attempts) == ("failed", "It is too long.", 1)

    def test_a_fault_of_ours_is_a_failure_and_not_a_job_that_hangs(self):
        received, bench = receive(shelf(), LONG), Bench()
        bench.embedder.fail = ZeroDivisionError("private text")
        job = bench.run(received.job)
        assert (job.state, job.error_code) == ("failed", "internal_error")
        assert "private" not in job.error

    def test_a_database_that_goes_away_is_nobodys_failure(self):
        received, bench = receive(shelf(), LONG), Bench()
        bench.embedder.fail = OperationalError("server closed the connection")
        with pytest.raises(Postponed):
            bench.run(received.job)
        assert IngestionJob.objects.get().state == "queued"

    def test_a_database_that_takes_no_changes_for_now_is_nobodys_failure(self):
        """As a primary that becomes a standby; Django has it with what goes wrong inside the database."""
        received, bench = receive(shelf(), LONG), Bench()
        with pytest.raises(InternalError) as caught, transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")
            Document.objects.update(title="x")
        bench.embedder.fail = caught.value
        with pytest.raises(Postponed):
            bench.run(received.job)
        assert IngestionJob.objects.get().state == "queued"

    def test_a_document_that_ends_every_run_is_given_up(self):
        received = receive(shelf(), LONG)
        for _ in range(MOST_RUNS):
            assert job_begin(received.job.pk) is not None
        assert job_begin(received.job.pk) is None
        job = IngestionJob.objects.get()
        assert (job.state, job.error_code) == ("failed", "given_up")


class TestBrokenOff:
    """Runs that are killed: what they wrote is there, and nobody tidied up."""

    def broken_off(self, job, bench, *, after):
        """Run a job until ``after`` texts are embedded, and leave it there as a kill would."""

        async def main():
            bench.embedder.limit, bench.embedder.hold = after, asyncio.Event()
            running = asyncio.create_task(ingest(job.pk, equipment=bench.equipment()))
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(main())
        bench.embedder.hold = None
        bench.embedder.reached = threading.Event()

    def test_it_goes_on_where_it_was(self):
        received, bench = receive(shelf(), LONG), Bench()
        for after in (0, 3 * BATCH, 6 * BATCH):
            self.broken_off(received.job, bench, after=after)
            assert not Chunk.objects.findable().exists()
            assert IngestionJob.objects.get().state == "running"
        stored = Embedding.objects.count()
        assert stored >= 4 * BATCH
        job = bench.run(received.job)
        assert (job.state, job.attempts) == ("done", 4)
        assert len(bench.embedder.asked) < Chunk.objects.count() + 3 * IN_FLIGHT * BATCH
        assert Chunk.objects.filter(state="live").count() == Chunk.objects.count() == Embedding.objects.count()

    def test_an_update_that_is_broken_off_leaves_what_is_found(self):
        collection, bench = shelf(), Bench()
        put(collection, text_of("Cats purr."), bench=bench)
        received = receive(collection, LONG)
        self.broken_off(received.job, bench, after=1 + BATCH)
        assert [chunk.text for chunk in Chunk.objects.findable()] == ["Cats purr."]
        bench.run(received.job)
        assert Chunk.objects.findable().count() > 100

    def test_a_newer_version_takes_away_what_was_being_made(self):
        collection, bench = shelf(), Bench()
        received = receive(collection, LONG)
        self.broken_off(received.job, bench, after=BATCH)
        assert Chunk.objects.filter(state="staged").exists()
        document, _ = put(collection, text_of("Cats purr."), bench=bench)
        assert document.chunks.get().text == "Cats purr."
        assert bench.run(received.job).state == "cancelled"

    def test_a_run_that_was_taken_for_dead_writes_nothing_more(self):
        received, bench = receive(shelf(), LONG), Bench()

        async def main():
            bench.embedder.hold = asyncio.Event()
            first = asyncio.create_task(ingest(received.job.pk, equipment=bench.equipment()))
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            other = Bench()
            await ingest(received.job.pk, equipment=other.equipment())
            bench.embedder.hold.set()
            await first  # ends without a word

        asyncio.run(main())
        job = IngestionJob.objects.get()
        assert (job.state, job.attempts, job.error) == ("done", 2, "")
        assert Chunk.objects.count() == Embedding.objects.count()

    def test_a_cancelled_job_ends_between_two_batches(self):
        received, bench = receive(shelf(), LONG), Bench()

        async def main():
            bench.embedder.limit, bench.embedder.hold = BATCH, asyncio.Event()
            running = asyncio.create_task(ingest(received.job.pk, equipment=bench.equipment()))
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            assert await in_thread(job_cancel)(job=received.job)
            bench.embedder.hold.set()
            await running

        asyncio.run(main())
        assert len(bench.embedder.asked) < 5 * BATCH
        assert IngestionJob.objects.get().state == "cancelled"
        assert not Chunk.objects.exists()

    def test_a_document_deleted_meanwhile_ends_it_too(self):
        received, bench = receive(shelf(), LONG), Bench()
        self.broken_off(received.job, bench, after=BATCH)
        Document.objects.all().delete()
        StoredContent.objects.all().delete()
        bench.run(received.job)
        assert not Chunk.objects.exists()

    def test_what_fails_as_its_rows_were_deleted_is_no_fault(self, caplog):
        received, bench = receive(shelf(), LONG), Bench()

        async def main():
            bench.embedder.hold, bench.embedder.fail = asyncio.Event(), KeyError("a row that is gone")
            running = asyncio.create_task(ingest(received.job.pk, equipment=bench.equipment()))
            await asyncio.to_thread(bench.embedder.reached.wait, 60)
            await in_thread(document_delete)(document=received.document)
            bench.embedder.hold.set()
            await running

        asyncio.run(main())
        assert not IngestionJob.objects.exists()
        assert "Traceback" not in caplog.text

    def test_a_parser_that_is_stopped_with_the_server_is_no_failure(self):
        received, bench = receive(shelf(), LONG), Bench()

        def closed(data, *, name, mime):
            raise ParseFailed("closed", "The server is stopping.")

        async def main():
            equipment = bench.equipment()
            await ingest(received.job.pk, equipment=type(equipment)(parse=closed, embedder=equipment.embedder))

        with pytest.raises(Postponed):
            asyncio.run(main())
        assert bench.run(received.job).state == "done"

    def test_another_embedding_model_while_it_is_read_has_it_read_for_that(self):
        received, bench = receive(shelf(), text_of("Cats purr.")), Bench()
        other = small_model("other")

        async def main():
            bench.embedder.hold = asyncio.Event()
            running = asyncio.create_task(ingest(received.job.pk, equipment=bench.equipment()))
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            await in_thread(Collection.objects.update)(embedding_model=other)
            bench.embedder.hold.set()
            await running

        with pytest.raises(Postponed) as caught:
            asyncio.run(main())
        assert caught.value.seconds == 0
        bench.embedder.hold = None
        bench.run(received.job)
        assert Embedding.objects.filter(embedding_model=other, findable=True).count() == 1


class TestPages:
    """Pages are fetched from a real server on loopback."""

    @pytest.fixture
    async def site(self):
        async with website() as site:
            yield site

    async def fetch(self, site, collection, path="/page", bench=None):
        """Have a page read and return its document and job as they are then."""
        web = Web(LOOPBACK, manners=Manners(delay=0.0, longest_delay=0.0), resolve=site.resolve)
        job = await in_thread(page_receive)(collection=collection, url=site.url + path)
        await ingest(job.pk, equipment=(bench or Bench(web=web)).equipment())
        job = await in_thread(IngestionJob.objects.select_related("document").get)(pk=job.pk)
        return job.document, job

    async def test_a_page_is_fetched_read_and_recognised_again(self, site):
        collection = await in_thread(shelf)()
        site.put("/page", "<title>Pets</title><p>Cats purr.</p>", Content_Type="text/html", ETag='"1"')
        document, job = await self.fetch(site, collection)
        assert (job.state, job.result) == ("done", "created")
        assert (document.title, document.status, document.etag) == ("Pets", "ready", '"1"')

        site.put("/page", status=304)
        document, job = await self.fetch(site, collection)
        assert site.headers[-1]["If-None-Match"] == '"1"'
        assert (job.state, job.result, document.status, document.revision) == ("done", "unchanged", "ready", 1)

    async def test_the_same_content_without_an_etag_is_unchanged(self, site):
        collection = await in_thread(shelf)()
        site.put("/page", "<p>Cats purr.</p>", Content_Type="text/html")
        await self.fetch(site, collection)
        _, job = await self.fetch(site, collection)
        assert (job.result, await in_thread(DocumentRevision.objects.count)()) == ("unchanged", 1)

    async def test_a_page_that_changed(self, site):
        collection = await in_thread(shelf)()
        for text in ("Cats purr.", "Dogs bark."):
            site.put("/page", f"<p>{text}</p>", Content_Type="text/html")
            document, job = await self.fetch(site, collection)
        assert (job.result, document.revision) == ("updated", 2)
        assert await in_thread(lambda: [chunk.text for chunk in Chunk.objects.findable()])() == ["Dogs bark."]

    async def test_an_unchanged_page_is_read_again_after_other_settings(self, site):
        collection = await in_thread(shelf)()
        site.put("/page", "<p>Cats purr.</p>", Content_Type="text/html", ETag='"1"')
        await self.fetch(site, collection)
        await in_thread(Collection.objects.update)(chunk_tokens=50)
        site.put("/page", status=304)
        document, job = await self.fetch(site, await in_thread(Collection.objects.get)())
        assert (job.result, document.revision) == ("updated", 2)

    async def test_a_page_that_could_not_be_read_is_tried_again_though_unchanged(self, site):
        collection = await in_thread(shelf)()
        site.put("/page", "<p>Cats purr.</p>", Content_Type="text/html", ETag='"1"')
        await self.fetch(site, collection)
        site.put("/page", "%PDF-1.7 nothing", Content_Type="application/pdf", ETag='"2"')
        document, job = await self.fetch(site, collection)
        assert (job.state, document.revision) == ("failed", 1)
        site.put("/page", status=304)
        _, job = await self.fetch(site, collection)
        assert (job.state, job.error_code) == ("failed", "broken")

    async def test_a_page_that_is_not_there_fails_and_leaves_what_there_was(self, site):
        collection = await in_thread(shelf)()
        document, job = await self.fetch(site, collection)
        assert (job.state, job.error_code, document.status) == ("failed", "http_404", "failed")
        site.put("/page", "<p>Cats purr.</p>", Content_Type="text/html")
        await self.fetch(site, collection)
        del site.answers["/page"]
        document, job = await self.fetch(site, collection)
        assert (job.state, document.status, document.revision) == ("failed", "ready", 1)

    async def test_a_server_in_trouble_is_asked_again_later(self, site):
        site.put("/page", status=503)
        with pytest.raises(Postponed):
            await self.fetch(site, await in_thread(shelf)())
        assert (await in_thread(IngestionJob.objects.get)()).error_code == "http_503"

    async def test_a_sitemap_gives_each_page_a_job(self, site):
        collection = await in_thread(shelf)()
        pages = "".join(f"<url><loc>{site.url}/{n}</loc></url>" for n in range(3))
        site.put("/sitemap.xml", f"<urlset>{pages}</urlset>", Content_Type="application/xml")
        web = Web(LOOPBACK, manners=Manners(delay=0.0, longest_delay=0.0), resolve=site.resolve)
        job = await in_thread(sitemap_receive)(
            collection=collection, url=f"{site.url}/sitemap.xml", metadata={"site": "a"}
        )
        await ingest(job.pk, equipment=Bench(web=web).equipment())
        job = await in_thread(IngestionJob.objects.get)(pk=job.pk)
        assert (job.state, job.done, job.total) == ("done", 3, 3)
        found = IngestionJob.objects.filter(kind="document").select_related("document")
        pages = await in_thread(lambda: list(found))()
        assert {page.batch for page in pages} == {job.batch}
        assert all(page.document.metadata == {"site": "a"} for page in pages)
        assert {page.url for page in pages} == {f"{site.url}/{n}" for n in range(3)}


class TestAnotherModel:
    def test_a_collection_is_embedded_beside_and_then_switched(self):
        collection, bench = shelf(), Bench()
        put(collection, LONG, source="a.md", bench=bench)
        put(collection, text_of("Cats purr.", title="Pets"), source="b.md", bench=bench)
        other = small_model("other", dimensions=4)
        job = collection_embed_with(collection=collection, model=other)
        assert collection_embed_with(collection=collection, model=other) == job
        chunks, asked = Chunk.objects.count(), len(bench.embedder.asked)

        bench.embedder.limit, bench.embedder.fail = asked + 2 * BATCH, EmbeddingFailed("away")
        with pytest.raises(Postponed):
            bench.run(job)
        assert Collection.objects.get().embedding_model.name == "words"
        bench.embedder.fail = None
        job = bench.run(job)
        assert (job.state, job.total) == ("done", chunks)
        assert len(bench.embedder.asked) == asked + chunks
        collection = Collection.objects.get()
        assert collection.embedding_model == other
        assert Embedding.objects.filter(embedding_model=other, findable=True).count() == chunks
        assert Embedding.objects.count() == 2 * chunks
        assert set(DocumentRevision.objects.values_list("recipe", flat=True)) == {collection.recipe}
        assert receive(collection, LONG, source="a.md").result == "unchanged"

    def test_going_back_has_nothing_to_embed(self):
        collection, bench = shelf(), Bench()
        put(collection, text_of("Cats purr."), source="a.md", bench=bench)
        first, other = collection.embedding_model, small_model("other")
        bench.run(collection_embed_with(collection=collection, model=other))
        put(Collection.objects.get(), text_of("Dogs bark."), source="b.md", bench=bench)
        bench.embedder.asked.clear()
        assert collection_embed_with(collection=collection, model=first) is None
        assert Collection.objects.get().embedding_model == first
        assert not bench.embedder.asked

    def test_a_text_too_long_for_the_new_model_is_taken_in_parts(self):
        collection, bench = shelf(), Bench()
        put(collection, text_of("one two three four five six seven eight nine ten " * 3), bench=bench)
        other = EmbeddingModel.objects.create(name="short", source="in_process", dimensions=8, max_tokens=12)
        bench.embedder.asked.clear()
        bench.run(collection_embed_with(collection=collection, model=other))
        assert max(len(text.split()) for text in bench.embedder.asked) <= 12
        assert Embedding.objects.filter(embedding_model=other).count() == Chunk.objects.count()

    def test_another_wish_takes_the_place_of_one_that_waits(self):
        collection = shelf()
        put(collection, text_of("Cats purr."))
        first = collection_embed_with(collection=collection, model=small_model("one"))
        second = collection_embed_with(collection=collection, model=small_model("two"))
        first.refresh_from_db()
        assert (first.state, second.state) == ("cancelled", "queued")


def test_the_real_embedder_and_the_real_parser():
    """The whole way with nothing replaced."""
    collection = shelf(embedding_model=EmbeddingModel.objects.get(name="all-MiniLM-L6-v2"), chunk_tokens=60)
    received = receive(collection, text_of(*[ENGLISH] * 6, title="Garden"))
    asyncio.run(ingest(received.job.pk))
    job = IngestionJob.objects.get()
    assert (job.state, job.error) == ("done", "")
    assert Embedding.objects.filter(findable=True).count() == Chunk.objects.count() > 1
    assert all(chunk.tokens <= 60 for chunk in Chunk.objects.all())
