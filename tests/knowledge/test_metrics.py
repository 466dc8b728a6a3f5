"""Figures of the knowledge base: how runs of jobs and searches ended."""

import asyncio
from contextlib import nullcontext

import pytest

from knowledge import search as searching
from knowledge.access import Access
from knowledge.exceptions import InvalidSearch
from knowledge.jobs import Postponed
from knowledge.metrics import counted
from knowledge.passages import SearchRequest
from routing.metrics import REGISTRY


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("told", "error", "state"),
    [
        ("done", None, "done"),
        ("failed", None, "failed"),
        (None, Postponed("The server is away.", 5), "postponed"),
        (None, asyncio.CancelledError(), "broken"),
        (None, OSError(), "broken"),
    ],
)
def test_a_run_is_counted_by_how_it_ended(told, error, state):
    before = value("moe_ingestion_runs_total", kind="document", state=state)
    times = value("moe_ingestion_run_seconds_count", kind="document")
    with pytest.raises(type(error)) if error else nullcontext(), counted("document") as outcome:
        outcome.state = told or outcome.state
        if error:
            raise error
    assert value("moe_ingestion_runs_total", kind="document", state=state) == before + 1
    assert value("moe_ingestion_run_seconds_count", kind="document") == times + 1


async def test_a_search_that_fails_is_counted_too():
    before = value("moe_searches_total", result="failed")
    with pytest.raises(InvalidSearch):
        await searching.search(SearchRequest(query=" "), access=Access())
    assert value("moe_searches_total", result="failed") == before + 1
