"""The admin's pages on which a collection becomes a file, and a file a collection."""

import io

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile

from knowledge.archive.download import archive_download
from knowledge.models import Collection, WatchedSource
from tests.knowledge.library import put, shelf
from tests.knowledge.rows import signed_in, words_of

pytestmark = pytest.mark.usefixtures("knowledge")

LIST = "/admin/knowledge/collection/"
SEES = [f"view_{name}" for name in ("collection", "document", "chunk", "chunkedit", "goldenquery")]


@pytest.fixture
def collection():
    collection = shelf()
    put(collection, "Cats purr.")
    return collection


def body_of(response):
    return b"".join(response.streaming_content)


def upload(client, data, **fields):
    file = SimpleUploadedFile("handbook.zip", data, content_type="application/zip")
    return client.post(f"{LIST}import/", {"file": file} | fields, follow=True)


def test_a_collection_is_downloaded_and_uploaded_again(admin_client, collection):
    WatchedSource.objects.create(collection=collection, kind="feed", location="https://example.org/feed")
    page = admin_client.get(f"{LIST}{collection.pk}/change/").content.decode()
    assert f'href="{LIST}{collection.pk}/export/"' in page
    response = admin_client.get(f"{LIST}{collection.pk}/export/")
    assert response["Content-Type"] == "application/zip"
    assert 'attachment; filename="handbook-2' in response["Content-Disposition"]
    data = body_of(response)
    assert int(response["Content-Length"]) == len(data)
    assert LogEntry.objects.get().change_message == "Exported as a file."
    assert f'href="{LIST}import/"' in admin_client.get(LIST).content.decode()
    words = words_of(upload(admin_client, data, slug="second"))
    assert "“handbook” is imported, with 1 document and 1 chunk." in words
    assert "Its watched sources (1) are off" in words
    assert Collection.objects.get(slug="second").documents.count() == 1


def test_what_is_wrong_is_told_where_it_is(admin_client, collection):
    data = body_of(admin_client.get(f"{LIST}{collection.pk}/export/"))
    assert "There is a collection 'handbook' already, which is not overwritten." in words_of(upload(admin_client, data))
    assert "It is no zip file" in words_of(upload(admin_client, b"Something else."))
    assert "This field is required." in words_of(admin_client.post(f"{LIST}import/"))
    assert Collection.objects.count() == 1


def test_whoever_may_not_see_everything_takes_nothing_away(client, collection):
    worker = signed_in(client, *SEES[:-1], "add_collection")
    assert worker.get(f"{LIST}{collection.pk}/export/").status_code == 403
    assert "/export/" not in worker.get(f"{LIST}{collection.pk}/change/").content.decode()
    assert worker.get(f"{LIST}import/").status_code == 403
    assert "import/" not in worker.get(LIST).content.decode()


def test_whoever_may_see_everything_does(client, collection):
    assert body_of(signed_in(client, *SEES).get(f"{LIST}{collection.pk}/export/")).startswith(b"PK")
    assert client.get(f"{LIST}99/export/").status_code == 404


def test_collections_of_a_running_evaluation_are_not_there(admin_client, knowledge):
    scratch = shelf("measuring", scratch=True)
    assert admin_client.get(f"{LIST}{scratch.pk}/export/").status_code == 404


def test_a_server_on_asgi_reads_it_piece_by_piece(collection):
    response = archive_download(collection)

    async def read():
        return [piece async for piece in response]

    pieces = async_to_sync(read)()
    response.close()
    assert io.BytesIO(b"".join(pieces)).read(2) == b"PK"
