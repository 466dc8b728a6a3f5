"""The admin's pages of collections, in process."""

import re

import pytest
from django.utils import timezone

from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentStatus,
    EmbeddingModel,
    Grant,
    IngestionJob,
    JobState,
    StoredContent,
)
from knowledge.receiving import Incoming, document_receive
from routing.models import Expert, RoutingProfile, RoutingRule
from tests.adminforms import errors_of, filled
from tests.knowledge.rows import collection_of, document_of, job_of, model_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/collection/"
NO_GRANTS = {"grants-TOTAL_FORMS": 0, "grants-INITIAL_FORMS": 0, "grants-MIN_NUM_FORMS": 0, "grants-MAX_NUM_FORMS": 10}

NEW = Incoming(source="new.txt", name="new.txt", data=b"Something new.")


def page_of(collection, rest="change"):
    return f"{LIST}{collection.pk}/{rest}/"


def fields_of(**changes):
    """Return what the form sends, as it is when it is opened, but for ``changes``."""
    usual = {"name": "Handbook", "slug": "handbook", "language": "", "trusted": "on", "everyone": 3}
    cut = {"chunk_tokens": 190, "chunk_overlap": 20, "embed_headings": "on"}
    searched = {"mode": "hybrid", "fusion": "normalised", "threshold": 0.35, "neighbours": 0, "gate": ""}
    return usual | cut | searched | NO_GRANTS | changes


# The list


def test_the_list_tells_what_each_holds(admin_client):
    handbook = collection_of(language="de", everyone=0, trusted=False)
    document_of(handbook, texts=("One.", "Two."))
    document_of(handbook, "broken.pdf", texts=(), status=DocumentStatus.FAILED)
    collection_of("empty")
    collection_of("measuring", scratch=True)
    response = admin_client.get(LIST)
    rows = re.findall(r"(?s)<tr>(<td class=\"action.*?)</tr>", response.content.decode())
    assert len(rows) == 2
    words = words_of(response)
    assert "Handbook handbook de all-MiniLM-L6-v2 2 2 1" in words
    assert "nothing: only those it is granted to see it" in words
    assert "of each document" in words
    failed = f"/admin/knowledge/document/?collection__id__exact={handbook.pk}&amp;status__exact=failed"
    assert f'<a href="{failed}">1</a>' in response.content.decode()


def test_the_list_asks_as_much_for_many_as_for_one(admin_client, django_assert_max_num_queries):
    for number in range(30):
        document_of(collection_of(f"c{number}"))
    with django_assert_max_num_queries(14):
        assert "30 collections" in words_of(admin_client.get(LIST))


def test_collections_that_are_named_but_missing_are_told(admin_client):
    collection_of()
    expert = Expert.objects.create(slug="hr", name="HR")
    RoutingRule.objects.create(name="Leave", expert=expert, keywords=["leave"], collections=["handbook", "leaves"])
    RoutingRule.objects.create(
        name="Sure", expert=expert, min_evidence=0.5, evidence_collections=["leaves"], keywords=["leave"]
    )
    RoutingProfile.objects.create(slug="hr", name="Ask <HR>", collections=["leaves"])
    words = words_of(admin_client.get(LIST))
    named = "the rule “Leave”, the rule “Sure”, the profile “Ask <HR>”"
    assert f"There is no collection “leaves”, which is named by {named}." in words
    assert "no collection “handbook”" not in words


# Making and changing one


@pytest.mark.parametrize(
    ("language", "model"),
    [("EN", "all-MiniLM-L6-v2"), ("de", "multilingual-e5-small-q4"), ("", "multilingual-e5-small-q4")],
)
def test_a_new_one_gets_the_model_that_suits_its_language(admin_client, language, model):
    response = admin_client.post(f"{LIST}add/", fields_of(language=language), follow=True)
    assert "was added successfully" in words_of(response)
    made = Collection.objects.get()
    assert (made.slug, made.language, made.embedding_model.name) == ("handbook", language.lower(), model)


def test_a_new_one_may_be_given_a_model(admin_client):
    model = model_of("nomic-embed-text", source="model_server", dimensions=768)
    admin_client.post(f"{LIST}add/", fields_of(embedding_model=model.pk))
    assert Collection.objects.get().embedding_model == model


def test_without_any_model_that_is_told(admin_client):
    EmbeddingModel.objects.all().delete()
    response = admin_client.post(f"{LIST}add/", fields_of())
    assert "There is no embedding model for the collection." in words_of(response)
    assert not Collection.objects.exists()


def test_grants_are_given_beside_it(admin_client):
    grant = {"grants-TOTAL_FORMS": 1, "grants-0-group": "sales", "grants-0-level": 1}
    admin_client.post(f"{LIST}add/", fields_of(everyone=0, **grant))
    assert str(Grant.objects.get()) == "sales: read"


