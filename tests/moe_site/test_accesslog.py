"""What every request leaves behind: its id, its one line in the log, its place in the figures."""

import asyncio
import json
import logging

import pytest

from gateway import metrics
from routing.metrics import REGISTRY
from tests.gateway.observed import CHAT, SECRET, endpoint, header, model_server
from tests.scripted import Reply

__all__ = ["endpoint", "model_server"]


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="gateway")
    return lambda: [record for record in caplog.records if record.name == "gateway.requests"]


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("given", [b"req-of-the-client", b""])
async def test_a_chat_is_one_line_with_the_id_of_its_response(endpoint, lines, given):
    answer = await endpoint.send(headers=[(b"x-request-id", given)] if given else [], stream=True)
    [line] = lines()
    assert line.request_id == header(answer, "x-request-id")
    assert line.request_id == given.decode() if given else line.request_id.startswith("req_")
    told = {name: getattr(line, name) for name in ("kind", "model", "expert", "route", "status", "outcome", "path")}
    assert told == {
        "kind": "completion",
        "model": "auto",
        "expert": "general",
        "route": "default",
        "status": 200,
        "outcome": "stop",
        "path": CHAT,
    }
    assert (line.prompt_tokens, line.completion_tokens, line.tokens) == (11, 4, 15)
    assert 0 <= line.first_ms <= line.latency_ms


async def test_lines_on_the_way_have_the_same_id(endpoint, caplog):
    from moe_site.logs import Context

    caplog.handler.addFilter(Context())
    endpoint.server.reply(Reply(status=500, error="broken"))
    answer = await endpoint.send()
    failed = next(record for record in caplog.records if record.getMessage().startswith("replica failed"))
    assert failed.request_id == header(answer, "x-request-id")


async def test_what_no_model_answers_is_a_line_too(endpoint, lines):
    answer = await endpoint.send("/v1/nothing?password=hunter22", method="GET", headers=[(b"x-request-id", b"mine")])
    [line] = lines()
    assert (line.kind, line.method, line.path, line.status) == ("http", "GET", "/v1/nothing", 404)
    assert line.request_id == header(answer, "x-request-id") == "mine"
    assert "hunter22" not in repr(line.__dict__)


async def test_a_refused_chat_is_one_line(endpoint, lines, settings):
    settings.REQUIRE_API_KEY = True
    await endpoint.send()
    [line] = lines()
    assert (line.kind, line.path, line.status, line.key) == ("http", CHAT, 401, "-")


async def test_probes_are_not_in_the_log_at_info(endpoint, lines):
    assert (await endpoint.send("/health/live", method="GET")).status == 200
    assert lines() == []


async def test_a_client_that_left_is_told(endpoint, lines):
    endpoint.server.reply(Reply(hang_after=0))
    await endpoint.send(leave_when="/api/chat")
    [line] = lines()
    assert (line.status, line.outcome) == (499, "cancelled")


async def test_requests_of_every_kind_are_counted_by_door(endpoint):
    name = "moe_http_requests_total"
    chats = value(name, door="ChatCompletions", method="POST", status="200")
    unknown = value(name, door=metrics.OTHER, method=metrics.OTHER, status="404")
    lives = value(name, door="live", method="GET", status="200")
    await asyncio.gather(
        endpoint.send(),
        endpoint.send("/health/live", method="GET"),
        endpoint.send("/v1/none", method="BREW"),
    )
    assert value(name, door="ChatCompletions", method="POST", status="200") == chats + 1
    assert value(name, door="live", method="GET", status="200") == lives + 1
    assert value(name, door=metrics.OTHER, method=metrics.OTHER, status="404") == unknown + 1
    assert value("moe_http_requests_in_flight") == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_prompts_and_answers_are_in_no_line(endpoint, caplog, stream):
    caplog.set_level(logging.INFO)
    endpoint.server.reply(Reply(status=500, error="broken"))
    await endpoint.send(stream=stream)
    await endpoint.send("/v1/completions", model="auto", prompt=SECRET)
    await endpoint.send("/v1/route", model="auto", messages=[{"role": "user", "content": SECRET}])
    text = json.dumps([repr(record.__dict__) for record in caplog.records])
    assert "Request processed" in text
    assert "oak" not in text
