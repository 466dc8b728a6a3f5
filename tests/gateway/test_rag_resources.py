"""Collections, documents and jobs as resources: what clients get, change and are told when it makes no sense."""

import datetime as dt
import uuid

import pytest
from django.db import OperationalError
from django.utils import timezone

from gateway.errors import from_exception
from knowledge.models import Collection, Document, Grant, IngestionJob
from tests.gateway.ragshelf import TEXT, Api, collection, document, job

pytestmark = pytest.mark.django_db


@pytest.fixture
def api():
    return Api()


def ids(page):
    return [one["id"] for one in page["data"]]


class TestCollections:
    def test_one_is_made_changed_and_deleted(self, api):
        status, made = api("POST", "collections", {"slug": "handbook", "language": "en", "chunk_tokens": 100})
        assert (status, made["id"], made["slug"], made["name"]) == (201, "handbook", "handbook", "handbook")
        assert (made["embedding_model"], made["chunk_tokens"]) == ("all-MiniLM-L6-v2", 100)
        assert (made["document_count"], made["chunk_count"], made["access"]) == (0, 0, "manage")
        status, changed = api("PATCH", "collections/handbook", {"name": "Our handbook", "vector_weight": 0.7})
        assert (status, changed["name"], changed["vector_weight"]) == (200, "Our handbook", 0.7)
        assert api("PATCH", "collections/handbook", {"vector_weight": None})[1]["vector_weight"] is None
        assert api("GET", "collections/handbook")[1]["name"] == "Our handbook"
        gone = {"id": "handbook", "object": "rag.collection.deleted", "deleted": True}
        assert api("DELETE", "collections/handbook") == (200, gone)
        assert api("GET", "collections/handbook")[0] == 404

    def test_one_that_is_deleted_takes_everything_with_it(self, api):
        document(collection())
        assert api("DELETE", "collections/handbook")[0] == 200
        assert not Document.objects.exists()

    def test_the_model_suits_the_language_unless_it_is_named(self, api):
        assert api("POST", "collections", {"slug": "a"})[1]["embedding_model"] == "multilingual-e5-small-q4"
        body = {"slug": "b", "language": "de", "embedding_model": "all-MiniLM-L6-v2"}
        assert api("POST", "collections", body)[1]["embedding_model"] == "all-MiniLM-L6-v2"

    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            ({}, "slug", "required"),
            ({"slug": "a b"}, "slug", "valid"),
            ({"slug": "x", "colour": "red"}, "colour", "no field 'colour'"),
            ({"slug": "x", "chunk_count": 5}, "chunk_count", "cannot be set"),
            ({"slug": "x", "mode": "fuzzy"}, "mode", "not a valid choice"),
            ({"slug": "x", "everyone": 3}, "everyone", "not a valid choice"),
            ({"slug": "x", "threshold": 2}, "threshold", "1"),
            ({"slug": "x", "chunk_tokens": 5}, "chunk_tokens", "32"),
            ({"slug": "x", "chunk_tokens": 40, "chunk_overlap": 30}, "chunk_overlap", "half"),
            ({"slug": "x", "language": "German"}, "language", "two or three letters"),
            ({"slug": "x", "embedding_model": "nothing"}, "embedding_model", "GET /v1/rag/embedding-models"),
            ({"slug": "x", "neighbours": 9}, "neighbours", "5"),
            ({"slug": "x", "name": "\ud83d"}, "name", "urrogate"),
            ({"slug": "x", "description": "\0"}, "description", "ull"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_named(self, api, body, param, words):
        status, answer = api("POST", "collections", body)
        assert (status, answer["error"]["param"]) == (400, param)
        assert words in answer["error"]["message"]
        assert answer["error"]["type"] == "invalid_request_error"
        assert not Collection.objects.exists()

    def test_a_body_that_is_no_json_is_refused(self, api):
        assert api("POST", "collections", b"{")[1]["error"]["message"].startswith("The body is not valid JSON")

    def test_a_name_that_is_taken_stays_with_who_has_it(self, api):
        collection("secret", everyone=0)
        status, answer = api("POST", "collections", {"slug": "secret"})
        assert (status, answer["error"]["code"], answer["error"]["param"]) == (409, "collection_exists", "slug")

    def test_what_clients_know_it_by_stays(self, api):
        collection()
        status, answer = api("PATCH", "collections/handbook", {"slug": "other"})
        assert (status, answer["error"]["param"]) == (400, "slug")

    def test_other_settings_tell_how_many_documents_are_cut_by_the_old_ones(self, api):
        row = collection()
        document(row, "a.md")
        document(row, "b.md")
        assert api("GET", "collections/handbook")[1]["outdated_documents"] == 0
        told = api("PATCH", "collections/handbook", {"chunk_tokens": 64})[1]
        assert (told["outdated_documents"], told["reingest"]) == (2, None)
        assert not IngestionJob.objects.exists()

    def test_and_cut_them_anew_where_that_is_asked_for(self, api):
        row = collection()
        document(row, "a.md")
        document(row, "b.md")
        told = api("PATCH", "collections/handbook", {"chunk_tokens": 64}, reingest="true")[1]
        assert told["reingest"]["jobs"] == 2
        assert len(api("GET", "jobs", batch=told["reingest"]["batch"])[1]["data"]) == 2

    def test_whoever_restricts_one_keeps_it(self, api):
        assert api("POST", "collections", {"slug": "mine", "everyone": "nothing"})[1]["access"] == "manage"
        assert api("GET", "collections/mine")[1]["everyone"] == "nothing"
        assert Api("other")("GET", "collections/mine")[0] == 404
        api("POST", "collections", {"slug": "ours"})
        assert not Grant.objects.filter(collection__slug="ours").exists()
        assert api("PATCH", "collections/ours", {"everyone": "read"})[1]["access"] == "manage"

    def test_counts_and_rights_are_each_ones_own(self, api):
        row = collection("handbook", everyone=1)
        document(row, "a.md")
        document(row, "b.md")
        document(collection("wiki"))
        listed = {one["slug"]: one for one in api("GET", "collections")[1]["data"]}
        assert {slug: (one["document_count"], one["access"]) for slug, one in listed.items()} == {
            "handbook": (2, "read"),
            "wiki": (1, "manage"),
        }
        assert ("everyone" in listed["handbook"], listed["wiki"]["everyone"]) == (False, "manage")

    def test_those_of_a_running_evaluation_are_not_there(self, api):
        document(collection("scratch", scratch=True))
        assert api("GET", "collections")[1]["data"] == []
        assert api("GET", "collections/scratch")[0] == 404
        assert api("GET", "documents")[1]["data"] == []

    @pytest.mark.parametrize("slug", ["nothing", "a%20b", "%00", "%FF", "x" * 300])
    def test_one_that_is_not_there(self, api, slug):
        status, answer = api("GET", f"collections/{slug}")
        assert (status, answer["error"]["code"]) == (404, "collection_not_found")


class TestPaging:
    def test_pages_follow_each_other_without_gaps(self, api):
        for number in range(5):
            collection(f"c{number}")
        first = api("GET", "collections", limit=2)[1]
        assert (first["object"], ids(first), first["has_more"]) == ("list", ["c0", "c1"], True)
        assert (first["first_id"], first["last_id"]) == ("c0", "c1")
        second = api("GET", "collections", limit=2, after="c1")[1]
        last = api("GET", "collections", limit=2, after=second["last_id"])[1]
        assert (ids(second), ids(last), last["has_more"]) == (["c2", "c3"], ["c4"], False)

    def test_how_many_is_a_whole_number_however_it_is_written(self, api):
        statuses = [api("GET", "collections", limit=limit)[0] for limit in ("20", "0020", "+20", "2e1", "２０", "20.0")]
        assert statuses == [200, 200, 400, 400, 400, 400]

    def test_nothing_is_a_list_too(self, api):
        page = api("GET", "documents")[1]
        assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}

    @pytest.mark.parametrize("order", ["-created", "created", "-updated", "updated", "source", "-source", "title"])
    def test_every_order_is_stable_also_among_those_alike(self, api, order):
        row = collection()
        for number in range(7):
            document(row, f"{number}.md")
        now = timezone.now()
        Document.objects.update(updated_at=now, title="Alike")
        whole = ids(api("GET", "documents", order=order)[1])
        pages, after = [], {}
        while True:
            page = api("GET", "documents", order=order, limit=3, **after)[1]
            pages += ids(page)
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert pages == whole
        assert len(set(whole)) == 7

    def test_who_deletes_what_a_page_listed_gets_the_next_one(self, api):
        row = collection()
        numbers = [document(row, f"{number}.md").pk for number in range(4)][::-1]
        page = api("GET", "documents", limit=2)[1]
        for number in ids(page):
            assert api("DELETE", f"documents/{number}")[0] == 200
        assert ids(api("GET", "documents", limit=2, after=page["last_id"])[1]) == numbers[2:]

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 101}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"limit": "00000000001"}, "limit"),
            ({"after": "x"}, "after"),
            ({"after": "x", "order": "title"}, "after"),
            ({"after": 10**30, "order": "title"}, "after"),
            ({"order": "colour"}, "order"),
            ({"colour": "red"}, "colour"),
            ({"status": "lost"}, "status"),
            ({"filters": "{"}, "filters"),
            ({"filters": '{"type": "like", "key": "a", "value": 1}'}, "filters"),
            ({"source": "\0"}, "source"),
            ({"after": "\0", "order": "title"}, "after"),
            ({"collection": "nothing"}, "collection"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_named(self, api, query, param):
        status, answer = api("GET", "documents", **query)
        assert (status, answer["error"]["param"]) == (404 if param == "collection" else 400, param)

    def test_jobs_go_by_time(self, api):
        row = collection()
        made = [job(row) for _ in range(3)]
        now = timezone.now()
        for age, one in enumerate(made):
            IngestionJob.objects.filter(pk=one.pk).update(created_at=now - dt.timedelta(hours=age))
        page = api("GET", "jobs", limit=2)[1]
        assert ids(page) == [str(made[0].pk), str(made[1].pk)]
        assert ids(api("GET", "jobs", after=page["last_id"])[1]) == [str(made[2].pk)]
        assert api("GET", "jobs", after=str(uuid.uuid4()))[1]["error"]["param"] == "after"


class TestDocuments:
    def test_one_is_told_with_its_revisions(self, api):
        row = document(collection(), metadata={"year": 2024})
        told = api("GET", f"documents/{row.pk}")[1]
        assert (told["object"], told["id"], told["collection"]) == ("rag.document", row.pk, "handbook")
        assert (told["metadata"], told["status"], told["error"]) == ({"year": 2024}, "ready", None)
        (revision,) = told["revisions"]
        assert (revision["number"], revision["size"], revision["chunks"]) == (1, len(TEXT), 1)

    def test_what_is_said_of_one_is_changed(self, api):
        row = document(collection())
        body = {"url": "https://intranet.example/leave", "metadata": {"author": "Jo"}, "enabled": False}
        status, told = api("PATCH", f"documents/{row.pk}", body)
        assert status == 200
        assert {name: told[name] for name in body} == body
        row.refresh_from_db()
        assert (row.metadata, row.enabled, row.title) == ({"author": "Jo"}, False, "leave.md")

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"source": "x"}, "source"),
            ({"colour": "red"}, "colour"),
            ({"metadata": []}, "metadata"),
            ({"metadata": None}, "metadata"),
            ({"metadata": {str(number): 1 for number in range(65)}}, "metadata"),
            ({"metadata": {"a": "x" * 17_000}}, "metadata"),
            ({"metadata": {"a": "\0"}}, "metadata"),
            ({"enabled": "perhaps"}, "enabled"),
            ({"url": "javascript:alert(1)"}, "url"),
            ({"language": "Klingon"}, "language"),
            ({"title": "x" * 501}, "title"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_makes_no_sense_is_named(self, api, body, param):
        row = document(collection())
        status, answer = api("PATCH", f"documents/{row.pk}", body)
        assert (status, answer["error"]["param"]) == (400, param)

    def test_one_is_deleted_for_good(self, api):
        row = document(collection())
        assert api("DELETE", f"documents/{row.pk}")[1] == {
            "id": row.pk, "object": "rag.document.deleted", "deleted": True
        }  # fmt: skip
        assert api("GET", f"documents/{row.pk}")[0] == 404
        assert api("DELETE", f"documents/{row.pk}")[0] == 404

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"collection": "handbook"}, {"old.md", "new.md"}),
            ({"source": "wiki.md"}, {"wiki.md"}),
            ({"status": "failed"}, {"new.md"}),
            ({"filters": '{"year": 2020}'}, {"old.md"}),
            ({"filters": '{"type": "gt", "key": "year", "value": 2020}'}, {"new.md"}),
            ({"filters": '{"type": "eq", "key": "document.title", "value": "wiki.md"}'}, {"wiki.md"}),
            ({"collection": "wiki", "filters": '{"year": 2020}'}, set()),
        ],
        ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),  # a set's order differs
    )
    def test_the_list_is_narrowed(self, api, query, expected):
        handbook = collection()
        document(handbook, "old.md", metadata={"year": 2020})
        new = document(handbook, "new.md", metadata={"year": 2024})
        Document.objects.filter(pk=new.pk).update(status="failed")
        document(collection("wiki"), "wiki.md")
        assert {one["source"] for one in api("GET", "documents", **query)[1]["data"]} == expected

    def test_its_chunks_are_read_in_order(self, api):
        row = document(collection(), chunks=5)
        first = api("GET", f"documents/{row.pk}/chunks", limit=3)[1]
        rest = api("GET", f"documents/{row.pk}/chunks", after=first["last_id"])[1]
        assert [one["ordinal"] for one in first["data"] + rest["data"]] == [0, 1, 2, 3, 4]
        assert (first["data"][0]["object"], first["data"][0]["content"]) == ("rag.chunk", TEXT)

    def test_one_is_read_again(self, api):
        row = document(collection())
        status, told = api("POST", f"documents/{row.pk}/reingest")
        assert (status, told["result"], told["document"]["status"]) == (202, "updated", "pending")
        assert api("GET", f"jobs/{told['job']['id']}")[1]["document"] == row.pk

    def test_the_original_comes_as_a_file_that_runs_nowhere(self, api):
        row = document(collection(), "Größe <1>.md")
        response = api.raw("GET", f"documents/{row.pk}/content")
        assert response.content == TEXT.encode()
        assert response["Content-Type"] == "text/markdown"
        assert response["Content-Disposition"].startswith("attachment; filename*=utf-8''Gr")
        assert response["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("mime", ["text/html", "image/svg+xml", "application/xml", "", "text/plain\r\nX: y", "x/y"])
    def test_what_a_browser_might_run_is_sent_as_bytes(self, api, mime):
        row = document(collection(), "page.html", text="<script>alert(1)</script>")
        row.revisions.update(declared_mime=mime)
        assert api.raw("GET", f"documents/{row.pk}/content")["Content-Type"] == "application/octet-stream"

    def test_an_earlier_revision_can_be_had_too(self, api):
        row = document(collection())
        assert api.raw("GET", f"documents/{row.pk}/content", revision=1).status_code == 200
        assert api("GET", f"documents/{row.pk}/content", revision=2)[1]["error"]["code"] == "not_found"
        assert api("GET", f"documents/{row.pk}/content", revision="x")[1]["error"]["param"] == "revision"


class TestJobs:
    def test_one_tells_how_far_it_is(self, api):
        row = collection()
        one = job(row, document=document(row), state="running", stage="embedding", done=5, total=10)
        told = api("GET", f"jobs/{one.pk}")[1]
        assert (told["object"], told["collection"], told["document"]) == ("rag.job", "handbook", one.document_id)
        assert (told["state"], told["stage"], told["done"], told["total"]) == ("running", "embedding", 5, 10)
        assert (told["percent"], told["error"], told["finished_at"]) == (57, None, None)

    def test_it_never_goes_back_and_ends_at_a_hundred(self, api):
        row = collection()
        stages = ["waiting", "fetching", "parsing", "chunking", "embedding", "publishing"]
        steps = [(stage, done) for stage in stages for done in (0, 3, 9)]
        made = [job(row, state="running", stage=stage, done=done, total=9) for stage, done in steps]
        shares = [api("GET", f"jobs/{one.pk}")[1]["percent"] for one in made]
        assert shares == sorted(shares)
        assert shares[-1] < 100
        assert api("GET", f"jobs/{job(row, state='done', stage='finished').pk}")[1]["percent"] == 100

    def test_a_failed_one_says_why_and_a_note_is_no_error(self, api):
        row = collection()
        failed = job(row, state="failed", error_code="encrypted", error="It is protected.")
        told = api("GET", f"jobs/{failed.pk}")[1]
        assert told["error"] == {"code": "encrypted", "message": "It is protected."}
        noted = job(row, kind="sitemap", state="done", error="2 pages were left out.")
        told = api("GET", f"jobs/{noted.pk}")[1]
        assert (told["error"], told["note"]) == (None, "2 pages were left out.")

    def test_one_is_cancelled_once(self, api):
        row = collection()
        one = job(row, document=document(row))
        assert api("DELETE", f"jobs/{one.pk}")[1]["state"] == "cancelled"
        assert api("DELETE", f"jobs/{one.pk}")[1]["state"] == "cancelled"
        done = job(row, state="done")
        assert api("DELETE", f"jobs/{done.pk}")[1]["state"] == "done"

    def test_the_list_is_narrowed(self, api):
        handbook, wiki, batch = collection(), collection("wiki"), uuid.uuid4()
        of_document = job(handbook, document=document(handbook), batch=batch)
        failed, other = job(handbook, state="failed"), job(wiki, batch=batch)
        for query, expected in [
            ({"collection": "handbook"}, {of_document, failed}),
            ({"state": "failed"}, {failed}),
            ({"batch": batch}, {of_document, other}),
            ({"document": of_document.document_id}, {of_document}),
            ({"batch": batch, "collection": "wiki"}, {other}),
        ]:
            assert set(ids(api("GET", "jobs", **query)[1])) == {str(one.pk) for one in expected}

    @pytest.mark.parametrize(
        ("query", "param"),
        [({"state": "lost"}, "state"), ({"batch": "x"}, "batch"), ({"document": "x"}, "document"), ({"q": 1}, "q")],
    )
    def test_what_makes_no_sense_is_named(self, api, query, param):
        assert api("GET", "jobs", **query)[1]["error"]["param"] == param

    @pytest.mark.parametrize("name", ["x", "5d0a9c1e-7b0f-4a53-9d55-3f7d0c1c9a11"])
    def test_one_that_is_not_there(self, api, name):
        assert api("GET", f"jobs/{name}")[1]["error"]["code"] == "job_not_found"


def test_the_embedding_models_are_listed(api):
    page = api("GET", "embedding-models")[1]
    assert [(one["id"], one["dimensions"], one["languages"]) for one in page["data"]] == [
        ("all-MiniLM-L6-v2", 384, ["en"]),
        ("multilingual-e5-small-q4", 384, []),
    ]


def test_a_database_that_is_away_is_a_503_that_says_to_try_again():
    error = from_exception(OperationalError("connection refused"))
    assert (error.status, error.code, error.retry_after) == (503, "service_unavailable", 5)
    assert "refused" not in error.message