def test_a_grant_is_for_a_key_or_a_group(admin_client):
    grant = {"grants-TOTAL_FORMS": 1, "grants-0-group": "", "grants-0-level": 2}
    response = admin_client.post(f"{LIST}add/", fields_of(**grant))
    assert "Choose an API key or a group, not both." in words_of(response)


def test_what_cannot_be_is_told(admin_client):
    words = words_of(admin_client.post(f"{LIST}add/", fields_of(chunk_tokens=100, chunk_overlap=60)))
    assert "At most half of a chunk may be repeated." in words


def test_the_model_is_not_changed_in_the_form(admin_client):
    collection = collection_of()
    other = model_of("other")
    admin_client.post(page_of(collection), fields_of(embedding_model=other.pk, description="All of it."))
    collection.refresh_from_db()
    assert (collection.embedding_model.name, collection.description) == ("all-MiniLM-L6-v2", "All of it.")


def test_changed_settings_tell_which_documents_were_made_with_others(admin_client):
    collection = collection_of()
    document_of(collection)
    document_of(collection, "travel.md")
    quiet = admin_client.post(page_of(collection), fields_of(threshold=0.5), follow=True)
    assert "made with other settings" not in words_of(quiet)
    told = admin_client.post(page_of(collection), fields_of(chunk_tokens=120), follow=True)
    assert "2 documents were made with other settings. Read them again to have them cut anew." in words_of(told)
    assert f'<a href="{page_of(collection, "reingest")}">Read them again</a>' in told.content.decode()


def test_what_was_changed_meanwhile_is_told_with_who_changed_it(admin_client, django_user_model):
    handbook = collection_of()
    opened = admin_client.get(page_of(handbook))
    handbook.description, handbook.everyone = "What holds for all.", 0
    handbook._history_user = django_user_model.objects.create_user("bertha")
    handbook.save()
    refused = admin_client.post(page_of(handbook), filled(opened, description="Rules", name="House"))
    said = errors_of(refused)
    assert re.match(r"Bertha \(\d{4}-\d\d-\d\d \d\d:\d\d\) changed this after you had opened the page", said)
    assert "“Description” is now: What holds for all. (below it stands as you had it)" in said
    assert "“Everyone may” is now: nothing: only those it is granted to see it (below it stands so too" in said
    assert "“Name”" not in said
    handbook.refresh_from_db()
    assert (handbook.name, handbook.description) == ("Handbook", "What holds for all.")
    assert admin_client.post(page_of(handbook), filled(refused)).status_code == 302
    handbook.refresh_from_db()
    assert (handbook.name, handbook.description, handbook.everyone) == ("House", "Rules", 0)


def test_what_it_holds_and_when_it_was_used_is_no_change_of_it(admin_client):
    handbook = collection_of()
    opened = admin_client.get(page_of(handbook))
    document_of(handbook)
    Collection.objects.update(last_active_at=timezone.now(), languages=["en"], chunk_count=1)
    assert admin_client.post(page_of(handbook), filled(opened, description="Rules")).status_code == 302


def test_a_grant_that_was_given_meanwhile_is_told_and_stays(admin_client):
    handbook = collection_of()
    opened = admin_client.get(page_of(handbook))
    Grant.objects.create(collection=handbook, group="staff")
    refused = admin_client.post(page_of(handbook), filled(opened, description="Rules"))
    assert "“Grants, beside what everyone may” are now: " in errors_of(refused)
    assert "staff" in errors_of(refused)
    assert admin_client.post(page_of(handbook), filled(refused)).status_code == 302
    handbook.refresh_from_db()
    assert (handbook.description, handbook.grants.count()) == ("Rules", 1)


def test_its_page_tells_what_it_holds(admin_client):
    collection = collection_of()
    document = document_of(collection, texts=("One.", "Two."))
    job_of(collection, document)
    words = words_of(admin_client.get(page_of(collection)))
    for expected in ("1 document", "Chunks: 2", "Languages: en", "1 unfinished job"):
        assert expected in words


# Reading again


def test_documents_are_read_again(admin_client):
    collection = collection_of()
    document_of(collection)
    failed = document_of(collection, "travel.md", status=DocumentStatus.FAILED)
    Document.objects.create(collection=collection, source="https://example.org/", origin="url")  # nothing to read
    page = admin_client.get(page_of(collection, "reingest"))
    for expected in ("Those made with other settings (0)", "Those that failed (1)", "All (2)"):
        assert expected in words_of(page)
    response = admin_client.post(page_of(collection, "reingest"), {"which": "failed"})
    job = IngestionJob.objects.get()
    assert job.document == failed
    assert response.url == f"/admin/knowledge/ingestionjob/batch/{job.batch}/"
    admin_client.post(page_of(collection, "reingest"), {"which": "all"})
    assert IngestionJob.objects.unfinished().count() == 2
    assert IngestionJob.objects.values("batch").distinct().count() == 2


