"""Ingestion and search through their doors, in this process: the real pipeline, its jobs run beside the requests."""

import asyncio
import contextlib
import json
import time

import pytest
from channels.db import database_sync_to_async

from gateway.auth import keys
from gateway.models import ApiKey
from gateway.ragapi import ingesting
from gateway.ragapi.doors import Ingest, Search
from knowledge.documents import document_delete
from knowledge.ingest import ingest
from knowledge.models import Collection, Document, Grant, IngestionJob
from tests.gateway.ragshelf import collection
from tests.gateway.test_http import Connection
from tests.gateway.test_rag_requests import FORM, PDF, form

pytestmark = pytest.mark.django_db(transaction=True)

CATS = "Cats purr when they are content. They sleep most of the day."
DOGS = "Dogs bark at strangers. They like long walks in the park."


def in_thread(function):
    return database_sync_to_async(function, thread_sensitive=False)


class Desk:
    """The doors as a client with a key of its own sees them."""

    def __init__(self, text):
        self.authorization = f"Bearer {text}".encode()
        self.headers = {}

    async def ask(self, door, method, body=b"", query=b"", content_type=b"application/json"):
        connection = Connection(body, method=method)
        connection.scope["query_string"] = query
        connection.scope["headers"] += [(b"authorization", self.authorization), (b"content-type", content_type)]
        async with asyncio.timeout(60):
            await door.as_asgi()(connection.scope, connection.incoming.get, connection.send)
        self.headers = dict(connection.sent[0]["headers"])
        return connection.status, json.loads(connection.body)

    async def ingest(self, **body):
        return await self.ask(Ingest, "POST", json.dumps(body).encode())

    async def upload(self, *parts):
        return await self.ask(Ingest, "POST", form(*parts), content_type=FORM.encode())

    async def search(self, address="", /, **body):
        if address:
            return await self.ask(Search, "GET", query=address.encode())
        return await self.ask(Search, "POST", json.dumps(body).encode())


@pytest.fixture
def desk():
    keys.forget()
    return Desk(ApiKey.objects.issue(name="client")[1])


