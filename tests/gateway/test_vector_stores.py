"""OpenAI's vector stores over the rows of the knowledge base: what is made, added, told, found and gone."""

import datetime as dt
import json

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from gateway.auth import Caller
from gateway.library import Library
from knowledge.access import EVERYTHING
from knowledge.admin.mentions import mentions, unknown_mentions
from knowledge.collections import collection_get_or_create
from knowledge.documents import document_update
from knowledge.exceptions import CollectionNotFound, Expired
from knowledge.expiring import activity, expired_sweep
from knowledge.models import Collection, Document, EmbeddingModel, IngestionJob, StoredContent, StoredFile
from knowledge.parsing import ParseFailed
from knowledge.passages import SearchRequest
from knowledge.receiving import Incoming, document_receive
from knowledge.search import search
from routing.models import RoutingRule
from tests.gateway.ragshelf import collection, document
from tests.gateway.storeshelf import Client, read_all, words_store
from tests.knowledge.conftest import knowledge  # noqa: F401
from tests.knowledge.library import Bench, put

READ, WRITE, MANAGE = 1, 2, 3
LEAVE = "Sick leave is approved by the team lead."
TRAVEL = "Trains are booked by the office."


@pytest.fixture
def api(db):
    return Client()


def ids(answer):
    return [one["id"] for one in answer[1]["data"]]


def static(tokens, overlap):
    return {
        "type": "static",
        "static": {"max_chunk_size_tokens": tokens, "chunk_overlap_tokens": overlap},
    }


def expire(store, days=2):
    Collection.objects.filter(pk=store.pk).update(
        expires_after_days=days, created_at=timezone.now() - dt.timedelta(days=days, minutes=1), last_active_at=None
    )


