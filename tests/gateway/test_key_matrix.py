"""Who comes in where: every route × every kind of key. A route that no rule below is about fails a test."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from gateway.auth import keys
from gateway.models import ApiKey, KeyGroup
from gateway.policy import ANY_SCOPE, CLIENT_SCOPES, Needs, Scope
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.gateway.test_rights_matrix import client, router, served_doors, views

ADDRESS = "127.0.0.1"
Route = tuple[str, str]

# --- the rules --------------------------------------------------------------------------------------------------

NEEDS: Mapping[str, Needs] = {
    "v1/chat/": Scope.CHAT,
    "v1/completions": Scope.CHAT,
    "v1/responses": Scope.CHAT,
    "v1/feedback": Scope.CHAT,
    "api/chat": Scope.CHAT,
    "api/generate": Scope.CHAT,
    "v1/embeddings": Scope.EMBEDDINGS,
    "api/embed": Scope.EMBEDDINGS,
    "v1/rag/": Scope.KNOWLEDGE,
    "v1/files": Scope.KNOWLEDGE,
    "v1/vector_stores": Scope.KNOWLEDGE,
    "v1/route": Scope.ROUTE,
    "metrics": Scope.METRICS,
    "v1/keys": Scope.ADMIN,
    "v1/models": ANY_SCOPE,
    "v1/usage": ANY_SCOPE,  # of one's own; that of others: tests/gateway/test_usage_api.py
    "api/tags": ANY_SCOPE,
    "api/show": ANY_SCOPE,
    "api/ps": ANY_SCOPE,
    "api/version": ANY_SCOPE,
    "^api": ANY_SCOPE,  # what is not there, and what is done in admin
}
"""What routes need that begin so."""

OPEN = {
    ("GET", ""),  # leads to admin
    ("GET", "health/live"),
    ("GET", "health/ready"),
    ("GET", "docs"),
    ("GET", "openapi.json"),
    ("GET", "sources/<str:token>"),  # opens by its signature
}
"""What everybody may look at."""


def need_of(route: str) -> Needs | None:
    """Return what a route needs, by the longest rule about it."""
    rules = sorted((start for start in NEEDS if route.startswith(start)), key=len)
    return NEEDS[rules[-1]] if rules else None


def routes() -> list[Route]:
    return sorted({*views(get_resolver().url_patterns), *served_doors()})


def test_there_is_a_rule_about_every_route():
    assert [route for route in routes() if route not in OPEN and need_of(route[1]) is None] == []


def test_every_rule_is_about_a_route():
    used = {max((one for one in NEEDS if route.startswith(one)), key=len, default="") for _, route in routes()}
    assert set(NEEDS) == used - {""}
    assert set(routes()) >= OPEN


def test_every_route_says_itself_what_it_needs():
    """What a view or a consumer says of itself is what the rules say; one without a word is never let through."""
    told: dict[str, object] = dict(_views_told(get_resolver().url_patterns))
    told |= {
        str(one.pattern): one.callback.consumer_class.needs
        for one in router().routes
        if hasattr(one.callback, "consumer_class")
    }
    opened = {route for _, route in OPEN}
    assert {route: needs for route, needs in told.items() if route not in opened and needs != need_of(route)} == {}


def _views_told(patterns: list[Any], before: str = "") -> Iterator[tuple[str, object]]:
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLResolver) and route != "admin/":
            yield from _views_told(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, getattr(getattr(pattern.callback, "cls", None), "needs", None)


# --- the keys ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of key; ``refused`` is the status that it is turned away with everywhere, 0 for one that comes in."""

    name: str
    text: str = ""
    refused: int = 0
    scopes: frozenset[Scope] = frozenset()

    def expected(self, needs: Needs) -> int:
        """Return the status of what it is refused, 0 where it comes in."""
        if self.refused:
            return self.refused
        wanted = {needs} if isinstance(needs, Scope) else needs
        if self.scopes & wanted:
            return 0
        return 404 if needs == Scope.ADMIN else 403


def kinds() -> list[Kind]:
    now, hour = timezone.now(), timedelta(hours=1)
    found = [Kind(name="nobody", refused=401), Kind(name="a wrong key", text="sk-moe-wrong", refused=401)]

    def made(name: str, *, refused: int = 0, scopes: frozenset[Scope] = CLIENT_SCOPES, **fields: Any) -> ApiKey:
        row, text = ApiKey.objects.issue(name=name, **fields)
        found.append(Kind(name=name, text=text, refused=refused, scopes=scopes))
        return row

    made("revoked", refused=401).revoke()
    made("expired", refused=401, expires_at=now)
    made("replaced, and its time is over", refused=401).rotate(hour)
    ApiKey.objects.update(previous_until=now)
    made("replaced a moment ago").rotate(hour)
    made("replaced at once", refused=401).rotate(timedelta(0))
    made("from elsewhere", refused=403, allowed_addresses=["10.0.0.0/8"])
    made("from here", allowed_addresses=["10.0.0.0/8", "127.0.0.0/8"])
    made("plain")
    KeyGroup.objects.create(name="talkers", scopes=["chat"])
    KeyGroup.objects.create(name="elsewhere", allowed_addresses=["10.0.0.0/8"])
    KeyGroup.objects.create(name="unbounded")
    made("of a group that chats", group="talkers", scopes=frozenset({Scope.CHAT}))
    made("of a group elsewhere", group="elsewhere", refused=403)
    made("of a group without rules", group="unbounded")
    made("of a group without a row", group="nobody's")
    return [*found, *_scoped()]


