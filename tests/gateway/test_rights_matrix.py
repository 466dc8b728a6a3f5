"""Who may do what with the knowledge base, on every path: routes × kinds of callers × what a collection is open for.

The routes are those that there are; one that stands in none of the tables below fails a test. What must come of a call
follows from two numbers: the level that the route needs, and the level that the caller has.
"""

import asyncio
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from channels.routing import URLRouter
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from gateway.auth import keys
from gateway.models import ApiKey, KeyGroup, key_digest
from gateway.sources import token_of
from knowledge.models import Collection, Document, FileBatch, Grant, StoredFile
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.pool import close_shared_pool
from routing.rules import Rule
from tests.gateway.test_http import Connection
from tests.knowledge.rows import collection_of, document_of, job_of
from tests.scripted import Residency, ScriptedModel, ScriptedServer

pytestmark = pytest.mark.django_db

READ, WRITE, MANAGE = 1, 2, 3
STATES = {"hidden": 0, "readable": READ, "writable": WRITE, "manageable": MANAGE}
"""Collections by what every key may do with them."""
SECRET = "quokka"
"""A word that stands in every text of every collection."""
TEXT = "Sick leave is approved by the team lead."

# --- the tables -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is about one collection: the level it needs, its body, and the statuses that mean it was done.

    ``address`` takes the names of the collection's things; ``query`` likewise. With ``renamed`` the collection is
    called that for the time of the call.
    """

    needs: int
    address: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    done: tuple[int, ...] = (200, 201, 202)
    renamed: str = ""


def reads(address: str, **query: str) -> Call:
    return Call(needs=READ, address=address, query=query)


SLUG, STORE = "v1/rag/collections/<str:slug>", "v1/vector_stores/{store}"
GUARDED: Mapping[tuple[str, str], tuple[Call, ...]] = {
    ("GET", "v1/rag/collections/<str:slug>"): (reads("v1/rag/collections/{slug}"), reads("v1/rag/collections/{store}")),
    ("PATCH", "v1/rag/collections/<str:slug>"): (
        Call(needs=MANAGE, address="v1/rag/collections/{slug}", body={"name": "Changed"}),
    ),
    ("DELETE", "v1/rag/collections/<str:slug>"): (Call(needs=MANAGE, address="v1/rag/collections/{slug}"),),
    ("GET", "v1/rag/collections/<str:slug>/archive"): (
        Call(needs=MANAGE, address="v1/rag/collections/{slug}/archive"),
    ),
    ("GET", "v1/rag/documents"): (reads("v1/rag/documents", collection="{slug}"),),
    ("GET", "v1/rag/documents/<int:number>"): (reads("v1/rag/documents/{document}"),),
    ("PATCH", "v1/rag/documents/<int:number>"): (
        Call(needs=WRITE, address="v1/rag/documents/{document}", body={"metadata": {"a": 1}}),
    ),
    ("DELETE", "v1/rag/documents/<int:number>"): (Call(needs=WRITE, address="v1/rag/documents/{document}"),),
    ("POST", "v1/rag/documents/<int:number>/reingest"): (
        Call(needs=WRITE, address="v1/rag/documents/{document}/reingest"),
    ),
    ("GET", "v1/rag/documents/<int:number>/chunks"): (reads("v1/rag/documents/{document}/chunks"),),
    ("GET", "v1/rag/documents/<int:number>/content"): (reads("v1/rag/documents/{document}/content"),),
    ("GET", "v1/rag/jobs"): (reads("v1/rag/jobs", collection="{slug}"),),
    ("GET", "v1/rag/jobs/<str:job_id>"): (reads("v1/rag/jobs/{job}"),),
    ("DELETE", "v1/rag/jobs/<str:job_id>"): (Call(needs=WRITE, address="v1/rag/jobs/{job}"),),
    ("GET", "v1/files/<str:file_id>"): (reads("v1/files/{file}"), reads("v1/files/{plain}")),
    ("GET", "v1/files/<str:file_id>/content"): (reads("v1/files/{file}/content"), reads("v1/files/{plain}/content")),
    ("DELETE", "v1/files/<str:file_id>"): (Call(needs=WRITE, address="v1/files/{plain}"),),
    ("GET", "v1/vector_stores/<str:store>"): (reads(STORE), reads("v1/vector_stores/{slug}")),
    ("POST", "v1/vector_stores/<str:store>"): (Call(needs=MANAGE, address=STORE, body={"name": "Changed"}),),
    ("DELETE", "v1/vector_stores/<str:store>"): (Call(needs=MANAGE, address=STORE),),
    ("GET", "v1/vector_stores/<str:store>/files"): (reads(f"{STORE}/files"),),
    ("POST", "v1/vector_stores/<str:store>/files"): (
        Call(needs=WRITE, address=f"{STORE}/files", body={"file_id": "{own}"}),
        Call(needs=WRITE, address=f"{STORE}/files", body={"file_id": "{plain}"}),
    ),
    ("GET", "v1/vector_stores/<str:store>/files/<str:file>"): (
        reads(f"{STORE}/files/{{file}}"),
        reads(f"{STORE}/files/{{plain}}"),
    ),
    ("POST", "v1/vector_stores/<str:store>/files/<str:file>"): (
        Call(needs=WRITE, address=f"{STORE}/files/{{file}}", body={"attributes": {"a": "b"}}),
    ),
    ("DELETE", "v1/vector_stores/<str:store>/files/<str:file>"): (
        Call(needs=WRITE, address=f"{STORE}/files/{{file}}"),
    ),
    ("GET", "v1/vector_stores/<str:store>/files/<str:file>/content"): (reads(f"{STORE}/files/{{file}}/content"),),
    ("POST", "v1/vector_stores/<str:store>/file_batches"): (
        Call(needs=WRITE, address=f"{STORE}/file_batches", body={"file_ids": ["{own}"]}),
    ),
    ("GET", "v1/vector_stores/<str:store>/file_batches/<str:batch>"): (reads(f"{STORE}/file_batches/{{batch}}"),),
    ("POST", "v1/vector_stores/<str:store>/file_batches/<str:batch>/cancel"): (
        Call(needs=WRITE, address=f"{STORE}/file_batches/{{batch}}/cancel"),
    ),
    ("GET", "v1/vector_stores/<str:store>/file_batches/<str:batch>/files"): (
        reads(f"{STORE}/file_batches/{{batch}}/files"),
    ),
}
"""Calls about one collection. Who may not read it is told that it is not there, who may not do more is told so."""

GUARDED = {
    **GUARDED,
    **{
        (method, "v1/rag/collections/import"): tuple(
            replace(call, renamed="import") for call in GUARDED[method, SLUG][:1]
        )
        for method in ("GET", "PATCH", "DELETE")
    },
}

OF_ITS_OWN = {("GET", "v1/rag/collections/<str:slug>/archive")}
"""What reads the database in a transaction of its own, and so is not undone afterwards."""

LISTS: Mapping[tuple[str, str], str] = {
    ("GET", "v1/rag/collections"): "slug",
    ("GET", "v1/rag/documents"): "collection",
    ("GET", "v1/rag/jobs"): "collection",
    ("GET", "v1/files"): "filename",
    ("GET", "v1/vector_stores"): "name",
}
"""Lists, and the field of their objects that tells the collection. They hold what may be read."""

MAKING: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("POST", "v1/rag/collections"): {"slug": "new"},
    ("POST", "v1/vector_stores"): {"name": "new"},
    ("POST", "v1/files"): {},
    ("POST", "v1/rag/collections/import"): {},
}
"""What any key may make; what is made is its own. They need a key, and no collection."""

ANY_KEY = {("GET", "v1/rag/embedding-models"), ("GET", "v1/models"), ("GET", "v1/models/<path:name>")}
"""What every key may look at: no texts."""

SIGNED = {("GET", "sources/<str:token>")}
"""What opens by a signature instead of a key."""

DOORS: Mapping[tuple[str, str], str] = {
    ("POST", "v1/rag/search"): "search",
    ("GET", "v1/rag/search"): "search",
    ("POST", "v1/rag/ingest"): "ingest",
    ("POST", "v1/vector_stores/<str:store>/search"): "store search",
    ("POST", "v1/chat/completions"): "chat",
    ("POST", "v1/responses"): "chat",
    ("POST", "api/chat"): "chat",
    ("POST", "api/generate"): "chat",
    ("POST", "v1/route"): "evidence",
}
"""Doors that wait, which are not Django's: tested with a database that their threads see."""

