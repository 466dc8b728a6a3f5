"""Real documents of every format, read and searched by the real thing: what answers a question is found."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from knowledge.access import EVERYTHING
from knowledge.collections import collection_create
from knowledge.foreground import Errand, Foreground, Listener
from knowledge.models import Document
from knowledge.passages import SearchRequest
from knowledge.receiving import Incoming, document_receive
from knowledge.search import search

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "documents"
NOT_DOCUMENTS = ("README.md", "qa.jsonl")  # they hold the answers
LONG = ("winter-sports.epub",)  # two thirds of all chunks

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not there"),
]


def plain(text):
    return " ".join(re.sub(r"\s+", " ", text).casefold().split())


@pytest.mark.parametrize("left_out", [LONG, pytest.param((), marks=pytest.mark.slow, id="all")])
def test_the_answer_is_among_the_first_three_passages(left_out):
    collection = collection_create(slug="documents", language="en")
    outcomes = []

    def receive(path):
        incoming = Incoming(source=path.name, name=path.name, data=path.read_bytes())
        return lambda: document_receive(collection=collection, incoming=incoming, hold=60)

    async def main():
        paths = [path for path in sorted(DATA.iterdir()) if path.name not in (*NOT_DOCUMENTS, *left_out)]
        listener = Listener(progress=lambda *_: None, outcome=outcomes.append)
        await Foreground(listener=listener).run(Errand(name=path.name, receive=receive(path)) for path in paths)
        pairs = [json.loads(line) for line in (DATA / "qa.jsonl").read_text("utf-8").splitlines()]
        return [await asked(pair) for pair in pairs if pair["file"] not in left_out]

    async def asked(pair):
        found = await search(SearchRequest(query=pair["question"], top_k=3), access=EVERYTHING)
        passages = [one for one in found.passages if one.source == pair["file"]]
        is_there = any(plain(pair["answer_substring"]) in plain(one.text) for one in passages)
        return is_there, f"{pair['file']}: {pair['question']}"

    answers = asyncio.run(main())
    assert {outcome.result for outcome in outcomes} == {"created"}, outcomes
    assert not Document.objects.exclude(status="ready").exists()
    missed = [question for is_there, question in answers if not is_there]
    assert len(missed) <= 0.05 * len(answers), missed
