"""The whole application in this process, over a catalog of our own and scripted model servers, for those who watch it.

Whoever uses ``endpoint`` imports ``model_server`` too.
"""

import asyncio
import json

import pytest

from gateway.auth import keys
from gateway.guards.guard import Guards
from gateway.guards.live import guards
from moe_site.accesslog import AccessLog
from moe_site.asgi import routes
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.classifying import Active, active
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

MODEL = "llama3.2:3b"
CHAT = "/v1/chat/completions"
SECRET = "The treasure lies below the old oak."


@pytest.fixture
def model_server():
    with ScriptedServer([ScriptedModel(name=MODEL, capabilities=("completion", "insert"))]) as server:
        server.loaded[MODEL] = Residency(context_length=8192)
        server.default_reply = Reply(content=["Be", "low an oak."], prompt_tokens=11, completion_tokens=4)
        yield server


class Endpoint:
    """``auto`` asks the expert ``general``, which falls back to ``spare``; ``application`` is what daphne serves."""

    def __init__(self, server, monkeypatch):
        self.server = server
        self.application = AccessLog(routes)
        self._patch = monkeypatch
        self.connections = []
        monkeypatch.setattr(keys, "_value", {})
        monkeypatch.setattr(guards, "_value", Guards.of(()))
        monkeypatch.setattr(active, "_value", Active(problem="none"))
        self.has(general=server.url)

    def has(self, **experts):
        """Have experts of these names, each with one replica on the server at an address."""
        shown = Catalog(
            experts={slug: _expert(slug, url) for slug, url in experts.items()},
            models={},
            rules=(),
            default="general",
            profiles={"auto": Profile(slug="auto", asks_program=False)},
        )
        self._patch.setattr(catalog, "_value", shown)

    async def send(self, path=CHAT, headers=(), method="POST", leave_when=None, stop_when=None, **body):
        given = {"model": "auto", "messages": [{"role": "user", "content": SECRET}]} if path == CHAT else {}
        connection = Connection(json.dumps(given | body).encode() if method == "POST" else b"", method=method)
        sent = [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers]
        connection.scope |= {
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "headers": sent,
            "client": ("127.0.0.1", 50000),
        }
        self.connections.append(connection)
        running = asyncio.create_task(self._answered(connection))
        if leave_when:
            await asyncio.to_thread(self.server.wait_for_work, leave_when)
            connection.leave()
        if stop_when:
            await asyncio.to_thread(self.server.wait_for_work, stop_when)
            running.cancel()  # as a server that stops does
            with pytest.raises(asyncio.CancelledError):
                await running
            return connection
        await running
        return connection

    async def _answered(self, connection):
        async with asyncio.timeout(10):
            await self.application(connection.scope, connection.incoming.get, connection.send)


def _expert(slug, url):
    address = ServerAddress(name=f"box of {slug}", kind=ServerKind.OLLAMA, base_url=url)
    replica = Replica(server=address, embedded=False, model=MODEL, parameters=3.0)
    fallbacks = ("spare",) if slug == "general" else ()
    return Expert(slug=slug, replicas=(replica,), fallbacks=fallbacks)


@pytest.fixture
async def endpoint(model_server, monkeypatch, settings):
    settings.REQUIRE_API_KEY = False
    settings.STREAM_HEARTBEAT_SECONDS = 0
    settings.UPSTREAM_MAX_RETRIES = 1
    yield Endpoint(model_server, monkeypatch)
    await close_shared_pool()


def header(connection, name):
    """Return a header of an answer, "" where it has none."""
    for given, value in connection.sent[0]["headers"]:
        if given.decode().lower() == name:
            return value.decode()
    return ""
