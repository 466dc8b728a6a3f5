"""The facade of OpenTelemetry: what it records, and that it does nothing where nobody wants traces."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import StatusCode

from routing import tracing
from routing.exceptions import Unavailable


class Kept:
    """An exporter that keeps what it is given."""

    def __init__(self):
        self.spans = []

    def export(self, spans):
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


@pytest.fixture
def kept():
    kept = Kept()
    tracing.start_tracing(kept)
    yield kept
    tracing.stop_tracing()


def recorded(kept):
    tracing.stop_tracing()
    return {span.name: span for span in kept.spans}


async def pieces(span):
    with span:
        yield 1
        yield 2


async def test_a_stage_may_begin_in_one_task_and_end_in_another(kept):
    with tracing.served("POST", {}, {}):
        opened = pieces(tracing.stage("generate"))
        await asyncio.create_task(anext(opened))
        other = tracing.stage("queue")
        with other:
            pass
        await asyncio.create_task(opened.aclose())
    spans = recorded(kept)
    assert spans["generate"].parent.span_id == spans["queue"].parent.span_id == spans["POST"].context.span_id
    assert spans["generate"].attributes["error.type"] == "cancelled"
    assert spans["queue"].status.status_code is StatusCode.UNSET


async def test_whoever_closes_a_complete_one_cancels_nothing(kept):
    span = tracing.stage("generate")
    opened = pieces(span)
    await anext(opened)
    span.complete()
    await opened.aclose()
    assert recorded(kept)["generate"].status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("The prompt said x.", code="queue_full"), "queue_full"),
        (asyncio.CancelledError(), "cancelled"),
        (ZeroDivisionError("the prompt said x"), "ZeroDivisionError"),
    ],
)
def test_an_error_is_told_by_its_code_and_not_in_its_words(kept, error, reason):
    with pytest.raises(type(error)), tracing.stage("load"):
        raise error
    span = recorded(kept)["load"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert dict(span.attributes) == {"error.type": reason}
    assert not span.events


def test_what_failed_first_is_what_is_told(kept):
    with tracing.stage("load") as span:
        span.fail("upstream_error")
        span.fail("cancelled")
    assert recorded(kept)["load"].attributes["error.type"] == "upstream_error"


def test_libraries_that_trace_by_themselves_find_no_provider(kept):
    from opentelemetry import trace

    with trace.get_tracer("dspy").start_as_current_span("prompt"):
        pass
    assert recorded(kept) == {}


@pytest.mark.parametrize("name", ["", "ours"])
def test_the_service_is_named_by_the_usual_variable(monkeypatch, name):
    monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    kept = Kept()
    tracing.start_tracing(kept)
    with tracing.stage("load"):
        pass
    assert recorded(kept)["load"].resource.attributes["service.name"] == (name or "moe-ollama-endpoint")


def test_without_a_collector_a_stage_leaves_nothing():
    with tracing.stage("queue", {"moe.expert": "general"}) as span:
        span.tell({"moe.replica": "m@box"})
    assert tracing.serving().headers() == {}