def test_only_those_made_with_other_settings_are_read_again(admin_client):
    collection = collection_of()
    document_of(collection)
    Collection.objects.update(chunk_tokens=100)
    fresh = document_of(Collection.objects.get(), "travel.md")
    admin_client.post(page_of(collection, "reingest"), {"which": "outdated"})
    assert IngestionJob.objects.get().document != fresh


def test_an_empty_one_has_nothing_to_read(admin_client):
    assert "no document that could be read" in words_of(admin_client.get(page_of(collection_of(), "reingest")))


# Deleting


def test_what_goes_with_it_is_counted_and_goes(admin_client):
    collection = collection_of()
    document_of(collection, texts=[f"Text {number}." for number in range(40)])
    job = document_receive(collection=collection, incoming=NEW).job
    kept = document_of(collection_of("other"))
    expert = Expert.objects.create(slug="hr", name="HR")
    RoutingRule.objects.create(name="Leave", expert=expert, keywords=["leave"], collections=["handbook"])
    words = words_of(admin_client.get(page_of(collection, "delete")))
    for expected in ("Documents: 2", "Chunks: 40", "named by the rule “Leave”: they would find nothing"):
        assert expected in words
    assert "Text 7." not in words
    admin_client.post(page_of(collection, "delete"), {"post": "yes"})
    assert [row.slug for row in Collection.objects.all()] == ["other"]
    assert [row.pk for row in Document.objects.all()] == [kept.pk]
    assert Chunk.objects.count() == 1
    assert StoredContent.objects.count() == 1
    assert not IngestionJob.objects.filter(pk=job.pk).exists()


def test_several_are_deleted_at_once(admin_client):
    rows = [collection_of("one"), collection_of("two"), collection_of("three")]
    for row in rows:
        document_of(row)
    selected = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[:2]]}
    assert "Documents: 2" in words_of(admin_client.post(LIST, selected))
    admin_client.post(LIST, selected | {"post": "yes"})
    assert [row.slug for row in Collection.objects.all()] == ["three"]


def test_whoever_may_not_delete_documents_deletes_no_collection(client):
    collection = collection_of()
    signed_in(client, "view_collection", "delete_collection")
    page = client.get(page_of(collection, "delete"))
    assert "your account doesn't have permission" in words_of(page)
    assert client.post(page_of(collection, "delete"), {"post": "yes"}).status_code == 403
    assert Collection.objects.exists()


# Who may


def test_strangers_see_nothing(client):
    collection = collection_of()
    for path in (LIST, page_of(collection), page_of(collection, "reingest"), page_of(collection, "embed")):
        assert client.get(path).status_code == 302
    signed_in(client, "view_document")
    for path in (LIST, page_of(collection), page_of(collection, "reingest"), page_of(collection, "embed")):
        assert client.get(path).status_code == 403


def test_who_may_only_look_changes_nothing(client):
    collection = collection_of()
    document_of(collection)
    signed_in(client, "view_collection")
    words = words_of(client.get(page_of(collection)))
    for button in ("Add documents", "Ask it a question", "Read again", "Embed with another model", "Save"):
        assert button not in words
    assert client.post(page_of(collection), fields_of(name="Mine")).status_code == 403
    assert client.post(page_of(collection, "reingest"), {"which": "all"}).status_code == 403
    assert client.post(page_of(collection, "embed"), {"model": model_of("other").pk}).status_code == 403
    assert Collection.objects.get().name == "Handbook"
    assert not IngestionJob.objects.exists()


def test_whoever_may_not_see_jobs_comes_back_to_the_collection(client):
    collection = collection_of()
    document_of(collection)
    signed_in(client, "view_collection", "change_document")
    response = client.post(page_of(collection, "reingest"), {"which": "all"})
    assert response.url == page_of(collection)
    assert IngestionJob.objects.get().state == JobState.QUEUED


def test_names_are_shown_as_they_are_written(admin_client):
    collection = collection_of(name="<script>alert(1)</script>")
    for path in (LIST, page_of(collection), page_of(collection, "reingest"), page_of(collection, "embed")):
        assert "<script>alert(1)" not in admin_client.get(path).content.decode()


def test_the_section_leads_to_what_is_done_often(admin_client, client):
    page = admin_client.get("/admin/knowledge/").content.decode()
    assert 'href="/admin/knowledge/collection/ask/"' in page
    assert 'href="/admin/knowledge/document/add/"' in page
    signed_in(client, "view_collection")
    assert "What is known" not in words_of(client.get("/admin/knowledge/"))
