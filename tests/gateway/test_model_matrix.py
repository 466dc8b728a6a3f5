"""What a narrowed key may not ask for does not exist for it: every door that takes a ``model`` × every spelling.

A door that stands in neither of the tables below fails a test.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from django.test import Client

from gateway.auth import Caller, keys
from gateway.models import key_digest
from gateway.offer import Offer
from gateway.policy import Policy, Scope
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.named import IN_PROCESS
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.gateway.test_rights_matrix import router, served_doors
from tests.scripted import Residency, ScriptedModel, ScriptedServer

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES = [{"role": "user", "content": "Hello"}]

# --- the doors --------------------------------------------------------------------------------------------------

CHATS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "v1/chat/completions": ({"messages": MESSAGES}, {"messages": MESSAGES, "stream": True}),
    "v1/completions": ({"prompt": "Hello"}, {"prompt": "Hello", "suffix": "!"}),
    "v1/responses": ({"input": "Hello", "store": False}, {"input": "Hello", "store": False, "stream": True}),
    "v1/route": ({"messages": MESSAGES},),
    "api/chat": (
        {"messages": MESSAGES, "stream": False},
        {"messages": [], "stream": False},  # loads it
        {"messages": [], "keep_alive": 0, "stream": False},  # unloads it
    ),
    "api/generate": (
        {"prompt": "Hello", "stream": False},
        {"prompt": "Hello", "raw": True, "stream": False},
        {"prompt": "", "stream": False},
        {"prompt": "", "keep_alive": 0, "stream": False},
    ),
    "api/show": ({},),
}
"""Bodies for doors to who chats, without ``model``."""
EMBEDS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "v1/embeddings": ({"input": "Hello"},),
    "api/embed": ({"input": "Hello"},),
    "api/embeddings": ({"prompt": "Hello"},),
}
WITHOUT_MODEL = {"v1/feedback", "v1/rag/ingest", "v1/rag/search", "v1/vector_stores/<str:store>/search"}
NOTHING_TO_ASK = {r"^api/(?:pull|push|create|copy|delete|blobs)\b", r"^api(?:/|$)"}


def test_every_door_stands_in_a_table():
    posted = {route for method, route in served_doors() if method in ("POST", "*")}
    assert posted == {*CHATS, *EMBEDS, *WITHOUT_MODEL, *NOTHING_TO_ASK}


# --- what there is ----------------------------------------------------------------------------------------------

ASKED = "sk-moe-narrowed"
PERMITTED = ("auto", "coding", "llama3", "mini*", "vectors:small")
"""Of the profiles auto and legal, the experts coding and medicine, and the models below."""
TAGS = ("llama3:latest", "llama3:70b", "mini:latest", "mini:1b", "secret:latest", "medicine:latest")
EMBEDDERS = ("vectors:small", "vectors:large")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    chats = [ScriptedModel(name=tag, capabilities=("completion", "insert")) for tag in TAGS]
    embedders = [ScriptedModel(name=tag, capabilities=("embedding",)) for tag in EMBEDDERS]
    with ScriptedServer([*chats, *embedders]) as running:
        for tag in TAGS:
            running.loaded[tag] = Residency(context_length=8192)
        yield running


@pytest.fixture
def known(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Catalog:
    settings.STREAM_HEARTBEAT_SECONDS = 0
    address = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url=server.url)

    def expert(slug: str, tag: str, capability: str = "completion") -> Expert:
        able = frozenset({capability, "insert"})
        return Expert(slug=slug, replicas=(Replica(server=address, embedded=False, model=tag, capabilities=able),))

    found = Catalog(
        experts={slug: expert(slug, "llama3:70b") for slug in ("coding", "medicine")},
        models={tag: expert(tag, tag) for tag in TAGS},
        embedders={tag: expert(tag, tag, "embedding") for tag in EMBEDDERS},
        rules=(),
        default="medicine",
        profiles={slug: Profile(slug=slug) for slug in ("auto", "legal")},
    )
    monkeypatch.setattr(catalog, "_value", found)
    return found


@pytest.fixture(autouse=True)
async def _pool() -> AsyncIterator[None]:
    yield
    await close_shared_pool()


def caller(*policies: tuple[str, ...], scopes: frozenset[Scope] = frozenset(Scope)) -> Caller:
    held = (Policy(subject=f"key:{place}", models=models, scopes=scopes) for place, models in enumerate(policies))
    return Caller(key_id=1, name="narrowed", prefix="sk-moe-narrow", policies=tuple(held))


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(monkeypatch, caller(PERMITTED))


def let_in(monkeypatch: pytest.MonkeyPatch, who: Caller) -> None:
    monkeypatch.setattr(keys, "_value", {key_digest(ASKED): who})


async def knock(method: str, path: str, body: Any = None) -> tuple[int, str]:
    opened = Connection(b"" if body is None else json.dumps(body).encode(), method=method)
    scope: dict[str, Any] = opened.scope
    scope |= {"path": f"/{path}", "query_string": b"", "client": ("127.0.0.1", 1)}
    scope["headers"] += [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"authorization", f"Bearer {ASKED}".encode()),
    ]
    async with asyncio.timeout(30):
        await router()(scope, opened.incoming.get, opened.send)
    status: Any = opened.status
    return status, opened.body.decode()


# --- asking -----------------------------------------------------------------------------------------------------

HIDDEN = (
    *("legal", "medicine", "secret", "secret:latest", "llama3:70b", "vectors:large", IN_PROCESS.slug),
    *("medicine:latest", "legal:latest", " legal", "legal "),
)
"""Names that lead to what the key may not ask for, in spellings that doors read alike."""
NOWHERE = ("CODING", "Legal", "secret:LATEST", "llama3 ", "mini/1b", "*", "l*", "coding,legal", "auto\\u0000", "nobody")
"""Names that lead nowhere, whoever asks; the spaces of some are taken off."""
CHATTING = ("auto", "coding", "llama3", "llama3:latest", "mini", "mini:latest", "mini:1b")


@pytest.mark.parametrize("door", [*CHATS, *EMBEDS])
async def test_what_it_may_not_ask_for_answers_as_what_is_not_there(door, known, narrowed):
    wrong = []
    for body in (CHATS | EMBEDS)[door]:
        for name in HIDDEN:
            status, said = await knock("POST", door, {**body, "model": name})
            stem, unknown = name.strip().partition(":")[0], "nobody"
            other = await knock("POST", door, {**body, "model": name.replace(stem, unknown)})
            if (status, said.replace(stem, unknown)) != other or status != 404:
                wrong.append(f"{name}: {status} {said[:200]} but {other}")
    assert wrong == []


@pytest.mark.parametrize("door", CHATS)
async def test_what_it_may_ask_for_is_there_in_each_spelling(door, known, narrowed):
    wrong = []
    for body in CHATS[door]:
        for name in CHATTING:
            status, said = await knock("POST", door, {**body, "model": name})
            if status != 200:
                wrong.append(f"{name}: {status} {said[:200]}")
    assert wrong == []


@pytest.mark.parametrize("door", EMBEDS)
async def test_embedders_likewise(door, known, narrowed):
    for body in EMBEDS[door]:
        assert (await knock("POST", door, {**body, "model": "vectors:small"}))[0] == 200
        assert (await knock("POST", door, {**body, "model": "auto"}))[0] == 200


@pytest.mark.parametrize("door", [*CHATS, *EMBEDS])
async def test_no_other_spelling_leads_anywhere(door, known, narrowed):
    for body in (CHATS | EMBEDS)[door]:
        for name in NOWHERE:
            if name.strip() not in CHATTING:
                assert (await knock("POST", door, {**body, "model": name}))[0] == 404, name


async def test_whom_a_permitted_profile_chooses_need_not_be_named(known, narrowed):
    status, said = await knock("POST", "v1/route", {"messages": MESSAGES, "model": "auto"})
    assert (status, json.loads(said)["expert"]) == (200, "medicine")


async def test_no_header_and_no_option_gets_around_it(known, narrowed):
    for extra in ({"moe": {"explain": True}}, {"metadata": {"expert": "medicine"}}, {"user": "medicine"}):
        body = {"messages": MESSAGES, "model": "medicine", **extra}
        assert (await knock("POST", "v1/chat/completions", body))[0] == 404


async def test_key_and_group_must_both_permit_it(known, monkeypatch):
    let_in(monkeypatch, caller(("mini*", "llama3"), ("llama3:latest", "mini:1b", "auto")))
    found = {name for name in (*CHATTING, *HIDDEN) if (await _routed(name)) == 200}
    assert found == {"llama3", "llama3:latest", "mini:1b"}


async def _routed(name: str) -> int:
    return (await knock("POST", "v1/route", {"messages": MESSAGES, "model": name}))[0]


# --- lists ------------------------------------------------------------------------------------------------------

SHOWN = {"auto", "coding", "llama3:latest", "mini:latest", "mini:1b", "vectors:small"}


async def test_native_lists_hold_what_it_may_ask_for(known, narrowed):
    tags = json.loads((await knock("GET", "api/tags"))[1])["models"]
    assert {model["name"] for model in tags} == SHOWN
    loaded = json.loads((await knock("GET", "api/ps"))[1])["models"]
    assert {model["name"] for model in loaded} == {"llama3:latest", "mini:latest", "mini:1b"}


def test_models_are_listed_and_found_likewise(known, narrowed):
    client = Client(headers={"Authorization": f"Bearer {ASKED}"})
    assert {model["id"] for model in client.get("/v1/models").json()["data"]} == SHOWN
    for name in CHATTING:
        assert client.get(f"/v1/models/{name}").status_code == 200, name
    for name in ("legal", "medicine", "secret", "secret:latest", "llama3:70b", IN_PROCESS.slug):
        answer, other = client.get(f"/v1/models/{name}"), client.get("/v1/models/nobody")
        assert answer.status_code == other.status_code == 404
        assert answer.content.decode().replace(name, "nobody") == other.content.decode()


def test_without_names_everything_is_there(known, monkeypatch):
    let_in(monkeypatch, caller(()))
    listed = Client(headers={"Authorization": f"Bearer {ASKED}"}).get("/v1/models").json()["data"]
    everything = {*known.profiles, *known.experts, *known.models, *known.embedders, IN_PROCESS.slug}
    assert {model["id"] for model in listed} == everything


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        (Scope.EMBEDDINGS, {"auto", "vectors:small"}),
        (Scope.CHAT, SHOWN - {"vectors:small"}),
        (Scope.ROUTE, SHOWN - {"vectors:small"}),
        (Scope.KNOWLEDGE, set()),
    ],
)
def test_lists_hold_what_its_scopes_can_use(known, scope, shown):
    offer = Offer(caller=caller(PERMITTED, scopes=frozenset({scope})), known=known)
    names = {*known.profiles, *known.experts, *known.models, *known.embedders, IN_PROCESS.slug}
    assert {name for name in names if offer.shows(name)} == shown


def test_a_tag_is_not_called_what_something_else_is_called(known):
    """The expert medicine hides the short name of medicine:latest: who may ask for one may not ask for the other."""
    offer = Offer(caller=caller(("medicine",)), known=known)
    assert offer.exists("medicine")
    assert not offer.exists("medicine:latest")
    tagged = Offer(caller=caller(("medicine:latest",)), known=known)
    assert not tagged.exists("medicine")
    assert tagged.exists("medicine:latest")