@contextlib.asynccontextmanager
async def worker(pause=0.02):
    """Run what is queued, as a worker does."""

    async def work():
        while True:
            waiting = await in_thread(lambda: [job.pk for job in IngestionJob.objects.filter(state="queued")])()
            for job in waiting:
                await ingest(job)
            await asyncio.sleep(pause)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class TestIngestion:
    async def test_documents_are_ready_and_found_when_it_answers(self, desk):
        documents = [{"content": CATS, "metadata": {"topic": "cats"}, "collection": "pets"}]
        async with worker():
            status, told = await desk.ingest(documents=[*documents, {"content": DOGS, "collection": "pets"}])
        assert (status, told["success"], told["documents_ingested"]) == (200, True, 2)
        assert told["message"] == "2 of 2 documents can be found."
        assert [(one["result"], one["status"], one["collection"]) for one in told["documents"]] == [
            ("created", "ready", "pets"),
            ("created", "ready", "pets"),
        ]
        assert (len(told["jobs"]), told["errors"]) == (2, [])
        status, found = await desk.search("query=what+do+cats+do&collection=pets&top_k=1")
        (result,) = found["results"]
        assert (status, result["content"], result["metadata"]) == (200, CATS, {"topic": "cats"})
        assert (result["collection"], result["document"]) == ("pets", told["documents"][0]["id"])
        assert 0.2 < result["similarity_score"] <= 1

    async def test_what_is_there_already_is_a_success_without_work(self, desk):
        async with worker():
            first = (await desk.ingest(documents=[{"content": CATS}]))[1]
            status, again = await desk.ingest(documents=[{"content": CATS}, {"content": CATS}])
        assert (status, again["success"], again["documents_ingested"], again["jobs"]) == (200, True, 1, [])
        assert {one["id"] for one in again["documents"]} == {first["documents"][0]["id"]}
        assert {one["result"] for one in again["documents"]} == {"unchanged"}
        assert await in_thread(Document.objects.count)() == 1

    async def test_a_changed_one_takes_the_place_of_what_it_was(self, desk):
        async with worker():
            await desk.ingest(documents=[{"content": CATS, "source": "pets.txt"}])
            told = (await desk.ingest(documents=[{"content": DOGS, "source": "pets.txt"}]))[1]
        assert [one["result"] for one in told["documents"]] == ["updated"]
        found = (await desk.search("query=cats+purr"))[1]
        assert [one["content"] for one in found["results"]] == [DOGS]

    async def test_without_waiting_it_tells_whom_to_ask(self, desk):
        status, told = await desk.ingest(documents=[{"content": CATS}], wait=False)
        assert (status, told["success"], told["documents_ingested"]) == (202, True, 0)
        assert told["documents"][0]["status"] == "pending"
        assert f"GET /v1/rag/jobs?batch={told['batch']}" in told["message"]
        job = await in_thread(IngestionJob.objects.get)()
        assert (told["jobs"], told["batch"]) == ([str(job.pk)], str(job.batch))

    async def test_it_waits_no_longer_than_it_is_told(self, desk):
        started = time.monotonic()
        status, _ = await desk.ingest(documents=[{"content": CATS}], wait=0.3)
        assert status == 202
        assert 0.3 <= time.monotonic() - started < 10

    async def test_one_that_fails_does_not_stop_the_others(self, desk):
        async with worker():
            status, told = await desk.upload(
                ("file", "cats.md", "text/markdown", CATS.encode()),
                ("file", "broken.pdf", "application/pdf", PDF),
                ("collection", "pets"),
                ("wait", "true"),
            )
        assert (status, told["success"], told["documents_ingested"]) == (207, False, 1)
        assert [one["status"] for one in told["documents"]] == ["ready", "failed"]
        (error,) = told["errors"]
        assert (error["source"], error["code"], error["param"]) == ("broken.pdf", "broken", "file")
        assert "damaged" in error["message"]

    async def test_where_all_fail_it_is_an_error(self, desk):
        async with worker():
            status, told = await desk.upload(("file", "broken.pdf", "application/pdf", PDF), ("wait", "30"))
        assert (status, told["success"], told["documents_ingested"]) == (422, False, 0)
        assert (told["error"]["code"], told["error"]["message"]) == ("broken", told["errors"][0]["message"])

    async def test_files_are_not_waited_for(self, desk):
        status, told = await desk.upload(("file", "cats.md", "text/markdown", CATS.encode()), ("colour", "red"))
        assert (status, [one["source"] for one in told["documents"]]) == (202, ["cats.md"])
        assert desk.headers[b"X-MoE-Ignored"] == b"colour"

    async def test_pages_get_jobs(self, desk):
        status, told = await desk.ingest(urls=["https://a.example/x"], sitemap="https://a.example/sitemap.xml")
        assert (status, len(told["jobs"])) == (202, 2)
        assert [(one["source"], one["status"]) for one in told["documents"]] == [("https://a.example/x", "pending")]
        kinds = await in_thread(lambda: sorted(IngestionJob.objects.values_list("kind", flat=True)))()
        assert kinds == ["document", "sitemap"]

    async def test_an_english_collection_gets_the_english_model(self, desk):
        await desk.ingest(documents=[{"content": CATS, "collection": "english"}], wait=False)
        german = "Katzen schnurren, wenn sie zufrieden sind. Sie schlafen den größten Teil des Tages."
        await desk.ingest(documents=[{"content": german, "collection": "german"}], wait=False)
        chosen = await in_thread(lambda: dict(Collection.objects.values_list("slug", "embedding_model__name")))()
        assert chosen == {"english": "all-MiniLM-L6-v2", "german": "multilingual-e5-small-q4"}

    async def test_a_waiting_one_is_in_nobodys_way(self, desk):
        """More of them wait than the pool has connections, and another request is answered at once."""
        waiting = [
            asyncio.create_task(desk.ingest(documents=[{"content": f"{CATS} {number}"}], wait=4))
            for number in range(15)
        ]
        await asyncio.sleep(1.5)
        status, _ = await desk.ingest(documents=[{"content": DOGS}], wait=False)
        assert [task.result() for task in waiting if task.done()] == []
        assert status == 202
        assert {status for status, _ in await asyncio.gather(*waiting)} == {202}

    async def test_a_client_that_leaves_ends_the_waiting(self, desk, monkeypatch):
        looking = asyncio.Event()
        look = ingesting._unfinished

        async def seen(*arguments):
            looking.set()
            return await look(*arguments)

        monkeypatch.setattr(ingesting, "_unfinished", seen)
        connection = Connection(json.dumps({"documents": [{"content": CATS}]}).encode())
        connection.scope["headers"] += [(b"authorization", desk.authorization)]
        running = asyncio.create_task(Ingest.as_asgi()(connection.scope, connection.incoming.get, connection.send))
        await asyncio.wait_for(looking.wait(), 30)
        connection.leave()
        await asyncio.wait_for(running, 20)
        assert connection.sent == []
        assert await in_thread(IngestionJob.objects.count)() == 1

    async def test_rights_are_looked_at_before_anything_is_taken_in(self, desk):
        @in_thread
        def shut():
            row = collection("closed", everyone=1)
            collection("secret", everyone=0)
            return row

        closed = await shut()
        documents = [{"content": CATS, "collection": "new"}, {"content": DOGS, "collection": "closed"}]
        status, told = await desk.ingest(documents=documents)
        assert (status, told["error"]["code"]) == (403, "permission_denied")
        status, told = await desk.ingest(documents=[{"content": DOGS, "collection": "secret"}])
        assert (status, told["error"]["code"]) == (404, "collection_not_found")
        assert await in_thread(Document.objects.count)() == 0
        assert not await in_thread(Collection.objects.filter(slug="new").exists)()
        await in_thread(lambda: Grant.objects.create(collection=closed, key=ApiKey.objects.get(), level=2))()
        assert (await desk.ingest(documents=documents, wait=False))[0] == 202

    async def test_without_a_key_nothing_is_read(self, desk):
        desk.authorization = b""
        assert (await desk.ingest(documents=[{"content": CATS}]))[0] == 401
        assert (await desk.ask(Ingest, "GET"))[0] == 405


