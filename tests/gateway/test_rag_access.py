"""Who may do what: to a key without access a collection does not exist; one that may only read is told so."""

import pytest

from knowledge.models import Chunk, Collection, Document, Grant
from tests.gateway.ragshelf import Api, collection, document, job

pytestmark = pytest.mark.django_db

READ, WRITE, MANAGE = 1, 2, 3

CALLS = [
    (READ, "GET", "collections/secret", None),
    (READ, "GET", "documents/{document}", None),
    (READ, "GET", "documents/{document}/chunks", None),
    (READ, "GET", "documents/{document}/content", None),
    (READ, "GET", "documents?collection=secret", None),
    (READ, "GET", "jobs/{job}", None),
    (READ, "GET", "jobs?collection=secret", None),
    (WRITE, "PATCH", "documents/{document}", {"metadata": {"a": 1}}),
    (WRITE, "POST", "documents/{document}/reingest", None),
    (WRITE, "DELETE", "jobs/{job}", None),
    (WRITE, "DELETE", "documents/{document}", None),
    (MANAGE, "PATCH", "collections/secret", {"name": "Changed"}),
    (MANAGE, "DELETE", "collections/secret", None),
]


@pytest.fixture
def secret():
    """A collection that nobody sees unless it is granted to them, with a document and a job."""
    row = collection("secret", everyone=0)
    found = document(row)
    return row, {"document": found.pk, "job": job(row, document=found).pk}


def call(api, method, path, body, names):
    path, _, query = path.format(**names).partition("?")
    return api(method, path, body, **dict(part.split("=") for part in query.split("&") if part))


@pytest.mark.parametrize(("level", "method", "path", "body"), CALLS, ids=lambda value: str(value))
@pytest.mark.parametrize("granted", [0, READ, WRITE, MANAGE])
def test_the_matrix(secret, level, method, path, body, granted):
    row, names = secret
    api = Api()
    if granted:
        api.granted(row, granted)
    before = (Collection.objects.count(), Document.objects.count(), Document.objects.get().metadata)
    status, answer = call(api, method, path, body, names)
    if granted >= level:
        assert status in (200, 202)
        return
    assert status == (403 if granted else 404)
    assert answer["error"]["code"] in (
        ["permission_denied"] if granted else ["collection_not_found", "document_not_found", "job_not_found"]
    )
    if granted:
        assert "'secret'" in answer["error"]["message"]
        assert "administrator" in answer["error"]["message"]
    assert before == (Collection.objects.count(), Document.objects.count(), Document.objects.get().metadata)


def test_what_is_not_open_reads_like_what_is_not_there(secret):
    _, names = secret
    for name, path in (("document", "documents/{}"), ("job", "jobs/{}")):
        hidden = Api()("GET", path.format(names[name]))
        missing = Api()("GET", path.format(10**6 if name == "document" else "00000000-0000-4000-8000-000000000000"))
        assert hidden[0] == missing[0] == 404
        assert hidden[1]["error"]["code"] == missing[1]["error"]["code"]


def test_lists_hold_only_what_may_be_read(secret):
    open_one = collection("open")
    found = document(open_one)
    job(open_one, document=found)
    for path in ("collections", "documents", "jobs"):
        assert len(Api()("GET", path)[1]["data"]) == 1
        assert len(Api().granted(secret[0], READ)("GET", path)[1]["data"]) == 2


def test_an_id_of_something_hidden_is_no_place_in_a_list(secret):
    answer = Api()("GET", "documents", after=secret[1]["document"], order="title")[1]
    assert answer["error"]["param"] == "after"


def test_a_group_is_granted_and_two_grants_add_up(secret):
    row, names = secret
    Grant.objects.create(collection=row, group="marketing", level=READ)
    member, other = Api("member", group="marketing"), Api("other", group="sales")
    assert member("GET", f"documents/{names['document']}")[0] == 200
    assert other("GET", f"documents/{names['document']}")[0] == 404
    member.granted(row, WRITE)
    assert member("DELETE", f"documents/{names['document']}")[0] == 200


def test_what_is_open_to_everyone_adds_to_what_is_granted():
    row = collection(everyone=WRITE)
    found = document(row)
    api = Api().granted(row, READ)
    assert api("PATCH", f"documents/{found.pk}", {"url": "https://x.example"})[0] == 200
    assert api("PATCH", "collections/handbook", {"name": "x"})[0] == 403


def test_a_grant_taken_back_counts_at_once(secret):
    row, names = secret
    api = Api().granted(row, READ)
    assert api("GET", f"documents/{names['document']}")[0] == 200
    Grant.objects.all().delete()
    assert api("GET", f"documents/{names['document']}")[0] == 404


def test_without_required_keys_everything_is_open(secret, settings):
    settings.REQUIRE_API_KEY = False
    assert Api()("DELETE", "collections/secret")[0] == 200
    assert not Chunk.objects.exists()


def test_a_key_is_needed(client):
    collection()
    response = client.get("/v1/rag/collections")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


def test_no_client_says_that_others_texts_are_trusted():
    """Or whoever may write them could have tools called by them."""
    row = collection(trusted=False)
    api = Api().granted(row, MANAGE)
    status, answer = api("PATCH", "collections/handbook", {"trusted": True})
    assert (status, answer["error"]["code"]) == (403, "permission_denied")
    assert "administrator" in answer["error"]["message"]
    assert api("PATCH", "collections/handbook", {"trusted": False, "name": "Web"})[1]["trusted"] is False
    Collection.objects.update(trusted=True)
    assert api("PATCH", "collections/handbook", {"trusted": True})[0] == 200
    assert api("PATCH", "collections/handbook", {"trusted": False})[0] == 200
