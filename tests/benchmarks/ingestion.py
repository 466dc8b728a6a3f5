"""How fast documents come in, beside how fast they can be embedded: ``python -m tests.benchmarks.ingestion [N]``.

Needs no server: an installation of its own in a temporary folder, the real parser, embedder and database. Documents
are N of cranfield beside the checkout (short ones) and those strung together (long ones), or made up where it is not
there. "Busy" is the share of the time in which the embedder had at least one text to work on.
"""

import asyncio
import atexit
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="moe-bench-"))
FOLDER.chmod(0o711)  # the database's own account passes through
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)  # before the database's own, so it comes after that
os.environ |= {"MOE_DATA_DIR": str(FOLDER), "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "moe_site.settings"}

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from knowledge.collections import collection_create  # noqa: E402
from knowledge.embedding import Embedder, ModelSpec, Vector, embedder_of  # noqa: E402
from knowledge.equipment import Equipment  # noqa: E402
from knowledge.foreground import HOLD_SECONDS, Errand, Foreground, Listener, Outcome  # noqa: E402
from knowledge.models import Chunk, Collection, EmbeddingModel  # noqa: E402
from knowledge.parsing import shared_parsers  # noqa: E402
from knowledge.receiving import Incoming, document_receive  # noqa: E402
from knowledge.revisions import Received  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval" / "cranfield" / "corpus.jsonl"
DOCUMENTS = 300
TOGETHER = 50
"""Short documents that make a long one."""
CONCURRENCY = 4
ROUNDS = 3


@dataclass(slots=True)
class Watched:
    """An embedder whose working hours are written down."""

    embedder: Embedder
    working: int = 0
    since: float = 0.0
    busy: float = 0.0
    texts: list[str] = field(default_factory=list)

    def count(self, text: str) -> int:
        return self.embedder.count(text)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        if not self.working:
            self.since = time.perf_counter()
        self.working += 1
        self.texts.extend(texts)
        try:
            return await self.embedder.passages(texts)
        finally:
            self.working -= 1
            if not self.working:
                self.busy += time.perf_counter() - self.since

    async def question(self, text: str) -> Vector:
        return await self.embedder.question(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    name: str
    documents: int
    chunks: int
    seconds: float
    raw_seconds: float
    busy: float

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            name=self.name,
            documents=self.documents + other.documents,
            chunks=self.chunks + other.chunks,
            seconds=self.seconds + other.seconds,
            raw_seconds=self.raw_seconds + other.raw_seconds,
            busy=self.busy + other.busy,
        )

    def line(self) -> str:
        figures = (
            f"{self.documents:d}",
            f"{self.chunks:d}",
            f"{self.seconds:.1f} s",
            f"{self.documents / self.seconds:.2f}",
            f"{self.chunks / self.seconds:.1f}",
            f"{self.chunks / self.raw_seconds:.1f}",
            f"{self.raw_seconds / self.seconds:.0%}",
            f"{self.busy / self.seconds:.0%}",
        )
        return row(self.name, *figures)


def row(name: str, *figures: str) -> str:
    return f"{name:8}" + "".join(f"{figure:>12}" for figure in figures)


def texts(count: int) -> list[str]:
    if not DATA.exists():
        print(f"{DATA} is not there; made-up documents are taken instead")
        return [f"Document {n}.\n\n" + f"Sentence {n} says what number {n} is about. " * 20 for n in range(count)]
    rows = (json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines())
    return [f"# {row['title']}\n\n{row['text']}" for row in rows if row["text"].strip()][:count]


def errand(collection: Collection, number: int, text: str) -> Errand:
    def receive() -> Received:
        incoming = Incoming(source=f"{number}.md", name=f"{number}.md", data=text.encode())
        return document_receive(collection=collection, incoming=incoming, hold=HOLD_SECONDS)

    return Errand(name=str(number), receive=receive)


def measured(name: str, documents: Sequence[str]) -> Measured:
    """Ingest and embed part after part in turn, so that both see the same machine."""
    size = -(-len(documents) // ROUNDS)
    parts = [documents[start : start + size] for start in range(0, len(documents), size)]
    first, *others = [measured_once(name, f"{name}-{number}", part) for number, part in enumerate(parts)]
    return sum(others, first)


def measured_once(name: str, slug: str, documents: Sequence[str]) -> Measured:
    collection = collection_create(slug=slug, embedding_model=EmbeddingModel.objects.get(name="all-MiniLM-L6-v2"))
    watched = Watched(embedder_of(ModelSpec.of(collection.embedding_model)))
    outcomes: list[Outcome] = []
    listener = Listener(progress=lambda *_: None, outcome=outcomes.append)

    async def run() -> None:
        foreground = Foreground(
            listener=listener, concurrency=CONCURRENCY, equipment=Equipment(embedder=lambda _: watched)
        )
        await foreground.run(errand(collection, number, text) for number, text in enumerate(documents))

    seconds = timed(run)
    assert {outcome.result for outcome in outcomes} == {"created"}, outcomes
    chunks = Chunk.objects.filter(collection=collection).count()
    # The same texts again, with nothing else to do.
    raw = timed(lambda: watched.embedder.passages(watched.texts))
    return Measured(
        name=name, documents=len(documents), chunks=chunks, seconds=seconds, raw_seconds=raw, busy=watched.busy
    )


def timed(work: Callable[[], Awaitable[object]]) -> float:
    async def main() -> float:
        began = time.perf_counter()
        await work()
        return time.perf_counter() - began

    return asyncio.run(main())


def main() -> None:
    call_command("migrate", verbosity=0)
    short = texts(int(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS)
    # Cut in another order, so that no vector of the short ones is taken.
    long = ["\n\n".join(short[start::-1][:TOGETHER]) for start in range(TOGETHER - 1, len(short), TOGETHER)]
    measured("warm", short[:4])
    print(row("", "documents", "chunks", "time", "documents/s", "chunks/s", "raw rate", "of raw", "busy"))
    for name, documents in (("short", short[4:]), ("long", long)):
        print(measured(name, documents).line())
    shared_parsers().close()
    connection.close()


if __name__ == "__main__":
    main()
