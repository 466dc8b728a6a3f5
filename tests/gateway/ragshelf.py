"""A knowledge base in rows, and clients of it with keys of their own, for tests of the REST surface."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.db.models import F
from django.test import Client

from gateway.auth import keys
from gateway.models import ApiKey
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    EmbeddingModel,
    Grant,
    IngestionJob,
    StoredContent,
)

TEXT = "Sick leave is approved by the team lead."


class Api:
    """A client of /v1/rag with an API key."""

    root = "/v1/rag/"

    def __init__(self, name: str = "client", group: str = "") -> None:
        self.key, self.text = ApiKey.objects.issue(name=name, group=group)
        keys.forget()
        self._client = Client(headers={"Authorization": f"Bearer {self.text}"})

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Return the status and the JSON of the answer, or its bytes."""
        response = self.raw(method, path, body, **query)
        is_json = response["Content-Type"] == "application/json"
        return response.status_code, response.json() if is_json else response.content

    def raw(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return self._client.generic(
            method,
            f"{self.root}{path}",
            data=b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
            content_type="application/json",
            query_params=query,
        )

    def granted(self, collection: Collection, level: int) -> "Api":
        Grant.objects.create(collection=collection, key=self.key, level=level)
        return self


def collection(slug: str = "handbook", **fields: Any) -> Collection:
    model = EmbeddingModel.objects.get_or_create(name="all-MiniLM-L6-v2", defaults={"dimensions": 384})[0]
    return Collection.objects.create(**{"slug": slug, "name": slug, "embedding_model": model} | fields)


def document(
    of: Collection, source: str = "leave.md", *, text: str = TEXT, chunks: int = 1, metadata: Mapping[str, Any] = {}
) -> Document:
    """Return a document that is ready, in ``chunks`` equal chunks."""
    row = Document.objects.create(
        collection=of, source=source, title=source, metadata=dict(metadata), status="ready", revision=1
    )
    data = text.encode()
    content = StoredContent.objects.get_or_create(
        sha256=hashlib.sha256(data).hexdigest(), defaults={"data": data, "size": len(data)}
    )[0]
    made = [
        Chunk.objects.create(
            collection=of, document=row, revision=1, ordinal=number, state="live", text=text, hash="x" * 64
        )
        for number in range(chunks)
    ]
    Collection.objects.filter(pk=of.pk).update(chunk_count=F("chunk_count") + chunks)
    DocumentRevision.objects.create(
        document=row,
        number=1,
        content=content,
        name=source,
        declared_mime="text/markdown",
        state="live",
        recipe=of.recipe,
        chunk_ids=[chunk.pk for chunk in made],
    )
    return row


def job(of: Collection, **fields: Any) -> IngestionJob:
    return IngestionJob.objects.create(**{"collection": of} | fields)
