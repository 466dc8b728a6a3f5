"""Figures for Prometheus: what this process's pool does now, and what it did since it started."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from routing.pool import pool_state

REGISTRY = CollectorRegistry()
BREAKER_STATES = ("closed", "half-open", "open")

queue_wait = Histogram(
    "moe_queue_wait_seconds",
    "Seconds a request stood in the queue before a model was free",
    registry=REGISTRY,
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
prompts_cut = Counter(
    "moe_prompts_cut", "Answers whose model server read only a part of the prompt", ["replica"], registry=REGISTRY
)
groundings = Counter(
    "moe_groundings",
    "Answers that were to rest on the knowledge base, by what became of that: grounded, weak, unavailable, skipped",
    ["state"],
    registry=REGISTRY,
)
citations_invented = Counter(
    "moe_citations_invented", "Citations that models made up, and that were taken out of answers", registry=REGISTRY
)


class Lanes(Collector):
    """The pool's lanes, read when asked for."""

    GAUGES = {
        "in_flight": "Requests a model is answering",
        "waiting": "Requests that wait for a model",
        "first_token_seconds": "Moving average of the time to the first token",
        "tokens_per_second": "Moving average of one request's speed",
    }

    def collect(self) -> Iterator[Metric]:
        lanes = pool_state()
        for name, words in self.GAUGES.items():
            gauge = GaugeMetricFamily(f"moe_lane_{name}", words, labels=["server", "model"])
            for lane in lanes:
                gauge.add_metric([lane["server"], lane["model"]], lane[name])
            yield gauge
        breaker = GaugeMetricFamily("moe_lane_breaker", "1 for the state it is in", labels=["server", "model", "state"])
        for lane in lanes:
            for state in BREAKER_STATES:
                breaker.add_metric([lane["server"], lane["model"], state], float(lane["breaker"] == state))
        yield breaker


REGISTRY.register(Lanes())


def text() -> bytes:
    """Return every figure in Prometheus' text format."""
    return generate_latest(REGISTRY)
