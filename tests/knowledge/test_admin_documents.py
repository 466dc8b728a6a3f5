"""The admin's pages of documents, in process."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from knowledge.models import (
    Chunk,
    Document,
    DocumentRevision,
    DocumentStatus,
    Embedding,
    GoldenQuery,
    IngestionJob,
    Posting,
)
from tests.knowledge.rows import collection_of, content_of, document_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/document/"
ADD = f"{LIST}add/"
HOSTILE = "<script>alert(1)</script>"


def page_of(document, rest="change"):
    return f"{LIST}{document.pk}/{rest}/"


def file(name="leave.md", text="# Leave\n\nThirty days.", mime="text/markdown"):
    return SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text, content_type=mime)


def add(client, into, **fields):
    return client.post(ADD, {"collection": into.pk} | fields, follow=True)


def rows_of(response):
    return re.findall(r"(?s)<tr>(<td class=\"action.*?)</tr>", response.content.decode())


def form_of(document, **changes):
    usual = {"title": document.title, "url": document.url, "language": document.language, "metadata": "{}"}
    return usual | {"enabled": "on"} | changes


# The list


def test_the_list_tells_how_each_was_read(admin_client):
    handbook = collection_of()
    document_of(handbook, texts=("One.", "Two.", "Three."), language="")
    long = "The file is damaged. " * 40
    document_of(handbook, "broken.pdf", texts=(), status=DocumentStatus.FAILED, error=long)
    again = document_of(handbook, "travel.md", error="It cannot be opened.")
    document_of(collection_of("measuring", scratch=True))
    response = admin_client.get(LIST)
    assert len(rows_of(response)) == 3
    words = words_of(response)
    assert "Leave Handbook ready 3 1 en" in words
    assert "failed The file is damaged." in words
    assert "It cannot be opened. (the revision before it is still found)" in words
    assert long.strip() not in words
    assert "Travel" in words_of(admin_client.get(f"{LIST}?q=travel.m"))
    assert len(rows_of(admin_client.get(f"{LIST}?q=travel"))) == 1
    assert again.title in words


@pytest.mark.parametrize(
    ("query", "sources"),
    [
        ("status__exact=failed", {"broken.pdf"}),
        ("enabled__exact=0", {"off.md"}),
        ("language=de", {"leave.md", "off.md"}),
        ("language=-", {"unknown.md"}),
        ("origin__exact=url", {"unknown.md"}),
    ],
)
def test_the_list_is_filtered(admin_client, query, sources):
    handbook = collection_of()
    document_of(handbook, language="de")  # as somebody said, whatever its chunks are in
    document_of(handbook, "broken.pdf", texts=(), status=DocumentStatus.FAILED, language="fr")
    off = document_of(handbook, "off.md", language="", enabled=False)
    unknown = document_of(handbook, "unknown.md", language="", origin="url")
    Chunk.objects.filter(document=off).update(language="de")
    Chunk.objects.filter(document=unknown).update(language="")
    handbook.languages = ["de", "", "en"]
    handbook.save()
    rows = " ".join(rows_of(admin_client.get(f"{LIST}?{query}")))
    shown = {source for source in Document.objects.values_list("source", flat=True) if _title(source) in rows}
    assert shown == sources


def _title(source):
    return f">{source.rpartition('.')[0].title()}<"


def test_the_list_asks_as_much_for_many_as_for_one(admin_client, django_assert_max_num_queries):
    handbook = collection_of()
    for number in range(30):
        document_of(handbook, f"d{number}.md")
    with django_assert_max_num_queries(10):
        assert "30 documents" in words_of(admin_client.get(LIST))


# Adding


def test_several_files_become_one_batch(admin_client):
    collection = collection_of()
    response = add(
        admin_client,
        collection,
        uploads=[file(), file("travel.txt", "Trains only.", "text/plain")],
        metadata='{"department": "people"}',
        language="EN",
    )
    jobs = list(IngestionJob.objects.order_by("document__source"))
    assert [job.document.source for job in jobs] == ["leave.md", "travel.txt"]
    assert len({job.batch for job in jobs}) == 1
    assert response.redirect_chain == [(f"/admin/knowledge/ingestionjob/batch/{jobs[0].batch}/", 302)]
    assert "2 jobs: 2 waiting." in words_of(response)
    leave = jobs[0].document
    assert (leave.metadata, leave.language, leave.origin) == ({"department": "people"}, "en", "upload")
    revision = leave.revisions.get()
    assert bytes(revision.content.data) == b"# Leave\n\nThirty days."
    assert (revision.name, revision.declared_mime) == ("leave.md", "text/markdown")
    assert "Brought." in words_of(admin_client.get(page_of(leave, "history")))


def test_a_text_is_recognised_by_its_title(admin_client):
    collection = collection_of()
    add(admin_client, collection, title="Parking", text="Behind\r\nthe house.")
    document = Document.objects.get()
    assert (document.title, document.source, document.origin) == ("Parking", "Parking", "text")
    assert bytes(document.revisions.get().content.data) == b"Behind\nthe house."
    add(admin_client, collection, title="Parking", text="In front of the house.")
    assert Document.objects.count() == 1
    assert document.revisions.count() == 2


def test_pages_and_sitemaps_are_fetched_by_their_jobs(admin_client):
    collection = collection_of()
    add(
        admin_client,
        collection,
        addresses="https://example.org/one\nexample.org/two\n\nhttps://example.org/one",
        sitemap="https://example.org/sitemap.xml",
        metadata='{"a": 1}',
    )
    jobs = {job.url: job for job in IngestionJob.objects.all()}
    assert set(jobs) == {"https://example.org/one", "https://example.org/two", "https://example.org/sitemap.xml"}
    assert jobs["https://example.org/sitemap.xml"].kind == "sitemap"
    assert jobs["https://example.org/sitemap.xml"].metadata == {"a": 1}
    assert jobs["https://example.org/one"].document.metadata == {"a": 1}
    assert len({job.batch for job in jobs.values()}) == 1


def test_what_did_not_change_makes_no_work(admin_client):
    collection = collection_of()
    document = document_of(collection, texts=("Thirty days.",), title="", language="")
    response = add(admin_client, collection, uploads=[file("leave.md", "Thirty days.")])
    assert not IngestionJob.objects.exists()
    assert response.redirect_chain == [(f"{LIST}?collection__id__exact={collection.pk}", 302)]
    assert "1 document had not changed; nothing is to be done." in words_of(response)
    assert document.revisions.count() == 1


def test_what_cannot_be_taken_is_told_and_the_rest_is_taken(admin_client):
    collection = collection_of()
    response = add(admin_client, collection, uploads=[file()], addresses="https://user:secret@example.org/")
    assert IngestionJob.objects.count() == 1
    assert "“https://user:secret@example.org/”: " in words_of(response)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Choose files, or enter a text, addresses or a sitemap."),
        ({"text": "   "}, "Choose files, or enter a text, addresses or a sitemap."),
        ({"collection": ""}, "This field is required."),
        ({"text": "A text."}, "Give the text a title"),
        (
            {"addresses": "https://example.org\nftp://example.org/x y"},
            "“ftp://example.org/x y” is no address of a page.",
        ),
        ({"title": "A", "text": "B", "language": "english"}, "Enter a code of two or three letters"),
        ({"addresses": "\n".join(f"https://example.org/{number}" for number in range(201))}, "enter at most 200"),
        ({"sitemap": "not an address"}, "Enter a valid URL."),
        ({"title": "A", "text": "B", "metadata": "[1]"}, "Enter a JSON object"),
    ],
)
def test_what_is_wrong_in_the_form_is_told(admin_client, fields, message):
    response = add(admin_client, collection_of(), **fields)
    assert message in words_of(response)
    assert not Document.objects.exists()


def test_a_link_chooses_the_collection(admin_client):
    collection_of("other")
    collection = collection_of()
    collection_of("measuring", scratch=True)
    page = admin_client.get(f"{ADD}?collection={collection.pk}").content.decode()
    assert f'<option value="{collection.pk}" selected>Handbook</option>' in page
    assert "Measuring" not in page


def test_the_list_of_a_collection_leads_to_adding_to_it(admin_client):
    collection = collection_of()
    page = admin_client.get(f"{LIST}?collection__id__exact={collection.pk}").content.decode()
    assert f'href="{ADD}?collection={collection.pk}"' in page
    assert f'href="{ADD}"' in admin_client.get(LIST).content.decode()


def test_without_a_collection_there_is_nowhere_to_add(admin_client):
    words = words_of(admin_client.get(ADD))
    assert "Documents are kept in collections, and there is none yet. Add a collection first." in words


# The page of one


def test_its_page_shows_its_revisions_and_chunks(admin_client):
    collection = collection_of()
    document = document_of(
        collection,
        texts=("Thirty days.", f"Then {HOSTILE}."),
        warnings=["Page 3 is a picture."],
        error="It is damaged.",
    )
    DocumentRevision.objects.create(
        document=document, number=2, content=content_of(b"%PDF"), name=f"{HOSTILE}.pdf", state="failed", error=HOSTILE
    )
    response = admin_client.get(page_of(document))
    words = words_of(response)
    for expected in (
        "1 live",
        "2 failed",
        "as now",
        "Page 3 is a picture.",
        "Thirty days. Chapter 1",
        f"Then {HOSTILE}.",
    ):
        assert expected in words
    assert HOSTILE not in response.content.decode()
    assert f'href="/admin/knowledge/chunk/{document.chunks.first().pk}/change/"' in response.content.decode()


def test_of_many_chunks_the_first_are_shown(admin_client, django_assert_max_num_queries):
    document = document_of(collection_of(), texts=[f"Text number {number}." for number in range(130)])
    with django_assert_max_num_queries(16):
        words = words_of(admin_client.get(page_of(document)))
    assert "Text number 99." in words
    assert "Text number 100." not in words
    assert "… and more: all of them in a list" in words


def test_the_original_is_downloaded_and_never_shown(admin_client):
    document = document_of(collection_of(), 'a "b" ü.html', texts=(HOSTILE,))
    response = admin_client.get(page_of(document, "original/1"))
    assert response.content == HOSTILE.encode()
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert admin_client.get(page_of(document, "original/2")).status_code == 404


def test_what_is_said_of_it_changes_with_the_index(admin_client):
    document = document_of(collection_of())
    admin_client.post(page_of(document), form_of(document, enabled="", url="https://example.org/leave"))
    document.refresh_from_db()
    assert (document.enabled, document.url) == (False, "https://example.org/leave")
    assert not Posting.objects.exists()
    assert not Embedding.objects.filter(findable=True).exists()
    assert not IngestionJob.objects.exists()
    admin_client.post(page_of(document), form_of(document, metadata='{"year": 2026}'))
    document.refresh_from_db()
    assert (document.enabled, document.metadata) == (True, {"year": 2026})
    assert Posting.objects.exists()


def test_another_title_has_it_read_again(admin_client):
    document = document_of(collection_of())
    response = admin_client.post(page_of(document), form_of(document, title="Holidays", language="DE"), follow=True)
    assert "it is being read again, and found as it was until then" in words_of(response)
    document.refresh_from_db()
    assert (document.title, document.language) == ("Holidays", "de")
    assert IngestionJob.objects.unfinished().get().document == document


@pytest.mark.parametrize("metadata", ["[1]", '"x"', "{"])
def test_metadata_is_an_object(admin_client, metadata):
    document = document_of(collection_of())
    response = admin_client.post(page_of(document), form_of(document, metadata=metadata))
    assert "Enter a" in words_of(response)
    assert "Revisions" in words_of(response)


def test_emptied_metadata_is_none(admin_client):
    document = document_of(collection_of(), metadata={"a": 1})
    admin_client.post(page_of(document), form_of(document, metadata=""))
    document.refresh_from_db()
    assert document.metadata == {}


# Reading again, switching, deleting


def test_it_is_read_again_at_the_press_of_a_button(admin_client):
    document = document_of(collection_of())
    response = admin_client.post(page_of(document, "reingest"), follow=True)
    assert "“Leave” is being read again." in words_of(response)
    assert "At work waiting" in words_of(response)
    assert IngestionJob.objects.get().document == document
    assert admin_client.get(page_of(document, "reingest")).status_code == 405


def test_a_page_is_fetched_again(admin_client):
    collection = collection_of()
    document = document_of(collection, "https://example.org/leave", title="Leave", origin="url")
    assert "Fetch again" in words_of(admin_client.get(page_of(document)))
    response = admin_client.post(page_of(document, "reingest"), {"do": "fetch"}, follow=True)
    assert "“Leave” is being fetched, and read if it has changed." in words_of(response)
    job = IngestionJob.objects.get()
    assert (job.document, job.url) == (document, "https://example.org/leave")
    assert "Fetch again" not in words_of(admin_client.get(page_of(document_of(collection))))


def test_who_may_not_see_jobs_is_shown_none(client):
    document = document_of(collection_of())
    signed_in(client, "view_document", "change_document")
    assert "“Leave” is being read again." in words_of(client.post(page_of(document, "reingest"), follow=True))
    assert "data-live" not in client.get(page_of(document)).content.decode()


def test_what_was_never_there_cannot_be_read_again(admin_client):
    page = Document.objects.create(collection=collection_of(), source="https://example.org/", origin="url")
    response = admin_client.post(page_of(page, "reingest"), follow=True)
    assert "The document was never there to be read." in words_of(response)


def test_the_selected_are_read_again_after_a_question(admin_client):
    collection = collection_of()
    one, two, _ = (document_of(collection, f"{name}.md") for name in ("one", "two", "three"))
    selected = {"action": "reingest", "_selected_action": [one.pk, two.pk]}
    page = admin_client.post(LIST, selected)
    assert "2 documents will be read, cut and embedded again" in words_of(page)
    assert not IngestionJob.objects.exists()
    response = admin_client.post(LIST, selected | {"post": "yes"})
    assert {job.document for job in IngestionJob.objects.all()} == {one, two}
    assert response.url == f"/admin/knowledge/ingestionjob/batch/{IngestionJob.objects.first().batch}/"


def test_of_many_problems_the_first_are_told(admin_client):
    collection = collection_of()
    pages = [Document.objects.create(collection=collection, source=f"https://example.org/{n}") for n in range(25)]
    selected = {"action": "reingest", "_selected_action": [page.pk for page in pages], "post": "yes"}
    response = admin_client.post(LIST, selected, follow=True)
    assert words_of(response).count("The document was never there to be read.") == 20
    assert "… and 5 more." in words_of(response)
    assert response.redirect_chain == [(LIST, 302)]


def test_all_that_a_filter_leaves_can_be_selected(admin_client):
    collection = collection_of()
    for number in range(120):
        document_of(collection, f"d{number}.md", texts=("x",), status="failed" if number < 110 else "ready")
    shown = list(Document.objects.filter(status="failed").values_list("pk", flat=True)[:1])
    selected = {"action": "reingest", "_selected_action": shown, "select_across": "1"}
    page = admin_client.post(f"{LIST}?status__exact=failed", selected)
    assert "110 documents will be read" in words_of(page)
    admin_client.post(f"{LIST}?status__exact=failed", selected | {"post": "yes"})
    assert IngestionJob.objects.count() == 110


def test_the_selected_are_switched(admin_client):
    collection = collection_of()
    one, two = document_of(collection, "one.md"), document_of(collection, "two.md")
    words = words_of(admin_client.post(LIST, {"action": "disable", "_selected_action": [one.pk]}, follow=True))
    assert "Disabled 1 document." in words
    assert set(Posting.objects.values_list("chunk__document", flat=True)) == {two.pk}
    admin_client.post(LIST, {"action": "enable", "_selected_action": [one.pk, two.pk]})
    assert set(Posting.objects.values_list("chunk__document", flat=True)) == {one.pk, two.pk}


def test_what_goes_with_it_is_counted_and_goes(admin_client):
    collection = collection_of()
    document = document_of(collection, texts=("One.", "Two."))
    document_of(collection, "travel.md")
    golden = GoldenQuery.objects.create(collection=collection, query="How many days?")
    golden.documents.add(document)
    words = words_of(admin_client.get(page_of(document, "delete")))
    for expected in ("Chunks: 2", "Golden queries that name it: 1"):
        assert expected in words
    admin_client.post(page_of(document, "delete"), {"post": "yes"})
    assert [row.source for row in Document.objects.all()] == ["travel.md"]
    collection.refresh_from_db()
    assert collection.chunk_count == Chunk.objects.count() == 1


def test_the_selected_are_deleted(admin_client):
    collection = collection_of()
    one, two, _ = (document_of(collection, f"{name}.md") for name in ("one", "two", "three"))
    selected = {"action": "delete_selected", "_selected_action": [one.pk, two.pk]}
    assert "Chunks: 2" in words_of(admin_client.post(LIST, selected))
    admin_client.post(LIST, selected | {"post": "yes"})
    assert [row.source for row in Document.objects.all()] == ["three.md"]


# Who may


def test_strangers_see_nothing(client):
    document = document_of(collection_of())
    paths = (LIST, ADD, page_of(document), page_of(document, "original/1"))
    for path in paths:
        assert client.get(path).status_code == 302
    signed_in(client, "view_collection")
    for path in paths:
        assert client.get(path).status_code == 403


def test_who_may_only_look_changes_nothing(client):
    document = document_of(collection_of())
    signed_in(client, "view_document")
    words = words_of(client.get(page_of(document)))
    assert "Leave" in words
    for hidden in ("Read again", "Save", "Everyone has thirty days", "Disable"):
        assert hidden not in words
    assert client.get(page_of(document, "original/1")).status_code == 200
    assert client.get(ADD).status_code == 403
    assert add(client, document.collection, uploads=[file()]).status_code == 403
    assert client.post(page_of(document), form_of(document, title="Mine")).status_code == 403
    assert client.post(page_of(document, "reingest")).status_code == 403
    assert client.post(page_of(document, "delete"), {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "disable", "_selected_action": [document.pk]})
    document.refresh_from_db()
    assert (document.title, document.enabled) == ("Leave", True)
    assert not IngestionJob.objects.exists()


def test_forms_from_elsewhere_are_refused(admin_user, client):
    document = document_of(collection_of())
    client.handler.enforce_csrf_checks = True
    client.force_login(admin_user)
    for path in (ADD, page_of(document), page_of(document, "reingest"), page_of(document, "delete")):
        assert client.post(path, {"post": "yes"}).status_code == 403
    assert not IngestionJob.objects.exists()
    assert Document.objects.exists()
