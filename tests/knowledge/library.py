"""A small knowledge base for tests: an embedder that costs nothing, and jobs run on the spot."""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from typing import Any

from knowledge.blocks import Parsed
from knowledge.collections import collection_create
from knowledge.curation.editing import chunk_split
from knowledge.embedding import ModelSpec, Vector
from knowledge.equipment import Equipment
from knowledge.ingest import ingest
from knowledge.models import Collection, Document, EmbeddingModel, EmbeddingSource, IngestionJob
from knowledge.parsing import parse
from knowledge.receiving import Incoming, document_receive
from knowledge.revisions import Received
from knowledge.web import Web
from routing.backends.fetch import Allowed

WIDTH = 8


class WordEmbedder:
    """Gives the same text the same vector, counts a token a word, and remembers what it was asked.

    ``fail`` is raised instead of answering; ``hold`` makes it wait, once ``reached`` says that it does; ``limit``
    texts are embedded before it does either.
    """

    def __init__(self, dimensions: int = WIDTH) -> None:
        self.dimensions = dimensions
        self.asked: list[str] = []
        self.fail: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.reached = threading.Event()
        self.limit = 0

    def count(self, text: str) -> int:
        return len(text.split())

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        if len(self.asked) >= self.limit:
            if self.hold is not None:
                self.reached.set()
                await self.hold.wait()
            if self.fail is not None:
                raise self.fail
        self.asked.extend(texts)
        await asyncio.sleep(0)
        return [self._vector(text) for text in texts]

    async def question(self, text: str) -> Vector:
        return self._vector(text)

    def _vector(self, text: str) -> Vector:
        digest = hashlib.sha256(text.encode()).digest()
        return [byte / 255 + 0.001 for byte in digest[: self.dimensions]]


def read_here(data: bytes, *, name: str, mime: str) -> Parsed:
    """Parse in this process: no test here is about files that go wrong."""
    return parse(data, name=name, mime=mime)


class Bench:
    """Equipment with its parts at hand."""

    def __init__(self, *, web: Web | None = None) -> None:
        self.embedder = WordEmbedder()
        self.specs: list[ModelSpec] = []
        self._web = web

    def equipment(self) -> Equipment:
        """Return a set for the event loop that runs."""
        return Equipment(parse=read_here, embedder=self._embedder, web=self._web or Web(Allowed()))

    def _embedder(self, spec: ModelSpec) -> WordEmbedder:
        self.specs.append(spec)
        self.embedder.dimensions = spec.dimensions
        return self.embedder

    def run(self, job: IngestionJob | None) -> IngestionJob:
        """Run a job to its end, or to what it raises, and return it as it is then."""
        assert job is not None

        async def main() -> None:
            await ingest(job.pk, equipment=self.equipment())

        try:
            asyncio.run(main())
        finally:
            job = IngestionJob.objects.filter(pk=job.pk).first() or job
        return job


def small_model(name: str = "words", **fields: object) -> EmbeddingModel:
    given = {"source": EmbeddingSource.MODEL_SERVER, "dimensions": WIDTH, "max_tokens": 400} | fields
    return EmbeddingModel.objects.get_or_create(name=name, defaults=given)[0]


def shelf(slug: str = "handbook", **fields: Any) -> Collection:
    given: dict[str, Any] = {"embedding_model": small_model(), "chunk_tokens": 40, "chunk_overlap": 0, "language": "en"}
    given |= fields
    return collection_create(slug=slug, **given)


def text_of(*paragraphs: str, title: str = "") -> bytes:
    return "\n\n".join([*([f"# {title}"] if title else []), *paragraphs]).encode()


def put(collection: Collection, data: bytes | str, *, source: str = "note.md", bench: Bench | None = None, **fields):
    """Receive a document and have it read; return it as it is then, and its job."""
    again = fields.pop("again", False)
    data = data.encode() if isinstance(data, str) else data
    received = document_receive(
        collection=collection, incoming=Incoming(source=source, name=source, data=data, **fields), again=again
    )
    job = (bench or Bench()).run(received.job) if received.job else None
    return Document.objects.get(pk=received.document.pk), job


def chunk_edit(*, text: str, **given: Any) -> Received:
    """Give a chunk another text."""
    return chunk_split(texts=[text], **given)