ELSEWHERE = {
    ("GET", ""),
    ("GET", "health/live"),
    ("GET", "health/ready"),
    ("GET", "metrics"),
    ("GET", "docs"),
    ("GET", "openapi.json"),
    ("GET", "v1/usage"),  # usage: tests/gateway/test_usage_report.py
    ("GET", "v1/keys"),  # keys: tests/gateway/test_keyring.py
    ("POST", "v1/keys"),
    ("GET", "v1/keys/<int:number>"),
    ("PATCH", "v1/keys/<int:number>"),
    ("DELETE", "v1/keys/<int:number>"),
    ("POST", "v1/keys/<int:number>/rotate"),
    ("GET", "v1/responses/<str:response_id>"),  # tests/gateway/test_responses_stored.py
    ("DELETE", "v1/responses/<str:response_id>"),
    ("GET", "v1/responses/<str:response_id>/input_items"),
    ("POST", "v1/completions"),
    ("POST", "v1/embeddings"),
    ("POST", "v1/feedback"),
    ("POST", "api/embed"),
    ("POST", "api/embeddings"),
    ("GET", "api/tags"),
    ("POST", "api/show"),
    ("GET", "api/ps"),
    ("GET", "api/version"),
    ("*", r"^api/(?:pull|push|create|copy|delete|blobs)\b"),
    ("*", r"^api(?:/|$)"),
}
"""What has nothing to do with the knowledge base."""


