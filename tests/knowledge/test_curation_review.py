"""Changes that are found only once somebody approved them, and revisions that are brought back."""

import asyncio

import pytest

from knowledge.access import EVERYTHING
from knowledge.authors import Author
from knowledge.curation.editing import chunks_switch
from knowledge.curation.review import revision_approve, revision_reject
from knowledge.curation.rollback import revision_restore
from knowledge.documents import document_reingest, document_update, job_cancel
from knowledge.exceptions import TextChanged
from knowledge.models import Chunk, Collection, Document, DocumentRevision, Embedding, Posting
from knowledge.passages import Mode, SearchRequest
from knowledge.receiving import Incoming, document_receive
from knowledge.revisions import document_supersede
from knowledge.search import search
from routing.exceptions import BadRequest
from tests.knowledge.library import Bench, chunk_edit, put, shelf, small_model, text_of
from tests.knowledge.test_curation_editing import ENGINE, LAMP, OIL, TYRES, chunk_of, found, manual, ran

pytestmark = pytest.mark.usefixtures("knowledge")

NEW_OIL = "Nobody ever has to change any oil in it, since it drives by electricity alone."


@pytest.fixture
def collection():
    return shelf(chunk_tokens=40, review=True)


@pytest.fixture
def reviewer(admin_user):
    return Author.of(admin_user)


def waiting():
    return DocumentRevision.objects.get(state="review")


def approved(reviewer, note="Right."):
    job = revision_approve(revision=waiting(), reviewer=reviewer, note=note)
    return Bench().run(job)


