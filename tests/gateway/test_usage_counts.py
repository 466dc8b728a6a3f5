"""What is recorded of requests is what model servers counted themselves, to the token: of mixed requests of every kind,
some of which are left in the middle, some of which fail over.

The servers are scripted and the doors run in this process. A server counts each piece of a stream that was left as a
token, and so does the gateway. The prompt of such a stream nobody told: it is estimated, from what the server counted
of the others, and held to being near.
"""

import asyncio
import itertools
import json
import re

import pytest
from channels.db import database_sync_to_async
from django.db.models import Count, Q, Sum

from gateway import account
from gateway.auth import Caller, keys
from gateway.consumers import ChatCompletions
from gateway.guards.guard import Guards
from gateway.guards.live import guards
from gateway.models import UsageHour, UsageRecord, key_digest
from gateway.native import NativeChat
from gateway.surfaces import EmbeddingsDoor, TextCompletions
from gateway.usage import journal as module
from gateway.usage.journal import UsageJournal, usage_flush
from gateway.usage.sums import COUNTS
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Mixing, Mode, Profile, Replica, catalog
from routing.classifying import Active, active
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.requests import tool
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer, ToolCall

pytestmark = pytest.mark.django_db(transaction=True)

LEFT_AFTER = 3
"""Pieces after which a client leaves that does not wait for the end."""
KEYS = {
    f"sk-moe-{name}": Caller(key_id=number, name=name, prefix=f"sk-moe-{name}") for number, name in ((1, "a"), (2, "b"))
}
WORDS = ("one", "two", "six", "ten", "red", "blue", "sea", "sun", "ice", "fog")
PIECE = re.compile(rb'"content":"[^"]+"')


def said(recorded):
    """Answer at a length that follows from the prompt; one that says "stuck" gets a few pieces, and no more."""
    body = recorded.body
    size = 1 + len(body) % 9
    if b"stuck" in body:
        return Reply(content=[f" {word}" for word in WORDS], hang_after=LEFT_AFTER)
    if b"weather" in body and b"tools" in body:
        return Reply(tool_calls=[ToolCall(name="weather", arguments={"city": "Oslo"})])
    thinking = ["hm", " so"] if size > 5 else ()
    return Reply(thinking=thinking, content=[f" {word}" for word in WORDS[:size]])


class Leaving(Connection):
    """A client that leaves when so many pieces came."""

    async def send(self, message):
        await super().send(message)
        if len(PIECE.findall(self.body)) == LEFT_AFTER:
            self.leave()


class Desk:
    """Two servers that work, of either kind, and one that fails whatever it is asked."""

    def __init__(self, monkeypatch):
        can = ("completion", "tools", "insert", "thinking")
        self.native = ScriptedServer(
            [ScriptedModel(name="m", capabilities=can), ScriptedModel(name="e", capabilities=("embedding",))]
        )
        self.compatible = ScriptedServer([ScriptedModel(name="m", capabilities=can)])
        self.broken = ScriptedServer([ScriptedModel(name="m", capabilities=can)])
        self.servers = (self.native, self.compatible, self.broken)
        for server in self.servers:
            server.start().default_reply = said
            server.loaded["m"] = server.loaded["e"] = Residency(context_length=8192)
        self.broken.default_reply = Reply(status=500)
        monkeypatch.setattr(keys, "_value", {key_digest(text): caller for text, caller in KEYS.items()})
        monkeypatch.setattr(guards, "_value", Guards())
        monkeypatch.setattr(active, "_value", Active(problem="none"))
        monkeypatch.setattr(catalog, "_value", self.shown())
        journal = UsageJournal()
        monkeypatch.setattr(module, "usage", journal)
        monkeypatch.setattr(account, "usage", journal)

    def replica(self, server, kind=ServerKind.OLLAMA, model="m"):
        address = ServerAddress(name=f"{kind}-{server.port}", kind=kind, base_url=server.url)
        return Replica(server=address, embedded=False, model=model, concurrency=64, parameters=3.0)

    def shown(self):
        native, compatible = self.replica(self.native), self.replica(self.compatible, ServerKind.OPENAI)
        broken = self.replica(self.broken)
        experts = [
            Expert(slug="native", price_in=1.5, price_out=3.0, replicas=(native,)),
            Expert(slug="compatible", price_in=0.25, price_out=1.0, replicas=(compatible,)),
            Expert(slug="shaky", price_in=2.0, price_out=4.0, replicas=(broken, native)),
        ]
        embedder = Expert(slug="e", replicas=(self.replica(self.native, model="e"),))
        profiles = [
            Profile(slug="auto", asks_program=False),
            Profile(
                slug="moe",
                mode=Mode.MIXTURE,
                mixing=Mixing(aggregator="native", patience=10.0),
                asks_program=False,
                experts=frozenset({"native", "compatible"}),
            ),
        ]
        return Catalog(
            experts={one.slug: one for one in experts},
            models={},
            embedders={"e": embedder},
            rules=(),
            default="native",
            profiles={one.slug: one for one in profiles},
        )

    async def send(self, door, body, number, connection=Connection):
        client = connection(json.dumps(body).encode())
        text = list(KEYS)[number % len(KEYS)]
        client.scope["headers"] = [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {text}".encode()),
            (b"x-request-id", f"r{number}".encode()),
        ]
        async with asyncio.timeout(60):
            await door.as_asgi()(client.scope, client.incoming.get, client.send)
        return client

    def requests(self):
        for server in self.servers:
            yield from (one for one in server.requests if one.method == "POST")