# --- the routes that there are ----------------------------------------------------------------------------------


def views(patterns: list[Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the methods and routes of Django's side, admin aside."""
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from () if route == "admin/" else views(pattern.url_patterns, route)
            continue
        view = getattr(pattern.callback, "cls", None)
        names = [name for name in view.http_method_names if hasattr(view, name)] if view else ["get"]
        yield from ((name.upper(), route) for name in names if name not in ("options", "head"))


def served_doors() -> Iterator[tuple[str, str]]:
    """Yield the methods and routes of the consumers."""
    for pattern in router().routes:
        consumer = getattr(pattern.callback, "consumer_class", None)
        if consumer is None:
            continue  # Django itself
        route = str(pattern.pattern)
        if route.startswith("^"):
            yield "*", route
            continue
        yield from ((method, route) for method in consumer.methods if method != "HEAD")


def router() -> URLRouter:
    from moe_site.asgi import routes

    found: URLRouter = routes.application_mapping["http"]
    return found


TABLES = (GUARDED, LISTS, MAKING, ANY_KEY, SIGNED, DOORS, ELSEWHERE)


def test_every_route_stands_in_a_table():
    routes = {*views(get_resolver().url_patterns), *served_doors()}
    known = {route for table in TABLES for route in table}
    assert routes - known == set(), "Say in one of the tables above who may use it."
    assert known - routes == set(), "It is not there any more."


# --- who calls --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """A kind of caller: its Authorization header, and what it was granted; None: it is not let in.

    ``most`` is what its key's policy, or its group's, narrows it to.
    """

    name: str
    authorization: str | None
    granted: int | None
    own: str = ""
    most: int = MANAGE

    def may(self, everyone: int) -> int | None:
        return None if self.granted is None else min(self.most, max(self.granted, everyone))


def callers(collections: list[Collection]) -> list[Who]:
    """Make the kinds of callers, and grant them what they have in every one of ``collections``."""
    found = [
        Who(name="nobody", authorization=None, granted=None),
        Who(name="another scheme", authorization="Basic Zm9vOmJhcg==", granted=None),
        Who(name="a wrong key", authorization="Bearer sk-moe-wrong", granted=None),
    ]
    grants: list[Grant] = []
    now = timezone.now()
    for name, fields in (("revoked", {"revoked_at": now}), ("expired", {"expires_at": now - timedelta(days=1)})):
        row, text = ApiKey.objects.issue(name=name, group="managers")
        ApiKey.objects.filter(pk=row.pk).update(**fields)
        grants += [Grant(collection=one, key=row, level=MANAGE) for one in collections]
        found.append(Who(name=name, authorization=f"Bearer {text}", granted=None))
    for name, group, level, by_group in (
        ("ungranted", "", 0, False),
        ("another group", "strangers", 0, False),
        ("granted read", "", READ, False),
        ("granted write", "", WRITE, False),
        ("granted manage", "", MANAGE, False),
        ("readers", "readers", READ, True),
        ("writers", "writers", WRITE, True),
        ("managers", "managers", MANAGE, True),
        ("reader of the writers", "writers", WRITE, False),
    ):
        row, text = ApiKey.objects.issue(name=name, group=group)
        if by_group:
            grants += [Grant(collection=one, group=group, level=level) for one in collections]
        elif level:  # the last has two grants, of which the higher counts
            grants += [Grant(collection=one, key=row, level=READ if group else level) for one in collections]
        found.append(Who(name=name, authorization=f"Bearer {text}", granted=level, own=str(row.pk)))
    found += narrowed_callers()
    grants += [Grant(collection=one, group="managers of some", level=MANAGE) for one in collections]
    Grant.objects.bulk_create(grants)
    keys.forget()
    return found


def narrowed_callers() -> Iterator[Who]:
    """Make callers that were granted everything, and whose policies narrow that."""
    KeyGroup.objects.create(name="managers of some", allowed_collections=["hidd*: read", "*: write"])
    for name, group, lines, most in (
        ("narrowed to reading", "managers", ["*: read"], READ),
        ("narrowed to others", "managers", ["elsewhere*: manage"], 0),
        ("narrowed by its group", "managers of some", [], WRITE),
    ):
        row, text = ApiKey.objects.issue(name=name, group=group)
        ApiKey.objects.filter(pk=row.pk).update(allowed_collections=lines)
        yield Who(name=name, authorization=f"Bearer {text}", granted=MANAGE, own=str(row.pk), most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Collections of all four kinds, each with a document of an uploaded file, one without, a batch and a job."""

    who: list[Who]
    names: Mapping[str, Mapping[str, str]]

    def named(self, state: str, who: Who) -> Mapping[str, str]:
        return {**self.names[state], "own": self.names["files"].get(who.own, "file-" + "0" * 32)}


@pytest.fixture
def world() -> World:
    return made()


def made() -> World:
    names: dict[str, dict[str, str]] = {}
    rows = []
    for state, everyone in STATES.items():
        row = collection_of(state, everyone=everyone, mode="text", language="en", name=state)
        plain, of_file = (
            document_of(row, f"{state}{kind}.md", texts=(f"{SECRET} {state}{kind}. {TEXT}",))
            for kind in ("-plain", "-file")
        )
        content = of_file.revisions.get().content
        file = StoredFile.objects.create(
            name=state, purpose="assistants", content=content, size=content.size, group="x"
        )
        Document.objects.filter(pk=of_file.pk).update(file=file)
        batch = FileBatch.objects.create(collection=row)
        batch.documents.add(of_file)
        names[state] = {
            "slug": state,
            "store": row.public_id,
            "document": str(plain.pk),
            "plain": plain.public_id,
            "file": file.public_id,
            "batch": batch.public_id,
            "job": str(job_of(row, plain).pk),
        }
        rows.append(row)
    who = callers(rows)
    names["files"] = {one.own: _uploaded(one) for one in who if one.own}
    return World(who=who, names=names)


def _uploaded(who: Who) -> str:
    key = ApiKey.objects.get(pk=who.own)
    content = Document.objects.first().revisions.get().content
    file = StoredFile.objects.create(
        name="own", purpose="assistants", content=content, size=1, key=key, group=key.group
    )
    return file.public_id


def filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, dict):
        return {name: filled(one, names) for name, one in value.items()}
    return [filled(one, names) for one in value] if isinstance(value, list) else value


@functools.cache
def client() -> Client:
    """Return one client for all: each new one has the middleware look through the admin's files."""
    return Client()


def asked(method: str, call: Call, names: Mapping[str, str], who: Who) -> tuple[int, bytes]:
    """Return the status and the body of an answer, after which nothing has happened."""
    headers = {"Authorization": who.authorization} if who.authorization else {}
    with nullcontext() if call.address.endswith("/archive") else transaction.atomic():
        if call.renamed and "slug" in names:
            Collection.objects.filter(slug=names["slug"]).update(slug=call.renamed)
            names = {**names, "slug": call.renamed}
        response = client().generic(
            method,
            f"/{call.address.format(**names)}",
            headers=headers,
            data=b"" if call.body is None else json.dumps(filled(call.body, names)).encode(),
            content_type="application/json",
            query_params=filled(dict(call.query), names),
        )
        body = b"".join(response) if response.streaming else response.content
        if connection.in_atomic_block:
            transaction.set_rollback(True)
    return response.status_code, body


def each(routes: Iterable[tuple[str, str]]) -> Any:
    """Have a test run for each of ``routes``."""
    own = pytest.mark.django_db(transaction=True)
    params = [pytest.param(one, marks=own if one in OF_ITS_OWN else (), id=" ".join(one)) for one in routes]
    return pytest.mark.parametrize("route", params)


def expected(needs: int, has: int | None) -> int:
    """Return the status of what is refused, 0 where it is done."""
    if has is None:
        return 401
    return 404 if has < READ else 403 if has < needs else 0


# --- calls about one collection ---------------------------------------------------------------------------------


@each(GUARDED)
def test_a_call_is_answered_by_what_the_caller_may(world, route):
    method, wrong = route[0], []
    for call in GUARDED[route]:
        for state, everyone in STATES.items():
            for who in world.who:
                status, body = asked(method, call, world.named(state, who), who)
                refusal = expected(call.needs, who.may(everyone))
                if status != refusal if refusal else status not in call.done:
                    wrong.append(
                        f"{who.name} on a {state} one: {status} instead of {refusal or call.done} ({body[:200]!r})"
                    )
                if refusal and SECRET.encode() in body:
                    wrong.append(f"{who.name} on a {state} one is told of its texts")
    assert wrong + reads_alike(world, route) == []


def reads_alike(world: World, route: tuple[str, str]) -> list[str]:
    """Return where what is hidden from a caller answers otherwise than what is not there."""
    stranger = next(who for who in world.who if who.name == "ungranted")
    hidden = world.named("hidden", stranger)
    ids = {name: re.sub("[0-9a-f]{32}$", "0" * 32, hidden[name]) for name in ("store", "file", "plain", "batch")}
    nothing = {"slug": "hidxxx", "document": "999999999", "job": str(UUID(int=4)), "own": hidden["own"], **ids}
    wrong = []
    for call in GUARDED[route]:
        there, missing = asked(route[0], call, hidden, stranger), asked(route[0], call, nothing, stranger)
        said = there[1].decode()
        for name, value in nothing.items():
            said = re.sub(rf"\b{re.escape(hidden[name])}\b", value, said)
        if (there[0], said) != (missing[0], missing[1].decode()):
            wrong.append(f"{there} and {missing} are told apart")
    return wrong


# --- lists, and what is made ------------------------------------------------------------------------------------


@each(LISTS)
def test_lists_hold_what_may_be_read_and_nothing_else(world, route):
    for who in world.who:
        status, body = asked(route[0], Call(needs=READ, address=route[1]), {}, who)
        if who.granted is None:
            assert (status, SECRET.encode() in body) == (401, False)
            continue
        listed = {one[LISTS[route]] for one in json.loads(body)["data"]} - {"own"}
        assert listed == {state for state, everyone in STATES.items() if who.may(everyone)}, who.name


@each([*MAKING, *sorted(ANY_KEY)])
def test_a_key_is_needed_everywhere(world, route):
    for who in world.who:
        address = route[1].replace("<path:name>", "auto")
        body = MAKING.get(route) or None
        status, _ = asked(route[0], Call(needs=0, address=address, body=body), {}, who)
        assert (status == 401) == (who.granted is None), who.name


def test_what_somebody_uploads_is_nobody_else_s(world):
    owner, other = (next(who for who in world.who if who.name == name) for name in ("granted read", "granted manage"))
    client = Client(headers={"Authorization": owner.authorization})
    made = client.post("/v1/files", {"file": SimpleUploadedFile("a.txt", b"mine"), "purpose": "assistants"}).json()
    for method, address in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        call = Call(needs=READ, address=f"v1/files/{made['id']}{address}")
        assert asked(method, call, {}, other)[0] == 404
        assert asked(method, call, {}, owner)[0] == 200


# --- the viewer of sources --------------------------------------------------------------------------------------


def test_a_source_shows_what_the_key_it_was_given_to_may_read_now_whoever_follows_it(world):
    for who in world.who:
        key = ApiKey.objects.filter(digest=key_digest((who.authorization or "").removeprefix("Bearer "))).first()
        for state, everyone in STATES.items():
            token = token_to(world, state, key_id=key.pk if key else None)
            level = everyone if who.granted is None else who.may(everyone)
            expected = (200, True) if level >= READ else (404, False)
            for follower in (world.who[0], world.who[-1]):
                status, body = asked("GET", Call(needs=0, address=f"sources/{token}"), {}, follower)
                assert (status, SECRET.encode() in body) == expected, (who.name, state)


def test_a_source_opens_with_its_own_signature_only(world):
    token, other = (token_to(world, "readable", key_id=None, revision=number) for number in (1, 2))
    altered = f"{other.rpartition('.')[0]}.{token.rpartition('.')[2]}"
    for wrong in (altered, token[:-1], "1", "x"):
        status, body = asked("GET", Call(needs=0, address=f"sources/{wrong}"), {}, world.who[0])
        assert (status, SECRET.encode() in body) == (404, False)


def token_to(world: World, state: str, *, key_id: int | None, revision: int = 1) -> str:
    row = Document.objects.get(pk=world.names[state]["document"])
    return token_of(row.pk, revision, tuple(row.chunks.values_list("pk", flat=True)), key_id=key_id)


# --- the doors that wait ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """A body for a door about one collection, and the level that it needs; ``query`` instead where it takes none."""

    method: str
    path: str
    needs: int
    body: Any = None
    query: str = ""


CHAT = {"model": "general", "messages": [{"role": "user", "content": f"{SECRET}?"}], "stream": False}
ASKED = {"model": "general", "input": f"{SECRET}?"}
PROMPT = {"model": "general", "prompt": f"{SECRET}?", "stream": False}
KNOCKS: Mapping[str, tuple[Knock, ...]] = {
    "search": (
        Knock(method="POST", path="v1/rag/search", needs=READ, body={"query": SECRET, "collections": ["{slug}"]}),
        Knock(method="GET", path="v1/rag/search", needs=READ, query=f"query={SECRET}&collection={{slug}}"),
        Knock(method="GET", path="v1/rag/search", needs=READ, query=f"query={SECRET}&collection={{store}}"),
    ),
    "ingest": (
        Knock(
            method="POST",
            path="v1/rag/ingest",
            needs=WRITE,
            body={"documents": [{"content": "New.", "collection": "{slug}"}], "wait": 0},
        ),
        Knock(
            method="POST",
            path="v1/rag/ingest",
            needs=WRITE,
            body={"urls": ["https://example.com/a"], "collection": "{store}", "wait": 0},
        ),
    ),
    "store search": (
        Knock(method="POST", path="v1/vector_stores/{store}/search", needs=READ, body={"query": SECRET}),
        Knock(method="POST", path="v1/vector_stores/{slug}/search", needs=READ, body={"query": SECRET}),
    ),
    "chat": (
        Knock(method="POST", path="v1/chat/completions", needs=READ, body={**CHAT, "rag_collections": ["{slug}"]}),
        Knock(
            method="POST", path="v1/chat/completions", needs=READ, body={**CHAT, "rag": {"collections": ["{store}"]}}
        ),
        Knock(method="POST", path="v1/responses", needs=READ, body={**ASKED, "rag_collections": ["{slug}"]}),
        Knock(
            method="POST",
            path="v1/responses",
            needs=READ,
            body={**ASKED, "tools": [{"type": "file_search", "vector_store_ids": ["{store}"]}]},
        ),
        Knock(method="POST", path="api/chat", needs=READ, body={**CHAT, "rag_collections": ["{slug}"]}),
        Knock(method="POST", path="api/generate", needs=READ, body={**PROMPT, "rag_collections": ["{slug}"]}),
    ),
}
EVERYTHING: Mapping[str, Knock] = {
    "search": Knock(method="POST", path="v1/rag/search", needs=0, body={"query": SECRET, "top_k": 50}),
    "chat": Knock(method="POST", path="v1/chat/completions", needs=0, body={**CHAT, "rag": {"top_k": 50}}),
}
"""What is asked without a collection: of all that may be read."""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[ScriptedServer]:
    """A model server that says whatever it is asked, and a catalog of one expert; evidence sends to another."""
    settings.STREAM_HEARTBEAT_SECONDS = 0
    with ScriptedServer([ScriptedModel(name="m")]) as running:
        running.loaded["m"] = Residency(context_length=8192)
        address = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url=running.url)
        replica = Replica(server=address, embedded=False, model="m", capabilities=frozenset({"completion"}))
        experts = {slug: Expert(slug=slug, replicas=(replica,)) for slug in ("general", *STATES)}
        rules = tuple(
            Rule(
                id=number,
                name=state,
                min_evidence=0.01,
                expert=state,
                evidence_collections=(state,),
                profiles=frozenset({state}),
            )
            for number, state in enumerate(STATES)
        )
        profiles = {slug: Profile(slug=slug) for slug in ("auto", *STATES)}
        shown = Catalog(experts=experts, models={}, rules=rules, default="general", profiles=profiles)
        monkeypatch.setattr(catalog, "_value", shown)
        yield running


