"""Figures of the knowledge base for Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from knowledge.jobs import Postponed
from knowledge.models import IngestionJob, JobState
from routing.metrics import REGISTRY

searches = Counter(
    "moe_searches",
    "Searches of the knowledge base by what came of them: found, weak (nothing that fits well), empty, failed",
    ["result"],
    registry=REGISTRY,
)
search_seconds = Histogram(
    "moe_search_seconds",
    "Seconds that a search took, its embedding and reranking included",
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
runs = Counter(
    "moe_ingestion_runs",
    "Runs of ingestion jobs by how they ended: done, failed, postponed (it is tried again), gone (cancelled or "
    "replaced), broken (its process stopped)",
    ["kind", "state"],
    registry=REGISTRY,
)
run_seconds = Histogram(
    "moe_ingestion_run_seconds",
    "Seconds that a run of an ingestion job took",
    ["kind"],
    registry=REGISTRY,
    buckets=(0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
jobs = Gauge(
    "moe_ingestion_jobs",
    "Ingestion jobs of the whole installation that are not finished, by state",
    ["state"],
    registry=REGISTRY,
    multiprocess_mode="livemax",  # each machine's worker counts the same rows
)


@dataclass(slots=True)
class Outcome:
    """How a run ended, as far as whoever runs it told."""

    state: str = "broken"


@contextmanager
def counted(kind: str) -> Iterator[Outcome]:
    """Count a run of a job of this kind, by the state it is told to have ended in."""
    began = time.perf_counter()
    outcome = Outcome()
    try:
        yield outcome
    except Postponed:
        outcome.state = "postponed"
        raise
    finally:
        runs.labels(kind, outcome.state).inc()
        run_seconds.labels(kind).observe(time.perf_counter() - began)


def jobs_count() -> None:
    """Set how many jobs wait and run; raises django.db.Error."""
    for state in (JobState.QUEUED, JobState.RUNNING):
        jobs.labels(state.value).set(IngestionJob.objects.filter(state=state).count())
