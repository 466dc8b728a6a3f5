"""The yardstick of retrieval: a test collection in BEIR's layout, through everything a document and a question go
through.

Its documents are read into a scratch collection by the jobs that read any other document, and its questions are
searched as any other; the collection is gone afterwards, however the measurement ends.
"""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from knowledge.access import EVERYTHING
from knowledge.collections import collection_create, collection_delete
from knowledge.foreground import FAILED, HOLD_SECONDS, Errand, Foreground, Listener, Outcome
from knowledge.measures import ndcg, recall, reciprocal_rank
from knowledge.models import Chunk, Collection, Document
from knowledge.passages import SearchRequest
from knowledge.receiving import Incoming, document_receive
from knowledge.revisions import Received
from knowledge.search import chunks_ranked
from knowledge.threads import in_thread

DEPTH = 100
"""Documents of a ranking that are looked at."""
WARM_UP = 3
"""Questions asked before those that are timed: the embedder loads with the first one."""
SCRATCH = "evaluation-"
SHOWN_FAILURES = 5


class BadTestCollection(ValueError):
    """A folder that is no test collection; the message says what of it is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestDocument:
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCollection:
    """``judgments`` are each question's relevant documents with their grades; every question has some."""

    documents: Sequence[TestDocument]
    queries: Mapping[str, str]
    judgments: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Means over all judged questions; a question that found nothing counts as 0. Times in milliseconds."""

    ndcg_10: float
    recall_10: float
    recall_100: float
    mrr: float
    ms_per_query: float
    ms_p95: float
    queries: int
    documents: int
    chunks: int
    embedding_model: str
    languages: tuple[str, ...]
    seconds_to_ingest: float
    failed: int = 0
    failures: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


# --- reading ----------------------------------------------------------------------------------------------------


def collection_read(folder: Path) -> TestCollection:
    """Return the test collection in ``folder``: corpus.jsonl, queries.jsonl and qrels.tsv (or qrels/test.tsv).

    Raises BadTestCollection.
    """
    documents = [
        TestDocument(id=str(row["_id"]), title=str(row.get("title") or ""), text=str(row.get("text") or ""))
        for row in _rows(folder / "corpus.jsonl")
    ]
    queries = {str(row["_id"]): str(row["text"]) for row in _rows(folder / "queries.jsonl")}
    plain, split = folder / "qrels.tsv", folder / "qrels" / "test.tsv"
    judged = _judgments(split if split.exists() and not plain.exists() else plain)
    known = {name: found for name, found in judged.items() if name in queries}
    if not known:
        raise BadTestCollection(f"{folder} holds no judgments of its own questions in qrels.tsv.")
    return TestCollection(documents=documents, queries=queries, judgments=known)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadTestCollection(f"{path.name}, line {number}: {error}") from error
        if not isinstance(row, dict) or "_id" not in row:
            raise BadTestCollection(f"{path.name}, line {number}: every line must be an object with an _id.")
        yield row


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise BadTestCollection(f"{path} is missing: the folder must have BEIR's layout.") from error


def _judgments(path: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        parts = line.split("\t")
        try:
            query, document, grade = parts[0], parts[-2], float(parts[-1])
        except (IndexError, ValueError) as error:
            if number == 1:
                continue  # the header
            raise BadTestCollection(
                f"{path.name}, line {number}: it must be query-id, corpus-id and score, with tabs between."
            ) from error
        if grade > 0:
            found[query][document] = grade
    return found


# --- measuring --------------------------------------------------------------------------------------------------

Say = Callable[[str], object]


async def evaluate(collection: TestCollection, *, say: Say, limit: int = 0, **settings: Any) -> Measured:
    """Return how well ``collection`` is searched; ``settings`` are fields of the scratch collection.

    ``limit`` asks so many of the questions only, spread evenly (0: all). Raises EndpointError.
    """
    scratch = await in_thread(_scratch)(collection, settings)
    try:
        filling = _Filling(total=len(collection.documents), say=say)
        await filling.run(scratch, collection.documents)
        return await _measured(scratch, collection, filling, limit)
    finally:
        await in_thread(collection_delete)(collection=scratch)


def _scratch(collection: TestCollection, settings: dict[str, Any]) -> Collection:
    sample = (f"{one.title} {one.text}" for one in collection.documents[:: max(1, len(collection.documents) // 25)])
    return collection_create(
        slug=f"{SCRATCH}{uuid4().hex}",
        sample=sample,
        everyone=Collection.Everyone.NOTHING,
        scratch=True,
        **settings,
    )


@dataclass(slots=True, kw_only=True)
class _Filling:
    """Documents on their way into the scratch collection."""

    total: int
    say: Say
    done: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    async def run(self, scratch: Collection, documents: Sequence[TestDocument]) -> None:
        began = time.perf_counter()
        listener = Listener(progress=lambda *_: None, outcome=self._outcome)
        # A document without any text cannot be read, and no search could find it.
        errands = (
            Errand(name=one.id, receive=partial(_receive, scratch, one))
            for one in documents
            if (one.title + one.text).strip()
        )
        await Foreground(listener=listener).run(errands)
        self.seconds = time.perf_counter() - began

    def _outcome(self, outcome: Outcome) -> None:
        self.done += 1
        if outcome.result == FAILED:
            self.failed.append(f"{outcome.name}: {outcome.reason}")
        if self.done % max(1, self.total // 10) == 0:
            self.say(f"{self.done} of {self.total} documents read")


def _receive(scratch: Collection, document: TestDocument) -> Received:
    text = document.text if document.text.strip() else document.title
    incoming = Incoming(
        source=document.id,
        name=f"{document.id}.txt",
        data=text.encode("utf-8", "surrogatepass"),
        mime="text/plain; charset=utf-8",
        title=document.title,
        origin=Document.Origin.TEXT,
    )
    return document_receive(collection=scratch, incoming=incoming, hold=HOLD_SECONDS)


async def _measured(scratch: Collection, collection: TestCollection, filling: _Filling, limit: int) -> Measured:
    source_of = await in_thread(_sources)(scratch)
    judged = list(collection.judgments)
    if 0 < limit < len(judged):
        judged = judged[:: -(-len(judged) // limit)]
    for name in judged[:WARM_UP]:
        await _ranking(collection.queries[name], scratch)
    figures: dict[str, list[float]] = defaultdict(list)
    for name in judged:
        began = time.perf_counter()
        chunks = await _ranking(collection.queries[name], scratch)
        figures["ms"].append((time.perf_counter() - began) * 1000)
        # A document is where its best chunk is.
        ranked = list(dict.fromkeys(source_of[chunk] for chunk in chunks))
        relevant = collection.judgments[name]
        figures["ndcg_10"].append(ndcg(ranked, relevant, 10))
        figures["recall_10"].append(recall(ranked, relevant, 10))
        figures["recall_100"].append(recall(ranked, relevant, DEPTH))
        figures["mrr"].append(reciprocal_rank(ranked, relevant))
    row = await in_thread(Collection.objects.select_related("embedding_model").get)(pk=scratch.pk)
    means = {name: statistics.fmean(values) for name, values in figures.items()}
    return Measured(
        **{name: round(means[name], 4) for name in ("ndcg_10", "recall_10", "recall_100", "mrr")},
        ms_per_query=round(means["ms"], 2),
        ms_p95=round(sorted(figures["ms"])[int(len(judged) * 0.95) - 1], 2),
        queries=len(judged),
        documents=len(collection.documents),
        chunks=row.chunk_count,
        embedding_model=row.embedding_model.name,
        languages=tuple(row.languages),
        seconds_to_ingest=round(filling.seconds, 1),
        failed=len(filling.failed),
        failures=tuple(filling.failed[:SHOWN_FAILURES]),
    )


async def _ranking(query: str, scratch: Collection) -> list[int]:
    request = SearchRequest(query=query, collections=(scratch.slug,), top_k=DEPTH)
    return await chunks_ranked(request, access=EVERYTHING)


def _sources(scratch: Collection) -> dict[int, str]:
    return dict(Chunk.objects.filter(collection=scratch).values_list("pk", "document__source"))
