"""The admin's pages of curation: changing chunks, answering conflicts, reviewing, and going back."""

import datetime as dt
import itertools

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from knowledge.curation.editing import chunks_switch
from knowledge.models import (
    Chunk,
    ChunkEdit,
    Collection,
    Document,
    DocumentRevision,
    DocumentUse,
    GoldenQuery,
    StoredContent,
)
from tests.knowledge.library import Bench, chunk_edit, put, shelf
from tests.knowledge.rows import collection_of, document_of, signed_in, words_of
from tests.knowledge.test_curation_editing import ENGINE, LAMP, OIL, TYRES, chunk_of, found, manual, ran

pytestmark = pytest.mark.usefixtures("knowledge")

ADMIN = "/admin/knowledge"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def document():
    return put(shelf(chunk_tokens=40), manual(), source="manual.md")[0]


def work(document):
    """Run the job that waits for a document."""
    return Bench().run(document.jobs.unfinished().get())


def before(number, step):
    """Return a wrapper of a connection's queries that takes ``step`` before the query of this number, from 0."""
    numbers = itertools.count()
    inside = False

    def wrapper(execute, sql, params, many, context):
        nonlocal inside
        if not inside and next(numbers) == number:
            inside = True
            step()
            inside = False
        return execute(sql, params, many, context)

    return wrapper


def edit_page(chunk):
    return f"{ADMIN}/chunk/{chunk.pk}/edit/"


def text_page(document):
    return f"{ADMIN}/document/{document.pk}/text/"


class TestChanging:
    def test_the_source_stands_beside_the_chunks(self, admin_client, document):
        ran(chunk_edit(chunk=chunk_of(document, "Oil is"), text=f"Mine. {HOSTILE}"))
        chunks_switch(chunks=[chunk_of(document, "Tyres are")], enabled=False)
        response = admin_client.get(text_page(document))
        words = words_of(response)
        assert OIL in words
        assert "Mine. " + HOSTILE in words
        assert "not found" in words
        assert HOSTILE not in response.content.decode()

    def test_a_chunk_is_changed(self, admin_client, document, admin_user):
        chunk = chunk_of(document, "Oil is")
        assert OIL in words_of(admin_client.get(edit_page(chunk)))
        response = admin_client.post(
            edit_page(chunk),
            {"text": "Oil\r\nTwice.", "heading": "Oil and fat", "reason": "The maker says so."},
            follow=True,
        )
        assert "The chunk was changed. It is found in a moment" in words_of(response)
        work(document)
        changed = chunk_of(document, "Twice.")
        assert (changed.text, changed.heading) == ("Oil\nTwice.", "Oil and fat")
        assert (changed.edit.author, changed.edit.reason) == (admin_user, "The maker says so.")

    def test_a_line_splits_it(self, admin_client, document):
        text = "Once a year.\r\n-----8<-----\r\nBy who knows how."
        admin_client.post(edit_page(chunk_of(document, "Oil is")), {"text": text, "heading": "Oil"})
        work(document)
        assert found(document) == [ENGINE, "Once a year.", "By who knows how.", TYRES, LAMP]

    def test_two_become_one(self, admin_client, document):
        page = f"{ADMIN}/chunk/{chunk_of(document, 'Oil is').pk}/merge/"
        shown = words_of(admin_client.get(page))
        assert shown.count(TYRES) == 2  # as the source has it, and in the text to be changed
        admin_client.post(page, {"text": "Both."})
        work(document)
        assert found(document) == [ENGINE, "Both.", LAMP]

    def test_the_last_one_has_none_to_be_merged_with(self, admin_client, document):
        page = f"{ADMIN}/chunk/{chunk_of(document, 'A warning').pk}/merge/"
        assert "No chunk comes after this one." in words_of(admin_client.get(page, follow=True))

    def test_what_changed_meanwhile_is_shown_beside_what_was_written(self, admin_client, document):
        chunk = chunk_of(document, "Oil is")
        ran(chunk_edit(chunk=chunk, text="Oil is changed twice a year by a person who knows how."))
        response = admin_client.post(edit_page(chunk), {"text": "Oil is never changed.", "heading": "Oil"})
        words = words_of(response)
        assert "not in the document any more as you saw it" in words
        assert "What stands there now Oil is changed twice a year" in words
        assert "Oil is never changed." in words

    def test_an_empty_text_is_refused_with_what_to_do(self, admin_client, document):
        response = admin_client.post(edit_page(chunk_of(document, "Oil is")), {"text": " \n ", "heading": ""})
        assert "Enter one, or disable the chunk." in words_of(response)

    def test_switching_leads_back_to_the_text(self, admin_client, document):
        chunk = chunk_of(document, "Oil is")
        response = admin_client.post(f"{ADMIN}/chunk/switch/", {"disable": chunk.pk, "back": "text"})
        assert response.url == f"{text_page(document)}?page=1#place-1"
        assert found(document) == [ENGINE, TYRES, LAMP]

    @pytest.mark.parametrize("place", ["text", "change"])
    def test_a_page_that_shows_what_was_before_says_that_more_is_to_come(self, admin_client, document, place):
        """Whichever query the new revision is published before."""
        page = f"{ADMIN}/document/{document.pk}/{place}/"
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(page)
        stale, total = 0, len(queries)
        for number in range(total):
            text = f"It is version {number} now."
            chunk_edit(chunk=Chunk.objects.live().get(document=document, ordinal=1), text=text)
            with connection.execute_wrapper(before(number, lambda: work(document))):
                shown = admin_client.get(page)
            if text not in words_of(shown):
                stale += 1
                assert "data-unfinished" in shown.content.decode()
        assert 0 < stale < total

    @pytest.mark.parametrize("what", ["edit", "merge"])
    def test_only_who_may_change_chunks_changes_them(self, client, document, what):
        signed_in(client, "view_chunk", "view_document")
        page = f"{ADMIN}/chunk/{chunk_of(document, 'Oil is').pk}/{what}/"
        assert client.get(page).status_code == 403
        assert client.post(page, {"text": "x"}).status_code == 403
        shown = client.get(text_page(document))
        assert shown.status_code == 200
        assert "Edit or split" not in words_of(shown)


