"""OpenAI's Files API: what is uploaded, who sees it, and that nothing is left of what is deleted."""

import datetime as dt

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from knowledge.access import Access
from knowledge.filing import file_receive
from knowledge.models import Document, Grant, StoredContent, StoredFile
from knowledge.storedfiles import file_delete, file_store
from tests.gateway.ragshelf import collection, document
from tests.gateway.storeshelf import Client

pytestmark = pytest.mark.django_db

READ, WRITE = 1, 2


@pytest.fixture
def api():
    return Client()


def ids(answer):
    return [one["id"] for one in answer[1]["data"]]


class TestUploads:
    def test_a_file_is_kept_as_it_came(self, api):
        status, made = api.upload("leave.md", "Sick leave.", purpose="user_data")
        assert status == 200
        assert made["id"].startswith("file-")
        told = {name: made[name] for name in ("object", "bytes", "filename", "purpose", "status", "expires_at")}
        assert told == {
            "object": "file",
            "bytes": 11,
            "filename": "leave.md",
            "purpose": "user_data",
            "status": "processed",
            "expires_at": None,
        }
        assert abs(made["created_at"] - timezone.now().timestamp()) < 60
        assert api("GET", f"files/{made['id']}") == (200, made)
        content = api.raw("GET", f"files/{made['id']}/content")
        assert content.content == b"Sick leave."
        assert content["X-Content-Type-Options"] == "nosniff"

    def test_content_comes_whatever_kind_is_asked_for(self, api):
        path = f"/v1/files/{api.uploaded()}/content"
        answer = api._client.get(path, headers={"Accept": "application/binary"})
        assert (answer.status_code, answer.content) == (200, b"Sick leave.")

    def test_a_script_is_not_sent_as_something_that_runs(self, api):
        answer = api.raw("GET", f"files/{api.uploaded('page.html', '<script>alert(1)</script>')}/content")
        assert answer["Content-Type"] == "application/octet-stream"

    def test_it_expires_when_it_is_asked_to(self, api):
        _, made = api.upload(**{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"})
        assert made["expires_at"] - made["created_at"] in (3599, 3600, 3601)
        StoredFile.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
        assert api("GET", f"files/{made['id']}")[0] == 404
        assert ids(api("GET", "files")) == []

    def test_files_of_batches_expire_after_thirty_days(self, api):
        _, made = api.upload("calls.jsonl", "{}", purpose="batch")
        assert round((made["expires_at"] - made["created_at"]) / 86_400) == 30

    @pytest.mark.parametrize(
        ("fields", "param", "words"),
        [
            ({"purpose": None}, "purpose", "assistants"),
            ({"purpose": "dinner"}, "purpose", "one of"),
            ({"data": b""}, "file", "empty"),
            ({"file": None}, "file", "none"),
            (
                {"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"},
                "expires_after[anchor]",
                "",
            ),
            ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "5"}, "expires_after[seconds]", "3,600"),
            ({"expires_after[anchor]": "created_at"}, "expires_after[seconds]", "3,600"),
            ({"expires_after": "never"}, "expires_after", "anchor"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_named(self, api, fields, param, words):
        status, told = api.upload(**fields)
        assert (status, told["error"]["param"]) == (400, param)
        assert words in told["error"]["message"]
        assert not StoredFile.objects.exists()

    def test_json_is_no_form(self, api):
        status, told = api("POST", "files", {"file": "x"})
        assert (status, "multipart/form-data" in told["error"]["message"]) == (415, True)

    def test_one_that_is_too_large_is_refused(self, api, settings):
        settings.MAX_BODY_BYTES = 5
        status, told = api.upload()
        assert (status, told["error"]["code"]) == (413, "request_too_large")

    def test_fields_that_nobody_reads_are_named(self, api):
        response = api._client.post(
            "/v1/files", {"file": SimpleUploadedFile("a.txt", b"text"), "purpose": "vision", "colour": "red"}
        )
        assert response["X-MoE-Ignored"] == "colour"


class TestLists:
    def test_they_are_newest_first_and_paged(self, api):
        made = [api.uploaded(f"{number}.txt", str(number)) for number in range(4)]
        assert ids(api("GET", "files")) == made[::-1]
        status, first = api("GET", "files", limit=3, order="asc")
        assert (status, [one["id"] for one in first["data"]], first["has_more"]) == (200, made[:3], True)
        assert ids(api("GET", "files", limit=3, order="asc", after=first["last_id"])) == made[3:]
        assert ids(api("GET", "files", purpose="vision")) == []

    def test_a_loop_that_deletes_what_it_lists_comes_to_its_end(self, api):
        for number in range(5):
            api.uploaded(f"{number}.txt", str(number))
        after, deleted = {}, 0
        while found := api("GET", "files", limit=2, **after)[1]["data"]:
            for one in found:
                assert api("DELETE", f"files/{one['id']}")[0] == 200
                deleted += 1
            after = {"after": found[-1]["id"]}
        assert (deleted, StoredFile.objects.count()) == (5, 0)

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 20_000}, "limit"),
            ({"order": "up"}, "order"),
            ({"after": "x"}, "after"),
            ({"colour": "red"}, "colour"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_named(self, api, query, param):
        status, told = api("GET", "files", **query)
        assert (status, told["error"]["param"]) == (400, param)


class TestRights:
    def test_others_do_not_know_of_a_file(self, api):
        file_id = api.uploaded()
        other = Client("other", group="sales")
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            status, told = other(method, f"files/{file_id}{path}")
            assert (status, told["error"]["code"]) == (404, "file_not_found")
        assert ids(other("GET", "files")) == []
        assert api("GET", f"files/{file_id}")[0] == 200

    def test_keys_of_one_group_share_their_files(self):
        file_id = Client("one", group="sales").uploaded()
        assert Client("two", group="sales")("DELETE", f"files/{file_id}")[0] == 200

    def test_everybody_sees_everything_where_no_key_is_needed(self, api, settings, client):
        settings.REQUIRE_API_KEY = False
        file_id = api.uploaded()
        assert client.get(f"/v1/files/{file_id}").status_code == 200
        assert client.delete(f"/v1/files/{file_id}").status_code == 200

    def test_who_reads_a_collection_reads_its_files_and_cannot_delete_them(self, api):
        file_id = api.uploaded()
        file_receive(collection=collection(everyone=READ), file=StoredFile.objects.get())
        other = Client("other")
        assert other("GET", f"files/{file_id}/content") == (200, b"Sick leave.")
        status, told = other("DELETE", f"files/{file_id}")
        assert (status, told["error"]["code"]) == (403, "permission_denied")
        assert "another API key" in told["error"]["message"]

    def test_a_file_is_deleted_only_by_who_may_delete_from_all_its_collections(self, api):
        file_id = api.uploaded()
        file = StoredFile.objects.get()
        secret = collection("secret", everyone=0)
        for row in (secret, collection("open"), collection("handbook", everyone=READ)):
            file_receive(collection=row, file=file)
        status, told = api("DELETE", f"files/{file_id}")
        assert status == 403
        assert "'handbook' (vs_" in told["error"]["message"]
        assert "1 that it may not read" in told["error"]["message"]
        assert "secret" not in told["error"]["message"]
        assert "'open'" not in told["error"]["message"]
        assert Document.objects.count() == 3
        api.granted(secret, WRITE)
        api.granted(Document.objects.get(collection__slug="handbook").collection, WRITE)
        assert api("DELETE", f"files/{file_id}")[0] == 200
        assert not Document.objects.exists()
        assert not StoredContent.objects.exists()

    def test_a_file_whose_key_is_gone_is_its_collections(self, api):
        file_id = api.uploaded()
        file_receive(collection=collection(), file=StoredFile.objects.get())
        api.key.delete()
        assert Client("other")("DELETE", f"files/{file_id}")[0] == 200


class TestDeletion:
    def test_a_file_that_was_uploaded_twice_is_two_files(self, api):
        one, two = api.uploaded(), api.uploaded()
        assert StoredContent.objects.count() == 1
        gone = {"id": one, "object": "file", "deleted": True}
        assert api("DELETE", f"files/{one}") == (200, gone)
        assert api("GET", f"files/{one}")[0] == 404
        assert api("GET", f"files/{two}/content") == (200, b"Sick leave.")
        assert api("DELETE", f"files/{two}")[0] == 200
        assert not StoredContent.objects.exists()

    def test_content_that_a_document_has_as_well_stays(self, api):
        document(collection(), text="Sick leave.")
        api("DELETE", f"files/{api.uploaded()}")
        assert StoredContent.objects.count() == 1

    def test_one_that_is_gone_already_is_no_error(self):
        file = file_store(name="a.txt", purpose="assistants", data=b"text", access=Access())
        file_delete(file=file)
        file_delete(file=file)
        assert not StoredFile.objects.exists()


class TestDocuments:
    """What came to a collection in another way answers to its id as well."""

    def test_they_are_files_of_their_own(self, api):
        row = document(collection(), text="Sick leave.")
        status, told = api("GET", f"files/{row.public_id}")
        assert (status, told["id"], told["bytes"], told["filename"]) == (200, row.public_id, 11, "leave.md")
        assert (told["status"], told["purpose"]) == ("processed", "assistants")
        assert api("GET", f"files/{row.public_id}/content") == (200, b"Sick leave.")
        assert api("DELETE", f"files/{row.public_id}")[0] == 200
        assert not Document.objects.exists()

    def test_rights_are_those_of_the_collection(self, api):
        row = document(collection(everyone=0))
        assert api("GET", f"files/{row.public_id}")[0] == 404
        Grant.objects.create(collection=row.collection, key=api.key, level=READ)
        assert api("GET", f"files/{row.public_id}")[0] == 200
        assert api("DELETE", f"files/{row.public_id}")[0] == 403

    def test_one_that_was_never_fetched_has_no_content(self, api):
        row = Document.objects.create(collection=collection(), source="https://example.org/")
        assert api("GET", f"files/{row.public_id}/content")[0] == 404
        assert api("GET", f"files/{row.public_id}")[1]["status"] == "uploaded"
