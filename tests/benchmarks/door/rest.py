"""What a chat takes that is not the door's work: the application around it, the decision, the pool."""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

from channels.routing import URLRouter
from django.urls import path

from gateway.http import HttpConsumer
from moe_site.accesslog import AccessLog
from moe_site.cors import CrossOrigin
from moe_site.proxies import BehindProxies
from routing.catalog import Catalog
from routing.current import current
from routing.decision import Decision
from routing.metering import begin_metering
from routing.pool import shared_pool
from routing.router import shared_router
from tests.benchmarks.door.entering import scope_of
from tests.benchmarks.door.installation import asking, chat, fresh, prose
from tests.benchmarks.door.report import COLUMNS
from tests.benchmarks.door.setups import Setup, applied
from tests.benchmarks.door.timing import Part, Variant


class NoAnswer(Exception):
    """The application refused what was to be measured."""


class Nothing(HttpConsumer):
    """A door behind which nothing is."""

    async def handle(self, body: bytes) -> None:
        if request := current():
            request.told = True  # the line is the account's
        await self.send_json({})


def wrapped(application: Any) -> Any:
    """Return ``application`` in what stands around every door (moe_site/asgi.py)."""
    return AccessLog(BehindProxies(CrossOrigin(application)))


async def sent(application: Any, scope: dict[str, Any], body: bytes) -> None:
    """Send a request and take its answer; raises NoAnswer."""
    left: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(messages, None) or await left

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise NoAnswer(str(message))

    await application(dict(scope), receive, send)


def around() -> Part:
    application = wrapped(URLRouter([path("v1/chat/completions", Nothing.as_asgi())]))
    scope, body = scope_of(key=True), chat(prose(1024))

    async def work() -> None:
        await sent(application, scope, body)

    return Part(
        name="an empty door",
        note="the application around a door, and HTTP: all but the work itself",
        variants=(Variant(name="empty", work=work, within=partial(applied, Setup(log="line")), columns=COLUMNS),),
    )


def deciding(known: Catalog) -> Part:
    text = prose(1024)

    async def work() -> None:
        await shared_router().decide(asking(fresh(text)), known)

    return Part(
        name="decision",
        note="without classifier and rules, which tests.benchmarks.routing measures",
        variants=(Variant(name="default expert", work=work, within=partial(applied, Setup()), columns=COLUMNS),),
    )


def running(decision: Decision) -> Part:
    request = asking(prose(1024))

    async def work() -> None:
        begin_metering()
        async with aclosing(shared_pool().chat(decision, request, tenant="sk-moe-bbbbbb")) as events:
            async for _ in events:
                pass

    return Part(
        name="pool",
        note="a seat, the request to a model server that answers at once, its answer read",
        variants=(Variant(name="a small answer", work=work, within=partial(applied, Setup()), columns=COLUMNS),),
    )