class TestConflicts:
    @pytest.fixture
    def edit(self, document):
        ran(chunk_edit(chunk=chunk_of(document, "Oil is"), text="Mine.", reason="The maker says so."))
        put(document.collection, manual(Oil=OIL.replace("once", "twice")), source="manual.md")
        return document.edits.get()

    def test_they_are_listed_and_shown_with_all_three_texts(self, admin_client, document, edit):
        assert "Mine. Manual edited in force, and the source changed" in words_of(
            admin_client.get(f"{ADMIN}/chunkedit/?state=conflict")
        )
        for page in (f"{ADMIN}/document/{document.pk}/change/", text_page(document)):
            assert f"/chunkedit/{edit.pk}/change/" in admin_client.get(page).content.decode()
        response = admin_client.get(f"{ADMIN}/chunkedit/{edit.pk}/change/")
        words = words_of(response)
        for expected in ("What it was made of", OIL, "Mine.", "what the source says now", "The maker says so."):
            assert expected in words
        assert "<del>once</del><ins>twice</ins>" in response.content.decode()

    @pytest.mark.parametrize(
        ("answer", "expected"), [("mine", "Mine."), ("theirs", OIL.replace("once", "twice")), ("anew", "Both.")]
    )
    def test_each_answer_is_a_button(self, admin_client, document, edit, answer, expected):
        response = admin_client.post(
            f"{ADMIN}/chunkedit/{edit.pk}/answer/", {"answer": answer, "text": "Both.", "reason": "So."}, follow=True
        )
        assert "The conflict is resolved." in words_of(response)
        for _ in document.jobs.unfinished():
            work(document)
        assert found(document) == [ENGINE, expected, TYRES, LAMP]
        assert not ChunkEdit.objects.filter(state="conflict").exists()
        assert "The conflict is resolved already" in words_of(
            admin_client.post(f"{ADMIN}/chunkedit/{edit.pk}/answer/", {"answer": "mine"}, follow=True)
        )

    def test_an_edit_is_withdrawn(self, admin_client, document):
        ran(chunk_edit(chunk=chunk_of(document, "Oil is"), text="Mine."))
        edit = document.edits.get()
        admin_client.post(f"{ADMIN}/chunkedit/{edit.pk}/withdraw/", {"reason": "It was right."})
        work(document)
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]
        history = words_of(admin_client.get(f"{ADMIN}/chunkedit/{edit.pk}/history/"))
        assert "It was right." in history
        assert "admin" in history

    def test_who_only_looks_answers_nothing(self, client, edit):
        signed_in(client, "view_chunkedit")
        page = client.get(f"{ADMIN}/chunkedit/{edit.pk}/change/")
        assert "Keep mine" not in words_of(page)
        assert client.post(f"{ADMIN}/chunkedit/{edit.pk}/answer/", {"answer": "mine"}).status_code == 403
        assert client.get(f"{ADMIN}/chunkedit/{edit.pk}/answer/").status_code in (403, 405)


