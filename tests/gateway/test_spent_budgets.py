"""What a key can still do whose day's or month's budget is spent: every route has a model work, or is free."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.urls import get_resolver

from gateway.auth import keys
from gateway.limits import entry
from gateway.limits.ledger import Ledger
from gateway.limits.limiter import shared_limiter
from gateway.models import ApiKey, UsageHour
from gateway.ragapi import doors
from knowledge.passages import Retrieval
from routing.backends.embeddings import Embeddings
from routing.catalog import catalog
from routing.metering import called, helping
from tests.gateway.observed import MODEL, header
from tests.gateway.observed import model_server as model_server
from tests.gateway.test_limits import door as door
from tests.gateway.test_rights_matrix import GUARDED, MAKING, READ, Call, asked, client, served_doors, views
from tests.gateway.test_rights_matrix import world as world
from tests.scripted import Reply

MESSAGES = [{"role": "user", "content": "Hi"}]
EMBEDDER = "nomic-embed-text:latest"

DOORS = {
    "v1/chat/completions": {"messages": MESSAGES},
    "v1/responses": {"model": "auto", "input": "Hi"},
    "v1/completions": {"model": "general", "prompt": "Hi"},
    "v1/embeddings": {"model": EMBEDDER, "input": "Hi"},
    "v1/route": {"model": "auto", "messages": MESSAGES},
    "v1/rag/search": {"query": "Hi"},
    "v1/rag/ingest": {"documents": [{"content": "Hi"}]},
    "v1/vector_stores/<str:store>/search": {"query": "Hi"},
    "api/chat": {"model": "auto", "messages": MESSAGES},
    "api/generate": {"model": "auto", "prompt": "Hi"},
    "api/embed": {"model": EMBEDDER, "input": "Hi"},
    "api/embeddings": {"model": EMBEDDER, "prompt": "Hi"},
}
"""Doors that have a model or an embedder work, each with what is asked of it by POST."""

STORE, SLUG, NUMBER = "v1/vector_stores/<str:store>", "v1/rag/collections/<str:slug>", "v1/rag/documents/<int:number>"
VIEWS = {
    ("POST", f"{NUMBER}/reingest"): GUARDED["POST", f"{NUMBER}/reingest"],
    ("PATCH", NUMBER): (Call(needs=READ, address="v1/rag/documents/{document}", body={"title": "Another"}),),
    ("PATCH", SLUG): (Call(needs=READ, address="v1/rag/collections/{slug}", body={}, query={"reingest": "true"}),),
    ("POST", f"{STORE}/files"): GUARDED["POST", f"{STORE}/files"],
    ("POST", f"{STORE}/file_batches"): GUARDED["POST", f"{STORE}/file_batches"],
    ("POST", "v1/vector_stores"): (Call(needs=READ, address="v1/vector_stores", body={"file_ids": ["{own}"]}),),
}
"""Views that have texts embedded, with calls that do."""

FREE = {
    ("PATCH", SLUG),
    ("PATCH", NUMBER),
    ("POST", STORE),
    ("POST", f"{STORE}/files/<str:file>"),
    ("POST", f"{STORE}/file_batches/<str:batch>/cancel"),
    ("POST", "v1/rag/collections"),
    ("POST", "v1/vector_stores"),
    ("POST", "v1/files"),
    ("POST", "v1/feedback"),
    ("POST", "v1/keys"),
    ("PATCH", "v1/keys/<int:number>"),
    ("POST", "v1/keys/<int:number>/rotate"),
    ("POST", "api/show"),
    ("*", r"^api/(?:pull|push|create|copy|delete|blobs)\b"),
    ("*", r"^api(?:/|$)"),
}
"""What writes and asks no model, or need not; beside all that reads (GET, but for searches) and all that deletes."""

ARCHIVES = {(method, "v1/rag/collections/import") for method in ("POST", "PATCH")}
"""An archive brings its vectors along; what is not embedded in it waits (below)."""


def test_every_route_is_known_to_ask_a_model_or_not():
    routes = {*views(get_resolver().url_patterns), *served_doors()}
    known = {*(("POST", path) for path in DOORS), *VIEWS, *FREE, *ARCHIVES}
    told = {route for route in routes if route[0] not in ("GET", "DELETE")}
    assert told - known == set(), "Say in one of the tables above whether a spent budget refuses it."
    assert known - routes == set(), "It is not there any more."


# --- doors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["tokens_per_day", "tokens_per_month", "cost_per_day", "cost_per_month"])
@pytest.mark.parametrize("path", DOORS)
async def test_a_door_that_asks_a_model_is_closed(door, monkeypatch, path, limit):
    door.embeds(EMBEDDER)
    door.price(price_in=1_000_000.0)
    known = catalog._value
    dear = {name: replace(embedder, price_in=1_000_000.0) for name, embedder in known.embedders.items()}
    monkeypatch.setattr(catalog, "_value", replace(known, embedders=dear))
    door.endpoint.server.default_reply = Reply(content="Hi.", prompt_tokens=60, completion_tokens=40)
    key = door.key(**{limit: 60 if "cost" in limit else 100})
    assert (await door.ask(key, max_tokens=1)).status == 200
    address = "/" + path.replace("<str:store>", "vs_" + "0" * 32)
    refused = await door.ask(key, path=address, **DOORS[path])
    assert (refused.status, header(refused, "x-should-retry")) == (429, "false")
    assert "has spent its budget for" in refused.body.decode()
    assert len(door.endpoint.server.work_at("/api/chat")) == 1
    assert not door.endpoint.server.work_at("/api/embed")


async def test_so_is_a_search_by_address_and_the_loading_of_a_model(door):
    key = door.key(tokens_per_day=15)
    assert (await door.ask(key)).status == 200
    searched = await door.endpoint.send("/v1/rag/search?query=Hi", headers=[key], method="GET")
    assert json.loads(searched.body)["error"]["code"] == "insufficient_quota"
    assert (await door.ask(key, path="/api/generate", model=MODEL)).status == 429


async def test_what_searches_take_of_model_servers_is_of_the_budget(door, monkeypatch):
    known = catalog._value

    async def search(request, *, access):
        with helping("retrieval"):
            call = called(known.experts["general"], known.experts["general"].replicas[0])
        call.begin()
        call.note(Embeddings(vectors=(), prompt_tokens=100))
        call.end()
        return Retrieval(query=request.query)

    monkeypatch.setattr(doors, "search", search)
    key = door.key(tokens_per_day=150)
    answers = [await door.ask(key, path="/v1/rag/search", query="Hi") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert "200 of 150 tokens" in answers[2].body.decode()


async def test_a_budget_that_permits_only_what_is_free_is_never_spent(door):
    key = door.key(cost_per_day=0)
    assert (await door.ask(key)).status == 200
    assert (await door.ask(key, path="/v1/route", **DOORS["v1/route"])).status == 200


# --- views ------------------------------------------------------------------------------------------------------


@pytest.fixture
def spender(world, monkeypatch, settings):
    """A caller that may do everything, and whose budget is spent."""
    settings.REDIS_URL = ""
    shared_limiter.cache_clear()
    monkeypatch.setattr(entry, "ledger", Ledger())
    who = next(one for one in world.who if one.name == "granted manage")
    ApiKey.objects.filter(pk=who.own).update(tokens_per_month=100)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    UsageHour.objects.create(hour=hour, key_id=int(who.own), what="completion", requests=1, prompt_tokens=100)
    keys.forget()
    yield who
    shared_limiter.cache_clear()


@pytest.mark.django_db
@pytest.mark.parametrize("route", VIEWS, ids=" ".join)
def test_a_view_that_has_texts_embedded_is_closed(world, spender, route):
    names = world.named("hidden", spender)
    for call in VIEWS[route]:
        status, body = asked(route[0], call, names, spender)
        assert (status, json.loads(body)["error"]["code"]) == (429, "insufficient_quota")


@pytest.mark.django_db
def test_an_archive_is_not_imported(world, spender):
    headers = {"Authorization": spender.authorization}
    answer = client().post("/v1/rag/collections/import", b"PK", content_type="application/zip", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")


@pytest.mark.django_db
def test_everything_else_is_open(world, spender):
    names = world.named("hidden", spender)
    closed = []
    for route, calls in GUARDED.items():
        if route in VIEWS.keys() - FREE or calls[0].address.endswith("/archive"):
            continue
        for call in calls:
            status, _ = asked(route[0], call, names, spender)
            closed += [] if status in call.done else [(route, status)]
    for route in MAKING.keys() & FREE:
        status, _ = asked(route[0], Call(needs=READ, address=route[1], body=MAKING[route]), {}, spender)
        closed += [] if status != 429 else [(route, status)]
    assert closed == []