@pytest.fixture
async def desk(monkeypatch, settings):
    settings.STREAM_HEARTBEAT_SECONDS = 0
    settings.UPSTREAM_MAX_RETRIES = 1
    settings.QUEUE_LIMIT = 10_000
    desk = Desk(monkeypatch)
    yield desk
    await close_shared_pool()
    for server in desk.servers:
        server.close()


def chat(number, model="native", **more):
    text = f"{number} " + " ".join(itertools.islice(itertools.cycle(WORDS), number % 50 + 20))
    return {"model": model, "messages": [{"role": "user", "content": text}]} | more


def stuck(number):
    body = chat(number, model=("native", "compatible")[number // 10 % 2], stream=True)
    body["messages"][0]["content"] += " stuck"
    return body


def weather(number):
    return {"role": "user", "content": f"What is the weather {number}?"}


def prompts(number, **more):
    return {"model": "native", "prompt": [f"Tell me {number}", "Go on then"], "max_tokens": 50} | more


KINDS = (
    (ChatCompletions, chat),
    (ChatCompletions, lambda n: chat(n, "compatible", stream=True, stream_options={"include_usage": True})),
    (ChatCompletions, lambda n: {**chat(n, tools=[tool("weather")]), "messages": [weather(n)]}),
    (ChatCompletions, lambda n: chat(n, n=2, stream=n % 4 == 3)),
    (ChatCompletions, lambda n: chat(n, "moe", stream=n % 20 > 9)),
    (TextCompletions, lambda n: prompts(n, stream=n % 20 > 9)),
    (EmbeddingsDoor, lambda n: {"model": "e", "input": [f"text {n}", "another one", "and a third"]}),
    (ChatCompletions, lambda n: chat(n, "shaky", stream=n % 20 > 9)),
    (NativeChat, lambda n: chat(n, "compatible")),
    (ChatCompletions, stuck),
)  # fmt: skip


async def mixed(desk, count):
    """Send ``count`` requests, a tenth of which are left in the middle; return the statuses that they got."""
    gate = asyncio.Semaphore(30)

    async def one(number):
        async with gate:
            door, body = KINDS[number % len(KINDS)]
            client = await desk.send(door, body(number), number, Leaving if body is stuck else Connection)
            return client.status

    return await asyncio.gather(*(one(number) for number in range(count)))


@database_sync_to_async
def written():
    usage_flush()
    names = [name for name in COUNTS if name not in ("requests", "errors", "cancelled", "cached", "first_tokens")]
    records = UsageRecord.objects.aggregate(
        requests=Count("pk"),
        cancelled=Count("pk", filter=Q(is_cancelled=True)),
        errors=Count("pk", filter=Q(status__gte=400, is_cancelled=False)),
        cached=Count("pk", filter=~Q(cache="")),
        first_tokens=Count("first_token_ms"),
        **{name: Sum(name) for name in names},
    )
    hours = UsageHour.objects.aggregate(**{f"{name}_": Sum(name) for name in COUNTS})
    left = UsageRecord.objects.filter(is_estimated=True).aggregate(
        count=Count("pk"), prompt=Sum("prompt_tokens"), completion=Sum("completion_tokens")
    )
    return records, {name.removesuffix("_"): value for name, value in hours.items()}, left


async def check(desk, count):
    statuses = await mixed(desk, count)
    assert set(statuses) == {200}
    records, hours, left = await written()
    cut = [one.used for one in desk.requests() if one.pieces_sent and not one.told_counts]
    whole = [one.used for one in desk.requests() if one.told_counts]
    assert len(cut) == left["count"] == records["cancelled"] == count // 10
    # What the servers counted, to the token.
    assert records["completion_tokens"] == sum(written for _, written in whole + cut)
    assert records["prompt_tokens"] - left["prompt"] == sum(read for read, _ in whole)
    assert left["completion"] == LEFT_AFTER * len(cut)
    # What nobody told is near.
    assert left["prompt"] == pytest.approx(sum(read for read, _ in cut), rel=0.3)
    # And the sums by hour are those of the records.
    assert {name: hours[name] for name in COUNTS} == pytest.approx({name: records[name] for name in COUNTS})
    exact = [name for name in COUNTS if not name.endswith("_ms")]
    assert [hours[name] for name in exact] == [records[name] for name in exact]
    assert records["requests"] == count
    assert module.usage.dropped == 0


async def test_sums_are_what_the_servers_counted(desk):
    await check(desk, 200)


@pytest.mark.slow
async def test_sums_are_what_the_servers_counted_after_thousands(desk):
    await check(desk, 5_000)
