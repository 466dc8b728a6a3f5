"""What is switched on while something is measured, and all as it was afterwards."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from django.test import override_settings

from gateway.auth import Caller, keys
from gateway.caching.answers import answers
from gateway.caching.writing import writing
from gateway.guards.guard import Guard, Guards
from gateway.guards.live import guards
from gateway.models import key_digest
from gateway.usage.journal import usage
from gateway.usage.texts import texts
from moe_site.logs import Context, JsonFormatter, LineFormatter
from routing.catalog import Profile, catalog
from routing.classifying import Active, active
from routing.journal import journal
from routing.live import LiveSnapshot
from routing.tracing import start_tracing, stop_tracing
from tests.benchmarks.door.installation import FOUR, KEY_TEXT, OF_GROUP, caller, catalog_of, every_guard
from tests.benchmarks.door.report import COLUMNS

OFF_COLUMN, DEFAULT_COLUMN, ON_COLUMN = COLUMNS
LOGGER = "gateway"
AUTO = Profile(slug="auto", asks_program=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """``log`` is the form of log lines, "" for none; ``caller`` is who has the key, None where none is asked for."""

    settings: dict[str, Any] = field(default_factory=dict)
    caller: Caller | None = field(default_factory=caller)
    guards: tuple[Guard, ...] = ()
    profile: Profile = AUTO
    log: str = ""
    traced: bool = False


# What a developer's own .env may say otherwise.
_USUAL = {
    "REQUIRE_API_KEY": True,
    "INPUT_CHARACTERS_MOST": 2_000_000,
    "RESPONSE_CACHE": "off",
    "REDIS_URL": "",
    "TRUSTED_PROXIES": [],
    "CORS_ALLOWED_ORIGINS": [],
    "ALLOWED_HOSTS": ["localhost"],
    "FETCH_ALLOWED_HOSTS": [],
    "STREAM_HEARTBEAT_SECONDS": 10.0,
}


def off() -> Setup:
    """Return what is left when everything is switched off that can be: figures and the record of usage stay."""
    profile = replace(AUTO, log_share=0)
    return Setup(settings={"REQUIRE_API_KEY": False, "INPUT_CHARACTERS_MOST": 0}, caller=None, profile=profile)


def default() -> Setup:
    """Return what an installation has that nobody has set up: a key, the limit of size, a line of log a request."""
    return Setup(log="line")


def everything() -> Setup:
    """Return everything that asks no model and no Redis."""
    return Setup(
        settings={"RESPONSE_CACHE": "exact"},
        caller=caller(narrow=True, key=FOUR, group=OF_GROUP, keeps="key"),
        guards=every_guard(),
        log="json",
        traced=True,
    )


class Discarding:
    """An exporter of spans for a collector that is not there."""

    def export(self, spans: object) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        return None

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


@contextlib.contextmanager
def applied(setup: Setup) -> Iterator[Setup]:
    """Have ``setup`` hold for this process meanwhile."""
    known = {key_digest(KEY_TEXT): setup.caller} if setup.caller else {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(override_settings(**_USUAL | setup.settings))
        stack.enter_context(_showing(keys, known))
        stack.enter_context(_showing(guards, Guards.of(setup.guards)))
        stack.enter_context(_showing(catalog, catalog_of(setup.profile)))
        # Embedding a prompt is no work of the door's, and takes longer than all of it.
        stack.enter_context(_showing(active, Active(problem="left out here")))
        stack.enter_context(_logging(setup.log))
        if setup.traced:
            start_tracing(Discarding())
            stack.callback(stop_tracing)
        yield setup


@contextlib.contextmanager
def _showing(snapshot: LiveSnapshot[Any], value: Any) -> Iterator[None]:
    before, snapshot._value = snapshot._value, value
    try:
        yield
    finally:
        snapshot._value = before


@contextlib.contextmanager
def _logging(form: str) -> Iterator[None]:
    """Have lines written to nowhere as a worker writes them to standard error: each formatted, and in one write."""
    logger = logging.getLogger(LOGGER)
    level, propagate = logger.level, logger.propagate
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - it is no file
        handler = logging.StreamHandler(nowhere)
        handler.addFilter(Context())
        handler.setFormatter(JsonFormatter() if form == "json" else LineFormatter())
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.INFO if form else logging.WARNING)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def forget() -> None:
    """Drop what requests left to be written, so that none is refused for those before it, and what they are given."""
    for one in (usage, journal, texts, writing):
        one.__init__()  # type: ignore[misc]
    answers.forget(lambda _: True)
