"""What the gate costs where many documents come at once: a thousand real abstracts, with fifty golden queries."""

import asyncio
import logging
import re
import time
from pathlib import Path

import pytest

from knowledge import gate as gates
from knowledge.evaluation import collection_read
from knowledge.ingest import ingest
from knowledge.models import Collection, EmbeddingModel, GoldenQuery, IngestionJob
from knowledge.receiving import Incoming, document_receive
from tests.knowledge.library import shelf
from tests.knowledge.test_search import RealBench

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval" / "cranfield"

pytestmark = [
    pytest.mark.usefixtures("knowledge"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the retrieval collections are not beside this checkout"),
]


def taken_in(collection, documents):
    """Have documents read, three at a time, and return the seconds it took."""
    jobs = [
        document_receive(
            collection=collection,
            incoming=Incoming(source=one.id, name=f"{one.id}.txt", data=one.text.encode(), title=one.title),
            hold=3_600,
        ).job
        for one in documents
        if one.text.strip()
    ]

    async def main():
        equipment, waiting = RealBench().equipment(), iter(jobs)

        async def work():
            for job in waiting:
                await ingest(job.pk, equipment=equipment)

        await asyncio.gather(*(work() for _ in range(3)))

    began = time.perf_counter()
    asyncio.run(main())
    return time.perf_counter() - began


def figures_of(caplog):
    """Return of every document how many questions were measured for it, and in how many seconds."""
    found = re.findall(r"questions=(\d+) measured=(\d+) .* seconds=([\d.]+)", caplog.text)
    return [int(measured) for _, measured, _ in found], [float(seconds) for *_, seconds in found]


def gated_bulk(caplog, *, there, coming, questions, limit):
    """Take ``coming`` abstracts into a collection of ``there``; return figures of what the gate did."""
    data = collection_read(DATA)
    documents = list(data.documents)
    minilm = EmbeddingModel.objects.get(name="all-MiniLM-L6-v2")
    collection = shelf("abstracts", embedding_model=minilm, chunk_tokens=190)
    taken_in(collection, documents[:there])
    known = dict(collection.documents.values_list("source", "pk"))
    golden = [
        (data.queries[name], [known[one] for one in relevant if one in known])
        for name, relevant in data.judgments.items()
    ]
    for query, answering in [one for one in golden if one[1]][:questions]:
        GoldenQuery.objects.create(collection=collection, query=query).documents.set(answering)
    Collection.objects.update(gate=limit)
    with caplog.at_level(logging.DEBUG, "knowledge"):
        seconds = taken_in(collection, documents[there : there + coming])
    measured, gated = figures_of(caplog)
    return {
        "documents": coming,
        "seconds": round(seconds, 1),
        "gate_seconds": round(sum(gated), 1),
        "gate_longest": max(gated, default=0.0),
        "questions_measured": sum(measured),
        "documents_measured": sum(1 for one in measured if one),
        "held_back": IngestionJob.objects.filter(error_code="held_back").count(),
    }


def test_few_questions_are_measured_for_a_document(caplog):
    figures = gated_bulk(caplog, there=60, coming=30, questions=20, limit=1.0)
    assert figures["held_back"] == 0
    assert figures["questions_measured"] < 30 * 20 / 3
    assert gates._standings


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 1.0, 0.0])
def test_a_thousand_documents_are_taken_in(caplog, limit):
    print(limit, gated_bulk(caplog, there=398, coming=1_000, questions=50, limit=limit))
