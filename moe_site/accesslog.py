"""What is known of every request, whoever answers it: its id, its line in the log, its figures and its span."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway import metrics
from gateway.errors import CLIENT_LEFT
from gateway.middleware import request_id
from moe_site.logs import redacted
from routing import tracing
from routing.current import CurrentRequest, answering
from routing.exceptions import EndpointError

logger = logging.getLogger("gateway.requests")

LONGEST_PATH = 300
# Asked every few seconds by machines; their lines would be most of the log.
PROBES = ("/health/", "/metrics", "/static/")
App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class AccessLog:
    """An ASGI application that makes each request the current one while the next application answers it."""

    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"][:LONGEST_PATH]
        request = CurrentRequest(id=request_id(headers.get("x-request-id")), method=method, path=path)
        told = {"http.request.method": method, "url.path": redacted(path), "moe.request_id": request.id}
        answer = _Answer(send)
        began = time.perf_counter()
        metrics.http_in_flight.inc()
        with answering(request), tracing.served(method, headers, told) as span:
            try:
                await self._application(scope, receive, answer.send)
            finally:
                metrics.http_in_flight.dec()
                _ended(request, answer, (time.perf_counter() - began) * 1000, span)


class _Answer:
    """What of an answer went out: its status, 0 before that, and whether all of it did."""

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._send = send
        self.status = 0
        self.is_whole = False

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body"):
            self.is_whole = True
        await self._send(message)


def log_refusal(known: str, error: EndpointError) -> None:
    """Tell of a request, by its id, that was refused before it had arrived, so that no application has seen it."""
    metrics.count_http("", "", error.status)
    fields = {"kind": "http", "request_id": known, "status": error.status, "outcome": error.code}
    logger.info("Request processed", extra=fields)


def _ended(request: CurrentRequest, answer: _Answer, milliseconds: float, span: tracing.Span) -> None:
    metrics.count_http(request.door, request.method, answer.status)
    if tracing.is_tracing():
        if request.route:
            span.rename(f"{request.method} {request.route}")
        told = {"http.route": request.route, "moe.door": request.door, "moe.key": request.key}
        span.tell({name: value for name, value in told.items() if value})
        if answer.status:
            span.tell({"http.response.status_code": answer.status})
        if not answer.is_whole:
            span.fail("cancelled")
        elif answer.status >= 500:
            span.fail(str(answer.status))
    if request.told:
        return
    level = logging.DEBUG if request.path.startswith(PROBES) and answer.status < 400 else logging.INFO
    if logger.isEnabledFor(level):
        fields = {
            "kind": "http",
            "request_id": request.id,
            "method": request.method,
            "path": request.path,  # never the query: it may hold what is searched for, or a token
            "status": answer.status or CLIENT_LEFT,
            "latency_ms": round(milliseconds, 1),
            "key": request.key or "-",
        }
        logger.log(level, "Request processed", extra=fields if answer.is_whole else fields | {"cancelled": True})
