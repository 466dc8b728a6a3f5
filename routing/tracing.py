"""Traces by OpenTelemetry: one span for a request and one for each stage of it. Without a collector it does nothing.

Nothing of OpenTelemetry is imported before ``start_tracing``, which is called where OTEL_EXPORTER_OTLP_ENDPOINT is
set. Its provider is not made the global one: libraries that trace by themselves would send prompts to the collector.

A stage's parent is the request's span and not "the current span", since stages live in async generators, whose steps
may run in other contexts than they began in. Names of attributes follow the GenAI conventions of OpenTelemetry; what a
request or an answer says is never among them.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from routing.exceptions import EndpointError

SERVICE = "moe-ollama-endpoint"
FLUSH_SECONDS = 3.0
Attributes = Mapping[str, str | int | float | bool | tuple[str, ...]]


class Span:
    """A stage while it runs, in a ``with`` block. This one is recorded by nobody."""

    __slots__ = ()
    trace_id: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def tell(self, attributes: Attributes) -> None:
        """Add what became known of it."""

    def rename(self, name: str) -> None:
        """Give it another name."""

    def fail(self, reason: str) -> None:
        """Mark it as failed, or as "cancelled"."""

    def complete(self) -> None:
        """Note that it came to its end: whoever closes it early now cancels nothing."""

    def headers(self) -> dict[str, str]:
        """Return the headers by which another server continues the trace."""
        return {}


class RecordedSpan(Span):
    """One that is sent to the collector when its block is left."""

    __slots__ = ("_complete", "_failed", "_span", "trace_id")

    def __init__(self, span: Any) -> None:
        self._span = span
        self._complete = self._failed = False
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not (self._complete and isinstance(error, GeneratorExit)):
            self.fail(reason_of(error))
        self._span.end()

    def tell(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        if self._failed:
            return  # what is noted first is what went wrong
        self._failed = True
        from opentelemetry.trace import StatusCode

        # No description: the words of an error may hold some of the prompt.
        self._span.set_status(StatusCode.ERROR)
        self._span.set_attribute("error.type", reason)

    def complete(self) -> None:
        self._complete = True

    def headers(self) -> dict[str, str]:
        from opentelemetry.propagate import inject
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        inject(carrier, context=set_span_in_context(self._span))
        return carrier


NOBODYS = Span()
_provider: Any = None
_tracer: Any = None
_serving: ContextVar[Span] = ContextVar("span of the request", default=NOBODYS)


def reason_of(error: BaseException) -> str:
    """Return in a word why a stage did not come to its end."""
    if isinstance(error, GeneratorExit | asyncio.CancelledError):
        return "cancelled"
    if isinstance(error, EndpointError):
        return error.code or error.type
    return type(error).__name__


def stage(name: str, attributes: Attributes | None = None, *, calls: bool = False) -> Span:
    """Return the span of a stage of the current request; ``calls`` is whether another server does it."""
    if _tracer is None:
        return NOBODYS
    from opentelemetry.trace import SpanKind, set_span_in_context

    parent = _serving.get()
    context = set_span_in_context(parent._span) if isinstance(parent, RecordedSpan) else None
    kind = SpanKind.CLIENT if calls else SpanKind.INTERNAL
    return RecordedSpan(_tracer.start_span(name, context=context, kind=kind, attributes=dict(attributes or {})))


def serving() -> Span:
    """Return the current request's own span."""
    return _serving.get()


@contextmanager
def served(name: str, headers: Mapping[str, str], attributes: Attributes) -> Iterator[Span]:
    """Record a request as a whole, whose stages are those that begin inside; continues its client's trace."""
    if _tracer is None:
        yield NOBODYS
        return
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    span = _tracer.start_span(name, context=extract(headers), kind=SpanKind.SERVER, attributes=dict(attributes))
    with RecordedSpan(span) as recorded:
        token = _serving.set(recorded)
        try:
            yield recorded
        finally:
            _serving.reset(token)


def is_tracing() -> bool:
    return _tracer is not None


def start_tracing(exporter: Any = None) -> None:
    """Send spans from now on to the collector that the OTEL_* variables name, or to ``exporter``."""
    global _provider, _tracer
    if _tracer is not None:
        return
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("moe")


def stop_tracing() -> None:
    """Send what waits, for FLUSH_SECONDS at most; a collector that is away holds nobody up."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        # In a thread that ends with the process: the exporter goes on trying for longer than anybody waits.
        flushing = threading.Thread(target=provider.shutdown, name="flush spans", daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)
