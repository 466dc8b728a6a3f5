"""A client of /v1/files and /v1/vector_stores with an API key, and jobs run on the spot."""

import asyncio
import json
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from gateway.vectorstores.doors import StoreSearchDoor
from knowledge.models import Collection, IngestionJob
from tests.gateway.ragshelf import Api
from tests.gateway.test_http import Connection
from tests.knowledge.library import Bench, shelf


class Client(Api):
    root = "/v1/"

    def upload(self, name: str = "leave.md", data: bytes | str = "Sick leave.", **fields: Any) -> tuple[int, Any]:
        """Upload a file and return the status and the answer."""
        data = data.encode() if isinstance(data, str) else data
        sent = {"file": SimpleUploadedFile(name, data), "purpose": "assistants"} | fields
        response = self._client.post("/v1/files", {name: value for name, value in sent.items() if value is not None})
        return response.status_code, response.json()

    def uploaded(self, *given: Any, **fields: Any) -> str:
        """Upload a file and return its id."""
        status, told = self.upload(*given, **fields)
        assert status == 200, told
        return str(told["id"])

    def search(self, store: str, **body: Any) -> tuple[int, Any]:
        connection: Any = Connection(json.dumps(body).encode(), method="POST")
        connection.scope["url_route"] = {"kwargs": {"store": store}}
        connection.scope["headers"] += [(b"authorization", f"Bearer {self.text}".encode())]
        asyncio.run(StoreSearchDoor.as_asgi()(connection.scope, connection.incoming.get, connection.send))
        self.headers = {name.decode(): value.decode() for name, value in connection.sent[0]["headers"]}
        return connection.status, json.loads(connection.body)


def words_store(slug: str = "handbook", **fields: Any) -> Collection:
    """Return a store whose embedder costs nothing and is searched by words alone."""
    return shelf(slug, mode="text", **fields)


def read_all(bench: Bench | None = None) -> None:
    """Run everything that is queued."""
    bench = bench or Bench()
    for job in IngestionJob.objects.unfinished().order_by("created_at"):
        bench.run(job)