class TestReview:
    def test_a_new_document_is_found_once_it_is_approved(self, collection, reviewer, admin_user):
        document, job = put(collection, manual(), source="manual.md")
        assert (job.state, job.result, document.status, document.revision) == ("done", "review", "pending", 0)
        assert found(document) == []
        bench = Bench()
        job = bench.run(revision_approve(revision=waiting(), reviewer=reviewer, note="Right."))
        document.refresh_from_db()
        assert (job.state, document.status, document.title) == ("done", "ready", "Manual")
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]
        assert bench.embedder.asked == []  # their vectors were there
        revision = document.revisions.get()
        assert (revision.state, revision.reviewer, revision.review_note) == ("live", admin_user, "Right.")
        assert revision.reviewed_at is not None

    def test_a_change_waits_beside_what_is_found(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        approved(reviewer)
        document, job = put(collection, manual(Oil=NEW_OIL), source="manual.md")
        assert (job.result, document.status, found(document)) == ("review", "ready", [ENGINE, OIL, TYRES, LAMP])
        assert Chunk.objects.filter(state="staged").count() == 1
        approved(reviewer)
        assert found(document) == [ENGINE, NEW_OIL, TYRES, LAMP]

    def test_so_does_an_edit_and_what_is_disabled(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        approved(reviewer)
        ran(chunks_switch(chunks=[chunk_of(document, "Tyres are")], enabled=False))
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]
        ran(chunk_edit(chunk=chunk_of(document, "Oil is"), text="Mine."))  # on top of what waits
        assert DocumentRevision.objects.filter(state="review").count() == 1
        approved(reviewer)
        assert found(document) == [ENGINE, "Mine.", LAMP]

    def test_what_is_rejected_is_gone_and_stays_away(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        approved(reviewer)
        put(collection, manual(Oil=NEW_OIL), source="manual.md")
        revision_reject(revision=waiting(), reviewer=reviewer, note="It is a lie.")
        rejected = document.revisions.get(state="rejected")
        assert (rejected.review_note, rejected.chunk_ids) == ("It is a lie.", [])
        assert not Chunk.objects.filter(state="staged").exists()
        _, job = put(collection, manual(Oil=NEW_OIL), source="manual.md")
        assert job is None
        ran(document_reingest(document=document))
        assert not DocumentRevision.objects.filter(state="review", content=rejected.content).exists()
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]

    def test_a_rejected_edit_is_withdrawn(self, collection, reviewer, admin_user):
        document, _ = put(collection, manual(), source="manual.md")
        approved(reviewer)
        ran(chunk_edit(chunk=chunk_of(document, "Oil is"), text="Mine."))
        approved(reviewer)
        ran(chunk_edit(chunk=chunk_of(document, "Mine."), text="Worse."))
        revision_reject(revision=waiting(), reviewer=reviewer, note="Worse.")
        assert list(document.edits.order_by("pk").values_list("state", flat=True)) == ["active", "withdrawn"]
        last = document.edits.last().history.first()
        assert (last.history_user, last.history_change_reason) == (admin_user, "Revision 3 was rejected: Worse.")
        ran(document_reingest(document=document))
        approved(reviewer)
        assert found(document) == [ENGINE, "Mine.", TYRES, LAMP]

    def test_a_new_document_that_is_rejected_says_so(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        revision_reject(revision=waiting(), reviewer=reviewer, note="Not ours.")
        document.refresh_from_db()
        assert (document.status, document.error) == ("failed", "It was rejected: Not ours.")
        put(collection, manual(), source="manual.md")
        document.refresh_from_db()
        assert (document.status, document.error) == ("failed", "It was rejected: Not ours.")

    def test_a_newer_version_takes_the_place_of_what_waits(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        old = waiting()
        put(collection, manual(Oil=NEW_OIL), source="manual.md")
        for answer in (revision_approve, revision_reject):
            with pytest.raises(TextChanged):
                answer(revision=old, reviewer=reviewer, note="Right.")
        approved(reviewer)
        assert found(document) == [ENGINE, NEW_OIL, TYRES, LAMP]

    def test_the_same_again_leaves_it_waiting(self, collection):
        put(collection, manual(), source="manual.md")
        document, job = put(collection, manual(), source="manual.md")
        assert (job, document.status, DocumentRevision.objects.count()) == (None, "pending", 1)

    def test_one_whose_publication_fails_waits_again(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        job = revision_approve(revision=waiting(), reviewer=reviewer)
        job_cancel(job=job)
        document.refresh_from_db()
        assert (waiting().reviewed_at, document.status, Chunk.objects.filter(state="staged").count()) == (
            None,
            "pending",
            4,
        )
        approved(reviewer)
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]

    def test_another_embedding_model_meanwhile_costs_its_vectors_only(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        Collection.objects.update(embedding_model=small_model("others"))
        bench = Bench()
        bench.run(revision_approve(revision=waiting(), reviewer=reviewer))
        assert (len(bench.embedder.asked), found(document)) == (4, [ENGINE, OIL, TYRES, LAMP])

    def test_a_conflict_is_told_once_what_has_it_is_found(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        approved(reviewer)
        ran(chunk_edit(chunk=chunk_of(document, "Oil is"), text="Mine."))
        approved(reviewer)
        put(collection, manual(Oil=OIL.replace("once", "twice")), source="manual.md")
        edit = document.edits.get()
        assert edit.state == "active"
        assert waiting().edits[0]["theirs"][0]["text"].endswith(OIL.replace("once", "twice"))
        approved(reviewer)
        edit.refresh_from_db()
        assert edit.state == "conflict"

    def test_a_reason_is_asked_for(self, collection, reviewer):
        put(collection, manual(), source="manual.md")
        with pytest.raises(BadRequest):
            revision_reject(revision=waiting(), reviewer=reviewer, note=" ")

    def test_without_review_nothing_waits(self, collection, reviewer):
        put(collection, manual(), source="manual.md")
        Collection.objects.update(review=False)
        collection.refresh_from_db()
        document, _ = put(collection, manual(Oil=NEW_OIL), source="manual.md")
        assert found(document) == [ENGINE, NEW_OIL, TYRES, LAMP]


class TestRollback:
    @pytest.fixture
    def document(self):
        return put(shelf(chunk_tokens=40), manual(), source="manual.md")[0]

    def told(self):
        rows = Chunk.objects.live().order_by("ordinal")
        postings = Posting.objects.order_by("chunk__ordinal", "term")
        return (
            list(rows.values_list("ordinal", "text", "heading", "page", "tokens", "enabled", "hash", "language")),
            [[*row] for row in Embedding.objects.order_by("chunk__ordinal").values_list("vector", flat=True)],
            list(postings.values_list("chunk__ordinal", "term", "frequency", "length")),
            list(Collection.objects.values_list("chunk_count", "term_count")),
        )

    def test_text_vectors_words_and_edits_are_as_they_were(self, document, reviewer, admin_user):
        collection = document.collection
        ran(chunk_edit(chunk=chunk_of(document, "The engine"), text="Six cylinders."))
        chunks_switch(chunks=[chunk_of(document, "Tyres are")], enabled=False)
        before, edits = self.told(), set(document.edits.in_force().values_list("pk", flat=True))

        chunks_switch(chunks=[chunk_of(document, "Tyres are")], enabled=True)
        ran(chunk_edit(chunk=chunk_of(document, "Six"), text="Eight cylinders."))
        put(collection, manual(Oil=NEW_OIL, More="And something new."), source="manual.md")
        assert self.told() != before

        job = ran(revision_restore(document=document, number=3, author=reviewer, reason="It was better."))
        assert (job.state, self.told()) == ("done", before)
        assert set(document.edits.in_force().values_list("pk", flat=True)) == edits
        live = document.revisions.get(state="live")
        assert (live.number, live.restores, live.author, live.reason) == (7, 3, admin_user, "It was better.")
        back = document.edits.get(kind="disable").history.first()
        assert (back.history_user, back.history_change_reason) == (admin_user, "Revision 3 was brought back.")
        ran(document_reingest(document=document))
        assert self.told() == before

    def test_a_title_of_the_file_comes_back_and_one_that_was_given_stays(self, document):
        put(document.collection, text_of("Something else.", title="Renamed"), source="manual.md")
        ran(revision_restore(document=document, number=1))
        document.refresh_from_db()
        assert document.title == "Manual"
        put(document.collection, text_of("Something else.", title="Renamed"), source="manual.md", title="Ours")
        ran(revision_restore(document=document, number=1))
        document.refresh_from_db()
        assert (document.title, found(document)) == ("Ours", [ENGINE, OIL, TYRES, LAMP])

    def test_what_waits_is_given_up_for_it(self, document):
        put(document.collection, manual(Oil=NEW_OIL), source="manual.md")
        document_receive(
            collection=document.collection, incoming=Incoming(source="manual.md", name="manual.md", data=b"Other.")
        )
        ran(revision_restore(document=document, number=1))
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]
        assert list(document.revisions.values_list("state", flat=True)) == [
            "live",
            "superseded",
            "superseded",
            "superseded",
        ]

    def test_only_what_was_found_comes_back(self, document):
        for number in (1, 9):
            with pytest.raises(BadRequest):
                revision_restore(document=document, number=number)
        received = document_receive(
            collection=document.collection, incoming=Incoming(source="manual.md", name="manual.md", data=b"Other.")
        )
        document_supersede(Document.objects.get())
        with pytest.raises(BadRequest):
            revision_restore(document=document, number=received.job.revision.number)
        document_reingest(document=document)
        Bench().run(document.jobs.unfinished().get())

    def test_it_is_reviewed_too(self, document, reviewer):
        put(document.collection, manual(Oil=NEW_OIL), source="manual.md")
        Collection.objects.update(review=True)
        ran(revision_restore(document=document, number=1))
        assert found(document) == [ENGINE, NEW_OIL, TYRES, LAMP]
        approved(reviewer)
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]

    def test_a_document_that_is_not_found_stays_so(self, document):
        put(document.collection, manual(Oil=NEW_OIL), source="manual.md")
        document_update(document=document, enabled=False)
        ran(revision_restore(document=document, number=1))
        assert (found(document), Posting.objects.count()) == ([], 0)


def test_an_edit_is_found_as_soon_as_it_is_published(collection):
    Collection.objects.update(review=False)
    document, _ = put(Collection.objects.get(), manual(), source="manual.md")
    chunks_switch(chunks=[chunk_of(document, "Oil is")], enabled=False)
    assert OIL not in found(document)


class TestPlacesOfWhatStays:
    """A chunk that only stands elsewhere is another chunk, so that no revision changes what another one says."""

    def test_a_heading_that_is_not_embedded_comes_back_with_its_revision(self):
        collection = shelf(chunk_tokens=40, embed_headings=False)
        bench = Bench()
        document, _ = put(collection, text_of("## Oil", "# Deep", OIL, title="M"), source="m.md", bench=bench)
        first = list(Chunk.objects.live().values_list("text", "heading"))
        bench.embedder.asked.clear()
        put(collection, text_of("## Oils", "### Deep", OIL, title="M"), source="m.md", bench=bench)
        changed = [heading for _, heading in Chunk.objects.live().values_list("text", "heading")]
        assert changed != [heading for _, heading in first]
        ran(revision_restore(document=document, number=1))
        assert list(Chunk.objects.live().values_list("text", "heading")) == first

    def test_what_was_reviewed_is_published_with_its_headings(self, reviewer):
        collection = shelf(chunk_tokens=40, embed_headings=False, review=True)
        document, _ = put(collection, text_of("## A", "### Same", OIL, "### More", LAMP, title="M"), source="m.md")
        approved(reviewer)
        put(collection, text_of("## B", "### Same", OIL, "### More", LAMP, title="M"), source="m.md")
        approved(reviewer)
        assert {row.heading for row in Chunk.objects.live().filter(document=document)} == {"B › Same", "B › More"}

    def test_a_language_that_was_given_is_published_after_the_review(self, collection, reviewer):
        document, _ = put(collection, manual(), source="manual.md")
        approved(reviewer)
        document_update(document=Document.objects.get(), language="de")
        Bench().run(document.jobs.unfinished().get())
        approved(reviewer)
        assert set(Chunk.objects.live().values_list("language", flat=True)) == {"de"}


def test_a_search_finds_after_going_back_what_it_found_before(reviewer):
    document, _ = put(shelf(chunk_tokens=40), manual(), source="manual.md")

    def answers():
        passages = asyncio.run(
            search(SearchRequest(query="How often is the oil changed?", mode=Mode.TEXT), access=EVERYTHING)
        ).passages
        return [(passage.text, passage.heading, passage.score, passage.text_score) for passage in passages]

    before = answers()
    assert OIL in before[0][0]
    put(document.collection, manual(Oil=NEW_OIL, More="Oil, oil and oil again."), source="manual.md")
    assert answers() != before
    ran(revision_restore(document=document, number=1))
    assert answers() == before