@pytest.fixture
def open_world(transactional_db: None, model: ScriptedServer) -> World:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    return made()


async def knocked(knock: Knock, names: Mapping[str, str], who: Who) -> tuple[int, Any]:
    """Return the status and the JSON of the answer at a door."""
    opened = Connection(
        b"" if knock.body is None else json.dumps(filled(knock.body, names)).encode(), method=knock.method
    )
    scope: dict[str, Any] = opened.scope
    scope |= {"path": f"/{knock.path.format(**names)}", "query_string": knock.query.format(**names).encode()}
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    if who.authorization:
        headers.append((b"authorization", who.authorization.encode()))
    scope["headers"] += headers
    async with asyncio.timeout(60):
        await router()(opened.scope, opened.incoming.get, opened.send)
    status: Any = opened.status
    return status, json.loads(opened.body)


def told_of(answer: Any) -> set[str]:
    """Return the collections whose texts an answer shows."""
    shown = json.dumps(answer)
    return {state for state in STATES if f"{SECRET} {state}-" in shown or f'"collection": "{state}"' in shown}


@pytest.mark.parametrize("door", KNOCKS)
async def test_doors_open_to_what_the_caller_may(open_world, door):
    wrong = []
    for knock in KNOCKS[door]:
        for state, everyone in STATES.items():
            for who in open_world.who:
                status, answer = await knocked(knock, open_world.named(state, who), who)
                refusal = expected(knock.needs, who.may(everyone))
                if status != refusal if refusal else status not in (200, 202):
                    wrong.append(f"{who.name}, {state}: {status} instead of {refusal or 200} {answer} {knock.path}")
                if told := told_of(answer) - (set() if refusal else {state}):
                    wrong.append(f"{who.name}, {state}: is told of {told}")
    await close_shared_pool()
    assert wrong == []


@pytest.mark.parametrize("door", EVERYTHING)
async def test_who_names_no_collection_is_told_of_those_it_may_read(open_world, model, door):
    wrong = []
    for who in open_world.who:
        status, answer = await knocked(EVERYTHING[door], {}, who)
        readable = {state for state, everyone in STATES.items() if (who.may(everyone) or 0) >= READ}
        if (status, told_of(answer)) != ((401, set()) if who.granted is None else (200, readable)):
            wrong.append(f"{who.name}: {status} {told_of(answer)}")
    await close_shared_pool()
    assert wrong == []


async def test_rules_know_no_evidence_that_the_caller_may_not_see(open_world):
    wrong = []
    for who in open_world.who:
        for state, everyone in STATES.items():
            knock = Knock(method="POST", path="v1/route", needs=0, body={**CHAT, "model": state})
            status, answer = await knocked(knock, {}, who)
            if who.granted is None:
                assert status == 401
                continue
            expert = state if who.may(everyone) >= READ else "general"
            if answer["expert"] != expert:
                wrong.append(f"{who.name}, {state}: {answer['expert']}")
    assert wrong == []