class TestReview:
    @pytest.fixture
    def waiting(self, document):
        Collection.objects.update(review=True)
        put(Collection.objects.get(), manual(Oil=OIL.replace("once", "twice"), Tyres=""), source="manual.md")
        return DocumentRevision.objects.get(state="review")

    def page(self, revision):
        return f"{ADMIN}/documentrevision/{revision.pk}/change/"

    def test_what_waits_is_listed_and_shown_against_what_is_found(self, admin_client, document, waiting):
        assert "Manual handbook 2 waits for review" in words_of(admin_client.get(f"{ADMIN}/documentrevision/"))
        response = admin_client.get(self.page(waiting))
        assert "1 changed, 0 added, 1 removed." in words_of(response)
        assert "<del>once</del><ins>twice</ins>" in response.content.decode()
        assert "waits for review" in words_of(admin_client.get(f"{ADMIN}/document/{document.pk}/change/"))

    def test_it_is_approved(self, admin_client, admin_user, document, waiting):
        url = f"{ADMIN}/documentrevision/{waiting.pk}/answer/"
        response = admin_client.post(url, {"do": "approve", "note": "Right."}, follow=True)
        assert "“Manual” is approved, and being published." in words_of(response)
        work(document)
        assert found(document) == [ENGINE, OIL.replace("once", "twice"), LAMP]
        assert "was answered already" in words_of(admin_client.post(url, {"do": "reject", "note": "x"}, follow=True))
        words = words_of(admin_client.get(f"{ADMIN}/document/{document.pk}/history/"))
        assert "Right." in words

    def test_to_reject_it_one_says_why(self, admin_client, document, waiting):
        url = f"{ADMIN}/documentrevision/{waiting.pk}/answer/"
        assert "Say why it is rejected" in words_of(admin_client.post(url, {"do": "reject"}, follow=True))
        admin_client.post(url, {"do": "reject", "note": "It is not true."})
        waiting.refresh_from_db()
        assert (waiting.state, waiting.review_note) == ("rejected", "It is not true.")
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]

    def test_only_who_may_change_revisions_answers(self, client, waiting):
        signed_in(client, "view_documentrevision")
        assert "Approve" not in words_of(client.get(self.page(waiting)))
        url = f"{ADMIN}/documentrevision/{waiting.pk}/answer/"
        assert client.post(url, {"do": "approve"}).status_code == 403

    def test_a_new_document_has_nothing_to_be_compared_with(self, admin_client, waiting):
        put(Collection.objects.get(), "Entirely new.", source="new.md")
        new = DocumentRevision.objects.get(state="review", document__source="new.md")
        assert "0 changed, 1 added, 0 removed." in words_of(admin_client.get(self.page(new)))


