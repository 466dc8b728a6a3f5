"""The description of the API: whole, valid, and true to the routes, rights and parameters that there are."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import get_resolver, resolve
from drf_spectacular.validation import validate_schema

from gateway.openapi.components.chat import TYPES
from gateway.openapi.document import document
from gateway.openapi.operations import OPERATIONS
from gateway.parameters import REFUSED, parameters
from gateway.policy import ANY_SCOPE
from tests.gateway.test_rights_matrix import router, served_doors, views

NO_API = {"", "sources/<str:token>", "openapi.json", "docs"}
"""Pages for people, and the description itself."""
UNDESCRIBED = {("GET", "v1/rag/collections/import"), ("PATCH", "v1/rag/collections/import")}
UNDESCRIBED |= {("DELETE", "v1/rag/collections/import")}
"""A collection that happens to be called import."""


def described(route: str) -> str:
    """Return a route of Django's as the description has it."""
    return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)


def routes() -> set[tuple[str, str]]:
    found = {*views(get_resolver().url_patterns), *served_doors()}
    return {
        (method, described(route)) for method, route in found - UNDESCRIBED if route not in NO_API and method != "*"
    }


def test_every_endpoint_is_described_and_nothing_else():
    operations = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert operations == routes()


def test_it_is_valid_and_refers_to_nothing_that_is_missing():
    validate_schema(document())
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document())))
    assert wanted <= set(document()["components"]["schemas"])
    identities = [one["operationId"] for methods in document()["paths"].values() for one in methods.values()]
    assert len(identities) == len(set(identities))


def holders() -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield what is described, with the consumer or the view that says which scope it needs."""
    for pattern in router().routes:
        consumer = getattr(pattern.callback, "consumer_class", None)
        yield from (
            ((method, described(str(pattern.pattern))), consumer) for method in getattr(consumer, "methods", ())
        )
    for method, route in views(get_resolver().url_patterns):
        found = resolve(re.sub(r"<int:\w+>", "1", re.sub(r"<(?:str|path):\w+>", "x", f"/{route}")))
        yield (method, described(route)), getattr(found.func, "cls", None)


def test_it_tells_the_scope_that_is_really_needed():
    told = {
        key: OPERATIONS[key].needs
        for key, holder in holders()
        if key in OPERATIONS and getattr(holder, "needs", None) is not None
    }
    needed = {key: holder.needs for key, holder in holders() if key in told}
    assert told == {key: None if needs == ANY_SCOPE else needs for key, needs in needed.items()}
    assert {key for key, operation in OPERATIONS.items() if key not in told and not operation.is_open} == set()


def test_a_chats_parameters_are_those_of_the_table():
    table = {row.name for row in parameters() if "." not in row.name and row.name not in REFUSED}
    assert set(document()["components"]["schemas"]["ChatCompletionRequest"]["properties"]) == table
    assert set(TYPES) <= table


def test_it_is_served_without_a_key_and_not_sent_twice(client: Client):
    first = client.get("/openapi.json")
    assert first.status_code == 200
    assert first.json()["openapi"].startswith("3.1")
    assert client.get("/openapi.json", headers={"If-None-Match": first["ETag"]}).status_code == 304


@pytest.mark.django_db
def test_the_page_loads_nothing_from_elsewhere(client: Client):
    page = client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert links
    for link in links:
        assert link == "openapi.json" or finders.find(link.removeprefix("/static/")), link
