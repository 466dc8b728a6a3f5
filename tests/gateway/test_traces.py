"""Traces of whole requests, as a collector gets them by OTLP."""

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from routing import tracing
from tests.gateway.observed import CHAT, MODEL, SECRET, endpoint, header, model_server
from tests.scripted import Reply

__all__ = ["endpoint", "model_server"]

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GENERATE = "/api/chat"


class Collector:
    """A collector of OTLP over HTTP that shows what it got; ``spans`` by name."""

    def __init__(self):
        self.raw, self.spans, self.service = b"", {}, ""

    async def receive(self, request):
        body = await request.read()
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.service = told["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.name, []).append(span)
        return web.Response(content_type="application/x-protobuf")

    def one(self, name):
        [span] = self.spans[name]
        return span


@pytest.fixture
async def collector(monkeypatch):
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.receive)
    async with TestServer(application) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", str(server.make_url("")))
        tracing.start_tracing()
        yield collector
        await asyncio.to_thread(tracing.stop_tracing)


def told(span):
    return {one.key: _value(one.value) for one in span.attributes}


def _value(value):
    kind = value.WhichOneof("value")
    return [item.string_value for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)


async def sent(collector):
    await asyncio.to_thread(tracing.stop_tracing)
    return collector


async def test_a_request_arrives_with_its_stages_below_it(endpoint, collector):
    endpoint.server.loaded.clear()  # so that the model has to be loaded
    answer = await endpoint.send(headers=[(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())], stream=True)
    await sent(collector)
    assert collector.service == "moe-ollama-endpoint"
    request = collector.one(f"POST {CHAT}")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert request.kind == Span.SPAN_KIND_SERVER
    stages = [collector.one(name) for name in ("route", "queue", "load", "generate")]
    assert [stage.parent_span_id for stage in stages] == [request.span_id] * 4
    starts = [stage.start_time_unix_nano for stage in stages]
    assert starts == sorted(starts)
    assert all(stage.end_time_unix_nano <= request.end_time_unix_nano for stage in stages)
    assert all(span.status.code != Status.STATUS_CODE_ERROR for span in (request, *stages))
    facts = told(request)
    assert {name: facts[name] for name in facts if name.startswith("gen_ai.") and "time" not in name} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "auto",
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 4,
    }
    assert facts["http.response.status_code"] == 200
    assert (facts["moe.expert"], facts["moe.request_id"]) == ("general", header(answer, "x-request-id"))


async def test_the_model_server_continues_the_trace(endpoint, collector):
    await endpoint.send()
    generate = (await sent(collector)).one("generate")
    assert generate.kind == Span.SPAN_KIND_CLIENT
    [asked] = endpoint.server.work_at(GENERATE)
    assert asked.headers["traceparent"].startswith(f"00-{generate.trace_id.hex()}-{generate.span_id.hex()}-")
    assert told(generate)["gen_ai.usage.output_tokens"] == 4


async def test_nothing_that_was_said_is_in_them(endpoint, collector):
    await endpoint.send()
    endpoint.server.reply(Reply(status=400, error=f"cannot read: {SECRET}"))
    await endpoint.send(headers=[(b"authorization", b"Bearer sk-moe-0123456789abcdef")])
    await sent(collector)
    assert len(collector.spans["generate"]) == 2
    for text in (SECRET.encode(), b"oak", b"0123456789abcdef"):
        assert text not in collector.raw


async def test_failures_are_marked_with_their_code(endpoint, collector):
    endpoint.server.reply(Reply(status=500, error="broken"), times=2)
    answer = await endpoint.send()
    assert answer.status == 502
    await sent(collector)
    assert [told(span)["error.type"] for span in collector.spans["generate"]] == ["upstream_error"] * 2
    request = collector.one(f"POST {CHAT}")
    assert request.status.code == Status.STATUS_CODE_ERROR
    assert told(request)["error.type"] == "upstream_error"
    assert told(request)["http.response.status_code"] == 502


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_is_marked(endpoint, collector, stream):
    endpoint.server.reply(Reply(content=["a", "b"], hang_after=1))
    await endpoint.send(stream=stream, leave_when=GENERATE)
    await sent(collector)
    for name in (f"POST {CHAT}", "generate"):
        assert told(collector.one(name))["error.type"] == "cancelled"


async def test_requests_side_by_side_keep_their_stages_apart(endpoint, collector):
    await asyncio.gather(*(endpoint.send(stream=bool(number % 2)) for number in range(6)))
    await sent(collector)
    requests = {span.span_id: span.trace_id for span in collector.spans[f"POST {CHAT}"]}
    assert len(set(requests.values())) == 6
    for name in ("route", "queue", "generate"):
        assert {span.parent_span_id: span.trace_id for span in collector.spans[name]} == requests


async def test_other_requests_are_traced_too(endpoint, collector):
    await endpoint.send("/health/live", method="GET")
    facts = told((await sent(collector)).one("GET /health/live"))
    assert (facts["url.path"], facts["moe.door"]) == ("/health/live", "live")


async def test_a_link_that_opens_a_source_is_not_in_them(endpoint, collector):
    await endpoint.send("/sources/WzEsMiwzXQ.c2lnbmF0dXJl", method="GET")
    spans = await sent(collector)
    assert b"/sources/" in spans.raw
    assert b"c2lnbmF0dXJl" not in spans.raw


async def test_a_collector_that_is_away_holds_nobody_up(endpoint, monkeypatch, unused_tcp_port, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.2)
    tracing.start_tracing()
    began = time.monotonic()
    assert (await endpoint.send()).status == 200
    await asyncio.to_thread(tracing.stop_tracing)
    assert time.monotonic() - began < 30


async def test_without_a_collector_nothing_is_traced_nor_passed_on(endpoint):
    assert not tracing.is_tracing()
    await endpoint.send(CHAT, headers=[(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())])
    [asked] = endpoint.server.work_at(GENERATE)
    assert "traceparent" not in asked.headers