class TestHistory:
    def test_it_tells_who_when_and_why_and_compares_any_two(self, admin_client, document, admin_user):
        chunk = chunk_of(document, "Oil is")
        admin_client.post(edit_page(chunk), {"text": "Mine.", "heading": "Oil", "reason": "The maker says so."})
        work(document)
        page = f"{ADMIN}/document/{document.pk}/history/"
        words = words_of(admin_client.get(page))
        assert "2 live" in words
        assert "admin The maker says so." in words
        assert "4 (+1 −1)" in words
        compared = words_of(admin_client.get(f"{page}?from=1&to=2"))
        assert "From 1 to 2" in compared
        assert OIL in compared
        assert "Mine." in compared

    def test_a_revision_is_brought_back(self, admin_client, document):
        put(document.collection, manual(Oil=""), source="manual.md")
        page = f"{ADMIN}/document/{document.pk}/restore/1/"
        assert "0 changed, 1 added, 0 removed." in words_of(admin_client.get(page))
        response = admin_client.post(page, {"reason": "It was better."}, follow=True)
        assert "Revision 1 is brought back." in words_of(response)
        for _ in document.jobs.unfinished():
            work(document)
        assert found(document) == [ENGINE, OIL, TYRES, LAMP]
        assert "It was better. (as revision 1 was)" in words_of(
            admin_client.get(f"{ADMIN}/document/{document.pk}/history/")
        )

    def test_who_may_only_look_brings_nothing_back(self, client, document):
        signed_in(client, "view_document", "view_chunk")
        assert client.get(f"{ADMIN}/document/{document.pk}/history/").status_code == 200
        assert client.post(f"{ADMIN}/document/{document.pk}/restore/1/").status_code == 403

    def test_what_cannot_be_brought_back_says_so(self, admin_client, document):
        words = words_of(admin_client.get(f"{ADMIN}/document/{document.pk}/restore/1/"))
        assert "it cannot be brought back" in words
        assert admin_client.get(f"{ADMIN}/document/{document.pk}/restore/7/").status_code == 404

    def test_settings_of_a_collection_have_their_history(self, admin_client, document):
        collection = document.collection
        collection.threshold = 0.6
        collection.save()
        words = words_of(admin_client.get(f"{ADMIN}/collection/{collection.pk}/history/"))
        assert "0.45 → 0.6" in words
        first = collection.history.last()
        assert admin_client.post(f"{ADMIN}/collection/{collection.pk}/history/{first.pk}/", {}).status_code == 404

    def test_reading_documents_makes_no_history_of_settings(self, document):
        assert document.collection.history.count() == 1

    def test_so_have_golden_queries(self, admin_client, admin_user, document):
        form = {"collection": document.collection_id, "query": "How often?", "documents": [document.pk], "answers": ""}
        admin_client.post(f"{ADMIN}/goldenquery/add/", form)
        golden = GoldenQuery.objects.get()
        assert {row.history_user for row in golden.history.all()} == {admin_user}
        assert admin_client.get(f"{ADMIN}/goldenquery/{golden.pk}/history/").status_code == 200


class TestAttention:
    def listed(self, client, query):
        response = client.get(f"{ADMIN}/document/?{query}")
        return {document.source for document in response.context["cl"].result_list}

    def test_those_never_retrieved_or_cited_are_found(self, admin_client):
        collection = collection_of()
        never, once, cited = (document_of(collection, f"{name}.md") for name in ("never", "once", "cited"))
        now = timezone.now()
        DocumentUse.objects.create(document=once, retrieved=2, retrieved_at=now - dt.timedelta(days=100))
        DocumentUse.objects.create(document=cited, retrieved=1, retrieved_at=now, cited=1, cited_at=now)
        assert self.listed(admin_client, "use=never") == {never.source}
        assert self.listed(admin_client, "use=uncited") == {once.source}
        assert self.listed(admin_client, "use=90") == {never.source, once.source}
        words = words_of(admin_client.get(f"{ADMIN}/document/{once.pk}/change/"))
        assert "twice , last" in words

    def test_those_long_unchanged_or_missing_are_found(self, admin_client, document):
        other, _ = put(document.collection, "Another one.", source="other.md")
        StoredContent.objects.update(created_at=timezone.now() - dt.timedelta(days=200))
        assert self.listed(admin_client, "stale=180") == {"manual.md", "other.md"}
        assert self.listed(admin_client, "stale=365") == set()
        chunks_switch(chunks=list(Chunk.objects.live().filter(document=other)), enabled=False)
        assert self.listed(admin_client, "stale=180") == {"manual.md"}
        Document.objects.filter(pk=other.pk).update(missing_since=timezone.now())
        assert self.listed(admin_client, "stale=missing") == {"other.md"}

    def test_many_documents_cost_as_many_queries_as_one(self, admin_client, django_assert_max_num_queries):
        collection = collection_of()
        for number in range(20):
            document_of(collection, f"{number}.md")
        with django_assert_max_num_queries(12):
            admin_client.get(f"{ADMIN}/document/?use=never&stale=30")


def test_what_is_uploaded_says_by_whom_and_why(admin_client, document, tmp_path):
    form = {"collection": document.collection_id, "title": "Note", "text": "A note.", "reason": "Asked for."}
    admin_client.post(f"{ADMIN}/document/add/", form)
    revision = DocumentRevision.objects.get(document__source="Note")
    assert (revision.author_name, revision.reason) == ("admin", "Asked for.")


def test_a_review_is_switched_on_in_the_collection_s_form(admin_client, document):
    page = f"{ADMIN}/collection/{document.collection_id}/change/"
    response = admin_client.get(page)
    assert "Changes are reviewed" in words_of(response)
    assert "Drop files here" in words_of(response)