class TestSearch:
    @pytest.fixture(autouse=True)
    async def pets(self, desk):
        async with worker():
            documents = [
                {"content": CATS, "metadata": {"legs": 4, "year": 2020}, "title": "Cats"},
                {"content": DOGS, "metadata": {"legs": 4, "year": 2024}, "title": "Dogs", "collection": "dogs"},
            ]
            assert (await desk.ingest(documents=documents, collection="cats"))[0] == 200

    async def titles(self, desk, **body):
        status, found = await desk.search(**body)
        assert status == 200, found
        return [one["title"] for one in found["results"]]

    async def test_all_that_may_be_read_is_searched_unless_collections_are_named(self, desk):
        assert await self.titles(desk, query="animals that bark") == ["Dogs", "Cats"]
        assert await self.titles(desk, query="animals that bark", collection="cats") == ["Cats"]
        assert await self.titles(desk, query="animals that bark", collections=["cats", "dogs"]) == ["Dogs", "Cats"]

    async def test_filters_threshold_and_mode(self, desk):
        newer = {"type": "gt", "key": "year", "value": 2020}
        assert await self.titles(desk, query="animals", filters=newer) == ["Dogs"]
        assert await self.titles(desk, query="animals", filters={"legs": 5}) == []
        assert await self.titles(desk, query="purr", mode="text") == ["Cats"]
        found = (await desk.search(query="purr", mode="text"))[1]["results"][0]
        assert found["similarity_score"] == found["score"] > 0
        assert found["vector_rank"] is None

    async def test_a_document_that_is_deleted_is_not_found(self, desk):
        await in_thread(lambda: document_delete(document=Document.objects.get(title="Cats")))()
        assert await self.titles(desk, query="cats purr") == ["Dogs"]

    async def test_rights_hold(self, desk):
        await in_thread(Collection.objects.filter(slug="dogs").update)(everyone=0)
        assert await self.titles(desk, query="animals that bark") == ["Cats"]
        status, told = await desk.search(query="dogs", collection="dogs")
        assert (status, told["error"]["code"], told["error"]["param"]) == (404, "collection_not_found", "collection")

    async def test_what_makes_no_sense_is_named(self, desk):
        assert (await desk.search(query=" "))[1]["error"]["param"] == "query"
        assert (await desk.search("query=x&top_k=1000"))[1]["error"]["param"] == "top_k"
        assert (await desk.search(query="x", colour="red"))[0] == 200
        assert desk.headers[b"X-MoE-Ignored"] == b"colour"