class TestStores:
    def test_one_is_made_changed_and_deleted(self, api):
        status, made = api("POST", "vector_stores", {"name": "Our Handbook", "metadata": {"team": "people"}})
        row = Collection.objects.get()
        assert (status, made["id"], row.slug) == (200, f"vs_{row.uid.hex}", "our-handbook")
        assert made == made | {
            "object": "vector_store",
            "name": "Our Handbook",
            "status": "completed",
            "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0},
            "usage_bytes": 0,
            "metadata": {"team": "people"},
            "expires_after": None,
            "expires_at": None,
        }
        assert made["last_active_at"] == made["created_at"]
        path = f"vector_stores/{made['id']}"
        expiry = {"anchor": "last_active_at", "days": 7}
        changed = api("POST", path, {"name": "Handbook", "metadata": {"team": "x"}, "expires_after": expiry})[1]
        assert (changed["name"], changed["metadata"], changed["expires_after"]) == ("Handbook", {"team": "x"}, expiry)
        assert changed["expires_at"] == changed["last_active_at"] + 7 * 86_400
        assert api("GET", path) == (200, changed)
        assert api("POST", path, {"expires_after": None, "metadata": None})[1]["expires_at"] is None
        row.refresh_from_db()
        assert (row.metadata, row.slug) == ({}, "our-handbook")
        assert api("DELETE", path) == (200, {"id": made["id"], "object": "vector_store.deleted", "deleted": True})
        status, told = api("GET", path)
        assert (status, told["error"]["code"]) == (404, "vector_store_not_found")

    def test_names_for_clients_are_made_unique(self, api):
        for body in ({"name": "Handbook"}, {"name": "handbook!"}, {}, {"name": "手冊"}, {}):
            assert api("POST", "vector_stores", body)[0] == 200
        made = Collection.objects.order_by("created_at").values_list("slug", flat=True)
        assert list(made) == ["handbook", "handbook-2", "store", "store-2", "store-3"]

    def test_one_that_expires_soon_after_a_change_is_kept(self, api):
        row = collection()
        Collection.objects.update(created_at=timezone.now() - dt.timedelta(days=30))
        body = {"expires_after": {"anchor": "last_active_at", "days": 7}}
        assert api("POST", f"vector_stores/{row.public_id}", body)[1]["status"] == "completed"

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"name": 5}, "name"),
            ({"name": "x" * 201}, "name"),
            ({"metadata": {"a": 5}}, "metadata"),
            ({"metadata": dict.fromkeys(map(str, range(17)), "")}, "metadata"),
            ({"metadata": {"a" * 65: ""}}, "metadata"),
            ({"metadata": {"a": "x" * 513}}, "metadata"),
            ({"metadata": "a"}, "metadata"),
            ({"expires_after": {"days": 5}}, "expires_after.anchor"),
            ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
            ({"expires_after": {"anchor": "last_active_at", "days": 1, "hours": 5}}, "expires_after.hours"),
            ({"chunking_strategy": {"type": "other"}}, "chunking_strategy.type"),
            ({"chunking_strategy": {"type": "static"}}, "chunking_strategy.static"),
            ({"chunking_strategy": static(50, 0)}, "chunking_strategy.static.max_chunk_size_tokens"),
            ({"chunking_strategy": static(5000, 0)}, "chunking_strategy.static.max_chunk_size_tokens"),
            ({"chunking_strategy": static(100, 51)}, "chunking_strategy.static.chunk_overlap_tokens"),
            ({"file_ids": "file-1"}, "file_ids"),
            ({"file_ids": ["file-1"]}, "file_ids[0]"),
            ({"file_ids": [""]}, "file_ids"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_named(self, api, body, param):
        status, told = api("POST", "vector_stores", body)
        assert (status in (400, 404), told["error"]["param"]) == (True, param)
        assert not Collection.objects.exists()

    def test_fields_that_nobody_reads_are_named(self, api):
        assert api.raw("POST", "vector_stores", {"name": "a", "colour": "red"})["X-MoE-Ignored"] == "colour"

    def test_chunks_are_cut_as_far_as_the_model_goes(self, api):
        answer = api.raw("POST", "vector_stores", {"chunking_strategy": static(800, 400)})
        assert answer["X-MoE-Adjusted"] == "chunking_strategy"
        row = Collection.objects.get()
        assert (row.chunk_tokens, row.chunk_overlap) == (800, 400)
        assert row.longest_chunk == row.embedding_model.max_tokens < 800
        answer = api.raw("POST", "vector_stores", {"chunking_strategy": static(100, 20)})
        assert "X-MoE-Adjusted" not in answer

    def test_the_list_is_paged_both_ways(self, api):
        made = [api("POST", "vector_stores", {"name": str(number)})[1]["id"] for number in range(5)]
        assert ids(api("GET", "vector_stores")) == made[::-1]
        assert ids(api("GET", "vector_stores", order="asc", limit=2)) == made[:2]
        page = api("GET", "vector_stores", order="asc", limit=2, after=made[1])[1]
        assert (page["first_id"], page["last_id"], page["has_more"]) == (made[2], made[3], True)
        assert ids(api("GET", "vector_stores", order="asc", limit=2, before=made[3])) == made[1:3]
        assert ids(api("GET", "vector_stores", order="asc", after=made[0], before=made[3])) == made[1:3]
        assert ids(api("GET", "vector_stores", before=made[3])) == [made[4]]
        assert ids(api("GET", "vector_stores", limit="0002")) == made[:2:-1]
        for query in ({"after": "x"}, {"before": "vs_" + "0" * 32}, {"limit": 101}, {"order": "x"}, {"x": "y"}):
            assert api("GET", "vector_stores", **query)[0] == 400

    def test_collections_of_the_admin_are_stores(self, api):
        row = document(collection("wiki")).collection
        (told,) = api("GET", "vector_stores")[1]["data"]
        assert (told["id"], told["name"], told["file_counts"]["completed"]) == (row.public_id, "wiki", 1)
        assert told["usage_bytes"] == len("Sick leave is approved by the team lead.")

    def test_an_id_names_a_collection_everywhere(self, api):
        row = document(collection("wiki")).collection
        api.root = "/v1/rag/"
        assert api("GET", f"collections/{row.public_id}")[1]["slug"] == "wiki"
        assert api("GET", "documents", collection=row.public_id)[1]["data"][0]["collection"] == "wiki"
        assert api("POST", "collections", {"slug": "vs_" + "0" * 32})[0] == 400
        assert api("DELETE", f"collections/{row.public_id}")[1]["id"] == "wiki"


@pytest.mark.usefixtures("db")
class TestNames:
    """A store's id is a name of its collection, wherever one is named."""

    def test_documents_go_into_the_one_that_is_named(self):
        row = collection("wiki")
        assert collection_get_or_create(slug=row.public_id, access=EVERYTHING) == row

    def test_none_is_made_under_an_id_that_is_not_there(self):
        with pytest.raises(CollectionNotFound):
            collection_get_or_create(slug="vs_" + "0" * 32, access=EVERYTHING)
        assert not Collection.objects.exists()

    def test_a_chat_looks_it_up_by_either_name_and_passes_over_what_has_expired(self, transactional_db, api):
        wiki, old = collection("wiki"), collection("old")
        expire(old)
        library = Library(Caller(key_id=api.key.pk))
        names = [wiki.public_id, "wiki", old.public_id, "nothing"]
        assert async_to_sync(library.shelf)(names) == {wiki.public_id: None, "wiki": None}
        assert async_to_sync(library.shelf)(()) == {"wiki": None}

    def test_the_admin_knows_which_rules_name_it(self):
        row = collection("wiki")
        RoutingRule.objects.create(name="Leave", collections=[row.public_id, "nothing"])
        assert mentions() == {"wiki": ["the rule “Leave”"], "nothing": ["the rule “Leave”"]}
        assert len(unknown_mentions()) == 1


class TestRights:
    @pytest.mark.parametrize(
        ("level", "method", "path", "body"),
        [
            (READ, "GET", "", None),
            (READ, "GET", "/files", None),
            (READ, "GET", "/files/{file}", None),
            (READ, "GET", "/files/{file}/content", None),
            (WRITE, "POST", "/files", {"file_id": "{own}"}),
            (WRITE, "POST", "/files/{file}", {"attributes": {"a": 1}}),
            (WRITE, "POST", "/file_batches", {"file_ids": ["{own}"]}),
            (WRITE, "DELETE", "/files/{file}", None),
            (MANAGE, "POST", "", {"name": "Changed"}),
            (MANAGE, "DELETE", "", None),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("granted", [0, READ, WRITE, MANAGE])
    def test_the_matrix(self, api, level, method, path, body, granted):
        row = collection("secret", everyone=0)
        names = {"file": document(row).public_id, "own": api.uploaded()}
        if granted:
            api.granted(row, granted)
        said = json.loads(json.dumps(body).replace("{own}", names["own"]))
        status, told = api(method, f"vector_stores/{row.public_id}{path.format(**names)}", said)
        assert status == (200 if granted >= level else 403 if granted else 404)
        if granted < level:
            assert told["error"]["code"] == ("permission_denied" if granted else "vector_store_not_found")

    def test_a_file_of_somebody_else_is_not_there_to_be_added(self, api):
        file_id = Client("other").uploaded()
        status, told = api("POST", f"vector_stores/{collection().public_id}/files", {"file_id": file_id})
        assert (status, told["error"]["code"], told["error"]["param"]) == (404, "file_not_found", "file_id")


@pytest.mark.usefixtures("knowledge")
class TestFiles:
    @pytest.fixture
    def api(self, knowledge):  # noqa: F811
        return Client()

    @pytest.fixture
    def store(self):
        return words_store()

    @pytest.fixture
    def path(self, store):
        return f"vector_stores/{store.public_id}/files"

    def test_one_is_added_read_found_and_taken_out(self, api, store, path):
        file_id = api.uploaded("leave.md", LEAVE)
        status, added = api("POST", path, {"file_id": file_id, "attributes": {"year": 2024, "final": True}})
        assert (status, added["id"], added["status"]) == (200, file_id, "in_progress")
        assert api("GET", f"vector_stores/{store.public_id}")[1]["status"] == "in_progress"
        read_all()
        status, told = api("GET", f"{path}/{file_id}")
        assert told == {
            "id": file_id,
            "object": "vector_store.file",
            "created_at": added["created_at"],
            "usage_bytes": len(LEAVE),
            "vector_store_id": store.public_id,
            "status": "completed",
            "last_error": None,
            "attributes": {"year": 2024, "final": True},
            "chunking_strategy": static(40, 0),
        }
        document = Document.objects.get()
        assert (document.source, document.revisions.get().author_name) == ("leave.md", "client")
        assert api("GET", f"{path}/{file_id}/content")[1] == {
            "object": "vector_store.file_content.page",
            "data": [{"type": "text", "text": LEAVE}],
            "has_more": False,
            "next_page": None,
        }
        (result,) = api.search(store.public_id, query="sick leave")[1]["data"]
        assert (result["file_id"], result["filename"], result["attributes"]["year"]) == (file_id, "leave.md", 2024)
        assert result["content"] == [{"type": "text", "text": LEAVE}]
        gone = {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}
        assert api("DELETE", f"{path}/{file_id}") == (200, gone)
        assert api.search(store.public_id, query="sick leave")[1]["data"] == []
        assert api("GET", f"{path}/{file_id}")[0] == 404
        assert api("GET", f"files/{file_id}/content") == (200, LEAVE.encode())

    def test_deleting_the_file_deletes_it_everywhere(self, api, store, path):
        file_id = api.uploaded("leave.md", LEAVE)
        other = words_store("other")
        for row in (store, other):
            api("POST", f"vector_stores/{row.public_id}/files", {"file_id": file_id})
        read_all()
        assert api("DELETE", f"files/{file_id}")[0] == 200
        for row in (store, other):
            assert api.search(row.public_id, query="sick leave")[1]["data"] == []
        assert not Document.objects.exists()
        assert not StoredContent.objects.exists()

    def test_the_same_file_again_is_a_success_and_no_work(self, api, path):
        file_id = api.uploaded("leave.md", LEAVE)
        api("POST", path, {"file_id": file_id, "attributes": {"year": 2024}})
        assert api("POST", path, {"file_id": file_id})[1]["status"] == "in_progress"
        read_all()
        status, again = api("POST", path, {"file_id": file_id})
        assert (status, again["status"], again["attributes"]) == (200, "completed", {"year": 2024})
        assert (Document.objects.count(), IngestionJob.objects.count()) == (1, 1)
        assert api("POST", path, {"file_id": file_id, "attributes": {"year": 2025}})[1]["attributes"] == {"year": 2025}
        assert IngestionJob.objects.count() == 1

    def test_files_of_one_name_are_there_beside_each_other(self, api, store, path):
        put(store, "A document from elsewhere.", source="leave.md")
        one, two = api.uploaded("leave.md", LEAVE), api.uploaded("leave.md", TRAVEL)
        for file_id in (one, two):
            api("POST", path, {"file_id": file_id})
        read_all()
        assert set(ids(api("GET", path))) == {one, two, Document.objects.get(file=None).public_id}
        assert api.search(store.public_id, query="trains")[1]["data"][0]["filename"] == "leave.md"

    def test_another_text_under_its_name_makes_it_a_document_of_its_own(self, api, store, path):
        api("POST", path, {"file_id": (file_id := api.uploaded("leave.md", LEAVE))})
        read_all()
        put(store, TRAVEL, source="leave.md")
        row = Document.objects.get()
        assert (row.file, ids(api("GET", path))) == (None, [row.public_id])
        assert api("GET", f"files/{file_id}/content")[1] == LEAVE.encode()
        assert api("GET", f"files/{row.public_id}/content")[1] == TRAVEL.encode()

    def test_each_may_be_cut_in_its_own_way(self, api, store, path):
        EmbeddingModel.objects.update(max_tokens=150)
        store = Collection.objects.get()
        text = " ".join(f"Sentence number {number} says something of its own." for number in range(60))
        own, other = api.uploaded("own.md", text), api.uploaded("other.md", text)
        strategy = static(800, 400)
        answer = api.raw("POST", path, {"file_id": own, "chunking_strategy": strategy})
        assert answer.json()["chunking_strategy"] == static(150, 75)
        assert answer["X-MoE-Adjusted"] == "chunking_strategy"
        api("POST", path, {"file_id": other, "chunking_strategy": {"type": "auto"}})
        read_all()
        longest = {row.source: max(row.chunks.values_list("tokens", flat=True)) for row in Document.objects.all()}
        assert longest["other.md"] <= 40 < longest["own.md"] <= 150
        assert not Document.objects.outdated(store).exists()
        assert api("POST", path, {"file_id": own, "chunking_strategy": strategy})[1]["status"] == "completed"
        assert api("POST", path, {"file_id": own, "chunking_strategy": {"type": "auto"}})[1]["status"] == "in_progress"
        read_all()
        assert max(Document.objects.get(source="own.md").chunks.filter(state="live").values_list("tokens")) <= (40,)
        Collection.objects.update(chunk_tokens=60)
        store.refresh_from_db()
        assert Document.objects.outdated(store).count() == 2

    def test_what_cannot_be_read_says_why_and_is_tried_again(self, api, store, path):
        file_id = api.uploaded("broken.pdf", b"%PDF-1.7 and nothing")
        api("POST", path, {"file_id": file_id})
        read_all()
        told = api("GET", f"{path}/{file_id}")[1]
        assert (told["status"], told["last_error"]["code"], told["usage_bytes"]) == ("failed", "invalid_file", 0)
        assert "PDF" in told["last_error"]["message"]
        assert api("GET", f"vector_stores/{store.public_id}")[1]["file_counts"]["failed"] == 1
        assert api("POST", path, {"file_id": file_id})[1]["status"] == "in_progress"
        assert api("GET", f"{path}/{file_id}")[1]["last_error"] is None

    @pytest.mark.parametrize(
        ("code", "expected"),
        [("unsupported", "unsupported_file"), ("empty", "invalid_file"), ("crashed", "server_error")],
    )
    def test_reasons_are_put_into_openais_words(self, api, path, code, expected):
        file_id = api.uploaded("leave.md", LEAVE)
        api("POST", path, {"file_id": file_id})
        bench = Bench()
        bench.embedder.fail = ParseFailed(code, "It cannot be read.")
        read_all(bench)
        assert api("GET", f"{path}/{file_id}")[1]["last_error"] == {"code": expected, "message": "It cannot be read."}

    def test_the_list_is_paged_and_narrowed(self, api, path):
        made = [api.uploaded(f"{number}.md", f"Text {number}.") for number in range(4)]
        for file_id in made[:3]:
            api("POST", path, {"file_id": file_id})
        read_all()
        api("POST", path, {"file_id": made[3]})
        assert ids(api("GET", path)) == made[::-1]
        assert ids(api("GET", path, filter="completed", order="asc", limit=2)) == made[:2]
        assert ids(api("GET", path, filter="completed", order="asc", after=made[1])) == [made[2]]
        assert ids(api("GET", path, order="asc", before=made[2])) == made[:2]
        assert ids(api("GET", path, filter="in_progress")) == [made[3]]
        assert api("GET", path, filter="lost")[0] == 400
        assert api("GET", path, after="x")[0] == 400
        assert api("DELETE", f"{path}/{made[3]}")[0] == 200
        assert ids(api("GET", path, after=made[3])) == made[2::-1]

    def test_attributes_are_replaced_and_what_they_cannot_say_is_kept(self, api, store, path):
        row, _ = put(store, LEAVE, metadata={"year": 2024, "tags": ["a", "b"]})
        file_id = row.public_id
        assert api("GET", f"{path}/{file_id}")[1]["attributes"] == {"year": 2024}
        changed = api("POST", f"{path}/{file_id}", {"attributes": {"author": "Jo", "share": 0.5}})[1]
        assert changed["attributes"] == {"author": "Jo", "share": 0.5}
        row.refresh_from_db()
        assert row.metadata == {"author": "Jo", "share": 0.5, "tags": ["a", "b"]}
        assert api("POST", f"{path}/{file_id}", {"attributes": None})[1]["attributes"] == {}
        assert api("POST", f"{path}/{file_id}", {})[1]["error"]["param"] == "attributes"

    @pytest.mark.parametrize(
        "attributes",
        [{"a": [1]}, {"a": None}, {"a.b": "x"}, {"": "x"}, {"a": "x" * 513}, dict.fromkeys(map(str, range(17)), 1), 5],
        ids=str,
    )
    def test_attributes_that_make_no_sense_are_refused(self, api, path, attributes):
        status, told = api("POST", path, {"file_id": api.uploaded(), "attributes": attributes})
        assert (status, told["error"]["param"]) == (400, "attributes")
        assert not Document.objects.exists()

    def test_a_document_that_came_otherwise_is_a_file_of_its_store_alone(self, api, store, path):
        row, _ = put(store, LEAVE, source="https://example.org/leave")
        assert ids(api("GET", path)) == [row.public_id]
        assert api("POST", path, {"file_id": row.public_id, "attributes": {"a": 1}})[1]["attributes"] == {"a": 1}
        other = words_store("other")
        status, told = api("POST", f"vector_stores/{other.public_id}/files", {"file_id": row.public_id})
        assert (status, "Upload it" in told["error"]["message"]) == (400, True)
        (result,) = api.search(store.public_id, query="leave")[1]["data"]
        assert (result["file_id"], result["filename"]) == (row.public_id, "https://example.org/leave")
        assert api("DELETE", f"{path}/{row.public_id}")[0] == 200
        assert not Document.objects.exists()


@pytest.mark.usefixtures("knowledge")
class TestBatches:
    @pytest.fixture
    def api(self, knowledge):  # noqa: F811
        return Client()

    @pytest.fixture
    def path(self):
        return f"vector_stores/{words_store().public_id}/file_batches"

    def test_files_come_together(self, api, path):
        made = [api.uploaded("leave.md", LEAVE), api.uploaded("travel.md", TRAVEL), api.uploaded("x.pdf", b"%PDF-1.7")]
        status, batch = api("POST", path, {"file_ids": made, "attributes": {"year": 2024}})
        assert (status, batch["object"], batch["status"]) == (200, "vector_store.files_batch", "in_progress")
        assert batch["file_counts"] == {"in_progress": 3, "completed": 0, "failed": 0, "cancelled": 0, "total": 3}
        assert api.raw("GET", f"{path}/{batch['id']}")["openai-poll-after-ms"] == "300"
        read_all()
        told = api("GET", f"{path}/{batch['id']}")[1]
        assert (told["status"], told["file_counts"]["completed"], told["file_counts"]["failed"]) == ("completed", 2, 1)
        assert set(ids(api("GET", f"{path}/{batch['id']}/files"))) == set(made)
        assert ids(api("GET", f"{path}/{batch['id']}/files", filter="failed")) == made[2:]
        assert {one["attributes"]["year"] for one in api("GET", f"{path}/{batch['id']}/files")[1]["data"]} == {2024}

    def test_each_file_may_have_its_own_attributes(self, api, path):
        files = [
            {"file_id": api.uploaded("leave.md", LEAVE), "attributes": {"topic": "leave"}, "colour": "red"},
            {"file_id": api.uploaded("travel.md", TRAVEL), "chunking_strategy": static(100, 10)},
        ]
        answer = api.raw("POST", path, {"files": files})
        assert answer["X-MoE-Ignored"] == "files.colour"
        read_all()
        told = api("GET", f"{path}/{answer.json()['id']}/files", order="asc")[1]["data"]
        assert [one["attributes"] for one in told] == [{"topic": "leave"}, {}]
        assert told[1]["chunking_strategy"] == static(100, 10)

    def test_what_has_not_been_read_is_cancelled(self, api, path):
        first = api.uploaded("leave.md", LEAVE)
        api("POST", path, {"file_ids": [first]})
        read_all()
        batch = api("POST", path, {"file_ids": [first, api.uploaded("travel.md", TRAVEL)]})[1]
        assert batch["file_counts"]["completed"] == 1
        told = api("POST", f"{path}/{batch['id']}/cancel")[1]
        counts = told["file_counts"]
        assert (told["status"], counts["cancelled"], counts["completed"]) == ("cancelled", 1, 1)
        (cancelled,) = api("GET", f"{path}/{batch['id']}/files", filter="cancelled")[1]["data"]
        assert (cancelled["status"], cancelled["last_error"]) == ("cancelled", None)
        read_all()
        assert api("GET", f"{path}/{batch['id']}")[1]["status"] == "cancelled"

    def test_one_that_is_done_stays_so(self, api, path):
        batch = api("POST", path, {"file_ids": [api.uploaded("leave.md", LEAVE)]})[1]
        read_all()
        assert api("POST", f"{path}/{batch['id']}/cancel")[1]["status"] == "completed"

    def test_one_in_which_nothing_could_be_read_has_failed(self, api, path):
        batch = api("POST", path, {"file_ids": [api.uploaded("x.pdf", b"%PDF-1.7")]})[1]
        read_all()
        assert api("GET", f"{path}/{batch['id']}")[1]["status"] == "failed"

    def test_a_batch_is_taken_in_whole_or_not(self, api, path):
        known = api.uploaded("leave.md", LEAVE)
        status, told = api("POST", path, {"file_ids": [known, "file-" + "0" * 32]})
        assert (status, told["error"]["param"]) == (404, "file_ids[1]")
        for body, param in (
            ({}, "file_ids"),
            ({"files": [5]}, "files[0]"),
            ({"files": [{}]}, "file_id"),
            ({"files": [], "file_ids": [known]}, "file_ids"),
            ({"file_ids": [known] * 2001}, "file_ids"),
        ):
            status, told = api("POST", path, body)
            assert (status, told["error"]["param"]) == (400, param)
        assert not Document.objects.exists()
        assert api("GET", f"{path}/vsfb_1")[0] == 404


@pytest.mark.usefixtures("knowledge")
class TestSearch:
    @pytest.fixture
    def api(self, knowledge):  # noqa: F811
        return Client()

    @pytest.fixture
    def store(self):
        row = words_store()
        for year, text in ((2023, LEAVE), (2024, TRAVEL), (2025, "Sick animals are seen by the vet.")):
            put(row, text, source=f"{year}.md", metadata={"year": year, "tags": ["x"]})
        return row

    def test_the_page_is_openais(self, api, store):
        status, page = api.search(store.public_id, query="Who approves sick leave?")
        assert (status, page["object"]) == (200, "vector_store.search_results.page")
        assert page["search_query"] == ["Who approves sick leave?"]
        assert (page["has_more"], page["next_page"]) == (False, None)
        best = page["data"][0]
        assert (best["filename"], best["attributes"], best["content"][0]["text"]) == ("2023.md", {"year": 2023}, LEAVE)
        scores = [one["score"] for one in page["data"]]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < score <= 1 for score in scores)

    def test_filters_and_limits_hold(self, api, store):
        later = {"type": "gte", "key": "year", "value": 2024}
        found = api.search(store.public_id, query="sick", filters=later)[1]["data"]
        assert [one["attributes"]["year"] for one in found] == [2025]
        either = {"type": "or", "filters": [{"type": "in", "key": "year", "value": [2023]}, later]}
        assert len(api.search(store.public_id, query="sick", filters=either, max_num_results=1)[1]["data"]) == 1
        options = {"ranker": "none", "score_threshold": 0.99}
        assert len(api.search(store.public_id, query="sick leave", ranking_options=options)[1]["data"]) == 1

    def test_several_wordings_are_one_question(self, api, store):
        page = api.search(store.public_id, query=["sick leave", "trains"])[1]
        assert page["search_query"] == ["sick leave", "trains"]
        assert {one["filename"] for one in page["data"]} >= {"2023.md", "2024.md"}

    def test_what_is_not_done_is_named(self, api, store):
        options = {"ranker": "auto", "hybrid_search": {"text_weight": 1}}
        api.search(store.public_id, query="sick", rewrite_query=True, ranking_options=options, colour="red")
        assert api.headers["X-MoE-Ignored"] == "colour,ranking_options.hybrid_search,rewrite_query"
        api.search(store.public_id, query="sick", rewrite_query=False)
        assert "X-MoE-Ignored" not in api.headers

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "query"),
            ({"query": ""}, "query"),
            ({"query": []}, "query"),
            ({"query": ["a"] * 9}, "query"),
            ({"query": "a\0"}, "query"),
            ({"query": "a", "max_num_results": 51}, "max_num_results"),
            ({"query": "a", "max_num_results": 0}, "max_num_results"),
            ({"query": "a", "filters": {"type": "like", "key": "a", "value": "b"}}, "filters"),
            ({"query": "a", "ranking_options": {"ranker": "best"}}, "ranking_options.ranker"),
            ({"query": "a", "ranking_options": {"score_threshold": 2}}, "ranking_options.score_threshold"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_named(self, api, body, param):
        status, told = api.search("vs_" + "0" * 32, **body)
        assert (status, told["error"]["param"]) == (400, param)

    def test_a_store_that_is_not_open_is_not_there(self, api):
        row = words_store("secret", everyone=0)
        assert api.search(row.public_id, query="a")[0] == 404
        assert api.search(api.granted(row, READ) and row.public_id, query="a")[0] == 200

    def test_it_is_found_under_its_slug_as_well(self, api, store):
        assert api.search("handbook", query="sick")[1]["data"]

    def test_what_is_disabled_is_not_found(self, api, store):
        document_update(document=Document.objects.get(source="2023.md"), enabled=False)
        assert [one["filename"] for one in api.search(store.public_id, query="sick leave")[1]["data"]] == ["2025.md"]


@pytest.mark.usefixtures("knowledge")
class TestExpiry:
    @pytest.fixture
    def api(self, knowledge):  # noqa: F811
        return Client()

    def test_one_that_has_expired_is_not_searched_and_its_contents_go(self, api):
        store, other = words_store(), words_store("other")
        file_id = api.uploaded("leave.md", LEAVE)
        for row in (store, other):
            api("POST", f"vector_stores/{row.public_id}/files", {"file_id": file_id})
        read_all()
        expire(store)
        path = f"vector_stores/{store.public_id}"
        assert api("GET", path)[1]["status"] == "expired"
        status, told = api.search(store.public_id, query="leave")
        assert (status, told["error"]["code"]) == (400, "collection_expired")
        assert api("POST", f"{path}/files", {"file_id": file_id})[1]["error"]["code"] == "collection_expired"
        assert expired_sweep() == 1
        assert api("GET", path)[1]["file_counts"]["total"] == 0
        assert api("GET", f"files/{file_id}")[0] == 200
        assert len(api.search(other.public_id, query="leave")[1]["data"]) == 1
        assert expired_sweep() == 0
        body = {"expires_after": {"anchor": "last_active_at", "days": 5}}
        assert api("POST", path, body)[1]["status"] == "completed"
        assert api("POST", f"{path}/files", {"file_id": file_id})[0] == 200

    def test_a_search_of_everything_passes_it_over(self, api):
        store, other = words_store(), words_store("other")
        put(store, LEAVE)
        put(other, LEAVE)
        expire(store)
        found = async_to_sync(search)(SearchRequest(query="leave"), access=EVERYTHING)
        assert (found.collections, len(found.passages)) == (("other",), 1)

    def test_files_that_have_expired_go_with_their_documents(self, api):
        store = words_store()
        api("POST", f"vector_stores/{store.public_id}/files", {"file_id": api.uploaded("leave.md", LEAVE)})
        read_all()
        StoredFile.objects.update(expires_at=timezone.now())
        assert expired_sweep() == 1
        assert not Document.objects.exists()
        assert api.search(store.public_id, query="leave")[1]["data"] == []

    def test_searches_keep_it_and_are_written_once_a_minute(self, api):
        store = words_store(expires_after_days=2)
        put(store, LEAVE)
        activity._noted.clear()
        api.search(store.public_id, query="leave")
        assert len(activity) >= 1
        activity.flush()
        store.refresh_from_db()
        assert timezone.now() - store.last_active_at < dt.timedelta(minutes=1)
        api.search(store.public_id, query="leave")
        assert len(activity) == 0

    def test_nothing_goes_into_one_by_other_doors_either(self, api):
        store = words_store()
        expire(store)
        store.refresh_from_db()
        with pytest.raises(Expired, match="has expired"):
            document_receive(collection=store, incoming=Incoming(source="a", name="a", data=b"text"))