def _scoped() -> Iterator[Kind]:
    """Yield keys that lack one scope, one that has all, and one that has but the rarest."""
    everything = frozenset(Scope)
    sets = {f"without {scope}": everything - {scope} for scope in Scope}
    for name, scopes in (sets | {"with all": everything, "only administering": {Scope.ADMIN}}).items():
        _, text = ApiKey.objects.issue(name=name, scopes=sorted(scopes))
        yield Kind(name=name, text=text, scopes=frozenset(scopes))


# --- the calls --------------------------------------------------------------------------------------------------

PARTS = {"<int:number>": "0", "<path:name>": "nothing", r"^api/(?:pull|push|create|copy|delete|blobs)\b": "api/pull"}


def address_of(route: str) -> str:
    """Return an address that the route is for; at it nothing is found."""
    for part, instead in PARTS.items():
        route = route.replace(part, instead)
    return "/" + re.sub(r"<str:\w+>", "nothing", route).replace(r"^api(?:/|$)", "api/nothing")


UNABLE = {("health/ready", 503), (r"^api/(?:pull|push|create|copy|delete|blobs)\b", 501)}
"""Answers of routes that cannot do what they are for: here there is no model server, and models are pulled in admin."""


def judged(kind: Kind, route: Route, status: int, body: str) -> str:
    """Return what is wrong with an answer, "" if nothing is."""
    needs = need_of(route[1])
    refusal = 0 if route in OPEN else kind.expected(needs if needs is not None else ANY_SCOPE)
    is_hidden = status == 404 and f"There is nothing at {route[0]}" in body and not route[1].startswith("^api")
    came_in = status not in (401, 403) and (status < 500 or (route[1], status) in UNABLE) and not is_hidden
    is_right = came_in if refusal == 0 else status == refusal and (refusal != 404 or is_hidden)
    return "" if is_right else f"{kind.name} at {' '.join(route)}: {status} instead of {refusal or 'in'} {body[:150]}"


@pytest.mark.django_db
def test_views_let_in_whom_they_should():
    everybody, wrong = kinds(), []
    keys.forget()
    for route in sorted(set(views(get_resolver().url_patterns)) - set(served_doors())):
        for kind in everybody[:2] if route in OPEN else everybody:
            headers = {"Authorization": f"Bearer {kind.text}"} if kind.text else {}
            with transaction.atomic():
                response = client().generic(
                    route[0],
                    address_of(route[1]),
                    data=b"{}",
                    content_type="application/json",
                    headers=headers,
                    REMOTE_ADDR=ADDRESS,
                )
                body = b"".join(response) if response.streaming else response.content
                transaction.set_rollback(True)
            wrong.append(judged(kind, route, response.status_code, body.decode()))
    assert [*filter(None, wrong)] == []


@pytest.mark.django_db(transaction=True)
def test_consumers_let_in_whom_they_should():
    everybody = kinds()
    keys.forget()
    assert [*filter(None, asyncio.run(_knocked(everybody)))] == []


async def _knocked(everybody: list[Kind]) -> list[str]:
    wrong = []
    for route in sorted(set(served_doors())):
        for kind in everybody:
            method = "POST" if route[0] == "*" else route[0]
            status, body = await _knock(method, address_of(route[1]), kind)
            wrong.append(judged(kind, (method, route[1]), status, body))
    await close_shared_pool()
    return wrong


async def _knock(method: str, address: str, kind: Kind) -> tuple[int, str]:
    opened = Connection(b"", method=method)
    scope: dict[str, Any] = opened.scope
    scope |= {"path": address, "query_string": b"", "client": (ADDRESS, 4711)}
    scope["headers"] += [(b"host", b"localhost"), (b"content-type", b"application/json")]
    if kind.text:
        scope["headers"].append((b"authorization", f"Bearer {kind.text}".encode()))
    async with asyncio.timeout(30):
        await router()(scope, opened.incoming.get, opened.send)
    status: Any = opened.status
    return status, opened.body.decode()


# --- behind a proxy ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("peer", "told", "status"),
    [
        ("10.0.0.1", "198.51.100.7", 200),
        ("10.0.0.1", "203.0.113.1, 198.51.100.7", 200),
        ("10.0.0.1", "198.51.100.7, 203.0.113.1", 403),
        ("10.0.0.1", "", 403),
        ("203.0.113.1", "198.51.100.7", 403),
    ],
)
def test_the_address_of_a_client_is_what_trusted_proxies_tell(settings, peer, told, status):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    _, text = ApiKey.objects.issue(name="office", allowed_addresses=["198.51.100.0/24"])
    keys.forget()
    headers = {"Authorization": f"Bearer {text}", "X-Forwarded-For": told}
    assert client().get("/v1/models", headers=headers, REMOTE_ADDR=peer).status_code == status
    lines = [line.strip().encode() for line in told.split(",") if line]  # as several headers
    assert asyncio.run(_version(text, peer, lines)) == status


async def _version(text: str, peer: str, forwarded: list[bytes]) -> object:
    opened = Connection(b"", method="GET")
    scope: dict[str, Any] = opened.scope
    scope |= {"path": "/api/version", "query_string": b"", "client": (peer, 4711)}
    scope["headers"] += [(b"host", b"localhost"), (b"authorization", f"Bearer {text}".encode())]
    scope["headers"] += [(b"x-forwarded-for", line) for line in forwarded]
    await router()(scope, opened.incoming.get, opened.send)
    return opened.status
