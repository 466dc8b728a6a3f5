"""The admin's pages of watched sources, and of documents that are gone from them."""

import pytest
from django.utils import timezone

from knowledge.models import Document, WatchedSource
from tests.knowledge.rows import collection_of, document_of, signed_in, words_of
from tests.knowledge.test_watching import looked, source_of, write

pytestmark = pytest.mark.usefixtures("knowledge")

LIST = "/admin/knowledge/watchedsource/"
DOCUMENTS = "/admin/knowledge/document/"


@pytest.fixture
def folder(tmp_path, settings):
    settings.WATCH_FOLDERS = [str(tmp_path)]
    write(tmp_path, "docs/cat.md", "Cats purr.")
    write(tmp_path, "docs/dog.md", "Dogs bark.")
    return tmp_path / "docs"


def fields_of(collection, **changes):
    usual = {"collection": collection.pk, "kind": "folder", "location": "", "branch": "", "pattern": ""}
    return usual | {"every_minutes": 60, "enabled": "on"} | changes


def test_a_source_is_added_and_looked_at_next(admin_client, folder):
    collection = collection_of()
    response = admin_client.post(f"{LIST}add/", fields_of(collection, location=str(folder)), follow=True)
    assert "was added successfully" in words_of(response)
    words = words_of(admin_client.get(LIST))
    assert "not looked at yet" in words
    assert "as soon as a worker is free" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"location": "/etc"}, "not below one that may be watched"),
        ({"kind": "git", "location": "https://me:secret@example.org/a.git"}, "password or token"),
        ({"kind": "sitemap", "location": "sitemap.xml"}, "is no address of a page"),
        ({"kind": "sitemap", "location": "https://example.org/", "branch": "main"}, "only git repositories"),
        ({"kind": "feed", "location": "https://example.org/feed", "every_minutes": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_watched_is_told(admin_client, folder, changes, words):
    assert words in words_of(admin_client.post(f"{LIST}add/", fields_of(collection_of(), **changes)))
    assert not WatchedSource.objects.exists()


def test_the_list_tells_how_each_goes(admin_client, folder):
    source = source_of(folder)
    looked(source)
    (folder / "cat.md").unlink()
    looked(source)
    source_of("/nowhere", collection=source.collection, enabled=False)
    page = admin_client.get(LIST)
    words = words_of(page)
    assert "1 not there any more." in words
    assert "never: it is off" in words
    assert f"{DOCUMENTS}?watch__id__exact={source.pk}&amp;stale=missing" in page.content.decode()
    listed = words_of(admin_client.get(f"{DOCUMENTS}?watch__id__exact={source.pk}&stale=missing"))
    assert "docs/cat.md" in listed or "1 document" in listed
    WatchedSource.objects.filter(pk=source.pk).update(looking_until=timezone.now() + timezone.timedelta(seconds=30))
    assert "is looked at now" in words_of(admin_client.get(LIST))


def test_a_look_is_asked_for(admin_client, folder):
    source = source_of(folder)
    looked(source)
    assert source.next_look_at > timezone.now()
    page = admin_client.get(f"{LIST}{source.pk}/change/").content.decode()
    assert f'action="{LIST}{source.pk}/look/"' in page
    assert "Believe that they are gone" not in page
    assert admin_client.get(f"{LIST}{source.pk}/look/").status_code == 405
    admin_client.post(f"{LIST}{source.pk}/look/")
    source.refresh_from_db()
    assert source.next_look_at <= timezone.now()
    WatchedSource.objects.update(next_look_at=timezone.now() + timezone.timedelta(hours=1))
    answer = admin_client.post(LIST, {"action": "look", "_selected_action": [source.pk]}, follow=True)
    assert "1 source looked at in a few seconds" in words_of(answer)
    source.refresh_from_db()
    assert source.next_look_at <= timezone.now()


def test_a_loss_is_believed_by_whoever_knows(admin_client, folder):
    for number in range(20):
        write(folder, f"{number}.md", f"Number {number}.")
    source = source_of(folder)
    looked(source)
    for number in range(15):
        (folder / f"{number}.md").unlink()
    looked(source)
    page = admin_client.get(f"{LIST}{source.pk}/change/")
    assert "15 of its 22 documents are not there any more." in words_of(page)
    assert "Believe that they are gone" in page.content.decode()
    preview = words_of(admin_client.get(f"{LIST}{source.pk}/preview/"))
    assert "That looks like a failure" in preview
    admin_client.post(f"{LIST}{source.pk}/look/", {"do": "accept"})
    source.refresh_from_db()
    assert source.accepts_loss


def test_what_would_change_is_shown_and_nothing_is_read(admin_client, folder):
    source = source_of(folder)
    words = words_of(admin_client.get(f"{LIST}{source.pk}/preview/"))
    assert "New: would be read (2)" in words
    assert "docs/cat.md" in words
    assert not Document.objects.exists()
    looked(source)
    assert "Nothing has changed since the last look." in words_of(admin_client.get(f"{LIST}{source.pk}/preview/"))
    folder.rename(folder.parent / "elsewhere")
    assert "There is no such folder" in words_of(admin_client.get(f"{LIST}{source.pk}/preview/"))
    assert admin_client.get(f"{LIST}99/preview/").status_code == 404


def test_whoever_may_only_look_on_changes_nothing(client, folder):
    source = source_of(folder)
    worker = signed_in(client, "view_watchedsource")
    assert worker.get(LIST).status_code == 200
    assert worker.post(f"{LIST}{source.pk}/look/").status_code == 403
    assert worker.get(f"{LIST}{source.pk}/preview/").status_code == 403
    assert "/look/" not in worker.get(f"{LIST}{source.pk}/change/").content.decode()


def test_documents_that_are_gone_are_kept_or_deleted(admin_client):
    collection = collection_of()
    source = source_of("https://example.org/sitemap.xml", "sitemap", collection=collection)
    gone = document_of(collection, watch=source, missing_since=timezone.now())
    there = document_of(collection, "there.md", watch=source)
    assert "Which documents are gone from their sources?" in words_of(admin_client.get("/admin/knowledge/"))
    chosen = {"action": "keep", "_selected_action": [gone.pk, there.pk]}
    words = words_of(admin_client.post(DOCUMENTS, chosen, follow=True))
    assert "1 document kept" in words
    gone.refresh_from_db()
    there.refresh_from_db()
    assert (gone.missing_since, gone.watch, there.watch) == (None, None, source)
    assert "None of them was gone" in words_of(admin_client.post(DOCUMENTS, chosen, follow=True))
