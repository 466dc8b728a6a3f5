"""Archives of collections by API: who may take one away, and who may bring one."""

import tempfile
from pathlib import Path

import pytest
from django.test import Client

from knowledge.models import Collection, EmbeddingModel, WatchedSource
from tests.gateway.ragshelf import Api
from tests.knowledge.library import put, shelf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def archive(api):
    collection = shelf(everyone=0)
    put(collection, "Cats purr.")
    WatchedSource.objects.create(collection=collection, kind="feed", location="https://example.org/feed")
    api.granted(collection, 3)
    response = api.raw("GET", "collections/handbook/archive")
    assert (response.status_code, response["Content-Type"]) == (200, "application/zip")
    return b"".join(response.streaming_content)


def post(api, body, content_type="application/zip", query=""):
    client = Client(headers={"Authorization": f"Bearer {api.text}"})
    response = client.post(f"/v1/rag/collections/import{query}", data=body, content_type=content_type)
    return response.status_code, response.json()


def test_whoever_imports_one_may_manage_it_and_nobody_else_sees_it(api, archive):
    other = Api("other")
    status, made = post(other, archive, query="?slug=copy")
    assert (status, made["slug"], made["access"], made["document_count"]) == (201, "copy", "manage", 1)
    assert other("GET", "collections/copy")[0] == 200
    assert api("GET", "collections/copy")[0] == 404
    assert not Collection.objects.get(slug="copy").watched_sources.exists()


@pytest.mark.parametrize(("level", "status"), [(0, 404), (1, 403), (2, 403), (3, 200)])
def test_only_who_may_manage_a_collection_takes_it_away(archive, level, status):
    reader = Api("reader")
    if level:
        reader.granted(Collection.objects.get(), level)
    response = reader.raw("GET", "collections/handbook/archive")
    response.close()
    assert response.status_code == status


def test_what_cannot_be_imported_is_told(api, archive, settings):
    assert post(api, archive)[1]["error"]["code"] == "collection_exists"
    status, answer = post(api, archive, query="?slug=handbook")
    assert (status, answer["error"]["param"]) == (409, "slug")
    assert post(api, b"no zip")[1]["error"]["code"] == "invalid_archive"
    assert post(api, b"{}", "application/json")[0] == 415
    assert post(api, archive, query="?colour=red")[1]["error"]["param"] == "colour"
    assert post(api, archive, query="?slug=a b")[1]["error"]["param"] == "slug"
    settings.MAX_BODY_BYTES = 100
    assert post(api, archive)[0] == 413
    assert Collection.objects.count() == 1


def test_a_key_brings_no_embedding_model(api, archive):
    Collection.objects.all().delete()
    EmbeddingModel.objects.all().delete()
    assert "administrator" in post(api, archive)[1]["error"]["message"]


def test_a_collection_may_be_called_import(api):
    shelf("import")
    assert api("GET", "collections/import")[1]["slug"] == "import"
    assert api("PATCH", "collections/import", {"name": "Imports"})[1]["name"] == "Imports"


class TestADiskWithoutRoom:
    @pytest.fixture
    def full(self, archive, monkeypatch):
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115

    def test_takes_no_archive_in_and_says_so(self, api, archive, full, caplog):
        status, answer = post(api, archive, query="?slug=copy")
        assert (status, answer["error"]["code"]) == (503, "service_unavailable")
        assert "no room left" in answer["error"]["message"]
        assert "Traceback" not in caplog.text
        assert "make room" in caplog.text
        assert Collection.objects.count() == 1

    def test_gives_none_out_and_says_so(self, api, full):
        response = api.raw("GET", "collections/handbook/archive")
        assert response.status_code == 503
        assert "no room left" in response.json()["error"]["message"]
