"""What a policy narrows a key to in the knowledge base, beside the matrix of rights: making, files, links."""

import pytest

from gateway.models import ApiKey, KeyGroup
from gateway.sources import token_of
from knowledge.models import Collection, StoredFile
from tests.gateway.ragshelf import collection, document
from tests.gateway.storeshelf import Client, words_store

pytestmark = pytest.mark.django_db


def narrowed(*lines, group="", **fields):
    api = Client(group=group)
    ApiKey.objects.filter(pk=api.key.pk).update(allowed_collections=list(lines), **fields)
    return api


class TestMaking:
    def test_a_collection_needs_a_name_that_may_be_managed(self):
        api = narrowed("team-*: manage", "notes: write")
        assert api("POST", "rag/collections", {"slug": "team-a"})[0] == 201
        for slug in ("notes", "handbook"):
            status, answer = api("POST", "rag/collections", {"slug": slug})
            assert (status, answer["error"]["code"]) == (403, "permission_denied")
            assert f"'{slug}'" in answer["error"]["message"]
        assert list(Collection.objects.values_list("slug", flat=True)) == ["team-a"]

    def test_it_does_not_learn_which_names_are_taken(self):
        collection("handbook")
        api = narrowed("team-*: manage")
        there, not_there = (api("POST", "rag/collections", {"slug": slug}) for slug in ("handbook", "handbooks"))
        assert there[0] == not_there[0] == 403
        assert there[1]["error"]["message"].replace("handbook", "handbooks") == not_there[1]["error"]["message"]

    def test_a_store_gets_a_slug_that_it_may_manage(self):
        api = narrowed("team-*: manage")
        status, told = api("POST", "vector_stores", {"name": "Notes"})
        assert (status, told["name"]) == (200, "Notes")
        assert Collection.objects.get().slug == "team-notes"
        assert api("POST", f"vector_stores/{told['id']}", {"name": "Changed"})[0] == 200
        assert api("DELETE", f"vector_stores/{told['id']}")[0] == 200

    @pytest.mark.parametrize("lines", [["*: write"], ["team-*: read", "notes: write"]])
    def test_who_may_manage_nothing_makes_no_store(self, lines):
        status, answer = narrowed(*lines)("POST", "vector_stores", {"name": "Notes"})
        assert (status, answer["error"]["code"]) == (403, "permission_denied")
        assert not Collection.objects.exists()

    def test_nobody_gets_out_by_restricting_what_it_made(self):
        api = narrowed("team-*: manage")
        api("POST", "rag/collections", {"slug": "team-a"})
        assert api("PATCH", "rag/collections/team-a", {"everyone": "nothing"})[0] == 200
        assert api("GET", "rag/collections/team-a")[1]["access"] == "manage"
        ApiKey.objects.update(allowed_collections=["team-*: read"])
        other = Client()
        assert other("GET", "rag/collections/team-a")[0] == 404


class TestLevels:
    def test_what_the_caller_is_told_it_may_is_what_it_may(self):
        collection("handbook", everyone=3)
        told = narrowed("*: write")("GET", "rag/collections/handbook")[1]
        assert (told["access"], "everyone" in told) == ("write", False)

    def test_a_narrowing_gives_nothing_that_the_collection_does_not(self):
        collection("handbook", everyone=1)
        api = narrowed("*: manage")
        assert api("GET", "rag/collections/handbook")[1]["access"] == "read"
        assert api("PATCH", "rag/collections/handbook", {"name": "x"})[0] == 403

    def test_it_holds_without_required_keys_too(self, settings):
        settings.REQUIRE_API_KEY = False
        collection("handbook", everyone=0)
        collection("team-a", everyone=0)
        api = narrowed("team-*: read")
        assert [one["slug"] for one in api("GET", "rag/collections")[1]["data"]] == ["team-a"]
        assert api("DELETE", "rag/collections/team-a")[0] == 403


class TestFiles:
    def test_its_own_stay_its_own(self):
        api = narrowed("elsewhere: read")
        file = api.uploaded()
        assert api("GET", f"files/{file}")[0] == 200
        store = words_store("handbook")
        Client()("POST", f"vector_stores/{store.public_id}/files", {"file_id": file})
        assert api("GET", f"files/{file}/content")[0] == 200

    def test_those_of_its_group_are_not_a_way_around(self):
        store = words_store("handbook")
        mate, api = Client("mate", group="staff"), narrowed("team-*: read", group="staff")
        loose, shelved = mate.uploaded(), mate.uploaded("b.md", "Wages.")
        assert mate("POST", f"vector_stores/{store.public_id}/files", {"file_id": shelved})[0] == 200
        assert api("GET", f"files/{loose}")[0] == 200
        for address in (f"files/{shelved}", f"files/{shelved}/content"):
            assert api("GET", address)[0] == 404
        assert [one["id"] for one in api("GET", "files")[1]["data"]] == [loose]
        assert api("DELETE", f"files/{shelved}")[0] == 404
        assert StoredFile.objects.count() == 2


def test_links_of_answers_show_what_the_key_may_read_now(client):
    row = collection("handbook", everyone=1)
    found = document(row)
    key, _ = ApiKey.objects.issue(name="app", group="staff")
    token = token_of(found.pk, 1, tuple(found.chunks.values_list("pk", flat=True)), key_id=key.pk)
    assert client.get(f"/sources/{token}").status_code == 200
    KeyGroup.objects.create(name="staff", allowed_collections=["team-*: read"])
    assert client.get(f"/sources/{token}").status_code == 404
    KeyGroup.objects.update(allowed_collections=["hand*: read"])
    assert client.get(f"/sources/{token}").status_code == 200
    ApiKey.objects.update(allowed_collections=["other: read"])
    assert client.get(f"/sources/{token}").status_code == 404
